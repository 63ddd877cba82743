"""Areas and widths of polygons on the ground, whatever their CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.assessment.coverage.width import circle_fits
from geoseg.grid.grid import Grid
from geoseg.grid.ground import pixel_metric

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]

_SMALL = 2e4
"""Largest diagonal, m, of polygons whose area is that in the plane times the scale at their middle: the scale changes
so evenly that this is right to a part in 100,000, poles excepted."""
_STEP = 1e4
"""Longest edge, m, of larger polygons before they go to the ellipsoid, where edges are geodesics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The plane of a CRS as it lies on the ground.

    Parameters
    ----------
    crs : str or None
        CRS as WKT.
    """

    crs: str | None

    @property
    def is_known(self) -> bool:
        """Whether the CRS is tied to a body."""
        return self._metric(np.zeros(1), np.zeros(1)) is not None

    @property
    def unit(self) -> float:
        """Length in metres of a unit of the CRS; of a degree along a meridian. 1 without a CRS."""
        if self.crs is None:
            return 1.0
        from pyproj import CRS

        crs = CRS.from_wkt(self.crs)
        size = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
        body = crs.ellipsoid if crs.is_geographic else None
        return size * (1.0 if body is None else float(body.semi_major_metre))

    def areas(self, shapes: Objects) -> Floats:
        """Return areas in m² of polygons: NaN outside the projection, in units of the plane without a body."""
        import shapely

        plane = shapely.area(shapes)
        bounds = shapely.bounds(shapes)
        x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
        metric = self._metric(x, y)
        if metric is None:
            return np.asarray(plane * self.unit**2)
        wide, high = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]
        areas = plane * metric[0]
        large = ~(np.hypot(wide * metric[1], high * metric[2]) < _SMALL) & (plane > 0)
        if large.any():
            areas[large] = self._large(shapes[large])
        return np.asarray(areas)

    def are_wide(self, shapes: Objects, areas: Floats, width_m: float) -> Bools:
        """Tell into which polygons a circle of a diameter fits.

        One of the radius A / P fits into any polygon, and none that has more area than it: a search is needed only
        in between.

        Parameters
        ----------
        shapes : (polygon,) object
            Polygons.
        areas : (polygon,) float64
            Their areas, m².
        width_m : float
            The diameter, m.
        """
        import shapely

        bounds = shapely.bounds(shapes)
        metric = self._metric((bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2)
        if metric is None:
            metric = np.array([[1.0], [1.0], [1.0], [0.0]]) * np.ones(len(shapes))
            metric[:3] *= np.array([[self.unit**2], [self.unit], [self.unit]])
        longest = np.maximum(metric[1], metric[2]) * shapely.length(shapes)
        wide = 2 * areas >= width_m * longest
        unsure = np.flatnonzero(~wide & (areas >= math.pi / 4 * width_m**2))
        if len(unsure):
            flat = _flattened(shapes[unsure], metric[:, unsure])
            wide[unsure] = circle_fits(flat, width_m / 2)
        return np.asarray(wide)

    def _metric(self, x: Floats, y: Floats) -> Floats | None:
        """Return m² and m per unit at places, as `pixel_metric` does."""
        if self.crs is None:
            return None
        grid = Grid(height=1, width=1, transform=Affine.identity(), crs=self.crs)
        return pixel_metric(grid, np.asarray(x, np.float64), np.asarray(y, np.float64))

    def _large(self, shapes: Objects) -> Floats:
        """Return areas of large polygons, as geodesic polygons with many vertices."""
        import shapely
        from pyproj import CRS, Transformer

        assert self.crs is not None
        crs = CRS.from_wkt(self.crs)
        base = crs.geodetic_crs
        geod = crs.get_geod()
        if base is None or geod is None:
            return np.full(len(shapes), np.nan)
        to_base = Transformer.from_crs(crs, base, always_xy=True)
        factor = math.degrees(float(base.axis_info[0].unit_conversion_factor))
        areas = np.zeros(len(shapes))
        bounds = shapely.bounds(shapes)
        reach = np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]) / 50
        parts, owner = shapely.get_parts(shapes, return_index=True)
        # Part by part: GEOS crashes on a multipolygon with an empty part.
        fine = shapely.segmentize(parts, np.minimum(reach, _STEP / self.unit)[owner])
        for part, at in zip(fine, owner, strict=True):
            for number, ring in enumerate(shapely.get_rings(part)):
                x, y = shapely.get_coordinates(ring).T
                lon, lat = to_base.transform(x, y)
                area, _ = geod.polygon_area_perimeter(np.asarray(lon) * factor, np.asarray(lat) * factor)
                areas[at] += -abs(area) if number else abs(area)
        areas[~np.isfinite(areas)] = np.nan
        return areas


def _flattened(shapes: Objects, metric: Floats) -> Objects:
    """Return polygons in metres, by the scale at their middle."""
    import shapely

    points, owner = shapely.get_coordinates(shapes, return_index=True)
    _, across, down, cosine = metric[:, owner]
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    origin = shapely.bounds(shapes)[owner, :2]
    x, y = (points - origin).T
    flat = np.stack([across * x + down * cosine * y, down * sine * y], axis=1)
    return np.asarray(shapely.set_coordinates(shapes.copy(), flat))
