"""Areas and perimeters against geodesic polygons whose edges follow those of the grid, in every kind of CRS."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer

from geoseg.grid.grid import Grid
from geoseg.grid.ground import pixel_metric, row_areas
from geoseg.grid.ground_cells import PixelAreas
from geoseg.polygons.features import Features
from geoseg.polygons.outline import Outline
from geoseg.polygons.polygonize import polygonize
from geoseg.polygons.stream import Wanted, polygonize_strips
from geoseg.polygons.strips import MapRows

FEET = "+proj=lcc +lat_1=45 +lat_2=33 +lat_0=39 +lon_0=-96 +datum=NAD83 +units=us-ft"


def blobs(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Regions of every shape: a ring, thin lines, single pixels, large ones."""
    random = np.random.default_rng(3)
    coarse = random.integers(1, 4, (height // 5 + 1, width // 5 + 1))
    codes = np.kron(coarse, np.ones((5, 5), np.int64))[:height, :width]
    codes[random.random(codes.shape) < 0.04] = 4
    codes[height // 2] = 5
    row, col = np.indices(codes.shape) - np.array([height / 2 - 0.5, width / 2 - 0.5]).reshape(2, 1, 1)
    distance = np.hypot(row, col)
    codes[(distance > 3) & (distance < 6)] = 6
    return codes.astype(np.uint8)


def measured(polygon: Any, crs: CRS, step: float) -> tuple[float, float]:
    """Geodesic area and perimeter of a polygon whose edges are straight in the CRS."""
    base = crs.geodetic_crs
    assert base is not None
    geod, transformer = base.get_geod(), Transformer.from_crs(crs, base, always_xy=True)
    area = length = 0.0
    for i, ring in enumerate([polygon.exterior, *polygon.interiors]):
        x, y = shapely.get_coordinates(shapely.segmentize(ring, step)).T
        found, around = geod.polygon_area_perimeter(*transformer.transform(x, y))
        area += abs(found) * (1 if i == 0 else -1)
        length += around
    return area, length


def check(grid: Grid, outline: Outline | None = None, segments: int = 40) -> None:
    """Compare what polygons say with what geodesics do; edges are cut into so many for each pixel."""
    codes = blobs(*grid.shape)
    band = MapRows(codes=codes, valid=np.ones(codes.shape, np.bool_))
    features = Features.joined(list(polygonize_strips([band], Wanted(grid=grid, outline=outline))))
    crs = CRS.from_wkt(grid.crs or "")
    edge = min(np.hypot(grid.transform.a, grid.transform.d), np.hypot(grid.transform.b, grid.transform.e))
    pixels = polygonize(codes, band.valid, grid)
    expected = [measured(polygon, crs, edge / segments)[0] for polygon in shapely.from_wkb(pixels.wkb)]
    np.testing.assert_allclose(features.area_m2, expected, rtol=1e-5)
    expected = [measured(polygon, crs, edge / segments)[1] for polygon in shapely.from_wkb(features.wkb)]
    np.testing.assert_allclose(features.perimeter_m, expected, rtol=1e-4)


GRIDS = {
    "Web Mercator": ("EPSG:3857", Affine(6e5, 0, -6e6, 0, -6e5, 6e6)),
    "Web Mercator across the antimeridian": ("EPSG:3857", Affine(1e5, 0, 19.2e6, 0, -7e5, 15e6)),
    "Web Mercator, south up, to 86 degrees": ("EPSG:3857", Affine(3e4, 0, 1e6, 0, 3e4, 20.5e6)),
    "the South Pole on a corner": ("EPSG:3031", Affine(3e5, 0, -3e6, 0, -3e5, 3e6)),
    "the North Pole in a pixel": ("EPSG:3413", Affine(1e5, 0, -1.02e6, 0, -1e5, 0.97e6)),
    "the North Pole, small pixels": ("EPSG:3995", Affine(1e4, 0, -1e5, 0, -1e4, 1e5)),
    "Europe, sheared": ("EPSG:3035", Affine(30e3, 7e3, 4.2e6, -4e3, -25e3, 3.3e6)),
    "Mollweide": ("ESRI:54009", Affine(6e5, 0, -6e6, 0, -6e5, 6e6)),
    "Mollweide near its edge": ("ESRI:54009", Affine(1e4, 0, 1.1e7, 0, -1e4, 5.4e6)),
    "UTM far out of its zone": ("EPSG:32632", Affine(3e5, 0, -3e6, 0, -3e5, 8e6)),
    "UTM, turned": ("EPSG:32632", Affine.translation(5e5, 5.2e6) @ Affine.rotation(30) @ Affine.scale(2e4)),
    "UTM as usual": ("EPSG:32632", Affine(10, 0, 5e5, 0, -10, 5.4e6)),
    "feet": (FEET, Affine(4e5, 0, -4e6, 0, -4e5, 4e6)),
    "degrees from 0 to 360": ("EPSG:4326", Affine(4, 0, 150, 0, -2, 62)),
    "degrees, the whole world": ("EPSG:4326", Affine(18, 0, -180, 0, -9, 90)),
    "degrees, turned": (
        "EPSG:4326",
        Affine.translation(10, 40) @ Affine.rotation(20) @ Affine.scale(0.5, -0.4),
    ),
    "Mars": ("IAU_2015:49910", Affine(2e5, 0, -1e6, 0, -2e5, 3e6)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_areas_and_perimeters_are_those_on_the_ellipsoid(name: str) -> None:
    crs, transform = GRIDS[name]
    check(Grid(height=20, width=20, transform=transform, crs=CRS(crs).to_wkt()))


@pytest.mark.parametrize("name", ["Web Mercator", "Mollweide", "Europe, sheared", "degrees, the whole world"])
@pytest.mark.parametrize(("limit", "smooth"), [(8, True), (4, False)])
def test_perimeters_are_those_of_the_lines_as_they_are_drawn(name: str, limit: int, smooth: bool) -> None:
    crs, transform = GRIDS[name]
    grid = Grid(height=20, width=20, transform=transform, crs=CRS(crs).to_wkt())
    check(grid, Outline(limit=limit, smooth=smooth))


@pytest.mark.parametrize(
    ("crs", "transform", "shape", "expected"),
    [
        # What lies between parallels has a closed form.
        ("EPSG:3857", Affine(1e4, 0, -20037508.342789244, 0, -1e4, 1e7), (2000, 4008), (-1e7, 1e7)),
        ("EPSG:6933", Affine(1e4, 0, -17367530.445161372, 0, -1e4, 7e6), (1400, 3474), (-7e6, 7e6)),
    ],
)
def test_a_region_round_the_world(
    crs: str, transform: Affine, shape: tuple[int, int], expected: tuple[float, float]
) -> None:
    grid = Grid(height=shape[0], width=shape[1], transform=transform, crs=CRS(crs).to_wkt())
    features = polygonize(np.ones(shape, np.uint8), np.ones(shape, np.bool_), grid)
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    _, (south, north) = to_degrees([0, 0], expected)
    turns = shape[1] * transform.a / -transform.c / 2
    zone = row_areas(
        Grid(
            height=1,
            width=1,
            transform=Affine(360 * turns, 0, -180, 0, south - north, north),
            crs=CRS("EPSG:4326").to_wkt(),
        )
    )
    assert zone is not None
    assert features.area_m2[0] == pytest.approx(zone[0], rel=1e-6)


def test_a_ring_round_the_pole_and_what_is_in_it() -> None:
    grid = Grid(height=50, width=50, transform=Affine(1e5, 0, -25e5, 0, -1e5, 25e5), crs=CRS(3031).to_wkt())
    row, col = np.indices(grid.shape) - 24.5
    ring = (np.hypot(row, col) > 10) & (np.hypot(row, col) < 20)
    features = polygonize(ring.astype(np.uint8), np.ones(grid.shape, np.bool_), grid)
    # Each pixel for itself, by the quadrature of Gauss.
    nodes, weights = np.polynomial.legendre.leggauss(4)
    total = np.zeros(grid.shape)
    for x, wide in zip(nodes, weights, strict=True):
        for y, tall in zip(nodes, weights, strict=True):
            places = np.indices(grid.shape) + 0.5
            metric = pixel_metric(grid, (places[1] + x / 2).ravel(), (places[0] + y / 2).ravel())
            assert metric is not None
            total += metric[0].reshape(grid.shape) * wide * tall / 4
    expected = [total[ring].sum(), total[np.hypot(row, col) < 10].sum()]
    (around,) = features.area_m2[features.class_code == 1]
    inside = features.area_m2[features.class_code == 0].min()  # the corners are one region
    np.testing.assert_allclose([around, inside], expected, rtol=2e-6)


@pytest.mark.long
def test_what_lies_outside_of_the_projection_has_no_area() -> None:
    grid = Grid(
        height=40, width=40, transform=Affine(1e6, 0, -20e6, 0, -5e5, 10e6), crs=CRS("ESRI:54009").to_wkt()
    )
    codes = np.arange(1600).reshape(40, 40)
    features = polygonize(codes, np.ones(codes.shape, np.bool_), grid)
    area = features.area_m2[np.argsort(features.class_code)].reshape(40, 40)
    length = features.perimeter_m[np.argsort(features.class_code)].reshape(40, 40)
    x, y = np.arange(-20, 21) * 1e6, np.arange(20, -21, -1) * 5e5
    a = 6378137 * np.sqrt(2) * 0.99888  # the ellipse of Mollweide's sphere that has the area of WGS 84
    beyond = (x[np.newaxis] / (2 * a)) ** 2 + (y[:, np.newaxis] / a) ** 2 > 1
    corners = beyond[1:, 1:] * 1 + beyond[:-1, 1:] + beyond[1:, :-1] + beyond[:-1, :-1]
    assert np.isnan(area[corners == 4]).all()
    assert np.isnan(length[corners == 4]).all()
    # What lies inside is equal to a part in 10,000: the ellipsoid is not Mollweide's sphere.
    np.testing.assert_allclose(area[(corners == 0) & ~np.isnan(area)], 5e11, rtol=0.01)
    assert np.isnan(area[corners == 0]).sum() < 10
    assert ((corners == 0) & (area > 0)).sum() > 900


def test_strips_and_workers_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(
        height=60, width=50, transform=Affine(2e5, 0, -5e6, 0, -2e5, 6e6), crs=CRS("EPSG:3413").to_wkt()
    )
    codes = blobs(60, 50)
    valid = np.ones(codes.shape, np.bool_)
    whole = polygonize(codes, valid, grid)
    for rows, workers in ((1, 1), (7, 2), (25, 1)):
        strips = [MapRows(codes=codes, valid=valid)]
        parts = list(polygonize_strips(strips, Wanted(grid=grid), workers=workers, rows=rows))
        found = Features.joined(parts)
        np.testing.assert_array_equal(found.area_m2, whole.area_m2)
        np.testing.assert_array_equal(found.perimeter_m, whole.perimeter_m)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3857", Affine(1e5, 0, -2e6, 0, -1e5, 1e7)),
        ("ESRI:54009", Affine(1e6, 0, -20e6, 0, -5e5, 10e6)),
        ("EPSG:4326", Affine(9, 0, -180, 0, -4.5, 90)),
    ],
)
def test_areas_of_pixels_are_those_of_polygons(crs: str, transform: Affine) -> None:
    grid = Grid(height=40, width=40, transform=transform, crs=CRS(crs).to_wkt())
    codes = np.arange(1600).reshape(40, 40)
    features = polygonize(codes, np.ones(codes.shape, np.bool_), grid)
    areas = PixelAreas(grid)
    found, doubts = areas.rows(3, 40)
    doubts = np.zeros_like(found) if doubts is None else doubts
    sums = [areas.square_metres(*each) for each in zip(found.ravel(), doubts.ravel(), strict=True)]
    np.testing.assert_allclose(np.array(sums, np.float64), features.area_m2[120:], rtol=1e-9)
