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

_NONE = -1
# Below, "inline" saves two fifths of the time: calls that hand arrays on cost as much as what they do.
# A node is a corner that has a mate, in one row, so that it lies in one line of the processor's cache: where it is;
# the nodes next to it, on the way of its first vertex and of the second; nodes below and above it on its stack; twice
# the area of its triangle, or one of the marks below; its first vertex.
_X, _Y, _ONE, _TWO, _BELOW, _ABOVE, _AREA, _VERTEX = range(8)
# An end, where a line comes to a corner without a mate, has in place of neighbours the vertex to which the line comes,
# and the one from which the other chain comes back.
_WAITS_NOT, _END, _SEAM = -1, -2, -3


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
        By vertex which one is before it, and its mate in the other chain: -1 for those that stay. What is before
        a vertex is not kept up to date.
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
    there = np.zeros((rows, cols), np.bool_)
    for vertex in range(begin, stop):
        there[corner[vertex, 1] - row, corner[vertex, 0]] = True
    node = _nodes(chains, links, inside)
    head = np.full(limit + 1, _NONE, following.dtype)
    for place in range(len(node) - 1, -1, -1):
        _push(head, node, place, lattice)
    area = 0
    while area <= limit:
        place = head[area]
        if place == _NONE:
            area += 1
            continue
        _lift(head, node, place)
        one, two = node[place, _ONE], node[place, _TWO]
        if _joined(node, (one, two), corner, before, inside) or _occupied(there, node, place, row):
            continue
        there[node[place, _Y] - row, node[place, _X]] = False
        first = node[place, _VERTEX]
        second = mate[first]
        owner[first] = owner[second] = 0
        following[first] = following[second] = _NONE
        if node[one, _AREA] == _END and node[two, _AREA] == _END:
            # The line has no node left from which its chains could be written at the end.
            _follow(following, before, node[two, _TWO], node[one, _ONE])
            _follow(following, before, node[one, _TWO], node[two, _ONE])
            continue
        area = min(area, _relink(head, node, (one, place, two), lattice))
        area = min(area, _relink(head, node, (two, place, one), lattice))
    _write_chains(node, chains, mate)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _nodes(chains: tuple[Corners, Ints, Ints], links: tuple[Ints, Ints], inside: tuple[int, int]) -> Ints:
    """Make a node of each pair of mates, and an end wherever one has a neighbour without a mate."""
    corner, _, following = chains
    before, mate = links
    begin, stop = inside
    place_of = np.empty(stop - begin, following.dtype)
    count = ends = 0
    for vertex in range(begin, stop):
        if vertex < mate[vertex]:
            place_of[vertex - begin] = place_of[mate[vertex] - begin] = count
            count += 1
        if mate[vertex] != _NONE and mate[following[vertex]] == _NONE:
            ends += 1
    node = np.empty((count + ends, 8), following.dtype)
    node[:, _AREA] = _WAITS_NOT
    place, end = 0, count
    for vertex in range(begin, stop):
        if vertex >= mate[vertex]:
            continue
        node[place, _X], node[place, _Y] = corner[vertex, 0], corner[vertex, 1]
        node[place, _VERTEX] = vertex
        for side in range(2):
            here = vertex if side == 0 else mate[vertex]
            after = following[here]
            if mate[after] != _NONE:
                node[place, _ONE + side] = place_of[after - begin]
                continue
            node[place, _ONE + side] = end
            node[end, _X], node[end, _Y] = corner[after, 0], corner[after, 1]
            node[end, _ONE], node[end, _TWO] = after, before[mate[here]]
            node[end, _AREA] = _END if begin <= after < stop else _SEAM
            end += 1
        place += 1
    return node


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _push(head: Ints, node: Ints, place: int, lattice: tuple[int, int, int, int, int]) -> int:
    """Put a node on those of its area, if it may go; return the area, or a large number."""
    nowhere = len(head)
    if node[place, _AREA] < _WAITS_NOT:
        return nowhere
    one, two = node[place, _ONE], node[place, _TWO]
    if node[one, _AREA] == _SEAM or node[two, _AREA] == _SEAM:
        return nowhere
    y1, y2 = int(node[one, _Y]), int(node[two, _Y])
    if y1 == y2 and (y1 == lattice[3] or y1 == lattice[4]):
        return nowhere
    x, y = int(node[place, _X]), int(node[place, _Y])
    area = abs((int(node[one, _X]) - x) * (y2 - y) - (y1 - y) * (int(node[two, _X]) - x))
    if area >= len(head):
        return nowhere
    below = head[area]
    node[place, _AREA], node[place, _ABOVE], node[place, _BELOW] = area, _NONE, below
    if below != _NONE:
        node[below, _ABOVE] = place
    head[area] = place
    return area


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _lift(head: Ints, node: Ints, place: int) -> None:
    """Take a node from its stack."""
    above, below = node[place, _ABOVE], node[place, _BELOW]
    if above == _NONE:
        head[node[place, _AREA]] = below
    else:
        node[above, _BELOW] = below
    if below != _NONE:
        node[below, _ABOVE] = above
    node[place, _AREA] = _WAITS_NOT


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _relink(
    head: Ints, node: Ints, chain: tuple[int, int, int], lattice: tuple[int, int, int, int, int]
) -> int:
    """Give a node the neighbour behind one that goes, and its new place on the stacks; return its area as `_push`."""
    place, gone, behind = chain
    if node[place, _AREA] < _WAITS_NOT:
        return len(head)
    if node[place, _ONE] == gone:
        node[place, _ONE] = behind
    else:
        node[place, _TWO] = behind
    if node[place, _AREA] != _WAITS_NOT:
        _lift(head, node, place)
    return int(_push(head, node, place, lattice))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _follow(following: Ints, before: Ints, vertex: int, after: int) -> None:
    following[vertex] = after
    before[after] = vertex


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _write_chains(node: Ints, chains: tuple[Corners, Ints, Ints], mate: Ints) -> None:
    """Link the vertices of the nodes that are left as their nodes are linked."""
    _, owner, following = chains
    for place in range(len(node)):
        if node[place, _AREA] < _WAITS_NOT:
            continue
        first = node[place, _VERTEX]
        if owner[first] == 0:
            continue
        for side in range(2):
            here, back = (first, mate[first]) if side == 0 else (mate[first], first)
            beside = node[place, _ONE + side]
            if node[beside, _AREA] < _WAITS_NOT:
                following[here] = node[beside, _ONE]
                following[node[beside, _TWO]] = back
            else:
                other = node[beside, _VERTEX]
                following[here] = other if owner[other] == owner[here] else mate[other]


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _joined(
    node: Ints, pair: tuple[int, int], corner: Corners, before: Ints, inside: tuple[int, int]
) -> bool:
    """Say whether the neighbours of a node are one, or joined by another edge."""
    one, two = pair
    if node[one, _X] == node[two, _X] and node[one, _Y] == node[two, _Y]:
        return True
    if node[one, _AREA] >= _WAITS_NOT:  # it has just one other edge
        return bool(_beside(node, one, two))
    if node[two, _AREA] >= _WAITS_NOT:
        return bool(_beside(node, two, one))
    one, two = node[one, _ONE], node[two, _ONE]
    return bool(
        _comes_from(corner, before, (one, two), inside) or _comes_from(corner, before, (two, one), inside)
    )


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _beside(node: Ints, place: int, other: int) -> bool:
    """Say whether one of the neighbours of a node lies where another node or end does."""
    x, y = node[other, _X], node[other, _Y]
    one, two = node[place, _ONE], node[place, _TWO]
    return bool((node[one, _X] == x and node[one, _Y] == y) or (node[two, _X] == x and node[two, _Y] == y))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _comes_from(corner: Corners, before: Ints, pair: tuple[int, int], inside: tuple[int, int]) -> bool:
    """Say whether a chain comes to one corner without a mate straight from another such.

    The vertices at a corner are numbered in turn. Where nodes are left, what was before a vertex is a place of nodes.
    """
    here, there = pair
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


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _occupied(there: npt.NDArray[np.bool_], node: Ints, place: int, row: int) -> bool:
    """Say whether the triangle of a node and its neighbours holds another vertex, its sides included."""
    one, two = node[place, _ONE], node[place, _TWO]
    x, y = int(node[place, _X]), int(node[place, _Y])
    x1, y1 = int(node[one, _X]) - x, int(node[one, _Y]) - y
    x2, y2 = int(node[two, _X]) - x, int(node[two, _Y]) - y
    y -= row
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
