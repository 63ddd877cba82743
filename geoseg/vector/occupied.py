"""Which corners of a lattice have a vertex: a bit each, so that a row of a triangle is looked at in one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined, kernel
from geoseg.vector.rings import Corners

Bits = npt.NDArray[np.uint64]
"""(row, word): bit b of word w is column 64 * w + b."""
Point = tuple[int, int]
"""Column and row, in steps of the lattice."""


def no_corners(rows: int, cols: int) -> Bits:
    """Bits of a lattice without vertices; a word more than it needs, so that two words can always be read."""
    return np.zeros((rows, cols // 64 + 2), np.uint64)


@kernel
def put_all(there: Bits, corner: Corners, inside: Point, row: int) -> None:
    """Mark the corners of vertices; `row` is the first one of the lattice."""
    for vertex in range(inside[0], inside[1]):
        put(there, (corner[vertex, 0], corner[vertex, 1] - row))


@inlined
def put(there: Bits, point: Point) -> None:
    """Mark a column and row."""
    there[point[1], point[0] >> 6] |= np.uint64(1) << np.uint64(point[0] & 63)


@inlined
def take(there: Bits, point: Point) -> None:
    """Unmark a column and row."""
    there[point[1], point[0] >> 6] &= ~(np.uint64(1) << np.uint64(point[0] & 63))


@inlined
def take_if_alone(there: Bits, point: Point, one: Point, two: Point) -> bool:
    """Unmark a point if its triangle with two others, its sides included, holds no fourth; say whether."""
    x, y = point
    x1, y1 = one[0] - x, one[1] - y
    x2, y2 = two[0] - x, two[1] - y
    take(there, point)
    twice = x1 * y2 - y1 * x2
    if abs(twice) == 1:  # by Pick's theorem it holds no other point of the lattice
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
                    # On which side of the three edges it lies; in a triangle without area all are 0 on the line.
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
