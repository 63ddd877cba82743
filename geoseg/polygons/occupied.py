"""Bit set of the lattice corners that have a vertex, so that a row of a triangle is tested in one step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined, kernel
from geoseg.polygons.chains import Span
from geoseg.polygons.rings import Corners

Bits = npt.NDArray[np.uint64]
"""Bits by (row, word): bit b of word w is column 64 * w + b."""


class Point(NamedTuple):
    """Column and row of a corner in steps of the lattice."""

    col: int
    row: int


def no_corners(rows: int, cols: int) -> Bits:
    """Allocate the bits of a lattice without vertices, with one spare word per row so that two can be read."""
    return np.zeros((rows, cols // 64 + 2), np.uint64)


@kernel
def put_all(there: Bits, corner: Corners, inside: Span, row: int) -> None:
    """Mark the corners of vertices; `row` is the first row of the lattice."""
    for vertex in range(inside.begin, inside.stop):
        put(there, Point(corner[vertex, 0], corner[vertex, 1] - row))


@inlined
def put(there: Bits, point: Point) -> None:
    """Mark the corner at a column and row."""
    there[point.row, point.col >> 6] |= np.uint64(1) << np.uint64(point.col & 63)


@inlined
def take(there: Bits, point: Point) -> None:
    """Unmark the corner at a column and row."""
    there[point.row, point.col >> 6] &= ~(np.uint64(1) << np.uint64(point.col & 63))


@inlined
def take_if_alone(there: Bits, point: Point, one: Point, two: Point) -> bool:
    """Unmark a point if its triangle with two others, sides included, has no fourth point; tell whether it was."""
    x, y = point
    x1, y1 = one.col - x, one.row - y
    x2, y2 = two.col - x, two.row - y
    take(there, point)
    twice = x1 * y2 - y1 * x2
    if abs(twice) == 1:  # by Pick's theorem the triangle has no other lattice point
        return True
    turn = -1 if twice < 0 else 1
    twice = abs(twice)
    take(there, one)
    take(there, two)
    left, right = min(0, x1, x2), max(0, x1, x2)
    top, bottom = min(0, y1, y2), max(0, y1, y2)
    alone = True
    while left <= right and alone:
        word, shift = (x + left) >> 6, np.uint64((x + left) & 63)
        mask = ~np.uint64(0) >> np.uint64(64 - min(right - left + 1, 64))
        for down in range(top, bottom + 1):
            seen = there[y + down, word] >> shift
            seen |= there[y + down, word + 1] << (np.uint64(63) - shift) << np.uint64(1)
            seen &= mask
            across = left
            while seen:
                if seen & np.uint64(1):
                    # Test the sides of the three edges; in a triangle without area all are 0 on the line.
                    first = turn * (x1 * down - y1 * across)
                    second = turn * (across * y2 - down * x2)
                    if first >= 0 and second >= 0 and first + second <= twice:
                        alone = False
                        break
                seen >>= np.uint64(1)
                across += 1
            if not alone:
                break
        left += 64
    put(there, one)
    put(there, two)
    if not alone:
        put(there, point)
    return alone
