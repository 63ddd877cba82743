"""Smoothing of boundaries: lines through the midpoints of pixel edges instead of stairs.

A corner where a boundary turns is cut from the midpoint of one of its two pixel edges to that of the other. So the
line stays within half a pixel of the boundary, in squares around the corners. The squares of two corners share at most
the midpoint of an edge, so lines cannot cross or touch, and a stair with steps of one pixel becomes straight. Corners
without a mate are fixed, and so are borders and corners where three or more regions meet.

The lattice is that of half pixels. Midpoints are whole numbers in it.
"""

from __future__ import annotations

from geoseg.kernels.kernel import kernel
from geoseg.polygons.chains import Chains, Links, Span
from geoseg.polygons.rings import Corners
from geoseg.polygons.runs import Ints


@kernel
def count_cut(corner: Corners, before: Ints, mate: Ints, inside: Span) -> int:
    """Return how many vertices are added when corners are cut."""
    more = 0
    for vertex in range(inside.begin, inside.stop):
        if mate[vertex] >= 0 and not _follows_at_once(corner, before, mate, vertex):
            more += 1
    return more


@kernel
def cut_corners(
    chains: Chains,
    links: Links,
    new: Chains,
    new_mate: Ints,
    inside: Span,
    enters: Ints,
) -> None:
    """Fill chains with cut corners: a turn becomes two vertices, or one if the turn before it ends there.

    Parameters
    ----------
    chains
        In pixels; stubs that vertices follow have places.
    links
        Of these.
    new
        Out: in half pixels, with as many stubs. Owners are 0 and followers -1 before.
    new_mate
        Out, -1 before.
    inside
        The vertices.
    enters
        Out: of every id the first one that takes its place; a vertex of two is followed by its second.
    """
    corner, owner, following = chains
    before, mate = links
    new_corner, new_owner, new_following = new
    begin, stop = inside
    place = 0
    for vertex in range(len(owner)):
        enters[vertex] = place
        cut = begin <= vertex < stop and mate[vertex] >= 0
        place += 2 if cut and not _follows_at_once(corner, before, mate, vertex) else 1
    enters[len(owner)] = place
    for vertex in range(len(owner)):
        first, last = enters[vertex], enters[vertex + 1] - 1
        col, row = 2 * corner[vertex, 0], 2 * corner[vertex, 1]
        if begin <= vertex < stop and mate[vertex] >= 0:
            after, other = following[vertex], mate[vertex]
            new_corner[last, 0] = col + _sign(corner[after, 0] - corner[vertex, 0])
            new_corner[last, 1] = row + _sign(corner[after, 1] - corner[vertex, 1])
            at_once = (
                begin <= after < stop and mate[after] >= 0 and _follows_at_once(corner, before, mate, after)
            )
            # The mate of a last vertex: that of the vertex beside, which ends here too; else the first of the mate.
            new_mate[last] = enters[mate[after] + 1] - 1 if at_once else enters[other]
            if first != last:
                earlier = before[vertex]
                new_corner[first, 0] = col + _sign(corner[earlier, 0] - corner[vertex, 0])
                new_corner[first, 1] = row + _sign(corner[earlier, 1] - corner[vertex, 1])
                new_mate[first] = enters[other + 1] - 1
                new_following[first] = last
                new_owner[first] = owner[vertex]
        else:
            new_corner[last, 0], new_corner[last, 1] = col, row
        new_owner[last] = owner[vertex]
        if following[vertex] >= 0:
            new_following[last] = enters[following[vertex]]


@kernel
def _follows_at_once(corner: Corners, before: Ints, mate: Ints, vertex: int) -> bool:
    """Tell whether the vertex before a turn is a turn, too, one pixel away: both end in the midpoint between."""
    earlier = before[vertex]
    if mate[earlier] < 0:
        return False
    steps = abs(corner[earlier, 0] - corner[vertex, 0]) + abs(corner[earlier, 1] - corner[vertex, 1])
    return bool(steps == 1)


@kernel
def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
