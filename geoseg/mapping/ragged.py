"""Many polygons as one array of vertices, into whose edges points can be inserted all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.mapping.territory import spread
from geoseg.polygons.rings import offsets

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Polygons as ragged arrays, holes in the other direction than shells.

    Parameters
    ----------
    xy : (vertex, 2) float64
        Vertices; the first one of each ring comes again as its last.
    ring_first : (ring + 1,) int64
        First vertex of each ring.
    polygon_first : (polygon + 1,) int64
        First ring of each polygon.
    """

    xy: Floats
    ring_first: Longs
    polygon_first: Longs

    @classmethod
    def of(cls, shapes: Objects) -> Ragged:
        """Take shapely polygons apart."""
        import shapely

        if not len(shapes):
            none = np.zeros(1, np.int64)
            return cls(np.zeros((0, 2)), none, none)
        _, xy, (rings, polygons) = shapely.to_ragged_array(shapes, include_z=False)
        return cls(xy, rings.astype(np.int64), polygons.astype(np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """Put polygons one after the other."""
        return cls(
            np.concatenate([part.xy for part in parts]),
            offsets(np.concatenate([np.diff(part.ring_first) for part in parts])),
            offsets(np.concatenate([np.diff(part.polygon_first) for part in parts])),
        )

    def shapes(self) -> Objects:
        """Return shapely polygons."""
        import shapely

        if len(self.polygon_first) == 1:
            return np.zeros(0, np.object_)
        found: Objects = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, self.xy, (self.ring_first, self.polygon_first)
        )
        return found

    @property
    def edges(self) -> Longs:
        """Index of the vertex with which each edge begins; the next vertex is its other end."""
        begins = np.ones(len(self.xy), np.bool_)
        begins[self.ring_first[1:] - 1] = False
        return np.flatnonzero(begins)

    @property
    def polygon(self) -> Longs:
        """The polygon of each vertex."""
        first = self.ring_first[self.polygon_first]
        return np.repeat(np.arange(len(first) - 1), np.diff(first))

    def bounds(self) -> Floats:
        """Return the bounding box (west, south, east, north) of each polygon."""
        return self._bounds(self.ring_first[self.polygon_first[:-1]])

    def ring_bounds(self) -> Floats:
        """Return the bounding box (west, south, east, north) of each ring."""
        return self._bounds(self.ring_first[:-1])

    def _bounds(self, first: Longs) -> Floats:
        if not len(self.xy):
            return np.zeros((0, 4))
        return np.hstack([np.minimum.reduceat(self.xy, first), np.maximum.reduceat(self.xy, first)])

    def without(self, rings: npt.NDArray[np.bool_]) -> tuple[Ragged, Ragged, Longs]:
        """Take some holes out of the polygons.

        Parameters
        ----------
        rings : (ring,) bool
            True for holes that are taken out.

        Returns
        -------
        Ragged
            The polygons without them.
        Ragged
            The holes, each as a polygon.
        (hole,) int64
            The polygon that each was taken from.
        """
        owner = np.repeat(np.arange(len(self.polygon_first) - 1), np.diff(self.polygon_first))
        length = np.diff(self.ring_first)
        out = np.repeat(rings, length)
        count = np.bincount(owner[~rings], minlength=len(self.polygon_first) - 1)
        left = Ragged(self.xy[~out], offsets(length[~rings]), offsets(count))
        holes = Ragged(self.xy[out], offsets(length[rings]), np.arange(np.count_nonzero(rings) + 1))
        return left, holes, owner[rings]

    def with_holes(self, holes: Ragged, owner: Longs) -> Ragged:
        """Put holes into polygons, after those that they have.

        Parameters
        ----------
        holes : Ragged
            The holes, each as a polygon.
        owner : (hole,) int64
            The polygon of each.
        """
        if not len(owner):
            return self
        order = np.argsort(owner, kind="stable")
        stops = self.ring_first[self.polygon_first[1:]]
        length = np.diff(holes.ring_first)[order]
        vertex, at = spread(holes.ring_first[:-1][order], length)
        ring = np.insert(np.diff(self.ring_first), self.polygon_first[1:][owner[order]], length)
        xy = np.insert(self.xy, stops[owner[order]][vertex], holes.xy[at], axis=0)
        count = np.diff(self.polygon_first) + np.bincount(owner, minlength=len(self.polygon_first) - 1)
        return Ragged(xy, offsets(ring), offsets(count))

    def inserted(self, after: Longs, place: Floats, xy: Floats) -> Ragged:
        """Insert points into edges.

        Parameters
        ----------
        after : (point,) int64
            Vertex with which the point's edge begins.
        place : (point,) float64
            Orders the points of an edge.
        xy : (point, 2) float64
            The points.
        """
        if not len(after):
            return self
        order = np.lexsort((place, after))
        moved = offsets(np.bincount(after, minlength=len(self.xy))) + np.arange(len(self.xy) + 1)
        found = np.empty((len(self.xy) + len(after), 2))
        new = np.ones(len(found), np.bool_)
        new[moved[:-1]] = False
        found[~new] = self.xy
        found[new] = xy[order]
        return Ragged(found, moved[self.ring_first], self.polygon_first)

    def without_repeats(self) -> tuple[Ragged, Longs]:
        """Drop vertices that repeat the one before, rings without area, and polygons without a shell.

        Returns
        -------
        Ragged
            The polygons that are left.
        (polygon,) int64
            Which ones these are.
        """
        ring = np.repeat(np.arange(len(self.ring_first) - 1), np.diff(self.ring_first))
        kept = np.ones(len(self.xy), np.bool_)
        kept[1:] = (self.xy[1:] != self.xy[:-1]).any(axis=1) | (ring[1:] != ring[:-1])
        length = np.bincount(ring[kept], minlength=len(self.ring_first) - 1)
        polygon = np.repeat(np.arange(len(self.polygon_first) - 1), np.diff(self.polygon_first))
        shelled = length[self.polygon_first[:-1]] >= 4
        good = (length >= 4) & shelled[polygon]
        if kept.all() and good.all():
            return self, np.arange(len(shelled))
        rings = np.bincount(polygon[good], minlength=len(shelled))[shelled]
        left = Ragged(self.xy[kept & good[ring]], offsets(length[good]), offsets(rings))
        return left, np.flatnonzero(shelled)
