"""Augmentation section of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from geoseg.datasets.quantities import STRICT, Amount, Probability


class AugmentConfig(BaseModel):
    """Random changes of training chips, see `geoseg.learning.augment.Augment`.

    Attributes
    ----------
    symmetries
        ``all`` eight of the square, ``horizontal`` flips only, or ``none``.
    rotate
        Free rotation by up to this many degrees.
    scale
        Zoom in or out by up to a factor of ``1 + scale``.
    crop
        Largest share of an edge that is cut away before the rest is resized back.
    brightness, contrast, gamma
        Largest shift, stretch and power change; `brightness` and `noise` are in standard deviations of the training
        pixels, so that they mean the same for any normalisation.
    per_band
        Share of brightness and contrast that is drawn separately for each band instead of for all together.
    noise
        Standard deviation of noise that is drawn for each pixel of each band.
    shift
        Largest shift of each band against the others, px.
    blur
        Largest standard deviation of a Gaussian blur, px.
    cutout
        Largest share of the chip's area that one rectangle hides.
    """

    model_config = STRICT

    symmetries: Literal["all", "horizontal", "none"] = "all"
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Annotated[float, Field(ge=0, le=3)] = 0.0
    crop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    brightness: Amount = 0.0
    contrast: Amount = 0.0
    gamma: Amount = 0.0
    per_band: Probability = 0.0
    noise: Amount = 0.0
    shift: Amount = 0.0
    blur: Amount = 0.0
    cutout: Probability = 0.0


_LIGHT: Final = {"scale": 0.35, "brightness": 0.3, "contrast": 0.3, "per_band": 0.3}

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {"symmetries": "none"},
    "symmetries": {"symmetries": "all"},
    "aerial": {"symmetries": "all", "rotate": 45, **_LIGHT},
    "upright": {"symmetries": "horizontal", "rotate": 10, **_LIGHT},
}
"""Presets of `AugmentConfig`: images from above have no up, so they are rotated by any angle; photographs have
one."""


def _augment(value: object) -> object:
    """Replace the name of a preset by its values."""
    if isinstance(value, str):
        if value not in PRESETS:
            raise ValueError(f"no preset is called {value!r}, expected one of {', '.join(PRESETS)}")
        return dict(PRESETS[value])
    return value


AugmentChoice = Annotated[AugmentConfig, BeforeValidator(_augment)]
"""Amounts, or the name of a preset."""
