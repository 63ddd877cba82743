"""Polygons as rings of lattice corners in ragged arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.polygons.runs import Ints

Corners = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


class RingTable(NamedTuple):
    """Polygons as kernels take them; the fields are those of `Rings`.

    Parameters
    ----------
    corner : (vertex, 2) int32
        Column and row of pixel corners.
    ring_first : (ring + 1,) int64
        First vertex of each ring.
    polygon_first : (region + 1,) int64
        First ring of each polygon.
    """

    corner: Corners
    ring_first: Longs
    polygon_first: Longs


class _Turn(NamedTuple):
    """Rings in a new order: by ring where it lies, how many vertices it has, and at which of them it is to begin."""

    place: Longs
    length: Longs
    begin: Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rings:
    """Polygons of regions as ragged arrays, in the order of the regions.

    A polygon's first ring is its shell, counter-clockwise as seen on the raster (down first); its holes run
    clockwise and are ordered by their first corner. A ring starts at its top-left-most corner and is open:
    its first corner is not repeated.

    Parameters
    ----------
    corner : (vertex, 2) int32
        Column and row of pixel corners.
    ring_first : (ring + 1,) int64
        First vertex of each ring.
    polygon_first : (region + 1,) int64
        First ring of each polygon.
    """

    corner: npt.NDArray[np.int32]
    ring_first: npt.NDArray[np.int64]
    polygon_first: npt.NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of polygons."""
        return len(self.polygon_first) - 1

    @property
    def table(self) -> RingTable:
        """The polygons, as kernels take them."""
        return RingTable(self.corner, self.ring_first, self.polygon_first)


def offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where each of several pieces begins, and at the end where the last one stops."""
    found = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=found[1:])
    return found


def arranged(corner: Corners, owner: Ints, length: Longs, polygons: int) -> Rings:
    """Sort rings: for each polygon the shell first, then its holes, each starting at its top-left-most corner.

    Parameters
    ----------
    corner : (vertex, 2) int32
        Vertices ring after ring, starting anywhere.
    owner : (ring,)
        Polygon of each ring, from 0.
    length : (ring,) int64
        Vertices of each ring, at least three.
    polygons : int
        Number of polygons.
    """
    first = offsets(length)
    begin, hole = np.empty(len(length), np.int64), np.empty(len(length), np.bool_)
    _look_at_rings(corner, first, begin, hole)
    order = np.lexsort((corner[begin, 0], corner[begin, 1], hole, owner))
    turned = np.empty((int(first[-1]), 2), np.int32)
    _turn_rings(corner, _Turn(first[order], length[order], begin[order]), turned)
    return Rings(
        corner=turned,
        ring_first=offsets(length[order]),
        polygon_first=offsets(np.bincount(owner, minlength=polygons)),
    )


@kernel
def _look_at_rings(corner: Corners, first: Longs, begin: Longs, hole: npt.NDArray[np.bool_]) -> None:
    """Find the top-left-most corner of each ring, and whether it runs clockwise, as holes do."""
    for ring in range(len(begin)):
        best = before = first[ring + 1] - 1
        twice = np.int64(0)
        for vertex in range(first[ring], first[ring + 1]):
            col, row = np.int64(corner[vertex, 0]), np.int64(corner[vertex, 1])
            twice += corner[before, 0] * row - col * corner[before, 1]
            if row < corner[best, 1] or (row == corner[best, 1] and col < corner[best, 0]):
                best = vertex
            before = vertex
        begin[ring] = best
        hole[ring] = twice > 0  # rows count downwards


@kernel
def _turn_rings(corner: Corners, rings: _Turn, turned: Corners) -> None:
    """Write rings one after the other, given the position, length and new start of each."""
    place, length, begin = rings
    written = 0
    for ring in range(len(place)):
        for vertex in range(begin[ring], place[ring] + length[ring]):
            turned[written, 0], turned[written, 1] = corner[vertex, 0], corner[vertex, 1]
            written += 1
        for vertex in range(place[ring], begin[ring]):
            turned[written, 0], turned[written, 1] = corner[vertex, 0], corner[vertex, 1]
            written += 1
