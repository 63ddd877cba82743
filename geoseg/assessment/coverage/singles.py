"""What each polygon of a map is by itself: valid, single, large and wide enough, of the stated area."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.edges import Edges, Floats, Longs, ring_edges
from geoseg.assessment.coverage.ground import Ground
from geoseg.vectorfiles.longitudes import parts_on_the_globe, turn_of

Objects = npt.NDArray[np.object_]

_POLYGON, _MULTIPOLYGON = 3, 6
"""Types of geometries as shapely numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Singles:
    """Polygons of a batch, looked at one by one.

    Parameters
    ----------
    edges : Edges
        Edges of all polygons, without those of geometries that are none.
    plane : float
        Area of all polygons in the plane, in units of the CRS.
    area_m2 : (polygon,) float64
        Areas on the ground; NaN where unknown.
    is_wide : (polygon,) bool
        Whether the smallest width is reached.
    invalid : dict of int to str
        Reasons why polygons, by their number in the batch, are not valid.
    parts : dict of int to int
        Numbers of parts of those that have several.
    """

    edges: Edges
    plane: float
    area_m2: Floats
    is_wide: npt.NDArray[np.bool_]
    invalid: dict[int, str] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)


def looked_at(wkb: Objects, first: int, ground: Ground, width_m: float) -> Singles:
    """Look at the polygons of a batch.

    Parameters
    ----------
    wkb : (polygon,) object
        Geometries in WKB; None for features without one.
    first : int
        Number of the first polygon.
    ground : Ground
        The plane of the layer's CRS.
    width_m : float
        Smallest width, m; 0 for any.
    """
    import shapely

    shapes = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
    kind = shapely.get_type_id(shapes)
    is_polygon = ((kind == _POLYGON) | (kind == _MULTIPOLYGON)) & ~shapely.is_empty(shapes)
    invalid = {int(at): _no_polygon(shapes[at], wkb[at]) for at in np.flatnonzero(~is_polygon)}
    (there,) = np.nonzero(is_polygon)
    good = _without_empty_parts(shapes[there])
    count = shapely.get_num_geometries(good)
    several, turn = np.flatnonzero(count > 1), turn_of(ground.crs)
    bad = np.flatnonzero(~shapely.is_valid(good))
    if len(bad):
        reasons = shapely.is_valid_reason(good[bad])
        invalid |= {int(there[at]): str(why) for at, why in zip(bad, reasons, strict=True)}
        # Rings that cross themselves have no inside: what counts is where GEOS sees it.
        good[bad] = [_polygons_only(shape) for shape in shapely.make_valid(good[bad])]
    if turn is not None:
        count[several] = [parts_on_the_globe(shape, turn) for shape in good[several]]
    parts = {int(there[at]): int(count[at]) for at in several if count[at] > 1}
    area_m2, is_wide = np.full(len(wkb), np.nan), np.ones(len(wkb), np.bool_)
    if len(good):
        area_m2[there] = ground.areas(good)
        if width_m:
            is_wide[there] = ground.are_wide(good, area_m2[there], width_m)
    return Singles(
        edges=_edges(good, there + first),
        plane=float(shapely.area(good).sum()),
        area_m2=area_m2,
        is_wide=is_wide,
        invalid=invalid,
        parts=parts,
    )


def _without_empty_parts(shapes: Objects) -> Objects:
    """Drop the empty parts of multipolygons, which GDAL writes where it cuts at the antimeridian."""
    import shapely

    parts, owner = shapely.get_parts(shapes, return_index=True)
    there = ~shapely.is_empty(parts)
    for at in np.unique(owner[~there]):
        shapes[at] = shapely.multipolygons(parts[there & (owner == at)])
    return shapes


def _no_polygon(shape: object, wkb: object) -> str:
    """Say what a feature has in place of a polygon."""
    import shapely

    if wkb is None:
        return "has no geometry"
    if shape is None:
        return "has a geometry that cannot be read"
    if shapely.is_empty(shape):
        return "has an empty geometry"
    return f"is a {shapely.get_type_id(shape) and type(shape).__name__}, expected a polygon"


def _polygons_only(shape: object) -> object:
    """Return the polygons of what a repair made of one, which may have lines, too."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.multipolygons(parts[shapely.get_type_id(parts) == _POLYGON])


def _edges(shapes: Objects, number: Longs) -> Edges:
    """Return the edges of polygons and multipolygons."""
    import shapely

    if not len(shapes):
        return Edges.none()
    if (shapely.get_type_id(shapes) == _MULTIPOLYGON).any():
        shapes, owner = shapely.get_parts(shapes, return_index=True)
        number = number[owner]
    if not len(shapes):
        return Edges.none()
    _, points, (ring_first, first_ring) = shapely.to_ragged_array(shapes)
    is_hole = np.ones(len(ring_first) - 1, np.bool_)
    is_hole[first_ring[:-1]] = False
    owner = np.repeat(number, np.diff(first_ring)).astype(np.int32)
    return ring_edges(points, ring_first.astype(np.int64), owner, is_hole)
