"""Lines through the midpoints of pixel edges, in place of stairs.

A corner where a boundary turns is cut from the midpoint of one of the two pixel edges that meet there to that of
the other. So the line stays within half a pixel of the boundary, in squares around the corners; squares of two
corners share no more than the midpoint of an edge: lines cannot cross or touch, and a stair of steps of one pixel
becomes straight. Corners without a mate stay, so borders and places where three or more regions meet do.

The lattice is that of half pixels. Midpoints are whole numbers in it.
"""

from __future__ import annotations

from geoseg.kernels.kernel import kernel
from geoseg.vector.rings import Corners
from geoseg.vector.runs import Ints


@kernel
def count_cut(corner: Corners, before: Ints, mate: Ints, inside: tuple[int, int]) -> int:
    """How many vertices more there are when corners are cut."""
    more = 0
    for vertex in range(inside[0], inside[1]):
        if mate[vertex] >= 0 and not _follows_at_once(corner, before, mate, vertex):
            more += 1
    return more


@kernel
def cut_corners(
    chains: tuple[Corners, Ints, Ints],
    links: tuple[Ints, Ints],
    new: tuple[Corners, Ints, Ints],
    new_mate: Ints,
    inside: tuple[int, int],
    enters: Ints,
) -> None:
    """Fill chains whose turns are cut: a turn becomes two vertices, or one where the turn before ends in it.

    Parameters
    ----------
    chains
        As `Chains`, in pixels; stubs that vertices follow have places.
    links
        By vertex which one is before it, and its mate.
    new
        Out: chains in half pixels, with as many stubs. Owners are 0 and followers -1 before.
    new_mate
        Out, -1 before.
    inside
        First vertex, and behind the last one.
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
    """Say whether the vertex before a turn is a turn too, one pixel away: both end in the midpoint between."""
    earlier = before[vertex]
    if mate[earlier] < 0:
        return False
    steps = abs(corner[earlier, 0] - corner[vertex, 0]) + abs(corner[earlier, 1] - corner[vertex, 1])
    return bool(steps == 1)


@kernel
def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
