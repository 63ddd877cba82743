"""A model file, or a whole network of torchgeo's, to go on from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import ModelError
from geoseg.models.beginning import Beginning
from geoseg.models.card import Card
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.weight_names import is_of_torchgeo

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Start:
    """A network that was trained; of torchgeo's, `classes` are empty where nothing says them."""

    architecture: str
    encoder: str
    options: Mapping[str, Any]
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    beginning: Beginning


def start_from(model: Model, source: Path | str) -> tuple[str, ...]:
    """Go on from trained weights wherever name and shape fit; a first layer or head of other size stays new.

    Law: with equal bands and classes the logits become those of the weights' own network.

    Parameters
    ----------
    model : Model
        Of the same architecture and encoder; its network is changed in place, and its card says what it began with.
    source : Path or str
        Model file, or the name of one of torchgeo's U-Nets: ``Unet_Weights.SENTINEL2_3CLASS_FTW``.

    Returns
    -------
    tuple of str
        What a person should know, one line each: what stayed new, and which bands or classes had another meaning.

    Raises
    ------
    ModelError
        If it is no model file or such a name, cannot be fetched, or is of another architecture, encoder or decoder.
    """
    card = model.card
    start = _of_torchgeo(str(source), card) if is_of_torchgeo(source) else _of_file(source)
    _refuse_another(source, start, card)
    found, own = start.tensors, model.network.state_dict()
    fresh = [name for name, tensor in own.items() if name not in found or found[name].shape != tensor.shape]
    odd = sorted((set(found) ^ set(own)) | (set(fresh) - _ends(own, card) if fresh else set()))
    if odd:
        raise ModelError(
            f"{source}: its decoder is another one ({odd[0]} has another shape or no counterpart); set "
            f"model.decoder_options to {dict(start.options)}"
        )
    model.network.load_state_dict({name: found[name] for name in own if name not in fresh}, strict=False)
    model.card = card.changed(beginning=start.beginning)
    return tuple(_differences(start, model, fresh))


def _refuse_another(source: Path | str, start: _Start, card: Card) -> None:
    for key in ("architecture", "encoder"):
        there, here = getattr(start, key), getattr(card, key)
        if there != here:
            raise ModelError(
                f"{source}: its {key} is {there}, the new model's is {here}; set model.{key} to {there}"
            )


def _of_file(path: Path | str) -> _Start:
    model = Model.open(path)
    card = model.card
    before = card.beginning or Beginning(weights=Path(path).name)
    return _Start(
        architecture=card.architecture,
        encoder=card.encoder,
        options=card.decoder_options,
        bands=card.band_names,
        classes=card.classes.names,
        tensors=model.network.state_dict(),
        # What its own weights began with tells of licence and input.
        beginning=before.model_copy(
            update={
                "weights": Path(path).name,
                "of": "network",
                "source": "" if card.beginning is None else f"begun from {card.beginning.weights}",
                "sha256": card.weights_sha256,
            }
        ),
    )


def _of_torchgeo(name: str, card: Card) -> _Start:
    from geoseg.models.torchgeo_weights import advice, fetched, licence_of, weights_of_torchgeo

    weights = weights_of_torchgeo(name)
    meta = weights.meta
    if "encoder" not in meta:
        raise ModelError(
            f"weights {name} are of an encoder alone, expected those of a whole network (Unet_Weights....); give them "
            "as model.encoder_weights"
        )
    start = _Start(
        architecture="Unet",
        encoder=str(meta["encoder"]),
        options={},
        bands=tuple(meta["bands"]),
        classes=tuple(meta.get("classes", ())),
        tensors={},
        beginning=Beginning(weights=name, of="network", source=weights.url, licence=licence_of(weights)),
    )
    _refuse_another(name, start, card)  # before anything is fetched
    for line in advice(weights, name):
        _log.warning("%s", line)
    return replace(start, tensors=fetched(weights, name))


def _ends(own: Mapping[str, torch.Tensor], card: Card) -> set[str]:
    """Tensors whose shape follows the number of bands or of channels: the first layer and the head."""
    plan = NetworkPlan.of(card)
    other = build(replace(plan, bands=plan.bands + 1, channels=plan.channels + 1)).state_dict()
    return {name for name, tensor in own.items() if other[name].shape != tensor.shape}


def _differences(start: _Start, model: Model, fresh: list[str]) -> Iterator[str]:
    here = model.card
    if fresh:
        kept = len(model.network.state_dict()) - len(fresh)
        yield f"{kept} tensors are those given; new because of another size: {', '.join(fresh)}"
    if start.bands != here.band_names:
        yield f"its bands are {', '.join(start.bands)}, now {', '.join(here.band_names)}"
    if start.classes and start.classes != here.classes.names:
        yield f"its classes are {', '.join(start.classes)}, now {', '.join(here.classes.names)}"
