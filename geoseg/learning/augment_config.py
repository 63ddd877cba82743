"""What a configuration says of augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from geoseg.datasets.quantities import STRICT, Amount, Probability


class AugmentConfig(BaseModel):
    """Random changes of training chips, as `geoseg.learning.augment.Augment` takes them.

    Attributes
    ----------
    symmetries
        ``all`` eight of the square, ``horizontal`` flips only, or ``none``.
    rotate
        Free rotation by up to this many degrees.
    scale
        Zoom in or out by up to a factor of ``1 + scale``.
    crop
        Largest share of an edge that is cut away before the rest is brought back to size.
    brightness, contrast, gamma
        Moved, stretched and bent by up to this much, in units of the network's input.
    per_band
        Share of brightness and contrast that each band draws for itself instead of all together.
    noise
        Standard deviation of noise that each pixel of each band draws for itself.
    shift
        Each band is moved by up to this many px against the others.
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
"""Presets of `AugmentConfig`: pictures from above have no up, so they are turned by any angle; photographs have."""


def _augment(value: object) -> object:
    """Take the name of a preset."""
    if isinstance(value, str):
        if value not in PRESETS:
            raise ValueError(f"no preset is called {value!r}, expected one of {', '.join(PRESETS)}")
        return dict(PRESETS[value])
    return value


AugmentChoice = Annotated[AugmentConfig, BeforeValidator(_augment)]
"""Amounts, or the name of a preset."""
