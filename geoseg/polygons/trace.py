"""Tracing of regions to rings, in integer corner coordinates.

Law: the traced polygons are a valid coverage. There is a vertex at every turn of a boundary and at every corner where
three or more regions meet (no data and the outside count as regions), and nowhere else, so both sides of a shared
boundary have the same vertices.

How it works. What happens at one corner is told in `geoseg.polygons.corners`.

Corners are visited row by row. Each arrival is one vertex of one ring; it is linked with those of its neighbours on the
ring that lie west or north of it, where they are the last ones on their lines. What remains open is one vertex on
either side of the current horizontal line and of every vertical line. Vertices are created in row-major order, so the
first vertex of a ring is its top-left-most corner, and the first ring of a region is its shell.

Strips of rows are traced independently. A strip begins with the last row of the strip above (`Runs.halo`) and has the
corners from there to above its own last row, so every corner belongs to one strip. Regions that reach neither of these
two rows are complete. The boundaries of the others are cut into arcs, which begin and end at stubs: one on either side
of every vertical edge in the two rows, where the neighbouring strips continue, and four at every corner (a pinch) where
regions of one class meet diagonally that may turn out to be one region elsewhere; whether exits are exchanged there is
decided when that is known (`geoseg.polygons.seams`). Stubs are numbered

    top      2 e      down the right side of edge e       2 e + 1      up its left side
    bottom   2 e      down, after the top's               2 e + 1      up
    pinch    4 p      end of one pass, after the bottom's; 4 p + 1 what follows it; 4 p + 2, 4 p + 3 the other's

where edge e lies at the start of run e of the row, or at its sentinel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import kernel
from geoseg.polygons.chains import Chains, Counts
from geoseg.polygons.corners import (
    NONE,
    Around,
    Corner,
    Edges,
    Lines,
    Regions,
    Vertices,
    arrivals_of,
    link,
    may_be_one,
)
from geoseg.polygons.outline import Outline, redraw
from geoseg.polygons.rings import Rings, arranged, offsets
from geoseg.polygons.runs import Bools, Ints, Runs, RunTable, index_dtype
from geoseg.polygons.walks import Arcs, Complete, WalkedRings, count_vertices, walk


def trace(runs: Runs, outline: Outline | None = None) -> Rings:
    """Trace the boundary of every region of a whole map."""
    rings, _, _ = trace_band(runs, np.ones(runs.count + 1, np.bool_), outline)
    return rings


def trace_band(
    runs: Runs, complete: npt.NDArray[np.bool_], outline: Outline | None = None
) -> tuple[Rings, Arcs, npt.NDArray[np.int64] | None]:
    """Trace a strip: the complete regions to rings, in their order, and the open ones to arcs.

    Parameters
    ----------
    runs : Runs
        Runs and regions of the strip.
    complete : (1 + region,) bool
        As `complete_regions` says.
    outline : Outline, optional
        How boundaries are redrawn; without it vertices stand as the module says.

    Returns
    -------
    rings : Rings
    arcs : Arcs
    drawn : (region,) int64, or None
        Number of vertices of each region in the strip before redrawing; None if boundaries were not redrawn.
    """
    regions, table = Regions(complete, runs.code), runs.table
    counting, writing = False, True
    nothing = np.empty(0, runs.region.dtype)
    unfilled = Vertices(Chains(np.empty((0, 2), np.int32), nothing, nothing), np.empty((0, 2), nothing.dtype))
    count, pinches = visit_corners(table, regions, counting, unfilled, Lines.none(runs.width))
    counts = Counts(
        top=int(runs.first[1]) if runs.halo else 0,
        vertices=count,
        bottom=0 if runs.last else int(runs.first[-1] - runs.first[-2]),
    )
    size = 2 * counts.top + count + 2 * counts.bottom + 4 * pinches
    chains = Chains(
        corner=np.empty((size, 2), np.int32),
        owner=np.zeros(size, runs.region.dtype),
        following=np.full(size, NONE, index_dtype(size)),
    )
    pinch = np.empty((pinches, 2), runs.region.dtype)
    visit_corners(table, regions, writing, Vertices(chains, pinch), Lines.none(runs.width))
    drawn = None
    if outline is not None:
        begin, stop = counts.inside
        drawn = np.bincount(chains.owner[begin:stop], minlength=runs.count + 1)[1:]
        chains, counts = redraw(chains, counts, runs, outline)
    rings, arcs = _collect(Vertices(chains, pinch), complete, counts, redrawn=outline is not None)
    return rings, arcs, drawn


def complete_regions(runs: Runs) -> npt.NDArray[np.bool_]:
    """Tell which regions, counted from 1, reach no other strip; 0 counts as complete."""
    complete = np.ones(runs.count + 1, np.bool_)
    if runs.halo:
        complete[runs.region[: runs.first[1]]] = False
    if not runs.last:
        complete[runs.region[runs.first[-2] :]] = False
    complete[0] = True
    return complete


def _collect(vertices: Vertices, complete: Bools, counts: Counts, *, redrawn: bool) -> tuple[Rings, Arcs]:
    """Take the rings of complete regions, and the arcs of the others, out of linked vertices."""
    chains, pinch = vertices
    begin, stop = counts.inside
    dtype = chains.owner.dtype
    number = np.cumsum(complete) - 1  # of the complete regions, from 1
    polygons = int(number[-1])
    place = np.zeros(polygons + 1, np.int64)
    inside = count_vertices(chains.owner[begin:stop], complete, number, place)
    most = inside // 3  # no ring has fewer than three corners
    done = WalkedRings(np.empty((inside, 2), np.int32), np.empty(most, dtype), np.empty(most, np.int64))
    left = counts.vertices - inside
    most = 2 * counts.top + 2 * counts.bottom + 4 * len(pinch) + left // 3
    arcs = Arcs(
        corner=np.empty((left, 2), np.int32),
        first=np.zeros(most + 1, np.int64),
        region=np.empty(most, dtype),
        head=np.full(most, NONE, np.int64),
        tail=np.full(most, NONE, np.int64),
        pinch=pinch,
    )
    rings, made = walk(chains, Complete(complete, number, place), counts, done, arcs)
    owner, length = done.owner[:rings] - 1, done.length[:rings]
    # Stable, so a region's rings stay in the order of their first corners.
    by_region = np.argsort(owner, kind="stable")
    if redrawn:
        found = arranged(done.corner, owner[by_region], length[by_region], polygons)
    else:
        found = Rings(
            corner=done.corner,
            ring_first=offsets(length[by_region]),
            polygon_first=offsets(np.bincount(owner, minlength=polygons)),
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
    runs: RunTable,
    regions: Regions,
    write: bool,  # noqa: FBT001
    out: Vertices,
    lines: Lines,
) -> tuple[int, int]:
    """Create and link the vertices of all rings; return their number and that of open pinches.

    Only the columns where a run starts above or below can have a vertex.

    Parameters
    ----------
    runs : RunTable
        Runs of the strip.
    regions : Regions
        Which regions are complete, and their codes.
    write : bool
        Whether to fill `out`; otherwise vertices and pinches are only counted.
    out : Vertices
        Vertices and pinches to fill.
    lines : Lines
        As `Lines.none` makes it; overwritten.
    """
    first, start, region = runs.first, runs.start, runs.region
    rows = len(first) - 1
    top = first[1] if runs.halo else 0
    count = 2 * top
    pinches = pinch_stub = 0
    if write:
        pinch_stub = len(out.chains.owner) - 4 * len(out.pinch)
        _begin_at_top(runs, top, out.chains.owner, lines)
    for row in range(1 if runs.halo else 0, rows + 1 if runs.last else rows):
        upper, upper_stop = (first[row - 1], first[row]) if row > 0 else (0, 0)
        lower, lower_stop = (first[row], first[row + 1]) if row < rows else (0, 0)
        above = below = NONE  # the last vertices on either side of the horizontal line
        a = c = 0
        while upper < upper_stop or lower < lower_stop:
            upper_col = start[upper] if upper < upper_stop else runs.width + 1
            lower_col = start[lower] if lower < lower_stop else runs.width + 1
            col = min(upper_col, lower_col)
            b, d = a, c
            if upper_col == col:
                b = region[upper]
                upper += 1
            if lower_col == col:
                d = region[lower]
                lower += 1
            edges = Edges(a != b, b != d, c != d, a != c)
            # Elsewhere no boundary turns or ends.
            if (edges.north or edges.south) and (edges.east or edges.west):
                around = Around(a, b, c, d)
                crossing = edges.north and edges.east and edges.south and edges.west
                rising = falling = NONE  # where the regions on a diagonal may be one
                if crossing and may_be_one(regions, b, c):
                    rising = pinch_stub + 4 * pinches
                    if write:
                        out.pinch[pinches, 0], out.pinch[pinches, 1] = b, c
                    pinches += 1
                if crossing and may_be_one(regions, d, a):
                    falling = pinch_stub + 4 * pinches
                    if write:
                        out.pinch[pinches, 0], out.pinch[pinches, 1] = d, a
                    pinches += 1
                arrivals, stop = arrivals_of(around, edges, count)
                if write:
                    for vertex in range(count, stop):
                        out.chains.corner[vertex, 0], out.chains.corner[vertex, 1] = col, runs.row + row
                    corner = Corner(around, edges, arrivals, rising, falling)
                    above, below = link(corner, out.chains, lines, col, above, below)
                count = stop
            a, c = b, d
    if write and not runs.last:
        _end_at_bottom(runs, pinch_stub, out.chains, lines)
    return count - 2 * top, pinches


@kernel
def _begin_at_top(runs: RunTable, edges: int, owner: Ints, lines: Lines) -> None:
    """Let the stubs of the top edges be the last ones on their lines."""
    for edge in range(edges):
        col = runs.start[edge]
        lines.right[col], lines.left[col] = 2 * edge, 2 * edge + 1
        owner[2 * edge] = runs.region[edge]
        owner[2 * edge + 1] = runs.region[edge - 1] if edge else 0


@kernel
def _end_at_bottom(runs: RunTable, stop: int, chains: Chains, lines: Lines) -> None:
    """Link the stubs of the bottom edges, which end before `stop`, with the last vertices on their lines."""
    rows = len(runs.first) - 1
    begin = runs.first[rows - 1]
    edges = runs.first[rows] - begin
    a = 0
    for edge in range(edges):
        b = runs.region[begin + edge]
        if a != b:
            col, down = runs.start[begin + edge], stop - 2 * (edges - edge)
            if b:
                chains.following[lines.right[col]] = down
            if a:
                chains.owner[down + 1] = a
                chains.following[down + 1] = lines.left[col]
        a = b
