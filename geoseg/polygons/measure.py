"""Measurement of polygons in WKB as they are written, and selection of some of them.

What a product states about its polygons is measured on the bytes that are written into it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.kernels.kernel import inlined, kernel
from geoseg.polygons.wkb import Coefficients, load_double

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]

_STEPS = 1024
"""Steps per pixel to which corners are rounded for measuring. Pixel corners become integers again, although world
coordinates were rounded, and areas are sums of integers. Corners that polygons share are rounded alike, so the area of
a coverage does not depend on the rounding."""
UNITS = 2 * _STEPS * _STEPS
"""Units of area per pixel: the shoelace formula gives twice the area."""
_HEADER = 9  # byte order, type, number of rings
_POINT = 16


def measure_wkb(buffer: Bytes, offset: Longs, transform: Affine) -> tuple[int, int]:
    """Return the planar area and the number of vertices of polygons, by the shoelace formula.

    Parameters
    ----------
    buffer, offset
        Polygons from `geoseg.polygons.wkb.write_wkb`.
    transform : Affine
        Affine of the grid.

    Returns
    -------
    area : int
        Area in `UNITS` per pixel; rings in the direction of shells count positive.
    vertices : int
        Number of vertices; the one that closes a ring counts once.
    """
    area, vertices = (int(n) for n in _measure(buffer, offset, Coefficients.of(~transform)))
    return (area if transform.determinant > 0 else -area), vertices


@kernel
def _measure(buffer: Bytes, offset: Longs, inverse: Coefficients) -> tuple[np.int64, np.int64]:
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
    """Return some of the polygons of a buffer in the given order, and where each begins."""
    place = np.concatenate([[0], np.cumsum(np.diff(offset)[chosen])]).astype(np.int64)
    found = np.empty(int(place[-1]), np.uint8)
    _gather(buffer, offset[chosen], place, found)
    return found, place


@kernel
def _gather(buffer: Bytes, begin: Longs, place: Longs, found: Bytes) -> None:
    for polygon in range(len(begin)):
        for byte in range(place[polygon + 1] - place[polygon]):
            found[place[polygon] + byte] = buffer[begin[polygon] + byte]
