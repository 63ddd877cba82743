"""Vertices of a strip as linked chains: what the tracer makes, and what smoothing and simplifying change.

Kernels take bundles of arrays and numbers as named tuples: a field that is added or moved cannot be read as another.
"""

from __future__ import annotations

from typing import NamedTuple

from geoseg.kernels.kernel import kernel
from geoseg.polygons.rings import Corners
from geoseg.polygons.runs import Ints


class Chains(NamedTuple):
    """Vertices and stubs of a strip (`geoseg.polygons.trace`) with their order along the boundaries.

    Parameters
    ----------
    corner : (id, 2) int32
        Column and row of each vertex or stub.
    owner : (id,)
        Region, counted from 1; 0 for none.
    following : (id,)
        Next vertex or stub; -1 after the last one of an arc.
    """

    corner: Corners
    owner: Ints
    following: Ints


class Links(NamedTuple):
    """What else is known of each vertex when boundaries are redrawn.

    Parameters
    ----------
    before : (id,)
        The vertex or stub that it follows, -1 for none.
    mate : (id,)
        The vertex at the same corner in the boundary of the region on the other side; -1 for vertices that stay.
    """

    before: Ints
    mate: Ints


class Counts(NamedTuple):
    """How many ids of each kind a strip has; they follow each other in this order, and stubs of pinches come last.

    Parameters
    ----------
    top : int
        Edges that run into the strip above; each has two stubs.
    vertices : int
        Vertices.
    bottom : int
        Edges that run into the strip below; each has two stubs.
    """

    top: int
    vertices: int
    bottom: int

    @property
    def inside(self) -> Span:
        """The ids of the vertices."""
        return Span(2 * self.top, 2 * self.top + self.vertices)


class Span(NamedTuple):
    """Ids that follow each other.

    Parameters
    ----------
    begin : int
        The first one.
    stop : int
        The one behind the last.
    """

    begin: int
    stop: int


@kernel
def same_corner(corner: Corners, one: int, other: int) -> bool:
    """Tell whether two vertices lie at the same corner."""
    return bool(corner[one, 0] == corner[other, 0] and corner[one, 1] == corner[other, 1])
