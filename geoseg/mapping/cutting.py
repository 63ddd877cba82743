"""Polygons of one zone cut at the border of its territory.

Before GEOS cuts, all edges get vertices where they cross the border, and what lies next to the border is put onto it.
A crossing depends on its edge alone, not on its direction, so that neighbours get the same vertices, and afterwards no
edge crosses the border: cutting finds no new points but the corners of ground cells. Holes off the border, of which
large polygons have many thousands, are set aside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.mapping.ragged import Ragged
from geoseg.mapping.territory import Territory, cell_of, spread

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

INSIDE, OUTSIDE, UNSURE = range(3)
"""Where a bounding box lies: off the border inside a territory, outside of it, or neither."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """What a border makes of polygons.

    Parameters
    ----------
    untouched : (polygon,) bool
        Polygons inside the territory that touch no border.
    piece : (piece,) object
        Polygons that touch the border from inside, or the parts of those that cross it.
    source : (piece,) int64
        The polygon of each piece.
    whole : (piece,) bool
        Pieces that are all of their polygon.
    holes : Ragged
        Holes of the pieces inside the territory that touch no border, each as a polygon; the pieces lack them.
    holed : (hole,) int64
        The piece of each hole.
    """

    untouched: Bools
    piece: Objects
    source: Longs
    whole: Bools
    holes: Ragged
    holed: Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutter:
    """Cuts polygons at the border of a zone's territory.

    Parameters
    ----------
    territory : Territory
        Cells of all zones.
    zone : int
        Index of the zone.
    near : float
        Distance from the border within which vertices are put onto it.
    """

    territory: Territory
    zone: int
    near: float

    def places(self, bounds: Floats) -> tuple[npt.NDArray[np.int8], Longs]:
        """Tell where bounding boxes lie, and which rectangles of cells they touch.

        Parameters
        ----------
        bounds : (polygon, 4) float64
            West, south, east and north in the plan's CRS.
        """
        dx, dy = self.territory.steps
        west, south, east, north = bounds.T
        near = self.near
        ranges = np.stack(
            [
                cell_of(west - near, dx),
                cell_of(south - near, dy),
                cell_of(east + near, dx),
                cell_of(north + near, dy),
            ],
            axis=1,
        )
        cells = (ranges[:, 2] - ranges[:, 0] + 1) * (ranges[:, 3] - ranges[:, 1] + 1)
        mine = self.territory.count_in(self.zone, ranges)
        place = np.where(mine == cells, INSIDE, np.where(mine == 0, OUTSIDE, UNSURE))
        return place.astype(np.int8), ranges

    def __call__(self, polygons: Ragged, ranges: Longs) -> Cut:
        """Cut polygons whose bounding boxes touch the border.

        Parameters
        ----------
        polygons : Ragged
            The polygons, in the plan's CRS.
        ranges : (polygon, 4) int64
            The rectangles of cells that they touch.
        """
        import shapely

        aside = self.places(polygons.ring_bounds())[0] == INSIDE
        aside[polygons.polygon_first[:-1]] = False  # shells
        # Holes that hang on rings at the border, by corners, may cut a piece in two.
        aside &= _off(polygons, aside)
        polygons, holes, holed = polygons.without(aside)
        noded, kept = self._with_crossings(polygons).without_repeats()
        shapes = noded.shapes()
        different, which = np.unique(ranges[kept], axis=0, return_inverse=True)
        parts = [self.territory.part_of(self.zone, tuple(each)) for each in different.tolist()]
        ground = np.empty(len(parts), np.object_)
        ground[:] = parts
        shapely.prepare(ground)
        ground = ground[which.ravel()]
        untouched = np.zeros(len(ranges), np.bool_)
        inner = shapely.contains_properly(ground, shapes)
        untouched[kept[inner]] = True
        whole = shapely.covers(ground, shapes) & ~inner
        cut = np.flatnonzero(~whole & ~inner)
        piece, source = _polygons_of(shapely.intersection(shapes[cut], ground[cut]))
        found = np.concatenate([shapes[whole], piece])
        owner = np.concatenate([kept[whole], kept[cut[source]]])
        order = np.argsort(owner, kind="stable")
        is_whole = np.arange(len(found)) < np.count_nonzero(whole)
        found, owner, is_whole = found[order], owner[order], is_whole[order]
        hole, piece_of = _placed(holes, holed, found, owner)
        aside = np.zeros(len(holed), np.bool_)
        aside[hole] = True
        _, holes, _ = holes.without(aside)
        return Cut(
            untouched=untouched, piece=found, source=owner, whole=is_whole, holes=holes, holed=piece_of
        )

    def _with_crossings(self, polygons: Ragged) -> Ragged:
        """Put vertices near the border onto it, and insert one wherever an edge crosses it."""
        put = Ragged(self._on_border(polygons.xy), polygons.ring_first, polygons.polygon_first)
        edge = put.edges
        found = [self._crossings(put.xy[edge], put.xy[edge + 1], axis) for axis in (0, 1)]
        at, share, xy = (np.concatenate(each) for each in zip(*found, strict=True))
        return put.inserted(edge[at], share, xy)

    def _on_border(self, xy: Floats) -> Floats:
        """Move places onto border lines that are near, exactly."""
        moved = xy.copy()
        for axis, step in enumerate(self.territory.steps):
            line = np.rint(xy[:, axis] / step)
            (close,) = np.nonzero(np.abs(xy[:, axis] - line * step) <= self.near)
            line = line[close].astype(np.int64)
            on = self.territory.is_border(self.zone, axis, line, xy[close, 1 - axis], self.near)
            moved[close[on], axis] = line[on] * step
        return moved

    def _crossings(self, one: Floats, other: Floats, axis: int) -> tuple[Longs, Floats, Floats]:
        """Return where edges cross border lines ``x = n dx`` (axis 0) or ``y = n dy`` (1).

        Returns
        -------
        (point,) int64
            The edge of each crossing.
        (point,) float64
            Share of the edge before it.
        (point, 2) float64
            The crossing.
        """
        step, step_along = self.territory.steps[axis], self.territory.steps[1 - axis]
        low = np.minimum(one[:, axis], other[:, axis])
        high = np.maximum(one[:, axis], other[:, axis])
        first, last = cell_of(low, step) + 1, cell_of(high, step)
        last -= last * step == high  # an edge that ends on a line does not cross it
        edge, line = spread(first, np.maximum(last - first + 1, 0))
        one, other = one[edge], other[edge]
        turned = one[:, axis] > other[:, axis]
        low, high = (np.where(turned[:, np.newaxis], *pair) for pair in ((other, one), (one, other)))
        place = line * step
        share = (place - low[:, axis]) / (high[:, axis] - low[:, axis])
        along = low[:, 1 - axis] + share * (high[:, 1 - axis] - low[:, 1 - axis])
        corner = np.rint(along / step_along) * step_along
        along = np.where(np.abs(along - corner) <= self.near, corner, along)
        on = self.territory.is_border(self.zone, axis, line, along, self.near)
        xy = np.stack([place, along] if axis == 0 else [along, place], axis=1)
        return edge[on], np.where(turned, 1 - share, share)[on], xy[on]


def _off(polygons: Ragged, aside: Bools) -> Bools:
    """Tell which rings share no corner with rings that are not set aside, not even through others.

    Parameters
    ----------
    polygons : Ragged
        Polygons.
    aside : (ring,) bool
        Rings that are set aside.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not aside.any():
        return aside
    length = np.diff(polygons.ring_first)
    rings = np.repeat(np.arange(len(length)), length)
    polygon = polygons.polygon
    order = np.lexsort((polygons.xy[:, 0], polygons.xy[:, 1], polygon))
    xy, rings, polygon = polygons.xy[order], rings[order], polygon[order]
    same = (xy[1:] == xy[:-1]).all(axis=1) & (polygon[1:] == polygon[:-1]) & (rings[1:] != rings[:-1])
    one, other = rings[:-1][same], rings[1:][same]
    touching = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(len(length), len(length)))
    _, chain = connected_components(touching, directed=False)
    hung = np.zeros(len(length), np.bool_)
    hung[chain[~aside]] = True
    return np.asarray(~hung[chain])


def _placed(holes: Ragged, holed: Longs, pieces: Objects, source: Longs) -> tuple[Longs, Longs]:
    """Tell which holes, ascending, are in pieces of their polygons, and in which.

    Parameters
    ----------
    holes : Ragged
        Holes, each as a polygon.
    holed : (hole,) int64
        The polygon of each.
    pieces : (piece,) object
        Pieces of polygons, filled.
    source : (piece,) int64
        The polygon of each, ascending.
    """
    import shapely

    count = np.bincount(source, minlength=int(holed.max(initial=-1)) + 1)
    first = np.searchsorted(source, holed)
    single = np.flatnonzero(count[holed] == 1)
    found = [np.stack([single, first[single]], axis=1)]
    begin = holes.ring_first[:-1]
    # No other ring passes through the middle of an edge.
    middle = shapely.points((holes.xy[begin] + holes.xy[begin + 1]) / 2)
    for polygon in np.unique(holed[count[holed] > 1]).tolist():
        (mine,) = np.nonzero(holed == polygon)
        start = int(first[mine[0]])
        parts = pieces[start : start + count[polygon]]
        part, hole = shapely.STRtree(middle[mine]).query(parts, predicate="contains")
        found.append(np.stack([mine[hole], start + part], axis=1))
    hole, piece = np.concatenate(found).T
    order = np.argsort(hole)
    return hole[order], piece[order]


def _polygons_of(shapes: Objects) -> tuple[Objects, Longs]:
    """Return the polygons among the parts of geometries of any kind, and which geometry each is of."""
    import shapely

    parts, owner = shapely.get_parts(shapes, return_index=True)
    parts, inner = shapely.get_parts(parts, return_index=True)  # a collection may hold multipolygons
    polygon = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) > 0)
    return parts[polygon], owner[inner[polygon]]
