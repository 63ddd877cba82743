"""Weights to begin a training with: torchgeo's for multispectral images, or those of a model file."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from geoseg.errors import ModelError
from geoseg.models.card import Card
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.one_line import first_line

_PATIENCE: Final = 30.0  # s without an answer
_log = logging.getLogger(__name__)


def load_encoder_weights(network: torch.nn.Module, plan: NetworkPlan, name: str) -> None:
    """Load torchgeo's weights into the encoder of a network of segmentation-models-pytorch.

    They are fetched once and kept where torch keeps its downloads; their checksum is verified and no code in them
    is run. How their own training normalised its images is logged.

    Parameters
    ----------
    network : torch.nn.Module
    plan : NetworkPlan
        What it was built by.
    name : str
        As torchgeo writes it: ``ResNet50_Weights.SENTINEL2_ALL_MOCO``.

    Raises
    ------
    ModelError
        If there are no such weights, they are for other bands or another encoder, or cannot be fetched.
    """
    weights = _weights(name)
    wanted = weights.meta.get("bands")
    count = weights.meta.get("in_chans")
    if count is not None and count != plan.bands:
        listed = f" ({', '.join(wanted)})" if wanted else ""
        raise ModelError(f"encoder weights {name} take {count} bands{listed}, the model has {plan.bands}")
    target: Any = network.encoder
    # timm's encoders are one floor deeper in segmentation-models-pytorch.
    inner = target.model if plan.encoder.startswith("tu-") else target
    expected = inner.state_dict()
    _log.info("encoder weights %s: %s", name, weights.url)
    found = _bare(_fetched(weights, name))
    odd = [key for key, tensor in expected.items() if key not in found or found[key].shape != tensor.shape]
    if odd:
        raise ModelError(
            f"encoder weights {name} do not fit encoder {plan.encoder}: {odd[0]} is missing or has another shape "
            f"({len(odd)} of {len(expected)} tensors)"
        )
    inner.load_state_dict({key: found[key] for key in expected})
    if wanted:
        _log.warning("encoder weights %s expect the bands %s in this order", name, ", ".join(wanted))
    for mean, std in _normalisations(weights):
        _log.warning(
            "encoder weights %s were trained on (x - mean) / std with mean %s and std %s", name, mean, std
        )


def _weights(name: str) -> Any:
    from torchgeo.models import get_weight

    try:
        return get_weight(name)
    except ValueError as error:
        raise ModelError(
            f"encoder weights {name!r} are not known to torchgeo, expected a name such as "
            "ResNet50_Weights.SENTINEL2_ALL_MOCO"
        ) from error


def _fetched(weights: Any, name: str) -> Mapping[str, torch.Tensor]:
    try:
        # torch announces a download on stderr, where a refusal has to be one line.
        with _patience(), redirect_stderr(io.StringIO()):
            found: Mapping[str, torch.Tensor] = weights.get_state_dict(
                progress=False, check_hash=True, weights_only=True, map_location="cpu"
            )
    # A place that does not answer, a damaged file and one that holds code fail in as many ways.
    except Exception as error:
        raise ModelError(
            f"encoder weights {name} could not be fetched or read ({first_line(error)}); check the network, or leave "
            "encoder_weights out"
        ) from error
    return found


@contextmanager
def _patience() -> Iterator[None]:
    """Give up on a server that is silent; torch itself would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _bare(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors; some of torchgeo's weights are of a whole network."""
    inside = {key.removeprefix("encoder."): v for key, v in tensors.items() if key.startswith("encoder.")}
    return inside or dict(tensors)


def _normalisations(weights: Any) -> Iterator[tuple[str, str]]:
    transforms = getattr(weights, "transforms", None)
    if isinstance(transforms, torch.nn.Module):
        for step in transforms.modules():
            mean, std = getattr(step, "mean", None), getattr(step, "std", None)
            if mean is not None and std is not None:
                yield _numbers(mean), _numbers(std)


def _numbers(values: Any) -> str:
    return ",".join(f"{value:g}" for value in torch.as_tensor(values, dtype=torch.float64).flatten().tolist())


def start_from(model: Model, path: Path | str) -> tuple[str, ...]:
    """Go on from a model file: its weights wherever name and shape fit; a first layer or head of other size stays new.

    Law: with equal bands and classes the logits become those of the file's weights.

    Parameters
    ----------
    model : Model
        Of the same architecture and encoder; its network is changed in place.
    path : Path or str
        Model file.

    Returns
    -------
    tuple of str
        What a person should know, one line each: what stayed new, and which bands or classes had another meaning.

    Raises
    ------
    ModelError
        If the file is no model file, or is of another architecture, encoder or decoder.
    """
    start, card = Model.open(path), model.card
    for key in ("architecture", "encoder"):
        there, here = getattr(start.card, key), getattr(card, key)
        if there != here:
            raise ModelError(
                f"{path}: its {key} is {there}, the new model's is {here}; set model.{key} to {there}"
            )
    found, own = start.network.state_dict(), model.network.state_dict()
    fresh = [name for name, tensor in own.items() if name not in found or found[name].shape != tensor.shape]
    odd = sorted((set(found) ^ set(own)) | (set(fresh) - _ends(own, card) if fresh else set()))
    if odd:
        raise ModelError(
            f"{path}: its decoder is another one ({odd[0]} has another shape or no counterpart); set "
            f"model.decoder_options to {dict(start.card.decoder_options)}"
        )
    model.network.load_state_dict({name: found[name] for name in own if name not in fresh}, strict=False)
    return tuple(_differences(start, model, fresh))


def _ends(own: Mapping[str, torch.Tensor], card: Card) -> set[str]:
    """Tensors whose shape follows the number of bands or of channels: the first layer and the head."""
    plan = NetworkPlan.of(card)
    other = build(replace(plan, bands=plan.bands + 1, channels=plan.channels + 1)).state_dict()
    return {name for name, tensor in own.items() if other[name].shape != tensor.shape}


def _differences(start: Model, model: Model, fresh: list[str]) -> Iterator[str]:
    there, here = start.card, model.card
    if fresh:
        kept = len(model.network.state_dict()) - len(fresh)
        yield f"{kept} tensors are the file's; new because of another size: {', '.join(fresh)}"
    if there.band_names != here.band_names:
        yield f"the file's bands are {', '.join(there.band_names)}, now {', '.join(here.band_names)}"
    if there.classes.names != here.classes.names:
        yield f"the file's classes are {', '.join(there.classes.names)}, now {', '.join(here.classes.names)}"
