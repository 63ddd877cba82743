"""Which pixels may be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_TOLERANCE = 4
"""GDAL calls two floats equal when they differ by less than 2 * epsilon * |a + b|: 4 epsilon of either."""


def usable(
    pixels: npt.NDArray[Any], nodata: Sequence[float | None], dtypes: Sequence[np.dtype[Any]]
) -> npt.NDArray[np.bool_]:
    """Pixels that are finite and not no data in every band.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
    nodata : sequence of float or None
        No-data value of each band.
    dtypes : sequence of dtype
        Dtype each band is stored in; `pixels` may have a wider one that all bands share.

    Returns
    -------
    ndarray of bool, shape (row, col)
    """
    valid = np.ones(pixels.shape[1:], dtype=bool)
    for band, value, dtype in zip(pixels, nodata, dtypes, strict=True):
        if dtype.kind == "f":
            valid &= np.isfinite(band)
        if value is not None:
            _drop_nodata(valid, band, value, dtype)
    return valid


def _drop_nodata(
    valid: npt.NDArray[np.bool_], band: npt.NDArray[Any], value: float, dtype: np.dtype[Any]
) -> None:
    """Clear `valid` where a band holds its no-data value."""
    if not np.isfinite(value):
        return  # NaN and inf are never valid anyway, and no integer equals them
    if dtype.kind == "f":
        # A no-data value written as decimal text comes back a few units in the last place off.
        exact = np.array(value, dtype=dtype)
        slack = abs(exact) * np.finfo(dtype).eps * _TOLERANCE
        with np.errstate(over="ignore"):
            low, high = (exact - slack).astype(band.dtype), (exact + slack).astype(band.dtype)
        valid &= (band < low) | (band > high)
        return
    limits = np.iinfo(dtype)
    code = int(value)
    if dtype.itemsize == 8 and code == limits.max + 1:
        code = limits.max  # 2**64 - 1 and 2**63 - 1 arrive as doubles, rounded up
    elif code != value:
        return
    if limits.min <= code <= limits.max:
        valid &= band != band.dtype.type(code)
