"""Encode pixels as pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.models.match import AskedBands
from geoseg.raster.band_names import find_bands

if TYPE_CHECKING:
    from PIL.Image import Image

_EDGE: Final = 384
"""Largest edge of a picture, px."""
_QUALITY: Final = 82
_NATURAL: Final = ("red", "green", "blue")
_RIGHT, _WRONG = (128, 138, 146, 56), (214, 48, 79)
_NOTHING: Final = (0, 0, 0, 0)

Pixels = npt.NDArray[Any]
Valid = npt.NDArray[np.bool_]
Mask = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How stored values become a picture.

    Parameters
    ----------
    bands : tuple of int
        Indices of the bands shown as red, green and blue; a single one is shown in grey.
    low, high : tuple of float
        Stored values that become black and full colour, for each band.
    """

    bands: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, card: AskedBands, pixels: Pixels, valid: Valid) -> Look:
        """Choose natural colours if the bands' names allow it; bytes as they are, other values between
        percentiles.
        """
        natural = find_bands(_NATURAL, card.band_names).numbers
        first = (0, 1, 2) if len(card.band_names) >= 3 else (0,)
        bands = first if natural is None else tuple(number - 1 for number in natural)
        if pixels.dtype == np.uint8:
            return cls(bands=bands, low=(0.0,) * len(bands), high=(255.0,) * len(bands))
        known = [pixels[band][valid] for band in bands]
        limits = [np.percentile(each, (2, 98)) if each.size else np.array([0.0, 1.0]) for each in known]
        return cls(
            bands=bands,
            low=tuple(float(low) for low, _ in limits),
            high=tuple(float(max(high, low + 1e-9)) for low, high in limits),
        )

    def photo(self, pixels: Pixels, valid: Valid) -> str:
        """Encode stored values (band, row, col) as a picture, transparent where not valid."""
        planes = []
        for band, low, high in zip(self.bands, self.low, self.high, strict=True):
            planes.append(np.clip((pixels[band].astype(np.float64) - low) / (high - low), 0, 1) * 255)
        color = np.stack(planes if len(planes) == 3 else planes * 3, axis=-1).round().astype(np.uint8)
        if not valid.all():
            color = np.dstack([color, np.where(valid, 255, 0).astype(np.uint8)])
        return _photo(color)


def painted(values: Mask, colors: Sequence[tuple[int, int, int]]) -> str:
    """Encode classes as a picture in their colours, transparent where there is no class.

    Parameters
    ----------
    values : int64, (row, col) indices of `colors`, negative: nothing; or (class, row, col) 0 and 1
        Classes by pixel; colours of overlapping classes are mixed.
    colors : sequence of (int, int, int)
        Red, green and blue of each class, 0 to 255.
    """
    if values.ndim == 2:
        return _plane(np.where(values < 0, len(colors), values), [*((*c, 255) for c in colors), _NOTHING])
    present = (values > 0).astype(np.float64)
    depth = present.sum(axis=0)
    color = (
        np.einsum("kij,kc->ijc", present, np.array(colors, dtype=np.float64))
        / np.maximum(depth, 1)[..., None]
    )
    alpha = np.where(depth > 0, 255, np.where((values >= 0).any(axis=0), 26, 0))
    color[depth == 0] = 128
    return _lossless(np.dstack([color, alpha]).round().astype(np.uint8))


def differences(reference: Mask, predicted: Mask) -> str:
    """Encode the differences of two maps as a picture: red where they differ, grey elsewhere, transparent
    without label.

    For overlapping classes the red is stronger the more of them differ.
    """
    layers = reference[None] if reference.ndim == 2 else reference
    counted = layers >= 0
    wrong = ((layers != predicted) & counted).sum(axis=0)
    most = max(1, int(wrong.max()))
    reds = [(*_WRONG, round(255 - 135 * (most - n) / most)) for n in range(1, most + 1)]
    return _plane(np.where(counted.any(axis=0), wrong, most + 1), [_RIGHT, *reds, _NOTHING])


def _plane(indices: npt.NDArray[np.integer], colors: Sequence[tuple[int, int, int, int]]) -> str:
    from PIL import Image

    if len(colors) > 256:
        return _lossless(np.array(colors, dtype=np.uint8)[indices])
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(bytes(part for color in colors for part in color[:3]))
    image = image.resize(_fitting(image), Image.Resampling.NEAREST)
    return _uri(image, "png", optimize=True, transparency=bytes(color[3] for color in colors))


def _photo(color: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    image = Image.fromarray(color)
    return _uri(image.resize(_fitting(image), Image.Resampling.LANCZOS), "webp", quality=_QUALITY, method=4)


def _lossless(color: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    image = Image.fromarray(color)
    return _uri(image.resize(_fitting(image), Image.Resampling.NEAREST), "png", optimize=True)


def _fitting(image: Image) -> tuple[int, int]:
    """Return the (width, height) of an image reduced to at most `_EDGE`."""
    share = min(1.0, _EDGE / max(image.size))
    return max(1, round(image.width * share)), max(1, round(image.height * share))


def _uri(image: Image, form: str, **options: Any) -> str:
    data = io.BytesIO()
    image.save(data, form, **options)
    return f"data:image/{form};base64,{base64.b64encode(data.getvalue()).decode()}"
