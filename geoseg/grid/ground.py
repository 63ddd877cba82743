"""Ground area and ground lengths of pixels on the ellipsoid, of the Earth or of another body.

Formulas: J. P. Snyder, "Map Projections: A Working Manual", USGS Professional Paper 1395 (1987), equations
3-12 (authalic zone), 4-18 (N) and 4-19 (M). Longitudes and latitudes are called lon and lat, in radians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid

if TYPE_CHECKING:
    from pyproj import CRS, Transformer

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_UNITS = (("km²", 1e6), ("ha", 1e4), ("m²", 1.0))
_STEP = 100.0  # m; rounding and truncation of central differences are both below 1e-9 then
_NEAR = 1e-6  # largest error of a round trip through the projection, as a share of the semi-major axis


def pixel_size_m(grid: Grid) -> float | None:
    """Return the ground sample distance in metres: the square root of the centre pixel's ground area.

    It is None for a grid without a CRS, or with one that is not tied to the Earth or another body.
    """
    zones = row_areas(grid)
    if zones is not None:
        return math.sqrt(zones[grid.height // 2])
    metric = pixel_metric(grid, np.array([grid.width / 2]), np.array([grid.height / 2]))
    return None if metric is None or not np.isfinite(metric[0, 0]) else math.sqrt(metric[0, 0])


def row_areas(grid: Grid) -> Floats | None:
    """Return the exact ground area of one pixel of each row, on grids whose rows follow parallels.

    On an axis-aligned geographic grid a pixel covers a piece of an ellipsoidal zone between two parallels,
    whose area has a closed form. Latitudes beyond the poles count as the poles.

    Returns
    -------
    (row,) float64 or None
        Areas, m²; None unless the grid is geographic and axis-aligned: use `pixel_metric` there.
    """
    crs, lat = _parse(grid.crs), _latitudes(grid)
    if crs is None or lat is None:
        return None
    semi_major, eccentricity2 = _ellipsoid(crs)
    areas: Floats = abs(np.diff(_authalic(lat, eccentricity2)))
    return np.asarray(areas * (semi_major**2 * (1 - eccentricity2) / 2 * abs(grid.transform.a) * _unit(crs)))


def edge_lengths(grid: Grid) -> tuple[Floats, Floats] | None:
    """Return the ground lengths of pixel edges in metres, on grids whose rows follow parallels.

    Returns
    -------
    across : (row + 1,) float64
        Length of an edge along the parallel above each row, and below the last one: N cos lat (4-18).
    down : (row,) float64
        Length of an edge along a meridian: the integral of M (4-19) by three-point Gauss quadrature, which is exact
        to rounding for pixels of a degree or less.
    None unless the grid is geographic and axis-aligned: use `pixel_metric` there.
    """
    lat = _latitudes(grid)
    crs = _parse(grid.crs)
    if lat is None or crs is None:
        return None
    semi_major, eccentricity2 = _ellipsoid(crs)
    across = semi_major * np.cos(lat) / np.sqrt(1 - eccentricity2 * np.sin(lat) ** 2)
    middle, half = (lat[1:] + lat[:-1]) / 2, abs(np.diff(lat)) / 2
    down = np.zeros_like(middle)
    for node, weight in ((-math.sqrt(0.6), 5 / 9), (0.0, 8 / 9), (math.sqrt(0.6), 5 / 9)):
        down += weight * _meridian_radius(middle + node * half, semi_major, eccentricity2)
    return across * (abs(grid.transform.a) * _unit(crs)), down * half


def pixel_metric(grid: Grid, col: Floats, row: Floats) -> Floats | None:
    """Measure the ground area and edge lengths of a pixel at positions of the grid.

    Positions become points P of the ellipsoid in geocentric coordinates, where neither the antimeridian nor the
    poles are special. Central differences give ∂P/∂col and ∂P/∂row; their lengths, the angle between them and the
    area |∂P/∂col × ∂P/∂row| are the result. PROJ's own factors do not serve: they are spherical for EPSG:3857 and
    ignore the CRS's units.

    Parameters
    ----------
    grid : Grid
        Grid whose affine and CRS place the positions.
    col, row : (position,) float64
        Positions in px; whole numbers are pixel corners.

    Returns
    -------
    (4, position) float64 or None
        Area of a pixel, m²; its length along a row and along a column, m; the cosine of the angle between these
        directions. NaN for positions outside the projection; None if the CRS is not tied to a body.
    """
    crs = _parse(grid.crs)
    if crs is None:
        return None
    unit = _unit(crs) * (_ellipsoid(crs)[0] if _is_angular(crs) else 1.0)  # m
    step = min(_STEP, max(1.0, unit * math.sqrt(grid.pixel_area) / 50)) / unit
    t = grid.transform
    x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
    points = _points(crs, np.stack([x + step, x - step, x, x]), np.stack([y, y, y + step, y - step]))
    with np.errstate(invalid="ignore"):
        by_x, by_y = (points[:, 0] - points[:, 1]) / (2 * step), (points[:, 2] - points[:, 3]) / (2 * step)
        by_col, by_row = t.a * by_x + t.d * by_y, t.b * by_x + t.e * by_y
        area = np.linalg.norm(np.cross(by_col, by_row, axis=0), axis=0)
        across, down = np.linalg.norm(by_col, axis=0), np.linalg.norm(by_row, axis=0)
        cosine = (by_col * by_row).sum(axis=0) / np.maximum(across * down, np.finfo(float).tiny)
    metric: Floats = np.stack([area, across, down, cosine])
    metric[:, ~np.isfinite(metric).all(axis=0)] = np.nan
    return metric


def plane(grid: Grid) -> tuple[float, float] | None:
    """Return the planar pixel edge and the radius of the body, both in metres; None if the CRS has no body."""
    crs = _parse(grid.crs)
    if crs is None:
        return None
    radius, _ = _ellipsoid(crs)
    return math.sqrt(grid.pixel_area) * _unit(crs) * (radius if _is_angular(crs) else 1.0), radius


def _points(crs: CRS, x: Floats, y: Floats) -> Floats:
    """Convert planar positions to geocentric coordinates, (3, place, position) m; NaN outside the projection.

    The places of one position are neighbours; the first of them decides whether it lies inside the projection.
    """
    if _is_angular(crs) and not crs.is_derived:
        return _in_space(crs, x, y)
    transformer, base = _down(crs.to_wkt())
    with np.errstate(invalid="ignore"):
        found = (
            transformer.transform(x, y) if base is not None else transformer.transform(x, y, np.zeros_like(x))
        )
        points = np.stack(found) if base is None else _in_space(base, *found)
        points[:, ~np.isfinite(points).all(axis=0)] = np.nan
        if not _is_angular(crs):
            near = _NEAR * _ellipsoid(crs)[0] / _unit(crs)
            points[:, 0, ~_come_back(transformer, [each[0] for each in found], (x[0], y[0]), near)] = np.nan
    return points


def _in_space(geographic: CRS, x: Floats, y: Floats) -> Floats:
    """Convert longitudes x and latitudes y (in units of the CRS) to geocentric coordinates, (3, ...) m."""
    semi_major, eccentricity2 = _ellipsoid(geographic)
    lon, lat = x * _unit(geographic), y * _unit(geographic)
    lat = _geodetic(geographic, np.where(abs(lat) <= math.pi / 2, lat, np.nan))
    normal = semi_major / np.sqrt(1 - eccentricity2 * np.sin(lat) ** 2)  # Snyder's N, 4-18
    flat = normal * np.cos(lat)
    return np.stack([flat * np.cos(lon), flat * np.sin(lon), normal * (1 - eccentricity2) * np.sin(lat)])


def _come_back(transformer: Any, found: list[Floats], place: tuple[Floats, Floats], near: float) -> Bools:
    """Tell which points survive the round trip: some projections invert positions outside their domain, too.

    Cylindrical projections may continue beyond their antimeridian. Their meridians are vertical: a point of the same
    meridian nearer to the equator has the same x.
    """
    x, y = place
    back_x, back_y, *_ = transformer.transform(*found, direction="INVERSE")
    good: Bools = (abs(back_x - x) <= near) & (abs(back_y - y) <= near)
    turned = ~good & (abs(back_y - y) <= near)
    if turned.any():
        *level, height = (each[turned] for each in found)
        lower_x, *_ = transformer.transform(*level, height / 2, direction="INVERSE")
        good[turned] = abs(lower_x - back_x[turned]) <= near
    return good


@lru_cache(maxsize=8)
def _down(wkt: str) -> tuple[Transformer, CRS | None]:
    """Return a transformer to the base geographic CRS, with that CRS; or one to geocentric coordinates, with None.

    The latter serves where latitudes are not geodetic or longitudes count westwards. Making one takes 0.1 s.
    """
    from pyproj import CRS, Transformer

    crs = CRS.from_wkt(wkt)
    base = crs.geodetic_crs
    while base is not None and base.is_derived:  # a rotated pole: down to the true latitudes
        base = base.source_crs
    assert base is not None
    usual = {axis.direction for axis in base.axis_info} <= {"north", "east", "up"}
    if usual and base.is_geographic:
        return Transformer.from_crs(crs, base, always_xy=True), base
    known = base.to_json_dict()
    axes = [
        {"name": f"Geocentric {a}", "abbreviation": a, "direction": f"geocentric{a}", "unit": "metre"}
        for a in "XYZ"
    ]
    space = {key: known[key] for key in ("name", "datum", "datum_ensemble") if key in known} | {
        "type": "GeodeticCRS",
        "coordinate_system": {"subtype": "Cartesian", "axis": axes},
    }
    return Transformer.from_crs(crs, CRS.from_json_dict(space), always_xy=True), None


def _is_angular(crs: CRS) -> bool:
    """Tell whether the coordinates of a CRS are angles, with latitudes of any kind."""
    return bool(crs.is_geographic) or "Geodetic" in crs.type_name


def _geodetic(crs: CRS, lat: Floats) -> Floats:
    """Convert latitudes of a CRS to geodetic ones: CRSs of other bodies may be planetocentric."""
    if "planetocentric" not in crs.axis_info[0].name.lower():
        return lat
    return np.asarray(np.arctan2(np.sin(lat), np.cos(lat) * (1 - _ellipsoid(crs)[1])))


def _latitudes(grid: Grid) -> Floats | None:
    """Return the latitudes of the row edges in radians, (row + 1,); None unless rows follow parallels."""
    crs = _parse(grid.crs)
    t = grid.transform
    if crs is None or not _is_angular(crs) or crs.is_derived or t.b != 0 or t.d != 0:
        return None
    lat: Floats = np.clip((t.f + t.e * np.arange(grid.height + 1)) * _unit(crs), -math.pi / 2, math.pi / 2)
    return _geodetic(crs, lat)


def _meridian_radius(lat: Floats, semi_major: float, eccentricity2: float) -> Floats:
    """Return the radius of curvature along the meridian in metres: Snyder's M, 4-19."""
    return np.asarray(semi_major * (1 - eccentricity2) / (1 - eccentricity2 * np.sin(lat) ** 2) ** 1.5)


def area_texts(areas_m2: Sequence[float | None]) -> list[str]:
    """Format areas in m² (None if unknown) for a table, all in the largest unit that keeps the largest above 1."""
    largest = max((area for area in areas_m2 if area is not None), default=0.0)
    unit, size = next((u for u in _UNITS if largest >= u[1]), _UNITS[-1])
    return ["" if area is None else f"{area / size:,.3f} {unit}" for area in areas_m2]


@lru_cache(maxsize=8)
def _parse(wkt: str | None) -> CRS | None:
    """Return the horizontal CRS of a WKT; None without one or without an ellipsoid."""
    if not wkt:
        return None
    from pyproj import CRS

    crs = CRS.from_wkt(wkt)
    if crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    horizontal: Any = crs.sub_crs_list[0] if crs.is_compound else crs
    known = horizontal.ellipsoid is not None and horizontal.geodetic_crs is not None
    return horizontal if known and not horizontal.is_geocentric else None


def _unit(crs: CRS) -> float:
    """Return the size of the horizontal axes' unit, in metres or radians."""
    return float(crs.axis_info[0].unit_conversion_factor)


def _ellipsoid(crs: CRS) -> tuple[float, float]:
    """Return the semi-major axis in metres and the squared eccentricity."""
    ellipsoid = crs.ellipsoid
    assert ellipsoid is not None
    flattening = (
        1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    )  # a sphere has 0 there
    return float(ellipsoid.semi_major_metre), flattening * (2 - flattening)


def _authalic(lat: Floats, eccentricity2: float) -> Floats:
    """Return Snyder's q / (1 - e²), 3-12: twice the area from the equator per radian, in units of a² (1 - e²)."""
    sine = np.sin(lat)
    if eccentricity2 == 0:
        return np.asarray(2 * sine)
    e = math.sqrt(eccentricity2)
    return np.asarray(sine / (1 - eccentricity2 * sine**2) + np.arctanh(e * sine) / e)
