"""Network input from the stored pixel values of a tile, by a compiled kernel."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel

Floats = npt.NDArray[np.float32]
_LARGEST: Final = 1e15
"""Scaled pixel values are never this large, except for an undeclared no-data value."""


class Pixel(NamedTuple):
    """Where a tile begins.

    Parameters
    ----------
    row, col : int
        Of its first pixel.
    """

    row: int
    col: int


class Scaling(NamedTuple):
    """How stored numbers become input: stored * gain + bias.

    Parameters
    ----------
    gain, bias : float
        Of one band.
    """

    gain: float
    bias: float


def contiguous(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return planes (plane, row, col) as kernels take them: contiguous and in the machine's byte order."""
    dtype = planes.dtype.newbyteorder("=") if planes.dtype != np.float16 else np.dtype(np.float32)
    if planes.dtype != dtype or not all(plane.flags.c_contiguous and plane.flags.aligned for plane in planes):
        return np.ascontiguousarray(planes, dtype=dtype)
    return planes


@kernel
def normalise(
    plane: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    place: Pixel,
    scaling: Scaling,
    target: Floats,
) -> int:
    """Write one band of a tile as network input: stored * gain + bias in float32, 0 where not valid.

    Parameters
    ----------
    plane : ndarray of any real type, shape (row, col)
        Stored pixel values of the band.
    valid : ndarray of bool, shape (row, col)
        Valid pixels, or (0, 0) if all of the tile is valid.
    place : Pixel
        First row and column of the tile.
    scaling : Scaling
        Gain and bias.
    target : ndarray of float32, shape (px, px)
        The network input, which is written.

    Returns
    -------
    int
        Number of values written that are NaN, or so large that products of them may overflow.
    """
    not_finite = 0
    gain, bias = np.float32(scaling.gain), np.float32(scaling.bias)
    rows, cols = target.shape
    whole = valid.shape[0] == 0
    for y in range(rows):
        source, into = plane[place.row + y, place.col : place.col + cols], target[y]
        if whole:
            for x in range(cols):
                into[x] = np.float32(source[x]) * gain + bias
        else:
            known = valid[place.row + y, place.col : place.col + cols]
            for x in range(cols):
                number = np.float32(source[x]) * gain + bias
                into[x] = number if known[x] else np.float32(0)
        for x in range(cols):
            not_finite += not abs(into[x]) < np.float32(_LARGEST)
    return not_finite
