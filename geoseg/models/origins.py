"""Tell from a file of weights which program wrote it, and its network and input."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from geoseg.errors import ModelError
from geoseg.grid.legend import Task
from geoseg.models.foreign_weights import ForeignWeights
from geoseg.models.network import OPTION_PREFIXES
from geoseg.models.onnx_network import OnnxNetwork
from geoseg.models.smp import smp
from geoseg.storage.printable import shown

_ARCHITECTURE_KEYS: Final = ("_model_class", "architecture", "model")
_ENCODER_KEYS: Final = ("encoder_name", "backbone", "encoder")
_BANDS_KEYS: Final = ("in_channels", "num_channels")
_CHANNELS_KEYS: Final = ("classes", "num_classes", "num_labels")
# Settings of save_pretrained that are not options of the decoder.
_SMP_OWN: Final = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


_SMALLEST_EDGE: Final = 32
"""Px; encoders divide edges by as much as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """How a program reads its images: type and range of stored values, and the factor applied to them."""

    dtype: str
    value_range: tuple[float, float]
    scale: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a file of weights tells about itself; None where it tells nothing.

    Parameters
    ----------
    program : str
        The program that wrote it, in words.
    architecture, encoder : str or None
        Names of the network's parts.
    bands, channels : int or None
        Numbers of the network's input and output channels.
    task : str or None
        Task of the network.
    options : mapping
        Decoder options that differ from the defaults.
    encoder_weights : str or None
        Pretrained weights that the training started from.
    habit : Habit or None
        How the program normalises its input, if it always does it in one way.
    """

    program: str
    architecture: str | None = None
    encoder: str | None = None
    bands: int | None = None
    channels: int | None = None
    task: Task | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder_weights: str | None = None
    habit: Habit | None = None


GEOAI: Final = Habit(dtype="uint8", value_range=(0, 255), scale=1 / 255, words="x / 255, as geoai does")
FTW: Final = Habit(
    dtype="uint16", value_range=(0, 10000), scale=1 / 3000, words="x / 3000, as ftw-tools does"
)


def origin_of(weights: ForeignWeights) -> Origin:
    """Determine the network of some weights from the settings stored with them.

    Raises
    ------
    ModelError
        If it is not a network of segmentation-models-pytorch, or it has more than one head.
    """
    if weights.onnx is not None:
        return _of_onnx(weights.onnx)
    settings = weights.settings
    if settings.get("use_timm_model") or "architectures" in settings:
        raise ModelError(
            "is a network from another library (timm or transformers), expected one from segmentation-models-pytorch"
        )
    _refuse_extras(settings)
    known: dict[str, Any] = {
        "encoder": _text(settings, _ENCODER_KEYS),
        "bands": _count(settings, _BANDS_KEYS),
        "channels": _count(settings, _CHANNELS_KEYS),
    }
    architecture = _text(settings, _ARCHITECTURE_KEYS)
    if architecture is None or known["encoder"] is None:
        return Origin(program="", **known)
    if "_model_class" in settings:
        known["architecture"] = _architecture(architecture)
        options = _smp_options(known["architecture"], settings)
        begun_with = _text(settings, ("encoder_weights",))
        return Origin(
            program="segmentation-models-pytorch", options=options, encoder_weights=begun_with, **known
        )
    known["architecture"] = _architecture(architecture)
    if "num_channels" in settings or "use_timm_model" in settings:
        return Origin(program="geoai", options=_options(settings), habit=GEOAI, **known)
    if "patch_weights" in settings or "model_kwargs" in settings:
        kwargs = settings.get("model_kwargs")
        options = dict(kwargs) if isinstance(kwargs, Mapping) else {}
        return Origin(program="ftw-tools", options=options, habit=FTW, task="multiclass", **known)
    if weights.lightning:
        task = settings.get("task", "multiclass")
        if task not in get_args(Task):
            raise ModelError(f"its task is {task!r}, expected one of {', '.join(get_args(Task))}")
        known["channels"] = known["channels"] or 1
        return Origin(program="torchgeo", task=cast("Task", task), **known)
    return Origin(program="", options=_options(settings), **known)


def _of_onnx(network: OnnxNetwork) -> Origin:
    """Determine the numbers of bands and channels from a graph's input and output."""
    for images, verb, expected in (
        (network.inputs, "takes", "one image"),
        (network.outputs, "gives", "logits or probabilities"),
    ):
        found = ", ".join(f"{shown(image.name)} {image}" for image in images)
        if len(images) != 1 or not images[0].fractions or len(images[0].shape) != 4:
            whole = " of whole numbers" if images and not images[0].fractions else ""
            raise ModelError(
                f"its network {verb} {found or 'nothing'}{whole}, expected {expected} (batch, band, row, col)"
            )
    (image,), (logits,) = network.inputs, network.outputs
    last = image.shape[3]
    if isinstance(last, int) and last < _SMALLEST_EDGE:
        raise ModelError(
            f"its network takes images (batch, row, col, band), {image}, expected (batch, band, row, col) as networks "
            f"of torch do; what {network.producer} has written of another library's network does not become one"
        )
    bands, channels = image.shape[1], logits.shape[1]
    return Origin(
        program=f"{network.producer} as ONNX",
        bands=bands if isinstance(bands, int) else None,
        channels=channels if isinstance(channels, int) else None,
    )


def _architecture(name: str) -> str:
    """Return the name of an architecture in segmentation-models-pytorch; torchgeo writes ``deeplabv3+``."""
    found = smp.MODEL_ARCHITECTURES_MAPPING.get(name.lower().replace("+", "plus"))
    if found is None:
        known = ", ".join(c.__name__ for c in smp.MODEL_ARCHITECTURES_MAPPING.values())
        raise ModelError(f"its network is {name!r}, expected one from segmentation-models-pytorch: {known}")
    return str(found.__name__)


def _refuse_extras(settings: Mapping[str, Any]) -> None:
    if settings.get("aux_params"):
        raise ModelError(
            "its network has a second head (aux_params), which geoseg does not support; save it without that head"
        )
    if settings.get("activation") not in (None, "identity"):
        raise ModelError(
            f"its network ends in {settings['activation']!r}, expected bare logits (activation None): geoseg applies "
            "softmax or sigmoid itself"
        )


def _smp_options(architecture: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``save_pretrained`` that differ from the architecture's defaults."""
    signature = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[architecture.lower()].__init__)
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    options = {}
    for key, value in settings.items():
        if key.startswith("_") or key in _SMP_OWN:
            continue
        if key == "decoder_use_batchnorm":  # the name that this option had before version 0.5
            key, value = "decoder_use_norm", "batchnorm" if value is True else value
        default = defaults.get(key, inspect.Parameter.empty)
        if value != (list(default) if isinstance(default, tuple) else default):
            options[key] = value
    return options


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key.startswith(OPTION_PREFIXES)}


def _text(settings: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((v for key in keys if isinstance(v := settings.get(key), str)), None)


def _count(settings: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """Return the first positive integer among the values of some keys."""
    values = (settings.get(key) for key in keys)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), None)
