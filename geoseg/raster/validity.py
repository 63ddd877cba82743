"""Which pixels are valid: one rule for files, arrays, lazy arrays and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, OptionError, plural
from geoseg.raster.declared import RULES, Declared, NodataRule, Values

_TOLERANCE = 4
"""Tolerance in epsilons: GDAL takes floats as equal if they differ by less than 2 * epsilon * |a + b|."""
HUGE: Final = 3e38
"""Magnitude above which floats count as the same fill value: -3.4e38 is written with various last digits."""


def values_of(nodata: float | None) -> Values:
    """Return the no-data values of a band from the file's one, without NaN and infinity (never valid anyway)."""
    return () if nodata is None or not math.isfinite(nodata) else (float(nodata),)


def for_bands(
    nodata: Sequence[Values], dtypes: Sequence[str], path: str, alpha: int | None = None
) -> tuple[Values, ...]:
    """Assign the declared no-data values to the bands of a scene.

    Parameters
    ----------
    nodata : sequence of Values
        Values as in `Declared.nodata`.
    dtypes : sequence of str
        Dtype of each band.
    path : str
        Name of the scene for messages.
    alpha : int, optional
        Number from 1 of a band for which values may be omitted.

    Raises
    ------
    OptionError
        If their number does not match the bands, or no band can hold one of them.
    """
    count, spread = len(dtypes), tuple(nodata)
    if len(spread) == 1:
        spread *= count
    elif alpha is not None and len(spread) == count - 1:
        spread = (*spread[: alpha - 1], (), *spread[alpha - 1 :])
    if len(spread) != count:
        raise OptionError(
            Message(
                "{}: has {}, and {nodata} has {}", path, plural(count, "band"), plural(len(nodata), "value")
            ),
            "expected one for all of them, or one for each (none where a band has none)",
        )
    for value in dict.fromkeys(value for values in spread for value in values):
        own = [np.dtype(dtype) for dtype, values in zip(dtypes, spread, strict=True) if value in values]
        if not any(holds(dtype, value) for dtype in own):
            raise OptionError(
                Message(
                    "{}: {nodata} is no number of {}, in which its bands are stored",
                    path,
                    own[0],
                    nodata=number_words(value),
                ),
                "name the number that the file really has",
            )
    return spread


def nodata_words(nodata: Sequence[Values]) -> str:
    """Format no-data values as the option takes them."""
    entries = ["/".join(number_words(value) for value in values) or "none" for values in nodata]
    return entries[0] if len(set(entries)) == 1 else ",".join(entries)


def number_words(value: float) -> str:
    """Format a number so that reading it gives the same number."""
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    if HUGE <= abs(value) <= float(np.finfo(np.float32).max):
        return str(np.float32(value))  # all of them count as the same
    return repr(float(value))


def counts_together(nodata: Sequence[Values], rule: NodataRule | None) -> bool:
    """Tell whether a pixel is no data only if all bands are, as in gdalwarp for bands with the same value.

    Parameters
    ----------
    nodata : sequence of Values
        Values of the bands that are read.
    rule : str or None
        Rule as in `Declared.rule`.
    """
    return rule == "all" if rule is not None else len(set(nodata)) == 1


def usable(
    pixels: npt.NDArray[Any],
    nodata: Sequence[Values],
    dtypes: Sequence[np.dtype[Any]],
    rule: NodataRule | None = None,
) -> npt.NDArray[np.bool_]:
    """Return the pixels that are finite in every band and not no data.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
        Pixel values.
    nodata : sequence of Values
        No-data values of each band.
    dtypes : sequence of dtype
        Dtype in which each band is stored; `pixels` may have a wider common one.
    rule : str, optional
        Rule as in `Declared.rule`.

    Returns
    -------
    ndarray of bool, shape (row, col)
    """
    valid = np.ones(pixels.shape[1:], dtype=bool)
    for band, dtype in zip(pixels, dtypes, strict=True):
        if dtype.kind == "f":
            valid &= np.isfinite(band)
    # Bands without a value, or with a dtype that cannot hold it, do not count.
    absent = [
        found
        for band, values, dtype in zip(pixels, nodata, dtypes, strict=True)
        if (found := _absent(band, values, dtype)) is not None
    ]
    if absent:
        valid &= ~(np.logical_and if counts_together(nodata, rule) else np.logical_or).reduce(absent)
    return valid


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """No-data values and rule of the bands that are read.

    Parameters
    ----------
    values : tuple of Values
        Values of each band.
    dtypes : tuple of dtype
        Dtype in which each band is stored.
    rule : str, optional
        Rule as in `Declared.rule`.
    said : bool
        Whether the user declared the values, not the file.
    """

    values: tuple[Values, ...]
    dtypes: tuple[np.dtype[Any], ...]
    rule: NodataRule | None = None
    said: bool = False

    @classmethod
    def of(cls, nodata: Sequence[Values], dtypes: Sequence[np.dtype[Any]], said: Declared) -> NoData:
        """Combine the values of the bands that are read with the user's statements."""
        return cls(values=tuple(nodata), dtypes=tuple(dtypes), rule=said.rule, said=said.nodata is not None)

    @property
    def together(self) -> bool:
        """Whether a pixel is no data only if all bands are."""
        return counts_together(self.values, self.rule)

    def usable(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return the valid pixels (row, col); see the function `usable`."""
        return usable(pixels, self.values, self.dtypes, self.rule)

    def in_some_bands(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return the pixels (row, col) that are no data in some bands only, on which the two rules differ."""
        every, some = (usable(pixels, self.values, self.dtypes, rule) for rule in RULES)
        return every & ~some


def _absent(band: npt.NDArray[Any], values: Values, dtype: np.dtype[Any]) -> npt.NDArray[np.bool_] | None:
    """Tell where a band has one of its no-data values; None if it cannot hold any."""
    found: npt.NDArray[np.bool_] | None = None
    for value in values:
        if (same := equal(band, value, dtype)) is not None:
            found = same if found is None else found | same
    return found


def equal(band: npt.NDArray[Any], value: float, dtype: np.dtype[Any]) -> npt.NDArray[np.bool_] | None:
    """Tell where a band has a value, up to the rounding of files; None if its dtype cannot hold it.

    Parameters
    ----------
    band : ndarray
        Pixel values.
    value : float
        Value to look for.
    dtype : dtype
        Dtype in which the band is stored.
    """
    if dtype.kind == "f":
        if abs(value) >= HUGE:
            if np.finfo(dtype).max < HUGE:
                return None
            return band <= -HUGE if value < 0 else band >= HUGE
        # A no-data value that was written as decimal text differs in the last digits.
        with np.errstate(over="ignore"):
            exact = np.array(value, dtype=dtype)
            slack = abs(exact) * np.finfo(dtype).eps * _TOLERANCE
            low, high = (exact - slack).astype(band.dtype), (exact + slack).astype(band.dtype)
        same: npt.NDArray[np.bool_] = (band >= low) & (band <= high)
        return same
    code = _code(value, dtype)
    return None if code is None else band == band.dtype.type(code)


def _code(value: float, dtype: np.dtype[Any]) -> int | None:
    """Return the integer of a dtype that a value stands for, or None."""
    limits = np.iinfo(dtype)
    code = int(value)
    if dtype.itemsize == 8 and code == limits.max + 1:
        code = int(limits.max)  # 2**64 - 1 and 2**63 - 1 arrive as doubles, rounded up
    elif code != value:
        return None
    return code if limits.min <= code <= limits.max else None


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Tell whether a band of a dtype can hold a value."""
    return dtype.kind == "f" or _code(value, dtype) is not None
