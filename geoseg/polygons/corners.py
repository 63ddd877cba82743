"""What happens at one corner of the pixel lattice: the vertices that it has, and how they link with those before.

A corner of the pixel lattice has up to four edges, north, east, south and west of it, where
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
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.kernels.kernel import inlined
from geoseg.polygons.chains import Chains
from geoseg.polygons.runs import Bools, Ints

Longs = npt.NDArray[np.int64]

NONE = -1


class Regions(NamedTuple):
    """What the tracer asks of regions.

    Parameters
    ----------
    complete : (1 + region,) bool
        By 1-based region, as `complete_regions` says.
    code : (region,) int64
        Class codes.
    """

    complete: Bools
    code: Longs


class Vertices(NamedTuple):
    """What the kernel that visits all corners fills.

    Parameters
    ----------
    chains : Chains
        Ids are those of the stubs, with the vertices between the top and the bottom.
    pinch : (pinch, 2)
        The two regions of each pinch that is open.
    """

    chains: Chains
    pinch: Ints


class Lines(NamedTuple):
    """The last vertex or stub on either side of each vertical line, where a ring goes on; -1 for none.

    Parameters
    ----------
    left, right : (width + 1,) int64
        By column.
    """

    left: Longs
    right: Longs

    @classmethod
    def none(cls, width: int) -> Lines:
        """Make room for them."""
        return cls(*np.full((2, width + 1), NONE, np.int64))


class Around(NamedTuple):
    """The regions around a corner, 0 for none: `a` and `b` above, `c` and `d` below."""

    a: int
    b: int
    c: int
    d: int


class Edges(NamedTuple):
    """Which edges of a corner lie between two regions."""

    north: bool
    east: bool
    south: bool
    west: bool


class Arrivals(NamedTuple):
    """The vertices of a corner, by the edge by which a ring comes to each; -1 where none comes."""

    north: int
    east: int
    south: int
    west: int


class Corner(NamedTuple):
    """A corner where a boundary turns or ends.

    Parameters
    ----------
    around : Around
        Its regions.
    edges : Edges
        Its edges.
    arrivals : Arrivals
        Its vertices.
    rising, falling : int
        First stub of its open pinch of `b` and `c`, and of that of `d` and `a`; -1 for none.
    """

    around: Around
    edges: Edges
    arrivals: Arrivals
    rising: int
    falling: int


@inlined
def may_be_one(regions: Regions, one: int, other: int) -> bool:
    """Say whether two regions that meet diagonally may be one, of which the strip shows two parts."""
    return bool(
        one
        and other
        and one != other
        and not regions.complete[one]
        and not regions.complete[other]
        and regions.code[one - 1] == regions.code[other - 1]
    )


@inlined
def arrivals_of(around: Around, edges: Edges, begin: int) -> tuple[Arrivals, int]:
    """Give the vertices of a corner numbers from `begin` on; return them, and the number behind the last one."""
    north = east = south = west = NONE
    stop = begin
    if edges.north and around.b:
        north = stop
        stop += 1
    if edges.east and around.d:
        east = stop
        stop += 1
    if edges.south and around.c:
        south = stop
        stop += 1
    if edges.west and around.a:
        west = stop
        stop += 1
    return Arrivals(north, east, south, west), stop


@inlined
def link(corner: Corner, chains: Chains, lines: Lines, col: int, above: int, below: int) -> tuple[int, int]:
    """Link the vertices of a corner with those before; return the last ones above and below the line to the east.

    Parameters
    ----------
    corner : Corner
        The corner.
    chains : Chains
        What is filled.
    lines : Lines
        The last vertices on the vertical lines.
    col : int
        Column of the corner.
    above, below : int
        The last vertices on either side of the line to the west.
    """
    a, b, c, d = corner.around
    edges, arrivals, rising, falling = corner.edges, corner.arrivals, corner.rising, corner.falling
    owner, following = chains.owner, chains.following
    crossing = edges.north and edges.east and edges.south and edges.west
    left, right = lines.left[col], lines.right[col]
    to_east_above, to_east_below = above, below
    # Those that come: by north and west what was last on the line is followed by them; the others are the last now.
    if arrivals.north >= 0:
        owner[arrivals.north] = b
        following[right] = arrivals.north
    if arrivals.east >= 0:
        owner[arrivals.east] = d
        to_east_below = arrivals.east
    if arrivals.south >= 0:
        owner[arrivals.south] = c
        lines.left[col] = arrivals.south
    if arrivals.west >= 0:
        owner[arrivals.west] = a
        following[above] = arrivals.west
    # Those that leave: by east and south they are the last now; by the others they are followed by what was last.
    if edges.east and b:
        stub = rising + 1 if rising >= 0 else NONE
        to_east_above = _leaver(arrivals.north, arrivals.west, arrivals.south, crossing and b == c, stub)
    if edges.south and d:
        stub = falling + 1 if falling >= 0 else NONE
        lines.right[col] = _leaver(arrivals.east, arrivals.north, arrivals.west, crossing and a == d, stub)
    if edges.west and c:
        stub = rising + 3 if rising >= 0 else NONE
        last = _leaver(arrivals.south, arrivals.east, arrivals.north, crossing and b == c, stub)
        following[last] = below
    if edges.north and a:
        stub = falling + 3 if falling >= 0 else NONE
        last = _leaver(arrivals.west, arrivals.south, arrivals.east, crossing and a == d, stub)
        following[last] = left
    # A pass that ends at a pinch goes on where its exit is.
    if rising >= 0:
        following[arrivals.north], following[arrivals.south] = rising, rising + 2
        owner[rising + 1], owner[rising + 3] = b, c
    if falling >= 0:
        following[arrivals.east], following[arrivals.west] = falling, falling + 2
        owner[falling + 1], owner[falling + 3] = d, a
    return to_east_above, to_east_below


@inlined
def _leaver(
    nearest: int,
    middle: int,
    farthest: int,
    exchanged: bool,  # noqa: FBT001
    stub: int,
) -> int:
    """Return the vertex after which a ring leaves a corner by an edge.

    It came by the nearest edge counter-clockwise, as a ring leaves by the next edge clockwise.

    Parameters
    ----------
    nearest, middle, farthest : int
        Vertices of the corner, by the edges counter-clockwise from the one by which it leaves.
    exchanged : bool
        Whether four edges meet here and the region is on both sides of the corner: then exits are exchanged.
    stub : int
        The stub after which it leaves where that is not known yet; -1 for none.
    """
    if stub >= 0:
        return stub
    if exchanged:
        return farthest
    if nearest >= 0:
        return nearest
    return middle if middle >= 0 else farthest
