"""Laws of polygons of several grids as one coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from geoseg.errors import SceneError
from geoseg.grid.grid import Grid
from geoseg.mapping.borders import ZonePolygons, one_coverage
from geoseg.mapping.territory import Territory
from geoseg.polygons.features import Features
from tests.mapping.zones import (
    LONLAT,
    UTM32,
    UTM33,
    around,
    grid_of,
    polygonized,
    rebatched,
    seen,
    smooth,
    zones_of,
)
from tests.marks import few

DX, DY = 0.05, 0.03


def alternating(gx: int, gy: int) -> int:
    """The border of rows of cells lies a cell to the left, to the right, or at 12 degrees east."""
    return int(gx >= 240 + (gy % 3) - 1)


def staircase(gx: int, gy: int) -> int:
    return int(gx - 240 >= gy - 1603)


def checkerboard(gx: int, gy: int) -> int:
    return (gx + gy) % 2


def territory_of(rule: object) -> Territory:
    """Ground of about 28 x 23 km around 12 degrees east, some cells of nobody, one an island of the other zone."""
    owner = {(gx, gy): rule(gx, gy) for gx in range(236, 244) for gy in range(1600, 1607)}
    del owner[236, 1600]
    owner[237, 1603] = 1 - owner[237, 1603]
    return Territory(crs=LONLAT, dx=DX, dy=DY, owner=owner)


def shapes_of(features: Features) -> object:
    return shapely.from_wkb(features.wkb)


def is_one_coverage(features: Features, territory: Territory) -> None:
    """Polygons are valid, match, cover all ground of the territory once, and no two of a class share an edge."""
    shapes = shapes_of(features)
    assert shapely.is_valid(shapes).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    assert (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all()
    assert shapely.coverage_is_valid(shapes)
    ground = shapely.union_all([territory.of_zone(zone) for zone in set(territory.owner.values())])
    assert shapely.area(shapes).sum() == pytest.approx(ground.area, rel=1e-11)
    assert shapely.symmetric_difference(shapely.coverage_union_all(shapes), ground).area < 1e-11 * ground.area
    for code in np.unique(features.class_code):
        of_class = shapes[features.class_code == code]
        assert len(shapely.get_parts(shapely.coverage_union_all(of_class))) == len(of_class)


def geodesic_area(shape: object) -> float:
    """Area of a shape whose edges are straight in longitude and latitude."""
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shape, 1e-4))[0])


@pytest.fixture(scope="module", params=few([staircase, alternating, checkerboard]))
def two_utm_zones(request: pytest.FixtureRequest) -> tuple[Territory, list[ZonePolygons], Features]:
    territory = territory_of(request.param)
    grids = [around(crs, territory, zone, 100.0) for zone, crs in enumerate((UTM32, UTM33))]
    zones = zones_of(territory, grids, smooth)
    return territory, zones, Features.joined(list(one_coverage(zones, territory)))


def test_two_utm_zones_are_one_coverage(
    two_utm_zones: tuple[Territory, list[ZonePolygons], Features],
) -> None:
    territory, _, features = two_utm_zones
    assert CRS(features.crs) == CRS(LONLAT)
    is_one_coverage(features, territory)


def test_areas_add_up_to_the_ground(two_utm_zones: tuple[Territory, list[ZonePolygons], Features]) -> None:
    territory, _, features = two_utm_zones
    ground = shapely.union_all([territory.of_zone(zone) for zone in (0, 1)])
    assert features.area_m2.sum() == pytest.approx(geodesic_area(ground), rel=2e-6)
    for shape, area, perimeter in zip(
        shapes_of(features), features.area_m2, features.perimeter_m, strict=True
    ):
        assert area == pytest.approx(geodesic_area(shape), rel=1e-4, abs=0.5)
        fine = Geod(ellps="WGS84").geometry_length(shape.boundary)
        assert perimeter == pytest.approx(fine, rel=1e-4)


def test_pixels_go_with_areas(two_utm_zones: tuple[Territory, list[ZonePolygons], Features]) -> None:
    _, _, features = two_utm_zones
    assert np.abs(features.pixels * 1e4 - features.area_m2).max() < 5e3 + 1e-3 * features.area_m2.max()
    assert features.pixels.sum() == pytest.approx(features.area_m2.sum() / 1e4, rel=2e-3)


def test_areas_of_classes_are_those_of_the_truth(
    two_utm_zones: tuple[Territory, list[ZonePolygons], Features],
) -> None:
    territory, _, features = two_utm_zones
    x, y = np.meshgrid(np.arange(11.8005, 12.2, 0.001), np.arange(48.0005, 48.21, 0.001))
    x, y = x.ravel(), y.ravel()
    mine = territory.owners_at(x, y) >= 0
    weight = np.cos(np.radians(y[mine]))
    truth = smooth(x[mine], y[mine])
    for code in range(1, 5):
        share = weight[truth == code].sum() / weight.sum()
        found = features.area_m2[features.class_code == code].sum() / features.area_m2.sum()
        assert found == pytest.approx(share, abs=1e-3)


def test_regions_over_borders_are_one(two_utm_zones: tuple[Territory, list[ZonePolygons], Features]) -> None:
    """`is_one_coverage` says that none is left apart; here that there are such."""
    _, zones, features = two_utm_zones
    cut = sum(len(part) for zone in zones for part in zone.parts)
    assert len(features) < cut
    bounds = shapely.bounds(shapes_of(features))
    assert ((bounds[:, 0] < 12 - 1e-3) & (bounds[:, 2] > 12 + 1e-3)).sum() > 3


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 50])
def test_batches_change_nothing(
    two_utm_zones: tuple[Territory, list[ZonePolygons], Features], size: int
) -> None:
    territory, zones, features = two_utm_zones
    again = [ZonePolygons(grid=zone.grid, parts=rebatched(zone.parts, size)) for zone in zones]
    found = Features.joined(list(one_coverage(again, territory)))
    assert (found.wkb == features.wkb).all()
    assert found.attributes().equals(features.attributes())


def test_what_touches_no_border_keeps_its_place_and_its_attributes(
    two_utm_zones: tuple[Territory, list[ZonePolygons], Features],
) -> None:
    territory, zones, _ = two_utm_zones
    parts = list(one_coverage(zones, territory))
    stream = [part for zone in zones for part in zone.parts]
    *untouched, borders = parts
    assert len(untouched) == len(stream)
    lines = shapely.multilinestrings(list(shapely.linestrings(territory.borders().reshape(-1, 2, 2))))
    assert not shapely.intersects(lines, shapes_of(Features.joined(untouched))).any()
    assert shapely.intersects(lines, shapes_of(borders)).all()
    known = [set(zip(s.class_code, s.pixels, s.area_m2, s.perimeter_m, strict=True)) for s in stream]
    for found, given_ in zip(untouched, known, strict=True):
        of = list(zip(found.class_code, found.pixels, found.area_m2, found.perimeter_m, strict=True))
        assert set(of) <= given_


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lattices=st.lists(
        st.tuples(
            st.sampled_from([10.0, 7.0, 5.0, 25.0, 100 / 3]),
            st.sampled_from([0.0, 0.5, 1 / 3, 1e-3, 1e-6, 3e-7, 1e-8]),
        ),
        min_size=2,
        max_size=3,
    ),
    classes=st.integers(1, 4),
    grain=st.sampled_from([4.0, 20.0, 60.0]),
    gaps=st.booleans(),
)
def test_lattices_of_one_crs_are_one_coverage(
    seed: int, lattices: list[tuple[float, float]], classes: int, grain: float, gaps: bool
) -> None:
    """Borders lie on pixels' edges, between them, and closer to them than coordinates can say."""
    random = np.random.default_rng(seed)
    at = np.array([10_000, 110_000])  # cells of 50 x 50 m at 500 km east, 5,500 km north
    owner = {
        (int(at[0]) + i, int(at[1]) + j): int(random.integers(len(lattices)))
        for i in range(4)
        for j in range(3)
        if not gaps or random.random() < 0.8
    }
    if not owner:
        return
    territory = Territory(crs=UTM32, dx=50.0, dy=50.0, owner=owner)
    noise = random.integers(1, classes + 1, (100, 100)).astype(np.uint8)

    def truth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return noise[(x // grain).astype(int) % 100, (y // grain).astype(int) % 100]

    zones = []
    for zone, (size, phase) in enumerate(lattices):
        gx, gy = territory.cells_of(zone)
        if not len(gx):
            gx, gy = at[:1], at[1:]
        room = 4 * size
        bounds = (
            gx.min() * 50 - room,
            gy.min() * 50 - room,
            gx.max() * 50 + 50 + room,
            gy.max() * 50 + 50 + room,
        )
        grid = grid_of(UTM32, size, bounds, phase)
        zones.append(ZonePolygons(grid=grid, parts=polygonized(grid, *seen(grid, territory, zone, truth))))
    features = Features.joined(list(one_coverage(zones, territory)))
    is_one_coverage(features, territory)
    ground = shapely.area(shapes_of(features)).sum()
    assert features.area_m2.sum() == pytest.approx(ground / 0.9996**2, rel=1e-5)  # at the central meridian


def test_long_edges_are_bent_alike_on_both_sides() -> None:
    """Regions of 190 px of 10.1 m: straight in the zone, bent in longitude and latitude."""
    grid = grid_of(UTM32, 10.1, (700_000, 5_400_000, 708_000, 5_406_000), phase=0.123)
    rows, cols = np.indices(grid.shape)
    codes = ((rows // 190 + 2 * (cols // 190)) % 7 + 1).astype(np.uint8)
    owner = {(gx, gy): 0 for gx in range(580, 600) for gy in range(2420, 2450)}
    owner = {(gx, gy): zone for (gx, gy), zone in owner.items() if (gx, gy) != (589, 2437)}
    territory = Territory(crs=LONLAT, dx=0.02, dy=0.02, owner=owner)
    features = Features.joined(
        list(one_coverage([ZonePolygons(grid=grid, parts=polygonized(grid, codes, codes > 0))], territory))
    )
    shapes = shapes_of(features)
    assert shapely.coverage_is_valid(shapes)
    back = Transformer.from_crs(LONLAT, UTM32, always_xy=True)
    inner = [shape for shape, pixels in zip(shapes, features.pixels, strict=True) if pixels == 190**2]
    assert len(inner) > 5
    for shape in inner:
        fine = shapely.segmentize(shape, 1e-5)
        flat = shapely.transform(fine, lambda xy: np.column_stack(back.transform(*xy.T)))
        box = np.rint((shapely.bounds(flat) - 0.123) / 10.1) * 10.1 + 0.123
        assert shapely.hausdorff_distance(flat, shapely.box(*box)) < 0.015


def row_of(codes: list[int], x: float, size: float, **more: object) -> tuple[Grid, list[Features]]:
    """Polygons of one row of pixels."""
    line = np.array([codes], np.uint8)
    grid = Grid(height=1, width=len(codes), transform=Affine(size, 0, x, 0, -10, 5_500_010), crs=UTM32)
    return grid, polygonized(grid, line, line > 0, **more)


def test_attributes_of_parts_are_combined() -> None:
    """Of four pixels of class 1 on the left two are cut off; on the right are four of half the size."""
    left, right = (
        row_of([2, 1, 1, 1, 1], 500_000, 10, confidence=np.array([[254, 127, 127, 127, 127]], np.uint8)),
        row_of([1, 1, 1, 1, 3], 500_030, 5, confidence=np.array([[254, 254, 254, 254, 254]], np.uint8)),
    )
    owner = {(50_000 + i, 550_000): int(i >= 3) for i in range(6)}
    territory = Territory(crs=UTM32, dx=10, dy=10, owner=owner)
    zones = [ZonePolygons(grid=grid, parts=parts) for grid, parts in (left, right)]
    found = Features.joined(list(one_coverage(zones, territory)))
    assert found.class_code.tolist() == [2, 1, 3]
    assert found.pixels.tolist() == [1, 6, 1]
    assert found.area_m2 == pytest.approx(np.array([100, 400, 50]) * 0.9996**-2, rel=1e-6)
    assert found.perimeter_m == pytest.approx(np.array([40, 100, 30]) / 0.9996, rel=1e-6)
    assert found.confidence == pytest.approx([1, (2 * 0.5 + 4 * 1) / 6, 1])
    whole = shapely.box(500_010, 5_500_000, 500_050, 5_500_010)
    assert shapely.equals(shapes_of(found)[1], whole)


def test_pixels_are_shared_out_in_a_plane_without_a_body() -> None:
    site = (
        'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    )
    grid = Grid(height=6, width=6, transform=Affine(10, 0, 0, 0, -10, 60), crs=site)
    codes = np.ones((6, 6), np.uint8)
    codes[1, 1] = codes[1, 4] = 2
    territory = Territory(crs=site, dx=30, dy=60, owner={(0, 0): 0})
    zones = [ZonePolygons(grid=grid, parts=polygonized(grid, codes, codes > 0))]
    found = Features.joined(list(one_coverage(zones, territory)))
    assert dict(zip(found.class_code.tolist(), found.pixels.tolist(), strict=True)) == {1: 17, 2: 1}
    assert np.isnan(found.area_m2).all()


def test_second_classes_and_other_columns_are_those_of_the_larger_part() -> None:
    zones = []
    for codes, x, second, share in (
        ([1, 1], 500_000, 2, 0.5),
        ([1], 500_020, 3, 0.1),
        ([1], 500_030, 2, 0.2),
    ):
        grid, parts = row_of(codes, x, 10)
        (part,) = parts
        share_, code = np.full(1, share), np.full(1, second)
        zones.append(ZonePolygons(grid=grid, parts=[replace(part, second_code=code, second_share=share_)]))
    owner = {(50_000, 550_000): 0, (50_001, 550_000): 0, (50_002, 550_000): 1, (50_003, 550_000): 2}
    territory = Territory(crs=UTM32, dx=10, dy=10, owner=owner)
    found = Features.joined(list(one_coverage(zones, territory)))
    assert found.pixels.tolist() == [4]
    assert found.second_code.tolist() == [2]
    assert found.second_share == pytest.approx([(2 * 0.5 + 0.2) / 3])


def test_what_touches_at_a_corner_only_stays_apart() -> None:
    owner = {(50_000, 550_000): 0, (50_001, 550_001): 1}
    territory = Territory(crs=UTM32, dx=10, dy=10, owner=owner)
    grid = Grid(height=2, width=2, transform=Affine(10, 0, 500_000, 0, -10, 5_500_020), crs=UTM32)
    ones = np.ones((2, 2), np.uint8)
    zones = [ZonePolygons(grid=grid, parts=polygonized(grid, ones, ones > 0)) for _ in range(2)]
    assert len(Features.joined(list(one_coverage(zones, territory)))) == 2


def test_a_polygon_that_falls_apart_becomes_several() -> None:
    """A comb whose back lies in the other zone's cells."""
    codes = np.array([[1, 1, 1], [1, 2, 1]], np.uint8)
    grid = Grid(height=2, width=3, transform=Affine(10, 0, 500_000, 0, -10, 5_500_020), crs=UTM32)
    territory = Territory(crs=UTM32, dx=10, dy=10, owner={(50_000 + i, 550_000): 0 for i in range(3)})
    zones = [ZonePolygons(grid=grid, parts=polygonized(grid, codes, codes > 0))]
    found = Features.joined(list(one_coverage(zones, territory)))
    assert found.class_code.tolist() == [1, 2, 1]
    assert found.pixels.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ({(-1800, 0): 0, (1799, 0): 0}, "crosses the antimeridian"),
        ({(0, 899): 0}, "reaches a pole"),
        ({(0, -900): 0}, "reaches a pole"),
    ],
)
def test_ground_around_the_back_of_the_map_is_refused(cells: dict[tuple[int, int], int], what: str) -> None:
    grid = Grid(height=1, width=1, transform=Affine(10, 0, 500_000, 0, -10, 10), crs=UTM32)
    territory = Territory(crs=LONLAT, dx=0.1, dy=0.1, owner=cells)
    with pytest.raises(
        SceneError, match=rf"EPSG:32632 .* {what}, .*EPSG:4326.*; pass a grid= for the whole map"
    ):
        list(one_coverage([ZonePolygons(grid=grid, parts=[])], territory))


def test_a_zone_that_ends_at_the_antimeridian_is_cut_there() -> None:
    crs = CRS.from_epsg(32660).to_wkt()
    territory = Territory(crs=LONLAT, dx=0.05, dy=0.05, owner={(3599, 200): 0, (3598, 200): 0})
    grid = around(crs, territory, 0, 100.0)
    features = Features.joined(list(one_coverage(zones_of(territory, [grid], smooth), territory)))
    is_one_coverage(features, territory)
    assert shapely.total_bounds(shapes_of(features)) == pytest.approx([179.9, 10, 180, 10.05])


def test_polygons_across_the_antimeridian_are_refused() -> None:
    """Around a pole no column of cells is missing."""
    crs = CRS.from_epsg(32661).to_wkt()
    owner = {(gx, 85): 0 for gx in range(-180, 180)}
    territory = Territory(crs=LONLAT, dx=1.0, dy=1.0, owner=owner)
    grid = grid_of(crs, 5e4, (1e6, 1e6, 3e6, 3e6))
    ones = np.ones(grid.shape, np.uint8)
    with pytest.raises(SceneError, match="crosses the antimeridian"):
        list(one_coverage([ZonePolygons(grid=grid, parts=polygonized(grid, ones, ones > 0))], territory))


def test_no_zones_and_no_polygons_are_nothing() -> None:
    assert list(one_coverage([], Territory(crs=LONLAT, dx=1, dy=1, owner={}))) == []
    grid = Grid(height=1, width=1, transform=Affine(10, 0, 500_000, 0, -10, 10), crs=UTM32)
    nothing = polygonized(grid, np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.bool_))
    (part,) = one_coverage(
        [ZonePolygons(grid=grid, parts=nothing)], Territory(crs=LONLAT, dx=1, dy=1, owner={})
    )
    assert len(part) == 0
