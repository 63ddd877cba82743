"""Edges of polygons, and those that have no partner.

In a coverage an edge between two polygons occurs twice, in opposite directions. Both cancel; what is left bounds the
coverage, its gaps and its overlaps.

Law: the number of polygons that cover a place is the winding number of the edges that are left around it. It is the
sum of the winding numbers of all rings, in which two opposite edges add up to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int32]

_FEWEST = 2**20
"""Edges that wait before they are compared with those that had no partner before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """Directed edges, with the interior of their polygon on the left.

    Parameters
    ----------
    ends : (edge, 4) float64
        x and y of the start, x and y of the end.
    owner : (edge,) int32
        Number of the polygon.
    """

    ends: Floats
    owner: Ints

    @classmethod
    def none(cls) -> Edges:
        """Return no edges."""
        return cls(ends=np.empty((0, 4)), owner=np.empty(0, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Edges]) -> Edges:
        """Concatenate edges."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            ends=np.concatenate([each.ends for each in parts]),
            owner=np.concatenate([each.owner for each in parts]),
        )

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.owner)

    def __getitem__(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Edges:
        """Return some of the edges."""
        return Edges(ends=self.ends[chosen], owner=self.owner[chosen])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """Result of cancelling opposite edges.

    Parameters
    ----------
    left : Edges
        Edges without a partner.
    pairs : (pair, 2) int32
        Owners of two edges that cancelled, the smaller number first.
    lengths : (pair,) float64
        Lengths of these edges in units of the CRS.
    """

    left: Edges
    pairs: Pairs
    lengths: Floats


def ring_edges(coordinates: Floats, ring_first: Longs, owner: Ints, is_hole: npt.NDArray[np.bool_]) -> Edges:
    """Return the edges of closed rings, turned so that the interior lies on the left.

    Parameters
    ----------
    coordinates : (vertex, 2) float64
        Vertices of all rings; the last vertex of a ring is its first one.
    ring_first : (ring + 1,) int64
        First vertex of each ring, and the number of vertices.
    owner : (ring,) int32
        Number of the polygon of each ring.
    is_hole : (ring,) bool
        Whether a ring is a hole.
    """
    if not len(owner):
        return Edges.none()
    coordinates = coordinates + 0.0  # -0.0 and 0.0 are the same place
    ring = np.repeat(np.arange(len(owner)), np.diff(ring_first))
    inside = ring[1:] == ring[:-1]
    here, there = coordinates[:-1][inside], coordinates[1:][inside]
    of_ring = ring[:-1][inside]
    origin = coordinates[ring_first[:-1]][of_ring]
    (x1, y1), (x2, y2) = (here - origin).T, (there - origin).T
    twice = np.bincount(of_ring, x1 * y2 - x2 * y1, len(owner))
    backwards = ((twice < 0) != is_hole)[of_ring]
    ends = np.where(backwards[:, None], np.hstack([there, here]), np.hstack([here, there]))
    long = (ends[:, 0] != ends[:, 2]) | (
        ends[:, 1] != ends[:, 3]
    )  # repeated vertices make edges of no length
    return Edges(ends=ends[long], owner=owner[of_ring[long]])


def match(edges: Edges) -> Matched:
    """Cancel every edge with one between the same two points in the opposite direction."""
    if not len(edges):
        return Matched(left=edges, pairs=np.empty((0, 2), np.int32), lengths=np.empty(0))
    forward, key = _keys(edges.ends)
    order = np.argsort(key, kind="stable")
    group = _groups(key[order] >> np.uint64(1), edges.ends, order, forward)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    ahead = np.add.reduceat(forward[order].astype(np.int64), first)
    size = np.diff(first, append=len(order))
    back = size - ahead  # those that point backwards come first in their group
    kept = np.zeros(len(order) + 1, np.int64)
    more = ahead > back
    begin = np.where(more, first + 2 * back, first)
    np.add.at(kept, begin, 1)
    np.add.at(kept, np.where(more, first + size, first + back - ahead), -1)
    left = order[np.cumsum(kept[:-1]) > 0]
    paired = (ahead > 0) & (back > 0)
    at = (first + back)[paired]
    one, other = order[at - 1], order[at]
    owners = np.stack([edges.owner[one], edges.owner[other]], axis=1)
    ends = edges.ends[one]
    return Matched(
        left=edges[left],
        pairs=np.sort(owners, axis=1),
        lengths=np.hypot(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]),
    )


def point_keys(x: Floats, y: Floats) -> npt.NDArray[np.uint64]:
    """Return a number for each point, the same for the same coordinates; it has no two points in common but by chance.

    Of ten million points two have the same one with a probability of 3 in a million.
    """
    return _mixed(_mixed(_bits(x)) + _bits(y))


def _keys(ends: Floats) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint64]]:
    """Return which edges point forwards, and keys of the edges without their direction, which is the last bit."""
    x1, y1, x2, y2 = ends.T
    forward = (x1 < x2) | ((x1 == x2) & (y1 < y2))
    one, other = point_keys(x1, y1), point_keys(x2, y2)
    key = _mixed(np.where(forward, one, other)) + np.where(forward, other, one)
    return forward, (_mixed(key) & ~np.uint64(1)) | forward.astype(np.uint64)


def _groups(
    key: npt.NDArray[np.uint64], ends: Floats, order: npt.NDArray[np.intp], forward: npt.NDArray[np.bool_]
) -> Longs:
    """Return the group of each edge in order, after comparing coordinates: other points may have the same key."""
    same = key[1:] == key[:-1]
    sorted_ends = np.where(forward[:, None], ends, ends[:, [2, 3, 0, 1]])[order]
    equal = (sorted_ends[1:] == sorted_ends[:-1]).all(axis=1)
    return np.concatenate([[0], np.cumsum(~(same & equal))])


def _bits(values: Floats) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(values).view(np.uint64)


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix 64 bits (the finaliser of SplitMix64: G. Steele, D. Lea, C. Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@dataclass(slots=True, kw_only=True)
class Waiting:
    """Edges whose partner has not come yet, as polygons are read one batch after the other.

    They are compared anew when as many have come as were left: of polygons in the order of their place only those
    along the front wait, and in any other order the work grows by a logarithm.
    """

    _left: Edges = field(default_factory=Edges.none)
    _new: list[Edges] = field(default_factory=list)

    def add(self, edges: Edges) -> list[Matched]:
        """Add the edges of some polygons; return what cancelled, if anything was compared."""
        found = match(edges)
        self._new.append(found.left)
        if sum(map(len, self._new)) < max(len(self._left), _FEWEST):
            return [found]
        return [found, self._compare()]

    def finish(self) -> Matched:
        """Compare the last edges, and return those without a partner."""
        return self._compare()

    def _compare(self) -> Matched:
        found = match(Edges.joined([self._left, *self._new]))
        self._left, self._new = found.left, []
        return found
