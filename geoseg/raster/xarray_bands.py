"""Which of the bands of its file an array holds, and what its attributes say of them.

rioxarray numbers bands from 1 and lists names, scales and offsets of all bands of the file in attributes, which xarray
keeps as they are when bands are selected or put in another order: the numbers say which of them are meant.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import xarray

T = TypeVar("T")
Coords = npt.NDArray[Any] | None
"""Coordinates of bands, one each; None without."""


def band_coords(array: xarray.DataArray, dim: Hashable | None) -> Coords:
    """Return the coordinates of the bands along their dimension, or that of the only band; None without."""
    found = array.coords.get("band" if dim is None else dim)
    if found is None or (dim is None and found.ndim):
        return None
    return np.atleast_1d(found.to_numpy())


def band_names(array: xarray.DataArray, dim: Hashable | None) -> tuple[str | None, ...]:
    """Return the names of the bands, each None if unknown: coordinates that are text, else ``long_name``.

    Parameters
    ----------
    array : DataArray
        The array.
    dim : str or None
        Dimension of its bands; None if it is one band.
    """
    coords, count = band_coords(array, dim), 1 if dim is None else int(array.sizes[dim])
    if coords is not None and coords.dtype.kind in "UO":
        return tuple(str(name) for name in coords)
    names = array.attrs.get("long_name")
    found = of_bands([names] if isinstance(names, str) else names, coords, count)
    return (None,) * count if found is None else tuple(str(name) for name in found)


def of_bands(values: Sequence[T] | Any, coords: Coords, count: int) -> tuple[T, ...] | None:
    """Choose what an attribute lists for the bands of a file, for those that an array has.

    Parameters
    ----------
    values : sequence
        A value for each band of the file.
    coords : ndarray or None
        Coordinates of the array's bands.
    count : int
        Number of the array's bands.

    Returns
    -------
    tuple or None
        A value for each band of the array; None if it is no list, or cannot be told which of its values they are.
    """
    if not isinstance(values, tuple | list | np.ndarray):
        return None
    if coords is not None and coords.dtype.kind in "iu":
        numbers = coords.tolist()
        if len(set(numbers)) == count and all(1 <= number <= len(values) for number in numbers):
            return tuple(values[number - 1] for number in numbers)
        if numbers != sorted(
            numbers
        ):  # numbered in some other way, and perhaps in another order than the values
            return None
    return tuple(values) if len(values) == count else None
