"""Networks, those of segmentation-models-pytorch and the published U-Net, built or refused in one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from geoseg.engine.memory import free_memory
from geoseg.errors import ModelError
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.one_line import first_line
from geoseg.models.smp import Building, smp
from geoseg.models.unet2015 import ENCODER, Unet2015

_TORCHGEO = "_Weights."  # in the names of torchgeo's weights, and in no other's
_PUBLISHED = Unet2015.__name__.lower()
_TRIED = 64  # px
OPTION_PREFIXES = ("decoder_", "psp_", "encoder_depth", "encoder_output_stride", "upsampling")


def build(plan: NetworkPlan, encoder_weights: str | None = None, seed: int = 0) -> torch.nn.Module:
    """Build a network; torch's own random state is left as it was.

    Nothing is downloaded but `encoder_weights`, where some are named: segmentation-models-pytorch's or torchgeo's.

    Raises
    ------
    ModelError
        Why there is no such network, in one line.
    """
    odd = [key for key in plan.options if not key.startswith(OPTION_PREFIXES)]
    if odd:
        raise ModelError(
            f"decoder option {odd[0]!r} is not one of geoseg's, expected {', '.join(OPTION_PREFIXES)}"
        )
    if ":" in plan.encoder:
        raise ModelError(f"encoder {plan.encoder!r} names a place to load from, expected a plain name")
    of_torchgeo = encoder_weights is not None and _TORCHGEO in encoder_weights
    with torch.random.fork_rng(devices=[]), _quiet_hub(), Building(free_memory()):
        torch.manual_seed(seed)
        try:
            if plan.architecture.lower() == _PUBLISHED:
                return _published(plan, encoder_weights)
            network: torch.nn.Module = smp.create_model(
                plan.architecture,
                encoder_name=plan.encoder,
                encoder_weights=None if of_torchgeo else _weights_name(plan.encoder, encoder_weights),
                in_channels=plan.bands,
                classes=plan.channels,
                **plan.options,
            )
        except ModelError:
            raise
        # Encoders come from many authors and refuse with every kind of exception there is.
        except Exception as error:
            raise ModelError(_refusal(plan, encoder_weights, error)) from error
    if encoder_weights is not None and of_torchgeo:
        from geoseg.models.pretrained import load_encoder_weights

        load_encoder_weights(network, plan, encoder_weights)
    if plan.options:
        _try_out(network, plan)
    return network


def _try_out(network: torch.nn.Module, plan: NetworkPlan) -> None:
    """Refuse options that a network can be built with and not run: smp looks at some of them only then."""
    training = network.training
    try:
        with torch.inference_mode():
            found = network.eval()(torch.zeros(1, plan.bands, _TRIED, _TRIED))
    except (NotImplementedError, TypeError, AttributeError, LookupError) as error:
        raise ModelError(
            f"{plan.architecture} with {_listed(plan.options)} cannot be run: {first_line(error)}"
        ) from error
    except (RuntimeError, ValueError, AssertionError):
        return  # of so small an image; what it says of a tile, the tile will show
    finally:
        network.train(training)
    if found.shape != (1, plan.channels, _TRIED, _TRIED):
        raise ModelError(
            f"{plan.architecture} with {_listed(plan.options)} makes {found.shape[-2]} x {found.shape[-1]} px of "
            f"{_TRIED} x {_TRIED}, expected as many"
        )


def _listed(options: Mapping[str, Any]) -> str:
    return first_line(ValueError(", ".join(f"{key}={value!r}" for key, value in options.items())))


def _published(plan: NetworkPlan, encoder_weights: str | None) -> Unet2015:
    """Build the published U-Net, which has no encoder to choose."""
    if plan.encoder != ENCODER:
        raise ModelError(
            f"{Unet2015.__name__} has an encoder of its own, found {plan.encoder!r}, expected {ENCODER!r}"
        )
    if encoder_weights is not None:
        raise ModelError(
            f"{Unet2015.__name__} has no pretrained weights, found {encoder_weights!r}; leave them out, or take "
            "Unet with an encoder that has some"
        )
    return Unet2015(plan.bands, plan.channels, **plan.options)


def input_statistics(
    encoder: str, encoder_weights: str | None, bands: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Mean and std of the network's input on the 0..1 scale: those of the pretrained weights, else 0.5, 0.25.

    Raises
    ------
    ModelError
        If those of the weights cannot be fetched.
    """
    rgb = [band.strip().lower() for band in bands]
    if encoder_weights is None or _TORCHGEO in encoder_weights or sorted(rgb) != ["blue", "green", "red"]:
        return [0.5] * len(bands), [0.25] * len(bands)
    try:
        with _quiet_hub():
            found = smp.encoders.get_preprocessing_params(encoder, encoder_weights)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the normalisation of encoder weights {encoder_weights!r} of {encoder} could not be had: "
            f"{first_line(error)}"
        ) from error
    top = float(max(found.get("input_range") or (0, 1)))
    order = ("blue", "green", "red") if found.get("input_space") == "BGR" else ("red", "green", "blue")
    at = [order.index(band) for band in rgb]
    return [found["mean"][i] / top for i in at], [found["std"][i] / top for i in at]


def _weights_name(encoder: str, encoder_weights: str | None) -> str | bool | None:
    """Name the weights as smp wants them: timm's encoders carry theirs in their name and take a mere yes."""
    return bool(encoder_weights) or None if encoder.startswith("tu-") else encoder_weights


def _refusal(plan: NetworkPlan, encoder_weights: str | None, error: Exception) -> str:
    """Say in one line why there is no such network."""
    architecture, encoder = plan.architecture, plan.encoder
    if architecture.lower() == _PUBLISHED:
        return f"{Unet2015.__name__} cannot be built: {first_line(error)}"
    if isinstance(error, MemoryError):
        return f"{architecture} with encoder {encoder} cannot be built: {first_line(error)}"
    names = [c.__name__ for c in (*smp.MODEL_ARCHITECTURES_MAPPING.values(), Unet2015)]
    if architecture.lower() not in smp.MODEL_ARCHITECTURES_MAPPING:
        return f"architecture {architecture!r} is not known, expected one of {', '.join(names)}"
    if encoder.removeprefix("tu-") == encoder and encoder not in smp.encoders.encoders:
        return (
            f"encoder {encoder!r} is not known to segmentation-models-pytorch, expected one such as "
            "resnet34, efficientnet-b0 or, from timm, tu-mobilenetv3_small_100"
        )
    offline = isinstance(error, OSError) or "connection" in str(error).lower() or "hub" in str(error).lower()
    if encoder_weights is not None and offline:
        return (
            f"encoder weights {encoder_weights!r} of {encoder} could not be fetched ({first_line(error)}); "
            "check the network, or leave --encoder-weights out"
        )
    reason = first_line(error)
    return f"{architecture} with encoder {encoder} is refused by segmentation-models-pytorch: {reason}"


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the download library's own retry messages off the terminal: the refusal says it in one line."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
