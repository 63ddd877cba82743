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
remains open is one vertex on either side of the current horizontal line and of every vertical line. Vertices
are made in row-major order: the first one of a ring that one meets is its top-left-most corner, and the first
ring of a region is its shell.

A band of rows is traced by itself. It begins with the last row of the band above (`Runs.halo`) and owns the
corners from there down to above its own last row, so every corner belongs to one band. Regions that reach
neither of these two rows are complete. The boundary of the others is cut into arcs, which begin and end at
stubs: one on either side of every vertical edge in the two rows, where the neighbouring bands go on, and four
at every corner where regions of one class meet diagonally that may turn out to be one region elsewhere; whether
exits are exchanged there is decided when they are known (`geoseg.vector.seams`). Stubs are numbered

    top      2 e      down the right side of edge e       2 e + 1      up its left side
    bottom   2 e      down, after the top's               2 e + 1      up
    pinch    4 p      end of one pass, after the bottom's; 4 p + 1 what follows it; 4 p + 2, 4 p + 3 the other's

where edge e lies at the start of run e of the row, or at its sentinel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.vector.outline import Chains, Outline, redraw
from geoseg.vector.rings import Rings, arranged, offsets
from geoseg.vector.runs import Ints, Runs, index_dtype


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arcs:
    """Pieces of boundary of a band's open regions.

    Parameters
    ----------
    corner : (vertex, 2) int32
        Column and row, arc after arc; an arc that only runs through the band has none.
    first : (arc + 1,) int64
        First vertex of each arc.
    region : (arc,)
        1-based region.
    head, tail : (arc,) int64
        Stubs, numbered without the vertices; -1 for both of an arc that is a ring.
    pinch : (pinch, 2)
        Regions of one class whose exits are exchanged if they are one region.
    """

    corner: npt.NDArray[np.int32]
    first: npt.NDArray[np.int64]
    region: Ints
    head: npt.NDArray[np.int64]
    tail: npt.NDArray[np.int64]
    pinch: Ints


def trace(runs: Runs, outline: Outline | None = None) -> Rings:
    """Trace the boundary of every region of a whole map."""
    rings, _, _ = trace_band(runs, np.ones(runs.count + 1, np.bool_), outline)
    return rings


def trace_band(
    runs: Runs, complete: npt.NDArray[np.bool_], outline: Outline | None = None
) -> tuple[Rings, Arcs, npt.NDArray[np.int64] | None]:
    """Trace a band: the complete regions to rings, in their order, and the open ones to arcs.

    Parameters
    ----------
    runs : Runs
    complete : (1 + region,) bool
        As `complete_regions` says.
    outline : Outline, optional
        How boundaries are redrawn; without it vertices stand as the module says.

    Returns
    -------
    rings : Rings
    arcs : Arcs
    drawn : (region,) int64, or None
        Vertices of each region in the band before they were redrawn; None where they were not.
    """
    geometry = (runs.width, runs.row, runs.first, runs.start, runs.region)
    ends = (runs.halo, runs.last, complete, runs.code)
    counting, writing = False, True
    nothing = np.empty(0, runs.region.dtype)
    out = (np.empty((0, 2), np.int32), nothing, nothing, np.empty((0, 2), nothing.dtype))
    count, pinches = visit_corners(geometry, ends, counting, out, _lines(runs.width))
    top = int(runs.first[1]) if runs.halo else 0
    bottom = 0 if runs.last else int(runs.first[-1] - runs.first[-2])
    size = 2 * top + count + 2 * bottom + 4 * pinches
    corner = np.empty((size, 2), np.int32)
    owner = np.zeros(size, runs.region.dtype)
    following = np.full(size, -1, index_dtype(size))
    pinch = np.empty((pinches, 2), runs.region.dtype)
    visit_corners(geometry, ends, writing, (corner, owner, following, pinch), _lines(runs.width))
    chains, sizes = Chains(corner, owner, following), (top, count, bottom)
    drawn = None
    if outline is not None:
        drawn = np.bincount(owner[2 * top : 2 * top + count], minlength=runs.count + 1)[1:]
        chains, sizes = redraw(chains, sizes, runs, outline)
    rings, arcs = _collect((*chains, pinch), complete, sizes, redrawn=outline is not None)
    return rings, arcs, drawn


def _lines(width: int) -> npt.NDArray[np.int64]:
    """Room for the last vertex on the left and on the right of each vertical line: none yet."""
    return np.full((2, width + 1), -1, np.int64)


def complete_regions(runs: Runs) -> npt.NDArray[np.bool_]:
    """Say which regions reach no other band, by their 1-based number; 0 counts as complete."""
    complete = np.ones(runs.count + 1, np.bool_)
    if runs.halo:
        complete[runs.region[: runs.first[1]]] = False
    if not runs.last:
        complete[runs.region[runs.first[-2] :]] = False
    complete[0] = True
    return complete


def _collect(
    vertices: tuple[npt.NDArray[np.int32], Ints, Ints, Ints],
    complete: npt.NDArray[np.bool_],
    sizes: tuple[int, int, int],
    *,
    redrawn: bool,
) -> tuple[Rings, Arcs]:
    corner, owner, following, pinch = vertices
    number = np.cumsum(complete) - 1  # of the complete regions, from 1
    polygons = int(number[-1])
    top, count, bottom = sizes
    place = np.zeros(polygons + 1, np.int64)
    inside = count_vertices(owner[2 * top : 2 * top + count], complete, number, place)
    most = inside // 3  # no ring has fewer than three corners
    ring_owner = np.empty(most, owner.dtype)
    ring_length = np.empty(most, np.int64)
    ordered = np.empty((inside, 2), np.int32)
    stubs = 2 * top + 2 * bottom + 4 * len(pinch)
    arcs = Arcs(
        corner=np.empty((count - inside, 2), np.int32),
        first=np.zeros(stubs + (count - inside) // 3 + 1, np.int64),
        region=np.empty(stubs + (count - inside) // 3, owner.dtype),
        head=np.full(stubs + (count - inside) // 3, -1, np.int64),
        tail=np.full(stubs + (count - inside) // 3, -1, np.int64),
        pinch=pinch,
    )
    rings, made = walk(
        (corner, owner, following),
        (complete, number, place),
        sizes,
        (ordered, ring_owner, ring_length),
        (arcs.corner, arcs.first, arcs.region, arcs.head, arcs.tail),
    )
    ring_owner, ring_length = ring_owner[:rings] - 1, ring_length[:rings]
    # Stable, so a region's rings stay in the order of their first corners.
    by_region = np.argsort(ring_owner, kind="stable")
    if redrawn:
        found = arranged(ordered, ring_owner[by_region], ring_length[by_region], polygons)
    else:
        found = Rings(
            corner=ordered,
            ring_first=offsets(ring_length[by_region]),
            polygon_first=offsets(np.bincount(ring_owner, minlength=polygons)),
        )
    return found, Arcs(
        corner=arcs.corner[: arcs.first[made]],
        first=arcs.first[: made + 1],
        region=arcs.region[:made],
        head=arcs.head[:made],
        tail=arcs.tail[:made],
        pinch=pinch,
    )


@kernel
def visit_corners(
    geometry: tuple[int, int, npt.NDArray[np.int64], Ints, Ints],
    ends: tuple[bool, bool, npt.NDArray[np.bool_], npt.NDArray[np.int64]],
    write: bool,  # noqa: FBT001
    out: tuple[npt.NDArray[np.int32], Ints, Ints, Ints],
    lines: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Make and link the vertices of all rings; return their number and that of open pinches.

    Without `write` only these numbers. Only the columns where a run starts above or below can have a vertex.

    Parameters
    ----------
    geometry
        Width, row of the raster, `first`, `start` and `region` of the runs.
    ends
        Whether the first row is of the band above, whether the last one is the raster's; by 1-based region
        whether it is complete, and the codes.
    out
        What is filled: `corner` (id, 2) int32, column and row; ids are those of the stubs, with the vertices between
        the top and the bottom. By id `owner`, the 1-based region, and `following`, the next vertex or stub. By pinch
        its two regions.
    lines : (2, width + 1) int64
        As `_lines` makes it.
    """
    corner, owner, following, pinch = out
    width, row_of_raster, first, start, region = geometry
    halo, last, complete, code = ends
    rows = len(first) - 1
    top = first[1] if halo else 0
    # The last vertex on either side of each vertical line, and below of the current horizontal one.
    line_left, line_right = lines[0], lines[1]
    count = 2 * top
    if write:
        for edge in range(top):
            line_right[start[edge]], line_left[start[edge]] = 2 * edge, 2 * edge + 1
            owner[2 * edge] = region[edge]
            owner[2 * edge + 1] = region[edge - 1] if edge else 0
    pinches = 0
    bottom_stub = pinch_stub = 0
    if write:
        pinch_stub = len(owner) - 4 * len(pinch)
        bottom_stub = pinch_stub - (0 if last else 2 * (first[rows] - first[rows - 1]))
    for row in range(1 if halo else 0, rows + 1 if last else rows):
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
                falling = rising = -1  # stubs of the two diagonals, where they may be of one region
                crossing = north and east and south and west
                if (
                    crossing
                    and b
                    and c
                    and b != c
                    and not complete[b]
                    and not complete[c]
                    and code[b - 1] == code[c - 1]
                ):
                    rising = pinch_stub + 4 * pinches
                    if write:
                        pinch[pinches, 0], pinch[pinches, 1] = b, c
                    pinches += 1
                if (
                    crossing
                    and a
                    and d
                    and a != d
                    and not complete[a]
                    and not complete[d]
                    and code[a - 1] == code[d - 1]
                ):
                    falling = pinch_stub + 4 * pinches
                    if write:
                        pinch[pinches, 0], pinch[pinches, 1] = d, a
                    pinches += 1
                if write:
                    for vertex in range(begin, count):
                        corner[vertex, 0], corner[vertex, 1] = col, row_of_raster + row
                    left, right = line_left[col], line_right[col]
                    above, below = line_above, line_below
                    if by_north >= 0:
                        owner[by_north] = b
                        following[right] = by_north
                        if crossing and b == c:
                            following[by_north] = below
                        elif rising >= 0:
                            following[by_north] = rising
                            line_above = rising + 1
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
                        elif falling >= 0:
                            following[by_east] = falling
                            line_right[col] = falling + 1
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
                        elif rising >= 0:
                            following[by_south] = rising + 2
                            following[rising + 3] = below
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
                        elif falling >= 0:
                            following[by_west] = falling + 2
                            following[falling + 3] = left
                        elif north:
                            following[by_west] = left
                        elif east:
                            line_above = by_west
                        else:
                            line_right[col] = by_west
                    if rising >= 0:
                        owner[rising + 1], owner[rising + 3] = b, c
                    if falling >= 0:
                        owner[falling + 1], owner[falling + 3] = d, a
            a, c = b, d
    if write and not last:
        a = 0
        for edge in range(first[rows] - first[rows - 1]):
            run = first[rows - 1] + edge
            b = region[run]
            if a != b:
                down = bottom_stub + 2 * edge
                if b:
                    following[line_right[start[run]]] = down
                if a:
                    owner[down + 1] = a
                    following[down + 1] = line_left[start[run]]
            a = b
    return count - 2 * top, pinches


@kernel
def count_vertices(
    owner: Ints, complete: npt.NDArray[np.bool_], number: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
) -> int:
    """Fill `place`: where the vertices of each complete region begin; return how many they are in all."""
    for vertex in range(len(owner)):
        if complete[owner[vertex]]:
            place[number[owner[vertex]]] += 1
    total = 0
    for polygon in range(1, len(place)):
        total += place[polygon]
        place[polygon] = total - place[polygon]
    return total


@kernel
def _walk_arc(
    source: int, corner: npt.NDArray[np.int32], following: Ints, into: npt.NDArray[np.int32], to: int
) -> tuple[int, int]:
    """Write the vertices between two stubs; return where they stop, and the second stub."""
    vertex = following[source]
    following[source] = -1
    while following[vertex] >= 0:
        into[to, 0], into[to, 1] = corner[vertex, 0], corner[vertex, 1]
        to += 1
        after = following[vertex]
        following[vertex] = -1  # visited
        vertex = after
    return to, vertex


@kernel
def walk(
    vertices: tuple[npt.NDArray[np.int32], Ints, Ints],
    regions: tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    sizes: tuple[int, int, int],
    rings_out: tuple[npt.NDArray[np.int32], Ints, npt.NDArray[np.int64]],
    arcs_out: tuple[
        npt.NDArray[np.int32], npt.NDArray[np.int64], Ints, npt.NDArray[np.int64], npt.NDArray[np.int64]
    ],
) -> tuple[int, int]:
    """Write the corners region by region and ring by ring, and arc by arc; return the numbers of both.

    Parameters
    ----------
    vertices
        What `visit_corners` filled.
    regions
        By 1-based region whether it is complete, its number among these, and by that where its vertices begin.
    sizes
        Edges of the top, vertices, edges of the bottom.
    rings_out
        Corners in the order of regions, and of rings within them; by ring, in the order of first corners, the
        1-based number of its region and its vertices.
    arcs_out
        The arrays of `Arcs`.
    """
    corner, owner, following = vertices
    complete, number, place = regions
    top, count, _bottom = sizes
    ordered, ring_owner, ring_length = rings_out
    arc_corner, arc_first, arc_region, arc_head, arc_tail = arcs_out
    arcs = written = 0
    begin, stop = 2 * top, 2 * top + count
    for stub in range(len(owner) - count):
        source = stub if stub < begin else stub + count
        if following[source] < 0:
            continue
        written, sink = _walk_arc(source, corner, following, arc_corner, written)
        arc_region[arcs] = owner[source]
        arc_head[arcs] = stub
        arc_tail[arcs] = sink if sink < begin else sink - count
        arcs += 1
        arc_first[arcs] = written
    rings = 0
    for origin in range(begin, stop):
        if following[origin] < 0:
            continue
        region = owner[origin]
        done = complete[region]
        into = ordered if done else arc_corner
        to = place[number[region]] if done else written
        first = to
        vertex = origin
        while following[vertex] >= 0:
            into[to, 0], into[to, 1] = corner[vertex, 0], corner[vertex, 1]
            to += 1
            after = following[vertex]
            following[vertex] = -1  # visited
            vertex = after
        if done:
            place[number[region]] = to
            ring_owner[rings] = number[region]
            ring_length[rings] = to - first
            rings += 1
        else:
            written = to
            arc_region[arcs] = region
            arcs += 1
            arc_first[arcs] = written
    return rings, arcs
