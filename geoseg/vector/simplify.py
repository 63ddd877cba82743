"""Boundaries with fewer vertices: Visvalingam and Whyatt's way, on whole numbers, without crossings.

Of all vertices the one goes first whose triangle with its two neighbours on the boundary is the smallest
(M. Visvalingam and J. D. Whyatt, Line generalisation by repeated elimination of points, 1993). Corners are whole
numbers, so twice the area is one: vertices wait in a stack for each area, and nothing is sorted. Of equal areas the
last one goes first, so that a line goes on where it was: it then runs through the middle of stairs. In the order in
which they came, every other corner would go, and the line would run along the outer or the inner ones.

Law: what was a valid coverage is one. A vertex goes only if

- its triangle, its sides included, holds no other vertex that is there at the moment: then no line passes through
  the triangle, and none lies on the new edge;
- its neighbours are not joined by another edge already: then no ring, and no region between two boundaries,
  collapses.

A vertex that may not go waits until one of its neighbours goes, and stays where none does.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from geoseg.vector.rings import Corners
from geoseg.vector.runs import Ints

_Queue = tuple[Ints, Ints]
_NONE = -1
_BELOW, _ABOVE, _AREA = range(3)  # columns of the stacks: vertices below and above; twice the area


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def simplify(
    chains: tuple[Corners, Ints, Ints],
    links: tuple[Ints, Ints],
    inside: tuple[int, int],
    lattice: tuple[int, int, int, int, int],
    limit: int,
) -> None:
    """Take vertices away; they get the owner 0, and nothing follows them.

    Parameters
    ----------
    chains
        As `Chains`.
    links
        By vertex which one is before it, and its mate in the other chain: -1 for those that stay.
    inside
        First vertex, and behind the last one; other ids are stubs, and what is next to those of seams stays.
    lattice
        First row, rows and columns of corners; then the rows on which the upper and the lower seam lie, where both
        bands may have vertices: none of them goes, and none is joined to another there.
    limit : int
        Largest area of a triangle, in halves of a square.
    """
    corner, owner, following = chains
    before, mate = links
    begin, stop = inside
    row, rows, cols = lattice[:3]
    seams = lattice[3:]
    there = np.zeros((rows, cols), np.bool_)
    for vertex in range(begin, stop):
        there[corner[vertex, 1] - row, corner[vertex, 0]] = True
    head = np.full(limit + 1, _NONE, following.dtype)
    queue = (head, np.full((stop - begin, 3), _NONE, following.dtype))
    for vertex in range(begin, stop):
        if vertex < mate[vertex]:
            _enqueue(queue, vertex, chains, mate, (inside, seams))
    area = 0
    while area <= limit:
        if head[area] == _NONE:
            area += 1
            continue
        vertex = head[area] + begin
        other = mate[vertex]
        _dequeue(queue, vertex - begin)
        if _joined(chains, before, mate, vertex, inside) or _occupied(
            there, corner, before, vertex, other, row
        ):
            continue
        there[corner[vertex, 1] - row, corner[vertex, 0]] = False
        one, two = following[vertex], following[other]
        _unlink(following, before, vertex)
        _unlink(following, before, other)
        owner[vertex] = owner[other] = 0
        for side in range(2):
            neighbour = one if side == 0 else two
            if mate[neighbour] == _NONE:
                continue
            neighbour = min(neighbour, mate[neighbour])
            if queue[1][neighbour - begin, _AREA] != _NONE:
                _dequeue(queue, neighbour - begin)
            now = _enqueue(queue, neighbour, chains, mate, (inside, seams))
            if now != _NONE:
                area = min(area, now)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _unlink(following: Ints, before: Ints, vertex: int) -> None:
    following[before[vertex]] = following[vertex]
    before[following[vertex]] = before[vertex]
    following[vertex] = _NONE


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _enqueue(
    queue: _Queue,
    vertex: int,
    chains: tuple[Corners, Ints, Ints],
    mate: Ints,
    ends: tuple[tuple[int, int], tuple[int, int]],
) -> int:
    """Put a vertex on those of its area, if it may go; return the area, or -1."""
    corner, _, following = chains
    (begin, stop), (upper, lower) = ends
    one, other = following[vertex], following[mate[vertex]]
    if one < begin or one >= stop or other < begin or other >= stop:
        return _NONE
    if corner[one, 1] == corner[other, 1] and (corner[one, 1] == upper or corner[one, 1] == lower):
        return _NONE
    head, stack = queue
    across = np.int64(corner[one, 0]) - corner[vertex, 0]
    down = np.int64(corner[one, 1]) - corner[vertex, 1]
    area = abs(
        across * (np.int64(corner[other, 1]) - corner[vertex, 1])
        - down * (np.int64(corner[other, 0]) - corner[vertex, 0])
    )
    if area >= len(head):
        return _NONE
    place = vertex - begin
    stack[place, _AREA], stack[place, _ABOVE], stack[place, _BELOW] = area, _NONE, head[area]
    if head[area] != _NONE:
        stack[head[area], _ABOVE] = place
    head[area] = place
    return int(area)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _dequeue(queue: _Queue, place: int) -> None:
    head, stack = queue
    above, below = stack[place, _ABOVE], stack[place, _BELOW]
    if above == _NONE:
        head[stack[place, _AREA]] = below
    else:
        stack[above, _BELOW] = below
    if below != _NONE:
        stack[below, _ABOVE] = above
    stack[place, _AREA] = _NONE


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _joined(
    chains: tuple[Corners, Ints, Ints], before: Ints, mate: Ints, vertex: int, inside: tuple[int, int]
) -> bool:
    """Say whether the neighbours of a vertex are one, or joined by another edge."""
    corner, _, following = chains
    one, other = following[vertex], following[mate[vertex]]
    if _same(corner, one, other):
        return True
    if mate[one] != _NONE:  # it has just one other edge
        return bool(_same(corner, following[one], other))
    if mate[other] != _NONE:
        return bool(_same(corner, following[other], one))
    return bool(
        _comes_from(corner, before, one, other, inside) or _comes_from(corner, before, other, one, inside)
    )


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _comes_from(corner: Corners, before: Ints, here: int, there: int, inside: tuple[int, int]) -> bool:
    """Say whether a chain comes from one fixed corner straight to another; its vertices there are numbered in turn."""
    begin, stop = inside
    vertex = here
    while vertex >= begin and _same(corner, vertex, here):
        if before[vertex] != _NONE and _same(corner, before[vertex], there):
            return True
        vertex -= 1
    vertex = here + 1
    while vertex < stop and _same(corner, vertex, here):
        if before[vertex] != _NONE and _same(corner, before[vertex], there):
            return True
        vertex += 1
    return False


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _same(corner: Corners, one: int, other: int) -> bool:
    return bool(corner[one, 0] == corner[other, 0] and corner[one, 1] == corner[other, 1])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _occupied(
    there: npt.NDArray[np.bool_], corner: Corners, before: Ints, vertex: int, other: int, row: int
) -> bool:
    """Say whether the triangle of a vertex and its neighbours holds another vertex, its sides included."""
    one, two = before[vertex], before[other]
    x, y = int(corner[vertex, 0]), int(corner[vertex, 1]) - row
    x1, y1 = int(corner[one, 0]) - x, int(corner[one, 1]) - row - y
    x2, y2 = int(corner[two, 0]) - x, int(corner[two, 1]) - row - y
    twice = x1 * y2 - y1 * x2
    if abs(twice) == 1:  # by Pick's theorem it holds no other point of the lattice
        return False
    turn = -1 if twice < 0 else 1
    for down in range(min(0, y1, y2), max(0, y1, y2) + 1):
        for across in range(min(0, x1, x2), max(0, x1, x2) + 1):
            if not there[y + down, x + across]:
                continue
            if (across == 0 and down == 0) or (across == x1 and down == y1) or (across == x2 and down == y2):
                continue
            # On which side of the three edges it lies; in a triangle without area all are 0 on the line.
            first = turn * (x1 * down - y1 * across)
            second = turn * (across * y2 - down * x2)
            if first >= 0 and second >= 0 and first + second <= abs(twice):
                return True
    return False
