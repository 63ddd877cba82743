"""Edges without a partner, cut wherever a vertex lies on them or another edge crosses them.

Vertices closer than the tolerance are the same vertex. Where the neighbours of a polygon have a vertex on its border
that it lacks itself, as GDAL's polygons do, the parts of its edge cancel with theirs: there is neither a gap nor an
overlap, and only the missing vertex is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.cells import Cells
from geoseg.assessment.coverage.edges import Edges, Matched, match, point_keys

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

_ROUNDS = 8
"""Most rounds of cutting: an edge that was bent to a vertex may come near to others, but hardly ever twice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MissingVertices:
    """Vertices of some polygons that lie on an edge of another one, which lacks them.

    Parameters
    ----------
    point : (vertex, 2) float64
        The vertices.
    vertex, owner : (entry,) int64
        Which polygons have a vertex or the edge, one entry for each, in order of the vertices.
    """

    point: Floats
    vertex: Longs
    owner: Longs

    @classmethod
    def none(cls) -> MissingVertices:
        """Return no vertices."""
        nothing = np.empty(0, np.int64)
        return cls(point=np.empty((0, 2)), vertex=nothing, owner=nothing)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangement:
    """Result of `arranged`.

    Parameters
    ----------
    edges : Edges
        Edges without a partner, which meet at their ends only.
    missing : MissingVertices
        Vertices on edges.
    matched : list of Matched
        What cancelled on the way.
    """

    edges: Edges
    missing: MissingVertices
    matched: list[Matched]


def arranged(edges: Edges, tolerance: float) -> Arrangement:
    """Cut edges at the vertices on them and where they cross.

    Parameters
    ----------
    edges : Edges
        Edges without a partner.
    tolerance : float
        Distance in units of the CRS below which two places are the same.
    """
    steps = [match(_snapped(edges, tolerance))]
    missing = MissingVertices.none()
    for turn in range(_ROUNDS):
        left = steps[-1].left
        if not len(left):
            break
        points = _distinct(left)
        cells = Cells.of(left.ends, 2 * tolerance)
        edge, point = cells.points_on_edges(points)
        if turn == 0:
            missing = _missing(left, edge, point, points)
        if len(edge):
            steps.append(match(_snapped(_cut(left, edge, points[point]), tolerance)))
            continue
        crossing, place = cells.crossings()
        if not len(crossing):
            break
        both = np.concatenate([crossing[:, 0], crossing[:, 1]])
        steps.append(match(_snapped(_cut(left, both, np.concatenate([place, place])), tolerance)))
    return Arrangement(edges=steps[-1].left, missing=missing, matched=steps)


def _snapped(edges: Edges, tolerance: float) -> Edges:
    """Round vertices to multiples of the tolerance, without edges that vanish."""
    ends = np.rint(edges.ends / tolerance) * tolerance + 0.0
    long = (ends[:, 0] != ends[:, 2]) | (ends[:, 1] != ends[:, 3])
    return Edges(ends=ends[long], owner=edges.owner[long])


def _distinct(edges: Edges) -> Floats:
    """Return the vertices of edges, each once."""
    points = edges.ends.reshape(-1, 2)
    _, first = np.unique(point_keys(points[:, 0], points[:, 1]), return_index=True)
    return points[first]


def _cut(edges: Edges, edge: Longs, points: Floats) -> Edges:
    """Cut edges at points on them."""
    begin, direction = edges.ends[edge, :2], edges.ends[edge, 2:] - edges.ends[edge, :2]
    along = ((points - begin) * direction).sum(axis=1) / (direction**2).sum(axis=1)
    number = np.arange(len(edges))
    of_edge = np.concatenate([number, edge, number])
    share = np.concatenate([np.zeros(len(edges)), along, np.ones(len(edges))])
    vertices = np.concatenate([edges.ends[:, :2], points, edges.ends[:, 2:]])
    order = np.lexsort((share, of_edge))
    same = of_edge[order[1:]] == of_edge[order[:-1]]
    start, stop = order[:-1][same], order[1:][same]
    return Edges(ends=np.hstack([vertices[start], vertices[stop]]), owner=edges.owner[of_edge[start]])


def _missing(edges: Edges, edge: Longs, point: Longs, points: Floats) -> MissingVertices:
    """Find out which polygons meet at the points that lie on edges."""
    chosen, hit = np.unique(point, return_inverse=True)
    place = points[chosen]
    vertex, owner = [hit.astype(np.int64)], [edges.owner[edge].astype(np.int64)]
    if len(chosen):
        keys = point_keys(place[:, 0], place[:, 1])
        order = np.argsort(keys)
        for end in (edges.ends[:, :2], edges.ends[:, 2:]):
            own = point_keys(end[:, 0], end[:, 1])
            at = np.searchsorted(keys, own, sorter=order).clip(max=len(keys) - 1)
            there = np.flatnonzero(keys[order[at]] == own)
            vertex.append(order[at[there]])
            owner.append(edges.owner[there].astype(np.int64))
    both = np.unique(np.stack([np.concatenate(vertex), np.concatenate(owner)], axis=1), axis=0)
    return MissingVertices(point=place, vertex=both[:, 0], owner=both[:, 1])
