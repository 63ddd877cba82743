"""True ground area: how many square metres of the ellipsoid lie under pixels.

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

_UNITS = (("km²", 1e6), ("ha", 1e4), ("m²", 1.0))
_STEP = (
    100.0  # m; at this distance the rounding and the truncation of central differences are both below 1e-9
)


def pixel_size_m(grid: Grid) -> float | None:
    """Ground sample distance, m: the square root of the ground area of the centre pixel.

    None where the grid has no CRS, or one that is not tied to the Earth.
    """
    zones = row_areas(grid)
    if zones is not None:
        return math.sqrt(zones[grid.height // 2])
    scale = area_scale(grid, np.array([grid.width / 2]), np.array([grid.height / 2]))
    return None if scale is None or not np.isfinite(scale[0]) else math.sqrt(grid.pixel_area * scale[0])


def row_areas(grid: Grid) -> Floats | None:
    """Ground area of one pixel of each row, exactly, where rows follow parallels.

    On an axis-aligned geographic grid a pixel covers a piece of an ellipsoidal zone between two parallels,
    whose area has a closed form. Latitudes beyond the poles count as the poles.

    Returns
    -------
    (row,) float64 or None
        m²; None where the grid is no axis-aligned geographic one: use `area_scale` there.
    """
    crs, lat = _parse(grid), _latitudes(grid)
    if crs is None or lat is None:
        return None
    semi_major, eccentricity2 = _ellipsoid(crs)
    areas: Floats = abs(np.diff(_authalic(lat, eccentricity2)))
    return np.asarray(areas * (semi_major**2 * (1 - eccentricity2) / 2 * abs(grid.transform.a) * _unit(crs)))


def edge_lengths(grid: Grid) -> tuple[Floats, Floats] | None:
    """Ground lengths of pixels' edges where rows follow parallels, m.

    Returns
    -------
    across : (row + 1,) float64
        Of an edge along the parallel above each row, and below the last one: N cos lat (4-18).
    down : (row,) float64
        Of an edge along a meridian: the integral of M (4-19), by the quadrature of Gauss with three points,
        which is exact to rounding for pixels of a degree or less.
    None where the grid is no axis-aligned geographic one: use `ground_scales` there.
    """
    lat = _latitudes(grid)
    crs = _parse(grid)
    if lat is None or crs is None:
        return None
    semi_major, eccentricity2 = _ellipsoid(crs)
    across = semi_major * np.cos(lat) / np.sqrt(1 - eccentricity2 * np.sin(lat) ** 2)
    middle, half = (lat[1:] + lat[:-1]) / 2, abs(np.diff(lat)) / 2
    down = np.zeros_like(middle)
    for node, weight in ((-math.sqrt(0.6), 5 / 9), (0.0, 8 / 9), (math.sqrt(0.6), 5 / 9)):
        down += weight * _meridian_radius(middle + node * half, semi_major, eccentricity2)
    return across * (abs(grid.transform.a) * _unit(crs)), down * half


def area_scale(grid: Grid, col: Floats, row: Floats) -> Floats | None:
    """Square metres of ground per square CRS unit at positions of the grid: the first of `ground_scales`."""
    scales = ground_scales(grid, col, row)
    return None if scales is None else scales[0]


def ground_scales(grid: Grid, col: Floats, row: Floats) -> tuple[Floats, Floats, Floats] | None:
    """Return what areas and edges of pixels measure on the ground at positions of the grid.

    The area scale is |∂(lon, lat)/∂(x, y)| · M(lat) · N(lat) · cos lat, the Jacobian by central differences
    through one vectorised transformation to the CRS's own geographic CRS. Proj's own factors are no help: they
    are spherical for EPSG:3857 and blind to units. A step of one pixel is as long as
    √((N cos lat · Δlon)² + (M · Δlat)²) by the same Jacobian.

    Parameters
    ----------
    grid : Grid
    col, row : (position,) float64
        Positions in px, pixel corners being whole numbers.

    Returns
    -------
    area : (position,) float64
        Square metres of ground per square CRS unit.
    across, down : (position,) float64
        Metres of ground per pixel along a row, and along a column.
    NaN where the position lies outside of the projection; None where the CRS is not tied to the Earth.
    """
    crs = _parse(grid)
    geographic = None if crs is None else _geographic(crs)
    if crs is None or geographic is None:
        return None
    semi_major, eccentricity2 = _ellipsoid(geographic)
    unit = _unit(crs)
    step = _STEP / semi_major / unit if crs.is_geographic else _STEP / unit  # in CRS units
    t = grid.transform
    x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
    transformer = _transformer(crs.to_wkt(), geographic.to_wkt())
    xs = np.concatenate([x, x + step, x - step, x, x])
    ys = np.concatenate([y, y, y, y + step, y - step])
    angles = transformer.transform(xs, ys, inplace=True)
    lon, lat = (np.reshape(angle, (5, -1)) * _unit(geographic) for angle in angles)
    with np.errstate(invalid="ignore"):  # infinities outside of the projection
        lon_x, lon_y = _turn(lon[1] - lon[2]) / (2 * step), _turn(lon[3] - lon[4]) / (2 * step)
        lat_x, lat_y = (lat[1] - lat[2]) / (2 * step), (lat[3] - lat[4]) / (2 * step)
        meridian = _meridian_radius(lat[0], semi_major, eccentricity2)
        parallel = semi_major / np.sqrt(1 - eccentricity2 * np.sin(lat[0]) ** 2) * np.cos(lat[0])
        area = abs(lon_x * lat_y - lon_y * lat_x) * meridian * parallel
        across = np.hypot(parallel * (lon_x * t.a + lon_y * t.d), meridian * (lat_x * t.a + lat_y * t.d))
        down = np.hypot(parallel * (lon_x * t.b + lon_y * t.e), meridian * (lat_x * t.b + lat_y * t.e))
    for scale in (area, across, down):
        scale[~np.isfinite(scale)] = np.nan
    return area, across, down


@lru_cache(maxsize=8)
def _transformer(crs: str, geographic: str) -> Transformer:
    """Return a transformer; making one takes longer than transforming thousands of positions."""
    from pyproj import Transformer

    return Transformer.from_crs(crs, geographic, always_xy=True)


def _geographic(crs: CRS) -> CRS | None:
    """Return the geographic CRS in true latitudes below a CRS, None where it has none."""
    geographic = crs.geodetic_crs
    if geographic is None or geographic.is_geocentric or crs.is_geocentric:
        return None
    if geographic.is_derived:  # a rotated pole: down to the true latitudes
        geographic = geographic.source_crs or geographic
    return geographic.to_2d() if len(geographic.axis_info) > 2 else geographic


def _latitudes(grid: Grid) -> Floats | None:
    """Latitudes of the rows' edges, rad, (row + 1,); None where rows do not follow parallels."""
    crs = _parse(grid)
    t = grid.transform
    if crs is None or not crs.is_geographic or crs.is_derived or t.b != 0 or t.d != 0:
        return None
    lat: Floats = np.clip((t.f + t.e * np.arange(grid.height + 1)) * _unit(crs), -math.pi / 2, math.pi / 2)
    return lat


def _meridian_radius(lat: Floats, semi_major: float, eccentricity2: float) -> Floats:
    """Snyder's M, 4-19, m."""
    return np.asarray(semi_major * (1 - eccentricity2) / (1 - eccentricity2 * np.sin(lat) ** 2) ** 1.5)


def area_texts(areas_m2: Sequence[float | None]) -> list[str]:
    """Write areas (m², None where unknown) for a table: in one unit, in which the largest is at least 1."""
    largest = max((area for area in areas_m2 if area is not None), default=0.0)
    unit, size = next((u for u in _UNITS if largest >= u[1]), _UNITS[-1])
    return ["" if area is None else f"{area / size:,.3f} {unit}" for area in areas_m2]


def _parse(grid: Grid) -> CRS | None:
    """CRS of the grid, None where it has none or one without an ellipsoid."""
    if not grid.crs:
        return None
    from pyproj import CRS

    crs = CRS.from_wkt(grid.crs)
    if crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    horizontal: Any = crs.sub_crs_list[0] if crs.is_compound else crs
    return None if horizontal.geodetic_crs is None else horizontal


def _unit(crs: CRS) -> float:
    """Metres or radians in the unit of the horizontal axes."""
    return float(crs.axis_info[0].unit_conversion_factor)


def _ellipsoid(crs: CRS) -> tuple[float, float]:
    """Semi-major axis in m and squared eccentricity."""
    ellipsoid = crs.ellipsoid
    assert ellipsoid is not None
    flattening = (
        1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    )  # a sphere has 0 there
    return float(ellipsoid.semi_major_metre), flattening * (2 - flattening)


def _authalic(lat: Floats, eccentricity2: float) -> Floats:
    """Snyder's q / (1 - e²), 3-12: twice the zone's area from the equator per radian, in a² (1 - e²)."""
    sine = np.sin(lat)
    if eccentricity2 == 0:
        return np.asarray(2 * sine)
    e = math.sqrt(eccentricity2)
    return np.asarray(sine / (1 - eccentricity2 * sine**2) + np.arctanh(e * sine) / e)


def _turn(angle: Floats) -> Floats:
    """Differences of longitude across the antimeridian, brought to -pi to pi."""
    return np.asarray((angle + math.pi) % (2 * math.pi) - math.pi)
