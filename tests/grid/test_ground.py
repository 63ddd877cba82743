"""Ground areas against closed forms, equal-area projections and geodesic polygons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.crs import DerivedGeographicCRS
from pyproj.crs.coordinate_operation import RotatedLatitudeLongitudeConversion

from geoseg.grid.grid import Grid
from geoseg.grid.ground import pixel_metric, pixel_size_m, row_areas

WGS84_AREA = 510_065_621_724_088.4  # m², 4 pi times the square of the authalic radius 6371007.180918 m
US_FOOT = 1200 / 3937


def grid(crs: object, transform: Affine, height: int = 1, width: int = 1) -> Grid:
    wkt = None if crs is None else CRS.from_user_input(crs).to_wkt()
    return Grid(height=height, width=width, transform=transform, crs=wkt)


def scale_at(crs: object, x: float, y: float, size: float = 10.0) -> float:
    """Square metres per square CRS unit at one point."""
    return area_at(grid(crs, Affine(size, 0, x, 0, -size, y))) / size**2


def area_at(where: Grid) -> float:
    """Square metres of a pixel, at the first corner of the grid."""
    metric = pixel_metric(where, np.zeros(1), np.zeros(1))
    assert metric is not None
    return float(metric[0, 0])


@pytest.mark.parametrize("turn", [1, -1], ids=["north-up", "south-up"])
def test_the_zones_of_the_globe_sum_to_the_ellipsoid(turn: int) -> None:
    areas = row_areas(grid("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5 * turn, 90 * turn), 360, 720))
    assert areas is not None
    assert areas.sum() * 720 == pytest.approx(WGS84_AREA, rel=1e-13)
    np.testing.assert_allclose(areas, areas[::-1], rtol=1e-12)


def test_a_zone_is_what_a_geodesic_polygon_with_many_points_measures() -> None:
    areas = row_areas(grid("EPSG:4326", Affine(1, 0, 10, 0, -1, 48)))
    along = np.linspace(10, 11, 4001)
    lon = np.concatenate([along, along[::-1]])
    lat = np.concatenate([np.full(4001, 47.0), np.full(4001, 48.0)])
    expected, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    assert areas is not None
    assert areas[0] == pytest.approx(expected, rel=1e-9)


def test_latitudes_beyond_the_poles_count_as_the_poles() -> None:
    # Model grids centre a row of pixels on the pole, so half of it lies beyond.
    areas = row_areas(grid("EPSG:4326", Affine(1, 0, -180.5, 0, -1, 90.5), 181, 360))
    assert areas is not None
    assert areas.sum() * 360 == pytest.approx(WGS84_AREA, rel=1e-13)


def test_grads_and_spheres_are_understood() -> None:
    grads = row_areas(grid("EPSG:4807", Affine(1, 0, 0, 0, -1, 50)))  # Paris meridian, grads, Clarke 1880
    degrees = row_areas(grid("+proj=longlat +a=6378249.2 +b=6356515", Affine(0.9, 0, 0, 0, -0.9, 45)))
    assert grads is not None
    assert degrees is not None
    assert grads[0] == pytest.approx(degrees[0], rel=1e-12)
    sphere = row_areas(grid("+proj=longlat +R=6371000", Affine(360, 0, -180, 0, -90, 90)))
    assert sphere is not None
    assert sphere[0] == pytest.approx(2 * math.pi * 6371000**2, rel=1e-14)


@pytest.mark.parametrize(
    ("crs", "x", "y", "unit"),
    [
        ("EPSG:6933", 1e6, 4e6, 1.0),  # cylindrical equal area
        ("EPSG:3035", 3e6, 2e6, 1.0),  # LAEA Europe, whose first axis is northing
        ("EPSG:5070", -2e6, 5e5, 1.0),  # Albers, conterminous United States
        ("+proj=laea +lat_0=40 +lon_0=-100 +datum=WGS84 +units=us-ft", 3e6, -2e6, US_FOOT),
        ("+proj=laea +lat_0=40 +lon_0=-100 +datum=WGS84 +units=km", 900, -600, 1000.0),
        ("+proj=laea +lat_0=-90 +lon_0=0 +datum=WGS84", 2e5, 3e5, 1.0),
    ],
)
def test_equal_area_projections_have_the_square_of_their_unit(
    crs: str, x: float, y: float, unit: float
) -> None:
    assert scale_at(crs, x, y) == pytest.approx(unit**2, rel=1e-8)


def test_utm_on_its_central_meridian() -> None:
    assert scale_at("EPSG:32632", 500000, 0) == pytest.approx(0.9996**-2, rel=1e-9)


@pytest.mark.parametrize("lat", [0.0, 37.0, -60.0, 84.0])
def test_web_mercator_is_not_taken_for_a_sphere(lat: float) -> None:
    semi_major, e2 = 6378137.0, 0.0066943799901413165
    phi = math.radians(lat)
    y = semi_major * math.asinh(math.tan(phi))
    curvature = semi_major**2 * (1 - e2) / (1 - e2 * math.sin(phi) ** 2) ** 2
    assert scale_at("EPSG:3857", 1e6, y) == pytest.approx(
        curvature * (math.cos(phi) / semi_major) ** 2, rel=1e-8
    )


@pytest.mark.parametrize(
    ("crs", "x", "y", "side"),
    [
        ("EPSG:2263", 1_000_000, 200_000, 1000),  # New York, US survey feet
        ("EPSG:27700", 260_000, 280_000, 500),  # the British grid, on an ellipsoid of its own
        ("EPSG:32601", 166_000, 5_000_000, 500),  # beyond the antimeridian
        ("EPSG:3832", 3_339_584.7, 1_000_000, 500),  # across it
        ("EPSG:3413", 1_000_000, -1_000_000, 500),  # polar stereographic
        ("EPSG:32632+5773", 600_000, 5_400_000, 500),  # compound: with heights
    ],
)
def test_a_square_has_the_area_of_its_geodesic_polygon(crs: str, x: float, y: float, side: float) -> None:
    found = scale_at(crs, x, y) * side**2
    horizontal = CRS(crs).sub_crs_list[0] if CRS(crs).is_compound else CRS(crs)
    geographic = horizontal.geodetic_crs
    assert geographic is not None
    lon, lat = Transformer.from_crs(horizontal, geographic, always_xy=True).transform(
        [x - side / 2, x + side / 2, x + side / 2, x - side / 2],
        [y - side / 2, y - side / 2, y + side / 2, y + side / 2],
    )
    expected, _ = geographic.get_geod().polygon_area_perimeter(lon, lat)
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_datum_shift_in_the_wkt_changes_nothing() -> None:
    bound = (
        'PROJCS["x",GEOGCS["x",DATUM["x",SPHEROID["Bessel 1841",6377397.155,299.1528128],'
        'TOWGS84[598.1,73.7,418.2,0.202,0.045,-2.455,6.7]],PRIMEM["Greenwich",0],'
        'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
        'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",1],'
        'PARAMETER["false_easting",3500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
    )
    assert CRS.from_wkt(bound).is_bound
    assert scale_at(bound, 3_500_000, 5_400_000) == pytest.approx(1, rel=1e-9)


def test_a_rotated_geographic_grid_agrees_with_the_zones() -> None:
    transform = Affine.translation(10, 50) @ Affine.rotation(30) @ Affine.scale(1e-4, -1e-4)
    turned = grid("EPSG:4326", transform)
    assert row_areas(turned) is None
    zones = row_areas(grid("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 50 + 0.5e-4)))
    assert zones is not None
    assert area_at(turned) == pytest.approx(zones[0], rel=1e-8)


def test_a_rotated_pole_is_measured_at_its_true_latitude() -> None:
    rotated = (
        "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +to_meter=0.0174532925199433"
    )
    crs = CRS(rotated)
    at = grid(crs, Affine(0.1, 0, 0, 0, -0.1, 0))
    assert row_areas(at) is None
    assert math.sqrt(area_at(at)) / 0.1 == pytest.approx(math.pi / 180 * 6371000, rel=5e-3)


def test_a_derived_geographic_crs_is_measured_on_its_base() -> None:
    # The rotated equator passes near 50.75 degrees north; were its latitude taken for true, it would be at 0.
    crs = DerivedGeographicCRS(CRS("EPSG:4326"), RotatedLatitudeLongitudeConversion(39.25, -162))
    at = grid(crs, Affine(0.1, 0, 0, 0, -0.1, 0))
    assert row_areas(at) is None
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
        [-0.01, 0.01, 0.01, -0.01], [-0.01, -0.01, 0.01, 0.01]
    )
    expected, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    assert abs(np.mean(lat)) > 10
    assert area_at(at) / 0.1**2 * 0.02**2 == pytest.approx(abs(expected), rel=1e-5)


@pytest.mark.parametrize(
    "crs",
    [
        None,
        'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]',
        "EPSG:4978",  # geocentric
    ],
)
def test_what_is_not_tied_to_the_ground_has_no_area(crs: str | None) -> None:
    at = grid(crs, Affine.identity())
    assert row_areas(at) is None
    assert pixel_metric(at, np.zeros(1), np.zeros(1)) is None
    assert pixel_size_m(at) is None


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        ("EPSG:3035", 1e9, 1e9),
        ("ESRI:54009", 1.81e7, 0),  # beyond the ellipse
        ("ESRI:54008", 1.9e7, 6e6),  # Proj gives a place there, and another one back
        ("ESRI:54030", 1.75e7, 8e6),
        ("EPSG:32632", 2e7, 3e6),
    ],
)
def test_positions_outside_of_the_projection_are_nan(crs: str, x: float, y: float) -> None:
    assert math.isnan(scale_at(crs, x, y))


@pytest.mark.parametrize(("crs", "turn"), [("EPSG:3857", 40075016.685578488), ("EPSG:6933", 34735062.13)])
def test_cylindrical_projections_go_on_beyond_the_antimeridian(crs: str, turn: float) -> None:
    assert scale_at(crs, 1e6 + turn, 5e6) == pytest.approx(scale_at(crs, 1e6, 5e6), rel=1e-8)


def test_a_pole_is_a_place_like_others() -> None:
    # The scale of EPSG:3031 is true at 71 degrees south; at the pole areas are larger than in the plane.
    assert scale_at("EPSG:3031", 0, 0) == pytest.approx(scale_at("EPSG:3031", 1, 1), rel=1e-9)
    assert scale_at("EPSG:3031", 0, 0) > 1.05


@pytest.mark.parametrize(
    ("crs", "x", "y", "size", "expected"),
    [
        ("IAU_2015:30100", 0, 0, 1, 1737400 * math.pi / 180),  # the Moon, a sphere; degrees
        ("IAU_2015:30110", 0, 0, 100, 100),
        ("IAU_2015:30130", 0, 0, 100, 100),
        ("IAU_2015:49900", 0, 0, 1, 3396190 * math.pi / 180),
        ("IAU_2015:49910", 0, 0, 100, 100),
    ],
)
def test_other_bodies_have_their_own_size(crs: str, x: float, y: float, size: float, expected: float) -> None:
    at = grid(crs, Affine(size, 0, x - size / 2, 0, -size, y + size / 2))
    assert pixel_size_m(at) == pytest.approx(expected, rel=1e-3)


def test_latitudes_of_other_bodies_may_be_planetocentric_and_longitudes_may_count_westwards() -> None:
    # Mars at 45 degrees of planetocentric latitude, which are 45.34 geodetic ones.
    e2 = 1 - (3376200 / 3396190) ** 2
    lat = math.degrees(math.atan(math.tan(math.radians(45)) / (1 - e2)))
    step = Affine(0.01, 0, 10, 0, -0.01, 45)
    centric = row_areas(grid("IAU_2015:49902", step))
    graphic = row_areas(grid("IAU_2015:49901", Affine(0.01, 0, 10, 0, -0.01, lat)))
    assert centric is not None
    assert graphic is not None
    # The two kinds of latitude run at other paces: d(geodetic) / d(planetocentric).
    pace = (1 - e2) / (math.cos(math.radians(45)) ** 2 * (1 - e2) ** 2 + math.sin(math.radians(45)) ** 2)
    assert centric[0] == pytest.approx(graphic[0] * pace, rel=1e-5)
    assert area_at(grid("IAU_2015:49902", step)) == pytest.approx(centric[0], rel=2e-4)
    for crs in ("IAU_2015:49911", "IAU_2015:49912", "IAU_2015:49916", "IAU_2015:49917"):
        assert scale_at(crs, 1e5, 1e5) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:6933", Affine(10, 0, 1e6, 0, -10, 4e6), 10.0),
        ("EPSG:6933", Affine.translation(1e6, 4e6) @ Affine.rotation(30) @ Affine.scale(10, -10), 10.0),
        ("EPSG:2263", Affine(1, 0, 1e6, 0, -1, 2e5), 0.3048),
        ("EPSG:4326", Affine(1 / 3600, 0, 10, 0, -1 / 3600, 0), 30.8),
        ("EPSG:3857", Affine(10, 0, 0, 0, -10, 8399737.9), 5.0),  # at 60 degrees north
    ],
)
def test_pixel_size_on_the_ground(crs: str, transform: Affine, expected: float) -> None:
    assert pixel_size_m(grid(crs, transform, 5, 5)) == pytest.approx(expected, rel=5e-3)
