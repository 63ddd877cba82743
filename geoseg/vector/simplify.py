"""Boundaries with fewer vertices: Visvalingam and Whyatt's way, on whole numbers, without crossings.

Of all vertices the one goes first whose triangle with its two neighbours on the boundary is the smallest
(M. Visvalingam and J. D. Whyatt, Line generalisation by repeated elimination of points, 1993). Corners are whole
numbers, so twice the area is one: vertices wait in a queue for each area, those of one area in the order in which
they came to it, and nothing is sorted.

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

_Queue = tuple[Ints, Ints, Ints, Ints, Ints]
_NONE = -1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def simplify(
    chains: tuple[Corners, Ints, Ints],
    links: tuple[Ints, Ints],
    inside: tuple[int, int],
    lattice: tuple[int, int, int],
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
        First row, rows and columns of corners.
    limit : int
        Largest area of a triangle, in halves of a square.
    """
    corner, owner, following = chains
    before, mate = links
    begin, stop = inside
    row, rows, cols = lattice
    words = (cols + 63) // 64
    there = np.zeros((rows, words), np.uint64)
    for vertex in range(begin, stop):
        _put(there, corner[vertex, 0], corner[vertex, 1] - row)
    head = np.full(limit + 1, _NONE, following.dtype)
    tail = np.full(limit + 1, _NONE, following.dtype)
    after = np.full(stop - begin, _NONE, following.dtype)
    ahead = np.full(stop - begin, _NONE, following.dtype)
    waits = np.full(stop - begin, _NONE, np.int32)
    queue = (head, tail, after, ahead, waits)
    for vertex in range(begin, stop):
        if vertex < mate[vertex]:
            _enqueue(queue, vertex, chains, mate, inside)
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
        _take(there, corner[vertex, 0], corner[vertex, 1] - row)
        for gone in (vertex, other):
            previous, following_one = before[gone], following[gone]
            following[previous] = following_one
            before[following_one] = previous
            following[gone] = _NONE
            owner[gone] = 0
            if mate[following_one] != _NONE:
                neighbour = min(following_one, mate[following_one])
                if waits[neighbour - begin] != _NONE:
                    _dequeue(queue, neighbour - begin)
                now = _enqueue(queue, neighbour, chains, mate, inside)
                if now != _NONE:
                    area = min(area, now)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _enqueue(
    queue: _Queue, vertex: int, chains: tuple[Corners, Ints, Ints], mate: Ints, inside: tuple[int, int]
) -> int:
    """Put a vertex last among those of its area, if it may go; return the area, or -1."""
    corner, _, following = chains
    begin, stop = inside
    one, other = following[vertex], following[mate[vertex]]
    if one < begin or one >= stop or other < begin or other >= stop:
        return _NONE
    head, tail, after, ahead, waits = queue
    across = np.int64(corner[one, 0]) - corner[vertex, 0]
    down = np.int64(corner[one, 1]) - corner[vertex, 1]
    area = abs(
        across * (np.int64(corner[other, 1]) - corner[vertex, 1])
        - down * (np.int64(corner[other, 0]) - corner[vertex, 0])
    )
    if area >= len(head):
        return _NONE
    place = vertex - begin
    waits[place] = area
    after[place] = _NONE
    ahead[place] = tail[area]
    if tail[area] == _NONE:
        head[area] = place
    else:
        after[tail[area]] = place
    tail[area] = place
    return int(area)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _dequeue(queue: _Queue, place: int) -> None:
    head, tail, after, ahead, waits = queue
    area = waits[place]
    if ahead[place] == _NONE:
        head[area] = after[place]
    else:
        after[ahead[place]] = after[place]
    if after[place] == _NONE:
        tail[area] = ahead[place]
    else:
        ahead[after[place]] = ahead[place]
    waits[place] = _NONE


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
def _put(there: npt.NDArray[np.uint64], col: int, row: int) -> None:
    there[row, col >> 6] |= np.uint64(1) << np.uint64(col & 63)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _take(there: npt.NDArray[np.uint64], col: int, row: int) -> None:
    there[row, col >> 6] &= ~(np.uint64(1) << np.uint64(col & 63))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _occupied(
    there: npt.NDArray[np.uint64], corner: Corners, before: Ints, vertex: int, other: int, row: int
) -> bool:
    """Say whether the triangle of a vertex and its neighbours holds another vertex, its sides included."""
    x = (np.int64(corner[vertex, 0]), np.int64(corner[before[vertex], 0]), np.int64(corner[before[other], 0]))
    y = (
        np.int64(corner[vertex, 1]) - row,
        np.int64(corner[before[vertex], 1]) - row,
        np.int64(corner[before[other], 1]) - row,
    )
    twice = abs((x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]))
    if twice == 1:  # by Pick's theorem it holds no other point of the lattice
        return False
    for i in range(3):
        _take(there, x[i], y[i])
    found = False
    for at in range(min(y[0], min(y[1], y[2])), max(y[0], max(y[1], y[2])) + 1):
        west, east = there.shape[1] * 64, np.int64(-1)
        for i in range(3):
            j = (i + 1) % 3
            low, high = (i, j) if y[i] <= y[j] else (j, i)
            if at < y[low] or at > y[high]:
                continue
            height = y[high] - y[low]
            if height == 0:
                west, east = min(west, min(x[i], x[j])), max(east, max(x[i], x[j]))
            else:
                run = (at - y[low]) * (x[high] - x[low])
                west = min(west, x[low] - ((-run) // height))  # rounded up
                east = max(east, x[low] + run // height)
        if _any_between(there[at], west, east):
            found = True
            break
    for i in range(3):
        _put(there, x[i], y[i])
    return found


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _any_between(bits: npt.NDArray[np.uint64], west: int, east: int) -> bool:
    """Say whether one of the bits from `west` to `east` is set."""
    if west > east:
        return False
    everything = ~np.uint64(0)
    first, last = west >> 6, east >> 6
    from_west = everything << np.uint64(west & 63)
    to_east = everything >> np.uint64(63 - (east & 63))
    if first == last:
        return bool(bits[first] & from_west & to_east)
    if bits[first] & from_west or bits[last] & to_east:
        return True
    for word in range(first + 1, last):  # noqa: SIM110 (numba takes no generators)
        if bits[word]:
            return True
    return False
