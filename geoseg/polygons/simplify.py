"""Simplification of boundaries by Visvalingam and Whyatt's algorithm, in integers and without crossings.

The vertex whose triangle with its two neighbours on the boundary is the smallest is removed first (M. Visvalingam and
J. D. Whyatt, Line generalisation by repeated elimination of points, 1993). Corners are integers, so twice the area is
one, too: there is one stack of vertices per area, and nothing is sorted. Among equal areas the last one is removed
first, so that work continues along a line, which then runs through the middle of stairs. First in, first out would
remove every other corner, and the line would run along the outer or the inner corners.

Law: a valid coverage remains one. A vertex is removed only if

- its triangle, its sides included, holds no other vertex that is there at the moment: then no line passes through
  the triangle, and none lies on the new edge;
- its neighbours are not joined by another edge already: then no ring, and no region between two boundaries,
  collapses.

A vertex that cannot be removed is tried again when one of its neighbours is removed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined, kernel
from geoseg.polygons.chains import Chains, Links, Span, same_corner
from geoseg.polygons.occupied import Bits, Point, no_corners, put_all, take_if_alone
from geoseg.polygons.rings import Corners
from geoseg.polygons.runs import Ints, index_dtype

Longs = npt.NDArray[np.int64]

_NONE = -1
# Inlining below saves two fifths of the time: passing arrays costs as much as the work of the functions.
# A node is a corner with a mate. Its eight consecutive numbers share a cache line, and its position is that of the
# first: coordinates; the next nodes along the chains of its first and of its second vertex; the nodes below and above
# it on its stack; its kind; its first vertex.
_X, _Y, _ONE, _TWO, _BELOW, _ABOVE, _KIND, _VERTEX = range(8)
_NUMBERS = 8
# An end is a corner without a mate at which a line arrives. Instead of neighbours it has the vertex at which the line
# arrives and the one from which the other chain leaves.
_NODE, _END, _SEAM = range(3)
# The stacks follow the nodes, with two numbers each, like a node's _BELOW and _ABOVE: a stack is a circular linked
# list, so that adding and removing nodes needs no special cases. There is one stack per area, and a last one for nodes
# that wait until a neighbour is removed.


class Lattice(NamedTuple):
    """The lattice of the corners of a strip.

    Parameters
    ----------
    row : int
        First row of corners.
    rows, cols : int
        Rows and columns of corners.
    upper, lower : int
        Rows of the upper and the lower seam, where both strips may have vertices: none of them is removed, and none is
        joined to another there. -1 without such a seam.
    """

    row: int
    rows: int
    cols: int
    upper: int
    lower: int


class Limits(NamedTuple):
    """The triangles whose vertices are removed.

    Parameters
    ----------
    largest : int
        Largest area of such a triangle, in half squares of the lattice.
    places : (row, col) int64
        Largest area by squares of the lattice; `largest` is the largest of them.
    shift : int
        Edge of these squares as an exponent of two.
    """

    largest: int
    places: Longs
    shift: int


class _Stacks(NamedTuple):
    """The stacks of the nodes, and what decides on which of them a node lies.

    Parameters
    ----------
    first : int
        Place of the first stack.
    lattice : Lattice
        Lattice of the corners, with its seams.
    limits : Limits
        Areas up to which nodes are removed.
    """

    first: int
    lattice: Lattice
    limits: Limits


def simplify(chains: Chains, links: Links, inside: Span, lattice: Lattice, limits: Limits) -> None:
    """Remove vertices: they get the owner 0 and no following vertex.

    Parameters
    ----------
    chains : Chains
        Chains, changed in place.
    links : Links
        Preceding vertices, which are not kept up to date, and mates.
    inside : Span
        Ids of the vertices; other ids are stubs, and vertices next to those of seams are fixed.
    lattice : Lattice
        Lattice of the corners.
    limits : Limits
        Areas up to which vertices are removed.
    """
    there = no_corners(lattice.rows, lattice.cols)
    put_all(there, chains.corner, inside, lattice.row)
    place_of = np.empty(inside.stop - inside.begin, np.int64)
    nodes, ends = _number(chains.following, links.mate, inside, place_of)
    stacks = _NUMBERS * (nodes + ends)
    size = stacks + 2 * (limits.largest + 2)
    node = _begun_at_a_line(size, index_dtype(size))
    _make_nodes(node, _NUMBERS * nodes, place_of, chains, links, inside)
    _take_away(node, _Stacks(stacks, lattice, limits), there, chains, links, inside)
    _write_chains(node[:stacks], chains, links.mate)


_LINE = 64
"""Bytes of a cache line of the processor."""


def _begun_at_a_line(size: int, dtype: type[np.integer[Any]]) -> Ints:
    """Allocate an array that is aligned to a cache line, unlike numpy's own."""
    room = np.empty(size * np.dtype(dtype).itemsize + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + size * np.dtype(dtype).itemsize].view(dtype)


@kernel
def _number(following: Ints, mate: Ints, inside: Span, place_of: Ints) -> tuple[int, int]:
    """Fill the position of each vertex's node; return the numbers of nodes and ends."""
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
    chains: Chains,
    links: Links,
    inside: Span,
) -> None:
    """Make a node for each pair of mates, and an end wherever a node has a neighbour without a mate.

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
    stacks: _Stacks,
    there: Bits,
    chains: Chains,
    links: Links,
    inside: Span,
) -> None:
    """Remove nodes in the order of their areas."""
    _, owner, following = chains
    before, mate = links
    row, limit = stacks.lattice.row, stacks.limits.largest
    stay = _stack(stacks, limit + 1)
    for area in range(limit + 2):
        stack = _stack(stacks, area)
        node[stack + _BELOW] = node[stack + _ABOVE] = stack
    for place in range(stacks.first - _NUMBERS, -1, -_NUMBERS):
        if node[place + _KIND] == _NODE:
            _lay(node, _stack(stacks, _area(node, place, stacks)), place)
    area = 0
    while area <= limit:
        stack = _stack(stacks, area)
        place = node[stack + _BELOW]
        if place == stack:
            area += 1
            continue
        _lift(node, place)
        one, two = node[place + _ONE], node[place + _TWO]
        if _joined(node, one, two, chains.corner, before, inside) or not take_if_alone(
            there,
            Point(int(node[place + _X]), int(node[place + _Y]) - row),
            Point(int(node[one + _X]), int(node[one + _Y]) - row),
            Point(int(node[two + _X]), int(node[two + _Y]) - row),
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
        area = min(area, _relink(node, one, place, two, stacks))
        area = min(area, _relink(node, two, place, one, stacks))


@inlined
def _relink(node: Ints, place: int, gone: int, behind: int, stacks: _Stacks) -> int:
    """Replace a removed neighbour of a node by the next one, and restack the node; return its area."""
    if node[place + _KIND] != _NODE:
        return stacks.limits.largest + 1
    node[place + _ONE + (node[place + _ONE] != gone)] = behind
    _lift(node, place)
    area = _area(node, place, stacks)
    _lay(node, _stack(stacks, area), place)
    return int(area)


@inlined
def _stack(stacks: _Stacks, area: int) -> int:
    """Return the position at which the stack of an area would be a node."""
    return stacks.first + 2 * area - _BELOW


@inlined
def _area(node: Ints, place: int, stacks: _Stacks) -> int:
    """Return twice the area of the triangle of a node and its neighbours; limit + 1 if the node is fixed."""
    lattice, limits = stacks.lattice, stacks.limits
    one, two = node[place + _ONE], node[place + _TWO]
    x, y = int(node[place + _X]), int(node[place + _Y])
    x1, y1 = int(node[one + _X]), int(node[one + _Y])
    x2, y2 = int(node[two + _X]), int(node[two + _Y])
    if (
        node[one + _KIND] == _SEAM
        or node[two + _KIND] == _SEAM
        or (y1 == lattice.upper and y2 == y1)
        or (y1 == lattice.lower and y2 == y1)
    ):
        return limits.largest + 1
    area = abs((x1 - x) * (y2 - y) - (y1 - y) * (x2 - x))
    return area if area <= limits.places[y >> limits.shift, x >> limits.shift] else limits.largest + 1


@inlined
def _lay(node: Ints, stack: int, place: int) -> None:
    """Put a node on a stack."""
    below = node[stack + _BELOW]
    node[place + _BELOW], node[place + _ABOVE] = below, stack
    node[below + _ABOVE] = node[stack + _BELOW] = place


@inlined
def _lift(node: Ints, place: int) -> None:
    """Remove a node from its stack."""
    below, above = node[place + _BELOW], node[place + _ABOVE]
    node[above + _BELOW] = below
    node[below + _ABOVE] = above


@kernel
def _follow(following: Ints, before: Ints, vertex: int, after: int) -> None:
    following[vertex] = after
    before[after] = vertex


@kernel
def _write_chains(node: Ints, chains: Chains, mate: Ints) -> None:
    """Link the vertices of the remaining nodes like their nodes."""
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
def _joined(node: Ints, one: int, two: int, corner: Corners, before: Ints, inside: Span) -> bool:
    """Tell whether the neighbours of a node coincide or are joined by another edge."""
    if node[one + _X] == node[two + _X] and node[one + _Y] == node[two + _Y]:
        return True
    if node[one + _KIND] == _NODE:  # it has just one other edge
        return bool(_beside(node, one, two))
    if node[two + _KIND] == _NODE:
        return bool(_beside(node, two, one))
    here, there = node[one + _ONE], node[two + _ONE]
    return bool(
        _comes_from(corner, before, here, there, inside) or _comes_from(corner, before, there, here, inside)
    )


@inlined
def _beside(node: Ints, place: int, other: int) -> bool:
    """Tell whether a neighbour of a node lies at the position of another node or end."""
    x, y = node[other + _X], node[other + _Y]
    one, two = node[place + _ONE], node[place + _TWO]
    return bool(
        (node[one + _X] == x and node[one + _Y] == y) or (node[two + _X] == x and node[two + _Y] == y)
    )


@kernel
def _comes_from(corner: Corners, before: Ints, here: int, there: int, inside: Span) -> bool:
    """Tell whether a chain leads directly from one corner without a mate to another.

    The vertices at a corner are numbered in turn. Where nodes are left, what was before a vertex is a place of nodes.
    """
    begin, stop = inside
    vertex = here
    while vertex >= begin and same_corner(corner, vertex, here):
        if before[vertex] != _NONE and same_corner(corner, before[vertex], there):
            return True
        vertex -= 1
    vertex = here + 1
    while vertex < stop and same_corner(corner, vertex, here):
        if before[vertex] != _NONE and same_corner(corner, before[vertex], there):
            return True
        vertex += 1
    return False
