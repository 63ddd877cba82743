"""Load pretrained weights into the encoder of a new network: packaged, published, from torchgeo, or from a file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from geoseg.errors import ModelError, plural
from geoseg.models.beginning import COLORS, Beginning
from geoseg.models.first_layer import colors_of, input_layers, spread
from geoseg.models.foreign_weights import read_weights, sha256_of
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.unet2015 import Unet2015
from geoseg.models.weight_names import PACKAGED, PACKAGED_ENCODER, SUFFIXES, is_file, is_of_torchgeo

_PACKAGED_FILE: Final = Path(__file__).parent / "data" / "lite0.safetensors"
_BYTES: Final = 255.0
_OUTER: Final = ("encoder.", "backbone.")
_COUNT: Final = "num_batches_tracked"
"""Counters that old files lack; no result depends on them."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncoderWeights:
    """Weights of an encoder, with the tensor names of their source.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Tensors by name.
    colors : tuple of str or None
        Colours of the first layer's input, in order; None if it takes the model's bands in their order.
    beginning : Beginning
        Description for the card.
    """

    tensors: Mapping[str, torch.Tensor]
    colors: tuple[str, ...] | None
    beginning: Beginning


def load_encoder_weights(
    network: torch.nn.Module, plan: NetworkPlan, bands: Sequence[str], name: str | Path
) -> Beginning:
    """Load pretrained weights into the encoder of a new network; no code of a file is run.

    Law: with exactly red, green and blue, in any order, the features of a picture are those of the original
    network.

    Parameters
    ----------
    network : Module
        The network, whose encoder is changed in place.
    plan : NetworkPlan
        Plan that the network was built from.
    bands : sequence of str
        Names of the model's bands. Weights for three colours are spread over them (`first_layer.spread`); others
        are accepted only for the same number of bands, in their order.
    name : str or path
        ``packaged``; ``imagenet`` or another name published by segmentation-models-pytorch; a name from torchgeo
        (``ResNet50_Weights.SENTINEL2_ALL_MOCO``); or a file of weights (.safetensors, .pth, .pt, .bin, .ckpt)
        with the names that timm, torchvision, segmentation-models-pytorch or Lightning give them.

    Returns
    -------
    Beginning
        The source of the weights.

    Raises
    ------
    ModelError
        If there are no such weights, they are for another encoder or other bands, or cannot be read or fetched.
    """
    if plan.architecture.lower() == Unet2015.__name__.lower():
        raise ModelError(
            f"{Unet2015.__name__} has no pretrained weights, found {str(name)!r}; leave them out, or take "
            "Unet with an "
            "encoder that has some"
        )
    weights = _found(plan, name)
    encoder: Any = network.encoder
    # segmentation-models-pytorch wraps timm's encoders in one more module.
    inner = encoder.model if plan.encoder.startswith("tu-") else encoder
    expected: dict[str, torch.Tensor] = inner.state_dict()
    fitted = _renamed(expected, _bare(weights.tensors))
    _refuse_deeper(expected, fitted.left_over, plan, weights)
    tensors = _with_bands(dict(fitted.tensors), encoder, plan, bands, weights)
    _check(expected, tensors, plan, weights)
    inner.load_state_dict({key: tensors.get(key, tensor) for key, tensor in expected.items()})
    if fitted.left_over:
        left = ", ".join(fitted.left_over[:3]) + (", ..." if len(fitted.left_over) > 3 else "")
        count = len(fitted.left_over)
        _log.info(
            "%s: %d tensors do not belong to the encoder and were ignored (%s)",
            weights.beginning.weights,
            count,
            left,
        )
    _log.info("begun from %s", weights.beginning)
    return weights.beginning


def _found(plan: NetworkPlan, name: str | Path) -> EncoderWeights:
    if is_file(name):
        return _of_file(Path(name))
    name = str(name)
    if name == PACKAGED:
        return _packaged(plan)
    return _of_torchgeo(plan, name) if is_of_torchgeo(name) else _published(plan, name)


def _is_packaged(plan: NetworkPlan) -> bool:
    # timm appends a tag to the encoder's name if it has several sets of weights.
    return plan.encoder.partition(".")[0] == PACKAGED_ENCODER


def _packaged(plan: NetworkPlan) -> EncoderWeights:
    if not _is_packaged(plan):
        raise ModelError(
            f"encoder weights {PACKAGED!r} are for encoder {PACKAGED_ENCODER}, found encoder "
            f"{plan.encoder}; use that encoder, or other weights"
        )
    beginning = Beginning(
        weights=PACKAGED,
        source="EfficientNet-Lite0, trained on ImageNet",
        licence="Apache-2.0",
        sha256=sha256_of(_PACKAGED_FILE),
        mean=(127 / _BYTES,) * 3,
        std=(128 / _BYTES,) * 3,
    )
    return EncoderWeights(tensors=read_weights(_PACKAGED_FILE).tensors, colors=COLORS, beginning=beginning)


def _published(plan: NetworkPlan, name: str) -> EncoderWeights:
    from geoseg.models.hub_weights import published_names, published_weights

    known = published_names(plan.encoder)
    if name not in known:
        listed = "".join(f"{each}, " for each in ((PACKAGED,) if _is_packaged(plan) else ()) + known)
        raise ModelError(
            f"encoder weights {name!r} are not known of encoder {plan.encoder}, expected {listed}a name of torchgeo's "
            f"such as ResNet50_Weights.SENTINEL2_ALL_MOCO, or a file ({', '.join(SUFFIXES)})"
        )
    found = published_weights(plan, name)
    beginning = Beginning(
        weights=name, source=found.source, licence=found.licence, mean=found.mean, std=found.std
    )
    return EncoderWeights(tensors=found.tensors, colors=found.colors, beginning=beginning)


def _of_torchgeo(plan: NetworkPlan, name: str) -> EncoderWeights:
    from geoseg.models.torchgeo_weights import advice, fetched, licence_of, weights_of_torchgeo

    weights = weights_of_torchgeo(name)
    wanted, count = weights.meta.get("bands"), weights.meta.get("in_chans")
    if count is not None and count != plan.bands:
        listed = f" ({', '.join(wanted)})" if wanted else ""
        raise ModelError(f"weights {name} take {plural(count, 'band')}{listed}, the model has {plan.bands}")
    tensors = fetched(weights, name)
    for line in advice(weights, name):
        _log.warning("%s", line)
    beginning = Beginning(weights=name, source=weights.url, licence=licence_of(weights))
    return EncoderWeights(tensors=tensors, colors=None, beginning=beginning)


def _of_file(path: Path) -> EncoderWeights:
    tensors = read_weights(path).tensors
    return EncoderWeights(
        tensors=tensors, colors=COLORS, beginning=Beginning(weights=path.name, sha256=sha256_of(path))
    )


def _bare(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return an encoder's tensors under their own names, also from the weights of a whole network."""
    for outer in _OUTER:
        inside = {key.removeprefix(outer): tensor for key, tensor in tensors.items() if key.startswith(outer)}
        if inside:
            tensors = inside
    return {key.removeprefix("model."): tensor for key, tensor in tensors.items()}


@dataclass(frozen=True, slots=True)
class _Fitted:
    tensors: Mapping[str, torch.Tensor]
    left_over: Sequence[str]


def _renamed(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> _Fitted:
    """Rename tensors as the encoder names them: timm calls ``stages.0`` ``stages_0`` in feature extractors."""
    taken = {}
    for name in expected:
        plain = re.sub(r"^(\w+?)_(\d+)(?=\.)", r"\1.\2", name)
        key = name if name in found else plain
        if key in found:
            taken[name] = key
    used = set(taken.values())
    return _Fitted(
        {name: found[key] for name, key in taken.items()}, [key for key in found if key not in used]
    )


def _refuse_deeper(
    expected: Mapping[str, torch.Tensor], left_over: Sequence[str], plan: NetworkPlan, weights: EncoderWeights
) -> None:
    """Raise ModelError if the weights have more layers than the encoder: they are of a deeper one."""
    parts = {name.partition(".")[0] for name in expected if name.count(".") > 1}
    deeper = [name for name in left_over if name.partition(".")[0] in parts]
    if deeper:
        raise ModelError(
            f"encoder weights {weights.beginning.weights} belong to another encoder than {plan.encoder}, which has no "
            f"{deeper[0]} ({plural(len(deeper), 'more tensor')} in the same parts); use the encoder that they belong to"
        )


def _with_bands(
    tensors: dict[str, torch.Tensor],
    encoder: torch.nn.Module,
    plan: NetworkPlan,
    bands: Sequence[str],
    weights: EncoderWeights,
) -> dict[str, torch.Tensor]:
    """Spread the filters for three colours over the bands of the model."""
    if weights.colors is None:
        return tensors
    inside = "model." if plan.encoder.startswith("tu-") else ""
    colors = colors_of(bands)
    for name, groups in input_layers(encoder, plan).items():
        key = name.removeprefix(inside)
        if key not in tensors:
            continue
        count = tensors[key].shape[1] // groups
        if count == len(weights.colors):
            tensors[key] = spread(tensors[key].float(), weights.colors, colors, groups)
            if sorted(map(str, colors)) != sorted(COLORS):
                said = [
                    f"{band}: {color or 'mean of all'}" for band, color in zip(bands, colors, strict=True)
                ]
                _log.info("filters of the first layer: %s", ", ".join(said))
        elif count != plan.bands:
            raise ModelError(
                f"encoder weights {weights.beginning.weights} are for {plural(count, 'band')}, the model has "
                f"{plan.bands}; expected "
                "weights for that many bands, or for red, green and blue"
            )
    return tensors


def _check(
    expected: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    plan: NetworkPlan,
    weights: EncoderWeights,
) -> None:
    """Raise ModelError for weights of another encoder, or with NaN or infinite values."""
    name = weights.beginning.weights
    missing = [key for key in expected if key not in tensors and not key.endswith(_COUNT)]
    shaped = [key for key in expected if key in tensors and tensors[key].shape != expected[key].shape]
    if missing or shaped:
        first = (
            f"{shaped[0]} has shape {list(tensors[shaped[0]].shape)}, expected {list(expected[shaped[0]].shape)}"
            if shaped
            else f"{missing[0]} is missing"
        )
        raise ModelError(
            f"encoder weights {name} do not fit encoder {plan.encoder}: {first} (of {plural(len(expected), 'tensor')} "
            f"{len(missing)} are missing, {len(shaped)} have another shape); expected the names of timm, torchvision "
            "or segmentation-models-pytorch for this encoder"
        )
    for key in expected:
        if key in tensors and not bool(torch.isfinite(tensors[key]).all()):
            raise ModelError(f"encoder weights {name}: {key} holds NaN or infinity; fetch them again")
