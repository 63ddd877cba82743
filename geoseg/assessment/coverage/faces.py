"""Faces between edges, and how many polygons cover each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.edges import Floats, Longs
from geoseg.kernels.kernel import inlined, kernel

Bools = npt.NDArray[np.bool_]


class Halves(NamedTuple):
    """Every edge once in each direction; that in the other direction is `edges` further, or before.

    Parameters
    ----------
    ends : (edge, 4) float64
        Edges in their own direction.
    start : (half,) int64
        Number of the vertex at which each half begins.
    next : (half,) int64
        Half that follows along the face on the left.
    edges : int
        Number of edges.
    """

    ends: Floats
    start: Longs
    next: Longs
    edges: int


class Rows(NamedTuple):
    """Edges by rows of the plane.

    Parameters
    ----------
    ends : (edge, 4) float64
        The edges.
    times : (edge,) int64
        How often each occurs.
    first : (row + 1,) int64
        First entry of each row, and the number of entries.
    edge : (entry,) int64
        Edges that touch the row.
    south, height : float
        Lower end of the first row, and height of a row.
    """

    ends: Floats
    times: Longs
    first: Longs
    edge: Longs
    south: float
    height: float


class Faces(NamedTuple):
    """Rings of halves around faces.

    Parameters
    ----------
    ring : (half,) int64
        Ring of each half.
    first : (ring + 1,) int64
        First entry of each ring, and the number of entries.
    half : (entry,) int64
        Halves of the ring.
    """

    ring: Longs
    first: Longs
    half: Longs


def halves_of(ends: Floats, start: Longs, stop: Longs, chosen: Bools) -> Halves:
    """Link the chosen halves of edges: after each comes the first one clockwise from where it came."""
    count = len(ends)
    origin = np.concatenate([start, stop])
    dx, dy = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    angle = np.arctan2(np.concatenate([dy, -dy]), np.concatenate([dx, -dx]))
    order = np.lexsort((angle, origin)).astype(np.int64)
    following = np.full(2 * count, -1, np.int64)
    _link(order, origin, chosen, following)
    return Halves(ends, origin, following, count)


@kernel
def _link(order: Longs, origin: Longs, chosen: Bools, following: Longs) -> None:
    """Walk around each vertex; the halves that arrive are the others of those that leave."""
    count = len(order) // 2
    begin = 0
    while begin < len(order):
        stop = begin
        last = np.int64(-1)  # the last chosen half before, in the order of angles
        while stop < len(order) and origin[order[stop]] == origin[order[begin]]:
            if chosen[order[stop]]:
                last = order[stop]
            stop += 1
        for at in range(begin, stop):
            leaving = order[at]
            arriving = leaving + count if leaving < count else leaving - count
            if chosen[arriving]:
                following[arriving] = last
            if chosen[leaving]:
                last = leaving
        begin = stop


@kernel
def label_rings(following: Longs, ring: Longs) -> np.int64:
    """Give each half the number of its ring, -1 where it has none, and return how many rings there are."""
    rings = np.int64(0)
    for half in range(len(following)):
        if following[half] >= 0 and ring[half] < 0:
            at = np.int64(half)
            while ring[at] < 0:
                ring[at] = rings
                at = following[at]
            rings += 1
    return rings


def depths_of(halves: Halves, times: Longs) -> Longs:
    """Return how many polygons cover the left side of each half."""
    count = halves.edges
    ring = np.full(2 * count, -1, np.int64)
    rings = label_rings(halves.next, ring)
    depth, known = np.zeros(rings, np.int64), np.zeros(rings, np.bool_)
    order = np.argsort(ring, kind="stable").astype(np.int64)
    first = np.searchsorted(ring[order], np.arange(rings + 1)).astype(np.int64)
    # The edges of each row, to be met by rays to the right.
    y1, y2 = halves.ends[:, 1], halves.ends[:, 3]
    low, high = np.minimum(y1, y2), np.maximum(y1, y2)
    south = float(low.min())
    height = max(2 * float((high - low).mean()), float(high.max() - south) / 2**20) or 1.0
    begin = np.floor((low - south) / height).astype(np.int64)
    span = np.floor((high - south) / height).astype(np.int64) - begin + 1
    row = np.repeat(begin - np.cumsum(span) + span, span) + np.arange(span.sum())
    edge = np.repeat(np.arange(count), span)
    by_row = np.argsort(row, kind="stable")
    row_first = np.searchsorted(row[by_row], np.arange(row.max() + 2)).astype(np.int64)
    table = Rows(halves.ends, times, row_first, edge[by_row].astype(np.int64), south, height)
    _spread(table, Faces(ring, first, order), depth, known, np.empty(rings, np.int64))
    return depth[ring]


@inlined
def _right_of(rows: Rows, edge: int) -> np.int64:
    """Return how many polygons cover the place to the right of an edge's middle: +1 for each edge up, -1 down."""
    x = (rows.ends[edge, 0] + rows.ends[edge, 2]) / 2
    y = (rows.ends[edge, 1] + rows.ends[edge, 3]) / 2
    row = np.int64((y - rows.south) / rows.height)
    found = np.int64(0)
    for entry in range(rows.first[row], rows.first[row + 1]):
        i = rows.edge[entry]
        x1, y1 = rows.ends[i, 0], rows.ends[i, 1]
        x2, y2 = rows.ends[i, 2], rows.ends[i, 3]
        if i != edge and (y1 <= y) != (y2 <= y) and x1 + (y - y1) / (y2 - y1) * (x2 - x1) > x:
            found += rows.times[i] if y2 > y1 else -rows.times[i]
    return found


@kernel
def _spread(rows: Rows, faces: Faces, depth: Longs, known: Bools, waiting: Longs) -> None:
    """Find the depth of one face of every connected part by a ray, and of the others across edges."""
    ring, first, order = faces
    count = len(rows.times)
    for begin in range(len(depth)):
        if known[begin]:
            continue
        # The steepest edge of the ring meets the ray best.
        best, height = np.int64(-1), -1.0
        for at in range(first[begin], first[begin + 1]):
            edge = order[at] if order[at] < count else order[at] - count
            own = abs(rows.ends[edge, 3] - rows.ends[edge, 1])
            if own > height:
                best, height = order[at], own
        edge = best if best < count else best - count
        upwards = (rows.ends[edge, 3] > rows.ends[edge, 1]) == (best < count)
        right = _right_of(rows, int(edge))
        gain = rows.times[edge] if rows.ends[edge, 3] > rows.ends[edge, 1] else -rows.times[edge]
        depth[begin] = right + gain if upwards else right
        known[begin] = True
        waiting[0] = begin
        left = 1
        while left:
            left -= 1
            here = waiting[left]
            for at in range(first[here], first[here + 1]):
                half = order[at]
                there = ring[half + count] if half < count else ring[half - count]
                if not known[there]:
                    step = rows.times[half] if half < count else -rows.times[half - count]
                    depth[there] = depth[here] - step
                    known[there] = True
                    waiting[left] = there
                    left += 1
