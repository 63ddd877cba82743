"""Detection of undeclared no data: values that look like no data but count as data.

They are detected by value (-3.4e38, -9999, the extremes of a type, ...) if no other value of the band is near them,
and as a block of zeros at the border. They are only reported, never changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.raster.sample import Sample
from geoseg.raster.validity import HUGE, NoData, equal

_FAR: Final = 1e15
"""Magnitude above which floats are fill values (1e20, 9.97e36, 3.4e38), not measurements."""
_SURE: Final = (-9999.0, -99999.0, -32768.0)
"""Fill values that are recognised in a single pixel, if no other value is near."""
_LIKELY: Final = (-99.0, -999.0, -32767.0, -999999.0, 9999.0, 99999.0, 999999.0)
"""Fill values that are recognised in many pixels, if farther from all others than these are from each other."""
_NEAR: Final = 0.05
_MANY: Final = 1e-3
_BLOCK, _BLOCK_PX = 0.01, 64
"""Smallest share of the scene, and smallest number of pixels, that make zeros at the border a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A value that looks like no data.

    Parameters
    ----------
    value : float
        The value.
    bands : tuple of int
        Indices, from 0, of the bands with this value among those that are read.
    pixels : int
        Number of pixels that have it in any band and count as data.
    block : bool
        Whether it fills all bands of an area at the border.
    apart : bool
        Whether a pixel has it in one band and not in another.
    """

    value: float
    bands: tuple[int, ...]
    pixels: int
    block: bool = False
    apart: bool = False


@dataclass(slots=True)
class _Band:
    """Statistics of a band so far: candidates with their pixel counts, and the range of all other values."""

    found: Counter[float] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf


class Watch:
    """Counter of values that look like no data, fed window by window.

    Parameters
    ----------
    no_data : NoData
        No-data values and rule of the bands.
    """

    def __init__(self, no_data: NoData) -> None:
        self.no_data = no_data
        self.pixels = 0
        self.partly = 0
        """Number of pixels on which the two no-data rules differ."""
        self._bands = [_Band() for _ in no_data.dtypes]
        self._held: Counter[float] = Counter()
        self._everywhere: Counter[float] = Counter()

    def add(self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> None:
        """Count pixels (band, row, col) with their validity (row, col)."""
        self.pixels += valid.size
        if len(pixels) > 1 and any(self.no_data.values):
            self.partly += int(self.no_data.in_some_bands(pixels).sum())
        if not valid.any():
            return
        places: dict[float, list[npt.NDArray[np.bool_]]] = {}
        for plane, dtype, band in zip(pixels, self.no_data.dtypes, self._bands, strict=True):
            if dtype == np.uint8:
                continue
            for value, where in _candidates(plane, valid, dtype, band):
                places.setdefault(value, []).append(where)
        for value, wheres in places.items():
            self._held[value] += int(np.logical_or.reduce(wheres).sum())
            if len(wheres) == len(pixels):
                self._everywhere[value] += int(np.logical_and.reduce(wheres).sum())

    def suspects(self) -> tuple[Suspect, ...]:
        """Return the values that look like no data, the most frequent first."""
        found = []
        for value, pixels in self._held.most_common():
            bands = tuple(
                place
                for place, (band, dtype) in enumerate(zip(self._bands, self.no_data.dtypes, strict=True))
                if band.found[value] and _believed(value, band, dtype, self.pixels)
            )
            if bands:
                apart = self._everywhere[value] < pixels
                found.append(Suspect(value=value, bands=bands, pixels=pixels, apart=apart))
        return tuple(found)


def _candidates(
    plane: npt.NDArray[Any], valid: npt.NDArray[np.bool_], dtype: np.dtype[Any], band: _Band
) -> list[tuple[float, npt.NDArray[np.bool_]]]:
    """Find and count the candidates in a band, and update the range of all other values."""
    values = plane[valid]
    low, high = float(values.min()), float(values.max())
    wanted = [value for value in _values_of(dtype) if low <= value <= high]
    if dtype.kind == "f":
        far = [edge for edge in (low, high) if abs(edge) >= _FAR]
        wanted = [*dict.fromkeys(-np.inf if v <= -HUGE else np.inf if v >= HUGE else v for v in far), *wanted]
    found, rest = [], valid
    for value in wanted:
        where = equal(plane, np.clip(value, *_limits()), dtype)
        if where is None or not (where := where & valid).any():
            continue
        rest = rest & ~where
        named = float(plane[where][0]) if np.isinf(value) else value
        band.found[named] += int(where.sum())
        found.append((named, where))
    others = plane[rest] if found else values
    if dtype.kind == "f" and found:
        others = others[np.abs(others) < _FAR]
    if others.size:
        band.low, band.high = min(band.low, float(others.min())), max(band.high, float(others.max()))
    return found


def _limits() -> tuple[float, float]:
    limits = np.finfo(np.float32)
    return float(limits.min), float(limits.max)


def _values_of(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the values that may be no data in a band of a dtype."""
    if dtype.kind == "f":
        return (*_SURE, *_LIKELY)
    limits = np.iinfo(dtype)
    edges = (float(limits.max),) if dtype.kind == "u" else (float(limits.min), float(limits.max))
    return tuple(dict.fromkeys(v for v in (*edges, *_SURE, *_LIKELY) if limits.min <= v <= limits.max))


def _believed(value: float, band: _Band, dtype: np.dtype[Any], pixels: int) -> bool:
    """Tell whether a candidate is far enough from all other values of its band."""
    if dtype.kind == "f" and abs(value) >= _FAR:
        return True
    if band.high < band.low:
        return True  # nothing else is there
    gap = max(band.low - value, value - band.high)
    sure = value in _SURE or (dtype.kind == "i" and value == np.iinfo(dtype).min)
    if sure and value < band.low:
        return gap > _NEAR * abs(value)
    return gap > max(band.high - band.low, 0) and band.found[value] >= max(4, _MANY * pixels)


def border_block(look: Sample) -> npt.NDArray[np.bool_]:
    """Find pixels (row, col) that are 0 in all bands and connected to a border by zeros in a straight line.

    The line runs up, down, left or right, which reaches the empty corners of rotated and cropped scenes.
    """
    zero: npt.NDArray[np.bool_] = look.valid & (look.pixels == 0).all(axis=0)
    if not zero.any():
        return zero
    open_ = zero | ~look.valid
    reached: npt.NDArray[np.bool_] = np.zeros_like(zero)
    for axis in (0, 1):
        reached |= np.logical_and.accumulate(open_, axis=axis)
        reached |= np.flip(np.logical_and.accumulate(np.flip(open_, axis), axis=axis), axis)
    reached &= zero
    return reached


def zero_block(look: Sample) -> Suspect | None:
    """Return the block of zeros at the border of a scene if it is large, else None."""
    pixels = int(border_block(look).sum())
    if pixels < max(_BLOCK_PX, _BLOCK * look.valid.size) or pixels == look.valid.sum():
        return None
    return Suspect(value=0.0, bands=tuple(range(len(look.pixels))), pixels=pixels, block=True)
