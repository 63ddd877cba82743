"""Build networks of segmentation-models-pytorch and the published U-Net, or explain in one line why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from geoseg.engine.memory import free_memory
from geoseg.errors import ModelError
from geoseg.models.network_plan import PIXEL_CHANNELS, NetworkPlan
from geoseg.models.one_line import first_line
from geoseg.models.pixel_path import add_pixel_path
from geoseg.models.smp import Building, smp
from geoseg.models.unet2015 import ENCODER, Unet2015

_PUBLISHED = Unet2015.__name__.lower()
_TRIED = 64  # px
_MOST_FEATURES = 1024
OPTION_PREFIXES = ("decoder_", "psp_", "encoder_depth", "encoder_output_stride", "upsampling")


def build(plan: NetworkPlan, *, published: str | None = None, seed: int = 0) -> torch.nn.Module:
    """Build a network; torch's random state is not changed.

    Only the encoder weights named by `published` are downloaded, from segmentation-models-pytorch.

    Raises
    ------
    ModelError
        If there is no such network; says why in one line.
    """
    odd = [key for key in plan.options if not key.startswith(OPTION_PREFIXES)]
    if odd:
        raise ModelError(
            f"decoder option {odd[0]!r} is not known, expected names that begin with {', '.join(OPTION_PREFIXES)}"
        )
    features = plan.options.get(PIXEL_CHANNELS)
    if PIXEL_CHANNELS in plan.options and (type(features) is not int or not 1 <= features <= _MOST_FEATURES):
        raise ModelError(
            f"{PIXEL_CHANNELS} is {features!r}, expected a number of features from 1 to {_MOST_FEATURES}"
        )
    if ":" in plan.encoder:
        raise ModelError(f"encoder {plan.encoder!r} names a place to load from, expected a plain name")
    with torch.random.fork_rng(devices=[]), Building(free_memory()):
        torch.manual_seed(seed)
        try:
            network = _made(plan, published)
            if features is not None:
                add_pixel_path(network, bands=plan.bands, features=features, channels=plan.channels)
        except ModelError:
            raise
        # Encoders come from many authors and raise errors of any type.
        except Exception as error:
            raise ModelError(_refusal(plan, error)) from error
    if plan.options:
        _try_out(network, plan)
    return network


def _made(plan: NetworkPlan, published: str | None) -> torch.nn.Module:
    """Build the network of a library, without what geoseg adds to it."""
    options = {key: value for key, value in plan.options.items() if key != PIXEL_CHANNELS}
    if plan.architecture.lower() == _PUBLISHED:
        return _published(plan, options)
    network: torch.nn.Module = smp.create_model(
        plan.architecture,
        encoder_name=plan.encoder,
        encoder_weights=_weights_name(plan.encoder, published),
        in_channels=plan.bands,
        classes=plan.channels,
        **options,
    )
    return network


def _try_out(network: torch.nn.Module, plan: NetworkPlan) -> None:
    """Raise ModelError for options with which a network can be built but not run: smp checks some only then."""
    training = network.training
    try:
        with torch.inference_mode():
            found = network.eval()(torch.zeros(1, plan.bands, _TRIED, _TRIED))
    except (NotImplementedError, TypeError, AttributeError, LookupError) as error:
        raise ModelError(
            f"{plan.architecture} with {_listed(plan.options)} cannot be run: {first_line(error)}"
        ) from error
    except (RuntimeError, ValueError, AssertionError):
        return  # the image may be too small for the network; a real tile will show other errors
    finally:
        network.train(training)
    if found.shape != (1, plan.channels, _TRIED, _TRIED):
        raise ModelError(
            f"{plan.architecture} with {_listed(plan.options)} returns {found.shape[-2]} x {found.shape[-1]} px for "
            f"{_TRIED} x {_TRIED}, expected the same size"
        )


def _listed(options: Mapping[str, Any]) -> str:
    return first_line(ValueError(", ".join(f"{key}={value!r}" for key, value in options.items())))


def _published(plan: NetworkPlan, options: Mapping[str, Any]) -> Unet2015:
    """Build the published U-Net, whose encoder is fixed."""
    if plan.encoder != ENCODER:
        raise ModelError(
            f"{Unet2015.__name__} has a fixed encoder, found {plan.encoder!r}, expected {ENCODER!r}"
        )
    return Unet2015(plan.bands, plan.channels, **options)


def _weights_name(encoder: str, published: str | None) -> str | bool | None:
    """Return the weights' name as smp takes it: for timm's encoders only True, since the name is in the
    encoder's.
    """
    return bool(published) or None if encoder.startswith("tu-") else published


def _refusal(plan: NetworkPlan, error: Exception) -> str:
    """Explain in one line why there is no such network."""
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
    reason = first_line(error)
    return f"{architecture} with encoder {encoder} is refused by segmentation-models-pytorch: {reason}"
