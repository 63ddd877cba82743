"""Whose weights they are, and what their file says of the network and its input."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from geoseg.errors import ModelError
from geoseg.grid.legend import Task
from geoseg.models.foreign_weights import ForeignWeights
from geoseg.models.network import OPTION_PREFIXES
from geoseg.models.smp import smp

_ARCHITECTURE_KEYS: Final = ("_model_class", "architecture", "model")
_ENCODER_KEYS: Final = ("encoder_name", "backbone", "encoder")
_BANDS_KEYS: Final = ("in_channels", "num_channels")
_CHANNELS_KEYS: Final = ("classes", "num_classes", "num_labels")
# Of save_pretrained's settings, those that are no option of the decoder.
_SMP_OWN: Final = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """How a program reads its images: type and range of stored numbers, and the factor before the network."""

    dtype: str
    value_range: tuple[float, float]
    scale: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a file of weights says of itself; None where it says nothing.

    Parameters
    ----------
    program : str
        Who wrote it, in words.
    bands, channels : int or None
        Counts of the network's input and output.
    options : mapping
        Decoder options that differ from the defaults.
    encoder_weights : str or None
        Pretrained weights that its training began with.
    habit : Habit or None
        How the program feeds its networks, where it always does it in one way.
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
    """Tell from the settings beside some weights what network they are of.

    Raises
    ------
    ModelError
        If it is a network that is not one of segmentation-models-pytorch, or one with more than one head.
    """
    settings = weights.settings
    if settings.get("use_timm_model") or "architectures" in settings:
        raise ModelError(
            "is a network of another library (timm or transformers), expected one of segmentation-models-pytorch"
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


def _architecture(name: str) -> str:
    """Name an architecture as segmentation-models-pytorch does; torchgeo writes ``deeplabv3+``."""
    found = smp.MODEL_ARCHITECTURES_MAPPING.get(name.lower().replace("+", "plus"))
    if found is None:
        known = ", ".join(c.__name__ for c in smp.MODEL_ARCHITECTURES_MAPPING.values())
        raise ModelError(f"its network is {name!r}, expected one of segmentation-models-pytorch: {known}")
    return str(found.__name__)


def _refuse_extras(settings: Mapping[str, Any]) -> None:
    if settings.get("aux_params"):
        raise ModelError(
            "its network has a second head (aux_params), which geoseg's have not; save it without that head"
        )
    if settings.get("activation") not in (None, "identity"):
        raise ModelError(
            f"its network ends in {settings['activation']!r}, expected bare logits (activation None): geoseg applies "
            "softmax or sigmoid itself"
        )


def _smp_options(architecture: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``save_pretrained``'s settings that differ from the architecture's defaults."""
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
    """First positive whole number of some keys."""
    values = (settings.get(key) for key in keys)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), None)
