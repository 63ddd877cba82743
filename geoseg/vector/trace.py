"""Regions to rings, in integer corner coordinates.

Law: the polygons are a valid coverage from birth. A vertex stands at every turn of a boundary and at every
corner where three or more regions meet (no data and the outside count as regions), and nowhere else, so the
two sides of a shared boundary have the same vertices.

How it works. A corner of the pixel lattice has up to four edges, north, east, south and west of it, where
neighbouring pixels belong to different regions. A ring keeps its region on the left, as seen on the raster
with row 0 on top, so it arrives at a corner by an edge and leaves by the next edge clockwise::

      a │ b       arrives by north, beside b │ by east, beside d │ by south, beside c │ by west, beside a
     ───┼───
      c │ d

Where all four edges meet and a region lies on both sides diagonally, leaving by the next edge would make a
ring that touches itself: the two pixels between, which belong to other regions, are neighbours through the
corner, and a region's boundary with one such 8-connected piece of its surroundings is a single closed curve.
So both passes of the corner lie on one ring, and exchanging their exits splits it into rings that do not
touch themselves: a shell gets a hole, a hole becomes two. Two such corners of one ring never interleave
(their connections through the surroundings would cross), so each exchange stands for itself.

Corners are visited row by row. Each arrival is one vertex of one ring; it is linked with the vertices before
and after it as far as these lie west or north: there they are the last ones on their lines. What
remains open is one vertex on either side of the current horizontal line and of every vertical line, so this
state is all that separate blocks of rows must exchange. Vertices are made in row-major order: the first one
of a ring that one meets is its top-left-most corner, and the first ring of a region is its shell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from geoseg.vector.runs import Ints, Runs, index_dtype


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


def trace(runs: Runs) -> Rings:
    """Trace the boundary of every region."""
    geometry = (runs.width, runs.first, runs.start, runs.region)
    counting, writing = False, True
    none = np.empty(0, np.int32)
    count = visit_corners(*geometry, counting, np.empty((0, 2), np.int32), none, none)
    corner = np.empty((count, 2), np.int32)
    owner = np.empty(count, runs.region.dtype)
    following = np.empty(count, index_dtype(count))
    visit_corners(*geometry, writing, corner, owner, following)
    return _collect(corner, owner, following, runs.count)


def _collect(corner: npt.NDArray[np.int32], owner: Ints, following: Ints, regions: int) -> Rings:
    most = len(corner) // 4  # no ring has fewer than four corners
    ring_owner = np.empty(most, owner.dtype)
    ring_length = np.empty(most, np.int64)
    ordered = np.empty_like(corner)
    rings = walk_rings(corner, owner, following, regions, ordered, ring_owner, ring_length)
    ring_owner, ring_length = ring_owner[:rings] - 1, ring_length[:rings]
    # Stable, so a region's rings stay in the order of their first corners.
    by_region = np.argsort(ring_owner, kind="stable")
    return Rings(
        corner=ordered,
        ring_first=_offsets(ring_length[by_region]),
        polygon_first=_offsets(np.bincount(ring_owner, minlength=regions)),
    )


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def visit_corners(
    width: int,
    first: npt.NDArray[np.int64],
    start: Ints,
    region: Ints,
    write: bool,  # noqa: FBT001
    corner: npt.NDArray[np.int32],
    owner: Ints,
    following: Ints,
) -> int:
    """Make and link the vertices of all rings; return their number, and without `write` only that.

    Only the columns where a run starts above or below can have a vertex.

    Parameters
    ----------
    corner : (vertex, 2) int32
        Out: column and row.
    owner : (vertex,)
        Out: 1-based region.
    following : (vertex,)
        Out: the next vertex of the ring.
    """
    rows = len(first) - 1
    # The last vertex on either side of each vertical line, and below of the current horizontal one.
    line_left = np.full(width + 1, -1, np.int64)
    line_right = np.full(width + 1, -1, np.int64)
    count = 0
    for row in range(rows + 1):
        upper, upper_stop = (first[row - 1], first[row]) if row > 0 else (0, 0)
        lower, lower_stop = (first[row], first[row + 1]) if row < rows else (0, 0)
        line_above = line_below = -1
        a = c = 0
        while upper < upper_stop or lower < lower_stop:
            upper_col = start[upper] if upper < upper_stop else width + 1
            lower_col = start[lower] if lower < lower_stop else width + 1
            col = min(upper_col, lower_col)
            b, d = a, c
            if upper_col == col:
                b = region[upper]
                upper += 1
            if lower_col == col:
                d = region[lower]
                lower += 1
            north, east, south, west = a != b, b != d, c != d, a != c
            if (north or south) and (east or west):  # otherwise no boundary turns or ends here
                begin = count
                by_north = by_east = by_south = by_west = -1
                if north and b:
                    by_north = count
                    count += 1
                if east and d:
                    by_east = count
                    count += 1
                if south and c:
                    by_south = count
                    count += 1
                if west and a:
                    by_west = count
                    count += 1
                if write:
                    for vertex in range(begin, count):
                        corner[vertex, 0], corner[vertex, 1] = col, row
                    crossing = north and east and south and west
                    left, right = line_left[col], line_right[col]
                    above, below = line_above, line_below
                    if by_north >= 0:
                        owner[by_north] = b
                        following[right] = by_north
                        if crossing and b == c:
                            following[by_north] = below
                        elif east:
                            line_above = by_north
                        elif south:
                            line_right[col] = by_north
                        else:
                            following[by_north] = below
                    if by_east >= 0:
                        owner[by_east] = d
                        line_below = by_east
                        if crossing and a == d:
                            following[by_east] = left
                        elif south:
                            line_right[col] = by_east
                        elif west:
                            following[by_east] = below
                        else:
                            following[by_east] = left
                    if by_south >= 0:
                        owner[by_south] = c
                        line_left[col] = by_south
                        if crossing and b == c:
                            line_above = by_south
                        elif west:
                            following[by_south] = below
                        elif north:
                            following[by_south] = left
                        else:
                            line_above = by_south
                    if by_west >= 0:
                        owner[by_west] = a
                        following[above] = by_west
                        if crossing and a == d:
                            line_right[col] = by_west
                        elif north:
                            following[by_west] = left
                        elif east:
                            line_above = by_west
                        else:
                            line_right[col] = by_west
            a, c = b, d
    return count


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def walk_rings(
    corner: npt.NDArray[np.int32],
    owner: Ints,
    following: Ints,
    regions: int,
    ordered: npt.NDArray[np.int32],
    ring_owner: Ints,
    ring_length: npt.NDArray[np.int64],
) -> int:
    """Write the corners region by region and ring by ring; return the number of rings.

    Parameters
    ----------
    ordered : (vertex, 2) int32
        Out: `corner` in the order of regions, and of rings within them.
    ring_owner, ring_length : (ring,)
        Out: 1-based region and number of vertices, in the order of first corners.
    """
    place = np.zeros(regions + 1, np.int64)
    for vertex in range(len(owner)):
        place[owner[vertex]] += 1
    total = 0
    for region in range(1, regions + 1):
        total += place[region]
        place[region] = total - place[region]
    rings = 0
    for origin in range(len(owner)):
        if following[origin] < 0:
            continue
        region = owner[origin]
        begin = place[region]
        to = begin
        vertex = origin
        while following[vertex] >= 0:
            ordered[to, 0], ordered[to, 1] = corner[vertex, 0], corner[vertex, 1]
            to += 1
            after = following[vertex]
            following[vertex] = -1  # visited
            vertex = after
        place[region] = to
        ring_owner[rings] = region
        ring_length[rings] = to - begin
        rings += 1
    return rings
