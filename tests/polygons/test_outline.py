"""Redrawn boundaries: still a valid coverage, of the same area, on both sides alike, wherever strips end."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import CRS, Geod
from scipy.ndimage import gaussian_filter

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons.features import Features
from geoseg.polygons.outline import Outline, redrawn_rows
from geoseg.polygons.stream import Wanted, polygonize_connected, polygonize_strips
from geoseg.polygons.strips import MapRows, connected, cut, even
from tests.korea import PATCHES, Patch
from tests.strategies import ADVERSARIES, Map, drawn, maps, tiny_maps

ANY = Legend.made_up((0,))
TOLERANCES = ["0.5px", "1px", "2.5px", "10px"]


def grid_of(m: Map, transform: Affine | None = None, crs: str | None = None) -> Grid:
    height, width = m.codes.shape
    return Grid(height=height, width=width, transform=transform or Affine.identity(), crs=crs)


def redrawn(m: Map, tolerance: str | None, *, smooth: bool = False, rows: int | None = None) -> Features:
    """Polygons of a map, redrawn in strips of so many rows."""
    grid, whole = grid_of(m), MapRows(codes=m.codes, valid=m.valid)
    wanted = Wanted(grid=grid, outline=Outline.of(tolerance, smooth=smooth, grid=grid))
    parts = (
        polygonize_strips([whole], wanted)
        if rows is None
        else polygonize_connected(connected(even([whole], rows), grid.shape, rows), wanted)
    )
    return Features.joined(list(parts), ANY)


def polygons_of(found: Features) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(shapely.from_wkb(found.wkb), dtype=object)


def landscape(shape: tuple[int, int], sigma: float, seed: int = 0, classes: int = 4) -> Map:
    """Fields with bent borders."""
    random = np.random.default_rng(seed)
    fields = [gaussian_filter(random.standard_normal(shape), sigma) for _ in range(classes)]
    return Map(codes=np.argmax(fields, axis=0).astype(np.uint8), valid=np.ones(shape, np.bool_))


def check_coverage(m: Map, found: Features) -> None:
    """What holds after any redrawing, by GEOS: only the lines between regions have moved."""
    plain = redrawn(m, None)
    np.testing.assert_array_equal(found.class_code, plain.class_code)
    np.testing.assert_array_equal(found.pixels, plain.pixels)
    shapes, before = polygons_of(found), polygons_of(plain)
    if not len(shapes):
        return
    assert shapely.is_valid(shapes).all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.area(shapes).sum() == m.valid.sum()  # sums of halves of squares: exact
    assert shapely.equals(shapely.union_all(shapes), shapely.union_all(before))
    shells = shapely.get_exterior_ring(shapes)
    assert shapely.is_ccw(shells).all()
    for shape in shapes:
        for ring in (shape.exterior, *shape.interiors):
            corners = shapely.get_coordinates(ring)
            assert len(np.unique(corners[:-1], axis=0)) == len(corners) - 1
            assert tuple(corners[0][::-1]) == min(map(tuple, corners[:, ::-1]))


@given(maps(), st.sampled_from(TOLERANCES), st.booleans(), st.integers(1, 41))
@example(m=drawn(("1",)), tolerance="10px", smooth=True, rows=1)
@example(m=drawn(("111", "121", "111")), tolerance="10px", smooth=True, rows=1)
def test_law_4_a_redrawn_map_is_a_valid_coverage(m: Map, tolerance: str, smooth: bool, rows: int) -> None:
    check_coverage(m, redrawn(m, tolerance, smooth=smooth, rows=rows))


@given(tiny_maps, st.sampled_from(TOLERANCES), st.booleans(), st.integers(1, 4))
def test_law_4_for_tiny_maps(m: Map, tolerance: str, smooth: bool, rows: int) -> None:
    check_coverage(m, redrawn(m, tolerance, smooth=smooth, rows=rows))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("rows", ADVERSARIES.values(), ids=ADVERSARIES)
def test_cases_on_which_tracing_fails(rows: tuple[str, ...], smooth: bool) -> None:
    for height in (1, 2, 3, 9):
        check_coverage(drawn(rows), redrawn(drawn(rows), "10px", smooth=smooth, rows=height))


@pytest.mark.parametrize("count", [40, pytest.param(4000, marks=pytest.mark.sweep)])
def test_a_sweep_of_landscapes(count: int) -> None:
    random = np.random.default_rng(6)
    for number in range(count):
        shape = (int(random.integers(2, 70)), int(random.integers(2, 70)))
        m = landscape(shape, float(random.uniform(0.5, 5)), number, int(random.integers(1, 6)))
        if number % 3 == 0:
            m = Map(codes=m.codes, valid=gaussian_filter(random.standard_normal(shape), 2) < 0.1)
        for smooth in (False, True):
            rows = int(random.integers(1, shape[0] + 1))
            check_coverage(m, redrawn(m, f"{random.uniform(0.5, 10)}px", smooth=smooth, rows=rows))


@pytest.mark.long
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_real_labels(patch: Patch, smooth: bool) -> None:
    with rasterio.open(patch.labels) as file:
        codes = file.read(1)
    m = Map(codes=codes, valid=codes != 0)
    for tolerance in ("1px", "10px"):
        shapes = polygons_of(redrawn(m, tolerance, smooth=smooth))
        assert shapely.is_valid(shapes).all()
        assert shapely.coverage_is_valid(shapes)
        assert shapely.area(shapes).sum() == m.valid.sum()


def test_law_5_neither_strips_nor_workers_show() -> None:
    m = landscape((3 * redrawn_rows(2**20) - 17, 30), 3.0)
    grid, whole = grid_of(m), MapRows(codes=m.codes, valid=m.valid)
    wanted = Wanted(grid=grid, outline=Outline(limit=4, smooth=True))
    # As many rows as a very wide map has, so that there are seams.
    rows = redrawn_rows(2**20)
    expected = redrawn(m, "0.71px", smooth=True, rows=rows)
    for height, workers in ((1, 1), (100, 2), (rows, 4), (10**6, 1)):
        strips = (
            MapRows(codes=m.codes[row : row + height], valid=m.valid[row : row + height])
            for row in range(0, len(m.codes), height)
        )
        parts = connected(even(strips, rows), grid.shape, rows)
        found = Features.joined(list(polygonize_connected(parts, wanted, workers=workers)), ANY)
        assert found.buffer.tobytes() == expected.buffer.tobytes()
    assert (
        polygonize_strips([whole], wanted, rows=1).__next__().buffer.size
    )  # rows are not heeded, and harm nothing


def test_rows_that_a_person_chooses_do_not_show() -> None:
    m = landscape((600, 20), 3.0)
    wanted = Wanted(grid=grid_of(m), outline=Outline(limit=8, smooth=False))
    strips = [MapRows(codes=m.codes, valid=m.valid)]
    one, other = (
        Features.joined(list(polygonize_strips(strips, wanted, rows=rows)), ANY) for rows in (7, None)
    )
    assert one.buffer.tobytes() == other.buffer.tobytes()


def test_confidence_and_probabilities_stay_with_their_rows() -> None:
    m = landscape((50, 20), 3.0)
    shares = np.random.default_rng(0).integers(0, 255, (2, *m.codes.shape), dtype=np.uint8)
    whole = MapRows(codes=m.codes, valid=m.valid, confidence=shares[0], probabilities=shares)
    for height in (1, 7, 50):
        joined = list(even(cut(whole, 50), height))
        np.testing.assert_array_equal(np.concatenate([b.confidence for b in joined]), shares[0])  # type: ignore[misc]
        both = np.concatenate([b.probabilities for b in even(joined, 13)], axis=1)  # type: ignore[misc]
        np.testing.assert_array_equal(both, shares)


def test_what_may_go_is_gone() -> None:
    """One line from side to side, on which nothing is in the way: every triangle left is too large."""
    heights = (20 + 12 * np.sin(np.arange(200) / 9) + 5 * np.sin(np.arange(200) / 3.7)).astype(int)
    codes = (np.arange(60)[:, None] >= heights).astype(np.uint8)
    m = Map(codes=codes, valid=np.ones(codes.shape, np.bool_))
    for tolerance in (1.0, 2.0, 4.0):
        upper = polygons_of(redrawn(m, f"{tolerance}px"))[0]
        line = [c for c in shapely.get_coordinates(upper.exterior) if c[1] > 0]
        first, second, third = (np.array(line[i : len(line) - 2 + i]) for i in range(3))
        ahead, back = second - first, third - first
        areas = abs(ahead[:, 0] * back[:, 1] - ahead[:, 1] * back[:, 0]) / 2
        inner = (second[:, 0] > 0) & (second[:, 0] < 200)
        assert (areas[inner] > tolerance**2).all()
        assert len(line) < 3 * 200 / tolerance


def test_the_amount_of_change_is_that_of_geos() -> None:
    m = landscape((256, 256), 6.0)
    plain = polygons_of(redrawn(m, None))
    for tolerance in (1, 2, 4):
        theirs = shapely.coverage_simplify(plain, tolerance, simplify_boundary=False)
        ours = polygons_of(redrawn(m, f"{tolerance}px"))
        vertices = [shapely.get_num_coordinates(each).sum() for each in (ours, theirs)]
        moved = [shapely.area(shapely.symmetric_difference(each, plain)).sum() for each in (ours, theirs)]
        assert vertices[0] < 1.06 * vertices[1]
        assert moved[0] < 1.06 * moved[1]


def test_junctions_and_borders_stay() -> None:
    m = landscape((60, 60), 3.0)
    m.valid[20:30, 20:40] = False
    labels = np.pad(np.where(m.valid, m.codes.astype(int), -1), 1, constant_values=-2)
    around = np.stack([labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]])
    meeting = (np.diff(np.sort(around, axis=0), axis=0) != 0).sum(axis=0) >= 2
    rows, cols = np.nonzero(meeting)
    for smooth in (False, True):
        corners = shapely.get_coordinates(polygons_of(redrawn(m, "5px", smooth=smooth)))
        assert set(zip(cols.tolist(), rows.tolist(), strict=True)) <= set(map(tuple, corners.tolist()))


def test_a_stair_becomes_a_straight_line() -> None:
    codes = np.triu(np.ones((12, 12), np.uint8))
    m = Map(codes=codes, valid=np.ones_like(codes, np.bool_))
    line = [[0.5, 1.0], [11.0, 11.5]]
    for shape in polygons_of(redrawn(m, None, smooth=True)):
        corners = shapely.get_coordinates(shape).tolist()
        # Besides the corners of the map and the two places where the line begins at its border.
        assert [c for c in corners if 0 < c[0] < 12 and 0 < c[1] < 12] in (
            line,
            line[::-1],
        )


def test_a_pixel_becomes_a_diamond() -> None:
    m = drawn(("111", "121", "111"))
    for rows in (1, 2, 3):
        found = redrawn(m, None, smooth=True, rows=rows)
        pixel = polygons_of(found)[found.class_code.tolist().index(2)]
        assert shapely.get_coordinates(pixel).tolist() == [[1.5, 1], [2, 1.5], [1.5, 2], [1, 1.5], [1.5, 1]]


@given(maps())
def test_smooth_lines_stay_within_the_cut_of_a_corner(m: Map) -> None:
    before, after = (polygons_of(redrawn(m, None, smooth=smooth)) for smooth in (False, True))
    for one, other in zip(before, after, strict=True):
        assert one.boundary.hausdorff_distance(other.boundary) <= np.sqrt(2) / 4 + 1e-12


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:2263", "rotated"])
def test_perimeters_are_those_of_the_lines(crs: str) -> None:
    m = landscape((40, 50), 4.0)
    step = 1e-4 if crs == "EPSG:4326" else 10
    origin = {"EPSG:4326": (8.0, 47.0), "EPSG:2263": (9.5e5, 2e5)}.get(crs, (5e5, 5.2e6))
    transform = Affine(step, 0, origin[0], 0, -step, origin[1])
    if crs == "rotated":
        transform, crs = transform @ Affine.rotation(30), "EPSG:32632"
    grid = grid_of(m, transform, CRS(crs).to_wkt())
    wanted = Wanted(grid=grid, outline=Outline.of("2px", smooth=True, grid=grid))
    found = Features.joined(list(polygonize_strips([MapRows(codes=m.codes, valid=m.valid)], wanted)), ANY)
    frame = found.to_geodataframe().to_crs("EPSG:4326" if crs != "EPSG:2263" else 4269)
    geod = Geod(ellps="WGS84" if crs != "EPSG:2263" else "GRS80")
    expected = [geod.geometry_area_perimeter(shape)[1] for shape in frame.geometry]
    np.testing.assert_allclose(frame["perimeter_m"], expected, rtol=2e-5)


@pytest.mark.parametrize(
    ("text", "crs", "smooth", "limit"),
    [
        ("1px", None, False, 2),
        ("1px", None, True, 8),
        ("0.5 px", "EPSG:4326", False, 0),
        ("10m", "EPSG:32632", False, 2),
        ("5m", "EPSG:32632", True, 2),
        ("9.9m", "EPSG:32632", False, 1),
    ],
)
def test_tolerances(text: str, crs: str | None, smooth: bool, limit: int) -> None:
    grid = grid_of(drawn(("1",)), Affine(10, 0, 0, 0, -10, 0), CRS(crs).to_wkt() if crs else None)
    outline = Outline.of(text, smooth=smooth, grid=grid)
    assert outline is not None
    assert outline.limit == limit


@pytest.mark.parametrize("text", ["1", "px", "-1px", "nanm", "1e9px", "5m2", ""])
def test_tolerances_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="the tolerance is"):
        Outline.of(text, smooth=False, grid=grid_of(drawn(("1",))))


def test_tolerances_of_very_many_pixels_are_refused() -> None:
    """They would ask for memory for every area of a triangle."""
    grid = grid_of(drawn(("1",)), Affine(0.01, 0, 5e5, 0, -0.01, 5e6), CRS("EPSG:32632").to_wkt())
    with pytest.raises(OptionError, match="the tolerance is 20m, expected at most 1,000 px of this grid"):
        Outline.of("20m", smooth=False, grid=grid)


def test_metres_need_a_grid_that_has_them() -> None:
    with pytest.raises(OptionError, match="has no CRS"):
        Outline.of("5m", smooth=False, grid=grid_of(drawn(("1",))))


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3857", Affine(1e4, 0, 0, 0, -1e4, 1.1e7)),  # 70 degrees north to the equator
        ("EPSG:4326", Affine(0.1, 0, 0, 0, -0.07, 84)),
    ],
)
def test_metres_are_those_of_the_ground_at_each_place(crs: str, transform: Affine) -> None:
    """A stair of equal steps: in the north its triangles are small on the ground, and it becomes a line there."""
    row, col = np.indices((1100, 400))
    stair = (col > 100 + row % 200).astype(np.uint8)
    grid = Grid(height=1100, width=400, transform=transform, crs=CRS(crs).to_wkt())
    outline = Outline.of("4000m", smooth=False, grid=grid)
    whole = MapRows(codes=stair, valid=np.ones(stair.shape, np.bool_))
    parts = polygonize_strips([whole], Wanted(grid=grid, outline=outline))
    corners = shapely.get_coordinates(shapely.from_wkb(Features.joined(list(parts), ANY).wkb))
    rows = (~transform @ corners.T)[1]
    north, south = (np.count_nonzero((rows > top + 5) & (rows < top + 190)) for top in (0, 800))
    assert north * 10 < south
