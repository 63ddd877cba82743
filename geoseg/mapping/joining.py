"""Pieces of several zones along their common borders: the same vertices on both sides, and equal classes as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.mapping.ragged import Ragged
from geoseg.mapping.territory import spread

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class _OnLine:
    """Vertices on the grid lines of one direction.

    Parameters
    ----------
    vertex : (vertex,) int64
        Their indices.
    node : (vertex,) int64
        The node at which each lies.
    line : (node,) int64
        Line of each node, ascending.
    along : (node,) float64
        Place of each node on its line, ascending within the line.
    """

    vertex: Longs
    node: Longs
    line: Longs
    along: Floats


def matched(polygons: Ragged, steps: tuple[float, float], unified: float) -> Ragged:
    """Give polygons that meet on lines ``x = n dx`` or ``y = n dy`` the same vertices there.

    Parameters
    ----------
    polygons : Ragged
        Polygons with vertices exactly on such lines; there they may lack those of their neighbours on the other side.
    steps : (float, float)
        dx and dy.
    unified : float
        Vertices of a line that are no farther apart become one.
    """
    found = polygons
    for axis in (0, 1):
        on = _on_lines(found.xy, steps, axis, unified)
        xy = found.xy.copy()
        xy[on.vertex, 1 - axis] = on.along[on.node]
        begin, low, high = _edges_along(found, on)
        edge, node = spread(np.minimum(low, high) + 1, np.maximum(np.abs(high - low) - 1, 0))
        points = np.empty((len(edge), 2))
        points[:, axis] = on.line[node] * steps[axis]
        points[:, 1 - axis] = on.along[node]
        place = np.where((high > low)[edge], node, -node).astype(np.float64)
        found = Ragged(xy, found.ring_first, found.polygon_first).inserted(begin[edge], place, points)
    return found


def groups(polygons: Ragged, steps: tuple[float, float], zone: Longs, code: Longs) -> Longs:
    """Group polygons: those of one class and of different zones that have a common edge on a line are one group.

    Parameters
    ----------
    polygons : Ragged
        Polygons that have the same vertices where they meet.
    steps : (float, float)
        dx and dy.
    zone, code : (polygon,) int64
        Zone and class of each polygon.

    Returns
    -------
    (polygon,) int64
        Group of each polygon, chains of any length included.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    owner = polygons.polygon
    pairs = [np.zeros((0, 2), np.int64)]
    for axis in (0, 1):
        begin, low, high = _edges_along(polygons, _on_lines(polygons.xy, steps, axis, 0.0))
        node = np.minimum(low, high)
        order = np.argsort(node, kind="stable")
        node, who = node[order], owner[begin[order]]
        same = (np.diff(node) == 0) & (np.abs(high - low)[order][1:] == 1)
        pairs.append(np.stack([who[:-1][same], who[1:][same]], axis=1))
    one, other = np.concatenate(pairs).T
    joined = (zone[one] != zone[other]) & (code[one] == code[other])
    one, other = one[joined], other[joined]
    touching = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(len(zone), len(zone)))
    _, group = connected_components(touching, directed=False)
    return np.asarray(group, np.int64)


def united(shapes: Objects, group: Longs) -> Objects:
    """Return one polygon for each group of polygons that share edges, in the order of the groups' numbers."""
    import shapely

    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    size = np.diff(np.append(first, len(group)))
    found: Objects = shapes[order[first]]
    for at in np.flatnonzero(size > 1).tolist():
        members = shapes[order[first[at] : first[at] + size[at]]]
        (found[at],) = shapely.get_parts(shapely.coverage_union_all(members))
    return found


def _on_lines(xy: Floats, steps: tuple[float, float], axis: int, unified: float) -> _OnLine:
    """Find vertices on the lines of one direction, and the nodes at which they lie."""
    line = np.rint(xy[:, axis] / steps[axis])
    (vertex,) = np.nonzero(xy[:, axis] == line * steps[axis])
    line, along = line[vertex].astype(np.int64), xy[vertex, 1 - axis]
    order = np.lexsort((along, line))
    line, along = line[order], along[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (line[1:] != line[:-1]) | (along[1:] - along[:-1] > unified)
    first = np.flatnonzero(new)
    node = np.empty(len(order), np.int64)
    node[order] = number = np.cumsum(new) - 1
    place = along[first]
    # Corners of cells stay where they are: they lie on lines of the other direction, too.
    corner = along == np.rint(along / steps[1 - axis]) * steps[1 - axis]
    place[number[corner]] = along[corner]
    return _OnLine(vertex, node, line[first], place)


def _edges_along(polygons: Ragged, on: _OnLine) -> tuple[Longs, Longs, Longs]:
    """Return edges that run along lines: the vertices with which they begin, and the nodes of both ends."""
    node = np.full(len(polygons.xy), -1, np.int64)
    node[on.vertex] = on.node
    begin = polygons.edges
    low, high = node[begin], node[begin + 1]
    along = (low >= 0) & (high >= 0)
    along[along] = on.line[low[along]] == on.line[high[along]]
    return begin[along], low[along], high[along]
