"""Polygons as well-known binary, looked at as they are going to be written: what they cover, and some of them.

What a product says of its polygons is measured on the bytes that go into it, after everything that makes them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.kernels.kernel import inlined, kernel
from geoseg.vector.wkb import load_double

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]

_STEPS = 1024
"""Corners are measured in steps of this part of a pixel: those of pixels are whole numbers again, and areas sums of
whole numbers, although the world's coordinates were rounded. Corners that polygons share are rounded alike, so what
a coverage covers does not depend on it."""
UNITS = 2 * _STEPS * _STEPS
"""Units of area in a pixel: the shoelace formula gives twice the area."""
_HEADER = 9  # byte order, type, number of rings
_POINT = 16


def measured(buffer: Bytes, offset: Longs, transform: Affine) -> tuple[int, int]:
    """Planar area and vertices of polygons, by the shoelace formula on their rings.

    Parameters
    ----------
    buffer, offset
        As `geoseg.vector.wkb.write_wkb` gives them.
    transform : Affine
        Of the grid.

    Returns
    -------
    area : int
        In `UNITS` of a pixel; of each ring positive where it goes around as shells do.
    vertices : int
        The first one of a ring, which closes it, counts once.
    """
    t = ~transform
    inverse = (float(t.a), float(t.b), float(t.c), float(t.d), float(t.e), float(t.f))
    area, vertices = (int(n) for n in _measure(buffer, offset, inverse))
    return (area if transform.determinant > 0 else -area), vertices


@kernel
def _measure(
    buffer: Bytes, offset: Longs, inverse: tuple[float, float, float, float, float, float]
) -> tuple[np.int64, np.int64]:
    a, b, c, d, e, f = inverse
    total = vertices = np.int64(0)
    for polygon in range(len(offset) - 1):
        rings = _count(buffer, offset[polygon] + 5)
        at = offset[polygon] + _HEADER
        for _ in range(rings):
            points = _count(buffer, at)
            at += 4
            first_col = first_row = col = row = np.int64(0)
            for point in range(points):
                x = load_double(buffer, at + _POINT * point)
                y = load_double(buffer, at + _POINT * point + 8)
                next_col = np.int64(np.rint((a * x + b * y + c) * _STEPS)) - first_col
                next_row = np.int64(np.rint((d * x + e * y + f) * _STEPS)) - first_row
                if point == 0:  # from where the others are counted: products stay small
                    first_col, first_row = next_col, next_row
                else:
                    total += col * next_row - next_col * row
                    col, row = next_col, next_row
            vertices += points - 1
            at += _POINT * points
    return total, vertices


@inlined
def _count(buffer: Bytes, at: int) -> np.int64:
    """Read a little-endian uint32."""
    count = np.int64(0)
    for byte in range(3, -1, -1):
        count = count * 256 + np.int64(buffer[at + byte])
    return count


def gathered(buffer: Bytes, offset: Longs, chosen: npt.NDArray[np.intp]) -> tuple[Bytes, Longs]:
    """Return some of the polygons of a buffer, in the order that is asked for, and where each begins."""
    place = np.concatenate([[0], np.cumsum(np.diff(offset)[chosen])]).astype(np.int64)
    found = np.empty(int(place[-1]), np.uint8)
    _gather(buffer, offset[chosen], place, found)
    return found, place


@kernel
def _gather(buffer: Bytes, begin: Longs, place: Longs, found: Bytes) -> None:
    for polygon in range(len(begin)):
        for byte in range(place[polygon + 1] - place[polygon]):
            found[place[polygon] + byte] = buffer[begin[polygon] + byte]
