"""Which pixels may be used: the one rule for files, arrays, lazy arrays and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.raster.declared import RULES, Declared, NodataRule, Values

_TOLERANCE = 4
"""GDAL calls two floats equal when they differ by less than 2 * epsilon * |a + b|: 4 epsilon of either."""
HUGE: Final = 3e38
"""Numbers beyond are no measurements: -3.4e38 is written with many different last digits, all of them the same."""


def values_of(nodata: float | None) -> Values:
    """Values of a band of which a file declares one; NaN and infinity are never valid anyway."""
    return () if nodata is None or not math.isfinite(nodata) else (float(nodata),)


def for_bands(
    nodata: Sequence[Values], dtypes: Sequence[str], path: str, alpha: int | None = None
) -> tuple[Values, ...]:
    """Give each band of a scene the no-data values that a person declared.

    Parameters
    ----------
    nodata : sequence of Values
        As `Declared.nodata`.
    dtypes : sequence of str
        Of the bands.
    path : str
        What messages call the scene.
    alpha : int, optional
        Number from 1 of a band that may be left out.

    Raises
    ------
    OptionError
        If they are for another number of bands, or no band can hold one of them.
    """
    count, spread = len(dtypes), tuple(nodata)
    if len(spread) == 1:
        spread *= count
    elif alpha is not None and len(spread) == count - 1:
        spread = (*spread[: alpha - 1], (), *spread[alpha - 1 :])
    if len(spread) != count:
        raise OptionError(
            f"{path}: has {count} bands, and --nodata has {len(nodata)} values; expected one for all of "
            "them, or one for each (none where a band has none)"
        )
    for value in dict.fromkeys(value for values in spread for value in values):
        own = [np.dtype(dtype) for dtype, values in zip(dtypes, spread, strict=True) if value in values]
        if not any(holds(dtype, value) for dtype in own):
            raise OptionError(
                f"{path}: --nodata {value:.9g} is no number of {own[0]}, in which its bands are stored; "
                "name the number that the file really has"
            )
    return spread


def nodata_words(nodata: Sequence[Values]) -> str:
    """Return no-data values as the option takes them."""
    entries = ["/".join(number_words(value) for value in values) or "none" for values in nodata]
    return entries[0] if len(set(entries)) == 1 else ",".join(entries)


def number_words(value: float) -> str:
    """Return a number as the option takes it: the same when it is read."""
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    if HUGE <= abs(value) <= float(np.finfo(np.float32).max):
        return str(np.float32(value))  # all of them are one
    return repr(float(value))


def counts_together(nodata: Sequence[Values], rule: NodataRule | None) -> bool:
    """Whether a pixel is no data only where all bands are, as gdalwarp has it for bands that share the value.

    Parameters
    ----------
    nodata : sequence of Values
        Of the bands that are read.
    rule : str or None
        As `Declared.rule`.
    """
    return rule == "all" if rule is not None else len(set(nodata)) == 1


def usable(
    pixels: npt.NDArray[Any],
    nodata: Sequence[Values],
    dtypes: Sequence[np.dtype[Any]],
    rule: NodataRule | None = None,
) -> npt.NDArray[np.bool_]:
    """Pixels that are finite in every band and not no data.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
    nodata : sequence of Values
        No-data values of each band.
    dtypes : sequence of dtype
        Dtype each band is stored in; `pixels` may have a wider one that all bands share.
    rule : str, optional
        As `Declared.rule`.

    Returns
    -------
    ndarray of bool, shape (row, col)
    """
    valid = np.ones(pixels.shape[1:], dtype=bool)
    for band, dtype in zip(pixels, dtypes, strict=True):
        if dtype.kind == "f":
            valid &= np.isfinite(band)
    # A band without a value, or of a dtype that cannot hold it, has no say.
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
    """What is no data in the bands that are read.

    Parameters
    ----------
    values : tuple of Values
        Of each band.
    dtypes : tuple of dtype
        Dtype each band is stored in.
    rule : str, optional
        As `Declared.rule`.
    said : bool
        Whether a person declared the values, and not the file.
    """

    values: tuple[Values, ...]
    dtypes: tuple[np.dtype[Any], ...]
    rule: NodataRule | None = None
    said: bool = False

    @classmethod
    def of(cls, nodata: Sequence[Values], dtypes: Sequence[np.dtype[Any]], said: Declared) -> NoData:
        """Of the bands that are read: what a file or a person declares, and what the person says about it."""
        return cls(values=tuple(nodata), dtypes=tuple(dtypes), rule=said.rule, said=said.nodata is not None)

    @property
    def together(self) -> bool:
        """Whether a pixel is no data only where all bands are."""
        return counts_together(self.values, self.rule)

    def usable(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """See `usable`."""
        return usable(pixels, self.values, self.dtypes, self.rule)

    def in_some_bands(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Pixels (row, col) that are no data in one band and not in another: where the two rules differ."""
        every, some = (usable(pixels, self.values, self.dtypes, rule) for rule in RULES)
        return every & ~some


def _absent(band: npt.NDArray[Any], values: Values, dtype: np.dtype[Any]) -> npt.NDArray[np.bool_] | None:
    """Where a band holds one of its no-data values; None where it cannot hold any."""
    found: npt.NDArray[np.bool_] | None = None
    for value in values:
        if (same := equal(band, value, dtype)) is not None:
            found = same if found is None else found | same
    return found


def equal(band: npt.NDArray[Any], value: float, dtype: np.dtype[Any]) -> npt.NDArray[np.bool_] | None:
    """Where a band holds a number, as files mean it; None where its dtype cannot hold it.

    Parameters
    ----------
    band : ndarray
    value : float
    dtype : dtype
        In which the band is stored.
    """
    if dtype.kind == "f":
        if abs(value) >= HUGE:
            if np.finfo(dtype).max < HUGE:
                return None
            return band <= -HUGE if value < 0 else band >= HUGE
        # A no-data value written as decimal text comes back a few units in the last place off.
        with np.errstate(over="ignore"):
            exact = np.array(value, dtype=dtype)
            slack = abs(exact) * np.finfo(dtype).eps * _TOLERANCE
            low, high = (exact - slack).astype(band.dtype), (exact + slack).astype(band.dtype)
        same: npt.NDArray[np.bool_] = (band >= low) & (band <= high)
        return same
    code = _code(value, dtype)
    return None if code is None else band == band.dtype.type(code)


def _code(value: float, dtype: np.dtype[Any]) -> int | None:
    """Whole number of an integer dtype that a value stands for, if any."""
    limits = np.iinfo(dtype)
    code = int(value)
    if dtype.itemsize == 8 and code == limits.max + 1:
        code = int(limits.max)  # 2**64 - 1 and 2**63 - 1 arrive as doubles, rounded up
    elif code != value:
        return None
    return code if limits.min <= code <= limits.max else None


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a band of a dtype can hold a number."""
    return dtype.kind == "f" or _code(value, dtype) is not None
