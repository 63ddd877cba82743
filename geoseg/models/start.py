"""Start a training from a model file, or from a whole network of torchgeo."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import ModelError, plural
from geoseg.models.beginning import Beginning
from geoseg.models.card import Card
from geoseg.models.card_file import read_card
from geoseg.models.first_layer import bands_in, input_layers, spread
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.pixel_path import FIRST_LAYER
from geoseg.models.weight_names import is_of_torchgeo

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Start:
    """A trained network; for torchgeo's, `classes` is empty if they are not known."""

    architecture: str
    encoder: str
    options: Mapping[str, Any]
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    beginning: Beginning


def start_from(model: Model, source: Path | str) -> tuple[str, ...]:
    """Copy trained weights into a new model wherever name and shape match; a head of another size stays new.

    The first layer is adapted to the model's bands: a band that the weights know by name, or by its meaning
    (`band_names`), takes their filters for it, any other band the mean of all, all multiplied by their number of
    bands over the model's (`first_layer.spread`). If the number of bands is equal and no name is known, they are
    taken in their order.

    Law: with equal bands, in any order, and equal classes the logits become those of the original network.

    Parameters
    ----------
    model : Model
        A model of the same architecture and encoder; its network is changed in place, and its card records the start.
    source : Path or str
        Model file, or the name of a U-Net of torchgeo: ``Unet_Weights.SENTINEL2_3CLASS_FTW``.

    Returns
    -------
    tuple of str
        Notes for the user, one line each: what stayed new, and which bands or classes had another meaning.

    Raises
    ------
    ModelError
        If it is not a model file or such a name, cannot be fetched, or has another architecture, encoder or decoder.
    """
    card = model.card
    start = _of_torchgeo(str(source), card) if is_of_torchgeo(source) else _of_file(source)
    _refuse_another(source, start, card)
    own = model.network.state_dict()
    found, notes = _for_bands(start, model)
    fresh = [name for name, tensor in own.items() if name not in found or found[name].shape != tensor.shape]
    odd = sorted((set(found) ^ set(own)) | (set(fresh) - _ends(own, card) if fresh else set()))
    if odd:
        raise ModelError(
            f"{source}: its decoder differs ({odd[0]} has another shape or no counterpart); set "
            f"model.decoder_options to {dict(start.options)}"
        )
    model.network.load_state_dict({name: found[name] for name in own if name not in fresh}, strict=False)
    model.card = card.changed(beginning=start.beginning)
    return (*_differences(start, model, fresh), *notes)


def network_of(source: Path | str) -> tuple[str, str, dict[str, Any]]:
    """Return architecture, encoder and decoder options of a model file, or of a U-Net of torchgeo.

    Parameters
    ----------
    source : Path or str
        As `start_from` takes it.

    Raises
    ------
    ModelError
    """
    if is_of_torchgeo(source):
        start = _known_of_torchgeo(str(source))
        return start.architecture, start.encoder, dict(start.options)
    card = read_card(source)
    return card.architecture, card.encoder, dict(card.decoder_options)


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
        # The weights that it was itself started from determine licence and input.
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
    from geoseg.models.torchgeo_weights import advice, fetched, weights_of_torchgeo

    start = _known_of_torchgeo(name)
    _refuse_another(name, start, card)  # before anything is fetched
    weights = weights_of_torchgeo(name)
    for line in advice(weights, name):
        _log.warning("%s", line)
    return replace(start, tensors=fetched(weights, name))


def _known_of_torchgeo(name: str) -> _Start:
    """Return what is known of a U-Net of torchgeo before it is fetched."""
    from geoseg.models.torchgeo_weights import licence_of, weights_of_torchgeo

    weights = weights_of_torchgeo(name)
    meta = weights.meta
    if "encoder" not in meta:
        raise ModelError(
            f"weights {name} are for an encoder alone, expected those of a whole network (Unet_Weights....); "
            "pass them "
            "as model.encoder_weights"
        )
    return _Start(
        architecture="Unet",
        encoder=str(meta["encoder"]),
        options={},
        bands=tuple(meta["bands"]),
        classes=tuple(meta.get("classes", ())),
        tensors={},
        beginning=Beginning(weights=name, of="network", source=weights.url, licence=licence_of(weights)),
    )


def _for_bands(start: _Start, model: Model) -> tuple[Mapping[str, torch.Tensor], tuple[str, ...]]:
    """Return the weights with the first layer adapted to the model's bands, and notes for the user."""
    bands = model.card.band_names
    known = bands_in(bands, start.bands)
    places = range(len(start.bands))
    if known == tuple(places) or (len(bands) == len(start.bands) and not any(n is not None for n in known)):
        return start.tensors, ()
    tensors = dict(start.tensors)
    encoder: Any = model.network.encoder
    inputs = {f"encoder.{name}": n for name, n in input_layers(encoder, NetworkPlan.of(model.card)).items()}
    for name, groups in {**inputs, FIRST_LAYER: 1}.items():
        if name in tensors and tensors[name].shape[1] == groups * len(start.bands):
            order, taken = [str(n) for n in places], [None if n is None else str(n) for n in known]
            tensors[name] = spread(tensors[name].float(), order, taken, groups)
    said = (
        f"{band}: {'mean of all' if n is None else start.bands[n]}"
        for band, n in zip(bands, known, strict=True)
    )
    return tensors, (f"filters of the first layer: {', '.join(said)}",)


def _ends(own: Mapping[str, torch.Tensor], card: Card) -> set[str]:
    """Return the tensors whose shape depends on the number of bands or channels: first layer and head."""
    plan = NetworkPlan.of(card)
    other = build(replace(plan, bands=plan.bands + 1, channels=plan.channels + 1)).state_dict()
    return {name for name, tensor in own.items() if other[name].shape != tensor.shape}


def _differences(start: _Start, model: Model, fresh: list[str]) -> Iterator[str]:
    here = model.card
    if fresh:
        kept = len(model.network.state_dict()) - len(fresh)
        yield f"{plural(kept, 'tensor')} copied; new because of another size: {', '.join(fresh)}"
    if start.bands != here.band_names:
        yield f"its bands are {', '.join(start.bands)}, now {', '.join(here.band_names)}"
    if start.classes and start.classes != here.classes.names:
        yield f"its classes are {', '.join(start.classes)}, now {', '.join(here.classes.names)}"
