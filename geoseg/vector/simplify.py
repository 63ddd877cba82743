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

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined, kernel
from geoseg.vector.occupied import Bits, no_corners, put_all, take_if_alone
from geoseg.vector.rings import Corners
from geoseg.vector.runs import Ints, index_dtype

Longs = npt.NDArray[np.int64]
_Places: TypeAlias = tuple[tuple[int, int, int, int, int], tuple[Longs, int]]

_NONE = -1
# Below, "inline" saves two fifths of the time: calls that hand arrays on cost as much as what they do.
# A node is a corner that has a mate. Its eight numbers follow each other, so that they lie in one line of the
# processor's cache, and it is known by the place of the first one: where it is; the nodes next to it, on the way of
# its first vertex and of the second; those below and above it on its stack; what it is; its first vertex.
_X, _Y, _ONE, _TWO, _BELOW, _ABOVE, _KIND, _VERTEX = range(8)
_NUMBERS = 8
# An end, where a line comes to a corner without a mate, has in place of neighbours the vertex to which the line comes,
# and the one from which the other chain comes back.
_NODE, _END, _SEAM = range(3)
# Behind the nodes come the stacks, two numbers each, which stand at the places of a node's _BELOW and _ABOVE: a stack
# is a ring of nodes that begins and ends at itself, so that to lift one and to lay it down asks no questions. There
# is one for each area, and a last one for the nodes that stay until a neighbour goes.


def simplify(
    chains: tuple[Corners, Ints, Ints],
    links: tuple[Ints, Ints],
    inside: tuple[int, int],
    lattice: tuple[int, int, int, int, int],
    limits: tuple[int, Longs, int],
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
    limits
        Largest area of a triangle, in halves of a square; the same by squares of the lattice, of which it is the
        largest; and the power of two that is a square's edge.
    """
    limit = limits[0]
    row, rows, cols = lattice[:3]
    there = no_corners(rows, cols)
    put_all(there, chains[0], inside, row)
    place_of = np.empty(inside[1] - inside[0], np.int64)
    nodes, ends = _number(chains[2], links[1], inside, place_of)
    stacks = _NUMBERS * (nodes + ends)
    size = stacks + 2 * (limit + 2)
    node = _begun_at_a_line(size, index_dtype(size))
    _make_nodes(node, _NUMBERS * nodes, place_of, chains, links, inside)
    _take_away(node, (stacks, limit), there, chains, links, inside, (lattice, limits[1:]))
    _write_chains(node[:stacks], chains, links[1])


_LINE = 64
"""Bytes of a line of the processor's cache."""


def _begun_at_a_line(size: int, dtype: type[np.integer[Any]]) -> Ints:
    """Make an array that begins where a line of the cache does, which those of numpy do not."""
    room = np.empty(size * np.dtype(dtype).itemsize + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + size * np.dtype(dtype).itemsize].view(dtype)


@kernel
def _number(following: Ints, mate: Ints, inside: tuple[int, int], place_of: Ints) -> tuple[int, int]:
    """Fill the place of each vertex' node; return how many nodes and ends there will be."""
    begin, stop = inside
    nodes = ends = 0
    for vertex in range(begin, stop):
        if vertex < mate[vertex]:
            place_of[vertex - begin] = place_of[mate[vertex] - begin] = _NUMBERS * nodes
            nodes += 1
        if mate[vertex] != _NONE and mate[following[vertex]] == _NONE:
            ends += 1
    return nodes, ends


@kernel
def _make_nodes(
    node: Ints,
    end: int,
    place_of: Ints,
    chains: tuple[Corners, Ints, Ints],
    links: tuple[Ints, Ints],
    inside: tuple[int, int],
) -> None:
    """Make a node of each pair of mates, and an end wherever one has a neighbour without a mate.

    The ends lie behind the nodes, from `end` on.
    """
    corner, _, following = chains
    before, mate = links
    begin, stop = inside
    place = 0
    for vertex in range(begin, stop):
        if vertex >= mate[vertex]:
            continue
        node[place + _X], node[place + _Y] = corner[vertex, 0], corner[vertex, 1]
        node[place + _KIND], node[place + _VERTEX] = _NODE, vertex
        for side in range(2):
            here = vertex if side == 0 else mate[vertex]
            after = following[here]
            if mate[after] != _NONE:
                node[place + _ONE + side] = place_of[after - begin]
                continue
            node[place + _ONE + side] = end
            node[end + _X], node[end + _Y] = corner[after, 0], corner[after, 1]
            node[end + _ONE], node[end + _TWO] = after, before[mate[here]]
            node[end + _KIND] = _END if begin <= after < stop else _SEAM
            end += _NUMBERS
        place += _NUMBERS


@kernel
def _take_away(
    node: Ints,
    stacks: tuple[int, int],
    there: Bits,
    chains: tuple[Corners, Ints, Ints],
    links: tuple[Ints, Ints],
    inside: tuple[int, int],
    places: _Places,
) -> None:
    """Take nodes away in the order of their areas; `stacks` are the place of the first one and the largest area."""
    _, owner, following = chains
    before, mate = links
    row = places[0][0]
    first_stack, limit = stacks
    stay = _stack(stacks, limit + 1)
    for area in range(limit + 2):
        stack = _stack(stacks, area)
        node[stack + _BELOW] = node[stack + _ABOVE] = stack
    for place in range(first_stack - _NUMBERS, -1, -_NUMBERS):
        if node[place + _KIND] == _NODE:
            _lay(node, _stack(stacks, _area(node, place, places, limit)), place)
    area = 0
    while area <= limit:
        stack = _stack(stacks, area)
        place = node[stack + _BELOW]
        if place == stack:
            area += 1
            continue
        _lift(node, place)
        one, two = node[place + _ONE], node[place + _TWO]
        if _joined(node, (one, two), chains[0], before, inside) or not take_if_alone(
            there,
            (int(node[place + _X]), int(node[place + _Y]) - row),
            (int(node[one + _X]), int(node[one + _Y]) - row),
            (int(node[two + _X]), int(node[two + _Y]) - row),
        ):
            _lay(node, stay, place)
            continue
        first = node[place + _VERTEX]
        second = mate[first]
        owner[first] = owner[second] = 0
        following[first] = following[second] = _NONE
        if node[one + _KIND] != _NODE and node[two + _KIND] != _NODE:
            # The line has no node left from which its chains could be written at the end.
            _follow(following, before, node[two + _TWO], node[one + _ONE])
            _follow(following, before, node[one + _TWO], node[two + _ONE])
            continue
        area = min(area, _relink(node, (one, place, two), stacks, places))
        area = min(area, _relink(node, (two, place, one), stacks, places))


@inlined
def _relink(
    node: Ints,
    chain: tuple[int, int, int],
    stacks: tuple[int, int],
    places: _Places,
) -> int:
    """Give a node the neighbour behind one that goes, and its new stack; return its area."""
    place, gone, behind = chain
    if node[place + _KIND] != _NODE:
        return stacks[1] + 1
    node[place + _ONE + (node[place + _ONE] != gone)] = behind
    _lift(node, place)
    area = _area(node, place, places, stacks[1])
    _lay(node, _stack(stacks, area), place)
    return int(area)


@inlined
def _stack(stacks: tuple[int, int], area: int) -> int:
    """Return the place of which the stack of an area would be the node."""
    return stacks[0] + 2 * area - _BELOW


@inlined
def _area(node: Ints, place: int, places: _Places, limit: int) -> int:
    """Twice the area of the triangle of a node and its neighbours; one more than the limit if it is to stay."""
    lattice, (limits, shift) = places
    one, two = node[place + _ONE], node[place + _TWO]
    x, y = int(node[place + _X]), int(node[place + _Y])
    x1, y1 = int(node[one + _X]), int(node[one + _Y])
    x2, y2 = int(node[two + _X]), int(node[two + _Y])
    if (
        node[one + _KIND] == _SEAM
        or node[two + _KIND] == _SEAM
        or (y1 == lattice[3] and y2 == y1)
        or (y1 == lattice[4] and y2 == y1)
    ):
        return limit + 1
    area = abs((x1 - x) * (y2 - y) - (y1 - y) * (x2 - x))
    return area if area <= limits[y >> shift, x >> shift] else limit + 1


@inlined
def _lay(node: Ints, stack: int, place: int) -> None:
    """Lay a node on a stack."""
    below = node[stack + _BELOW]
    node[place + _BELOW], node[place + _ABOVE] = below, stack
    node[below + _ABOVE] = node[stack + _BELOW] = place


@inlined
def _lift(node: Ints, place: int) -> None:
    """Take a node from its stack."""
    below, above = node[place + _BELOW], node[place + _ABOVE]
    node[above + _BELOW] = below
    node[below + _ABOVE] = above


@kernel
def _follow(following: Ints, before: Ints, vertex: int, after: int) -> None:
    following[vertex] = after
    before[after] = vertex


@kernel
def _write_chains(node: Ints, chains: tuple[Corners, Ints, Ints], mate: Ints) -> None:
    """Link the vertices of the nodes that are left as their nodes are linked."""
    _, owner, following = chains
    for place in range(0, len(node), _NUMBERS):
        first = node[place + _VERTEX]
        if node[place + _KIND] != _NODE or owner[first] == 0:
            continue
        for side in range(2):
            here, back = (first, mate[first]) if side == 0 else (mate[first], first)
            beside = node[place + _ONE + side]
            if node[beside + _KIND] == _NODE:
                other = node[beside + _VERTEX]
                following[here] = other if owner[other] == owner[here] else mate[other]
            else:
                following[here] = node[beside + _ONE]
                following[node[beside + _TWO]] = back


@inlined
def _joined(
    node: Ints, pair: tuple[int, int], corner: Corners, before: Ints, inside: tuple[int, int]
) -> bool:
    """Say whether the neighbours of a node are one, or joined by another edge."""
    one, two = pair
    if node[one + _X] == node[two + _X] and node[one + _Y] == node[two + _Y]:
        return True
    if node[one + _KIND] == _NODE:  # it has just one other edge
        return bool(_beside(node, one, two))
    if node[two + _KIND] == _NODE:
        return bool(_beside(node, two, one))
    one, two = node[one + _ONE], node[two + _ONE]
    return bool(
        _comes_from(corner, before, (one, two), inside) or _comes_from(corner, before, (two, one), inside)
    )


@inlined
def _beside(node: Ints, place: int, other: int) -> bool:
    """Say whether one of the neighbours of a node lies where another node or end does."""
    x, y = node[other + _X], node[other + _Y]
    one, two = node[place + _ONE], node[place + _TWO]
    return bool(
        (node[one + _X] == x and node[one + _Y] == y) or (node[two + _X] == x and node[two + _Y] == y)
    )


@kernel
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


@kernel
def _same(corner: Corners, one: int, other: int) -> bool:
    return bool(corner[one, 0] == corner[other, 0] and corner[one, 1] == corner[other, 1])
