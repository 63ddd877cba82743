"""Small regions go where the definition says, whatever the strips."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import CRS
from scipy import ndimage

import geoseg
from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.polygons.absorb import absorbed
from geoseg.polygons.amounts import least_size, parse_min_area
from geoseg.polygons.polygonize import polygonize
from geoseg.polygons.strips import MapRows, cut
from tests.polygons.test_stream import SEAMS, random_map
from tests.strategies import ADVERSARIES, Map, drawn, maps, tiny_maps

LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'


def grid_of(m: Map, transform: Affine | None = None, crs: str | None = None) -> Grid:
    height, width = m.codes.shape
    return Grid(height=height, width=width, transform=transform or Affine.identity(), crs=crs)


def in_strips(m: Map, least: int, rows: int, grid: Grid | None = None) -> npt.NDArray[np.uint8]:
    strips = (
        MapRows(codes=m.codes[row : row + rows], valid=m.valid[row : row + rows])
        for row in range(0, len(m.codes), rows)
    )
    found = list(absorbed(strips, grid or grid_of(m), least, 1))
    np.testing.assert_array_equal(np.concatenate([strip.valid for strip in found]), m.valid)
    return np.where(m.valid, np.concatenate([band.codes for band in found]), 0)


def defined(m: Map, least: int, across: float = 1, down: float = 1) -> npt.NDArray[np.uint8]:
    """The definition, region by region over the whole map."""
    label = np.zeros(m.codes.shape, int)
    for code in np.unique(m.codes[m.valid]):
        found, _ = ndimage.label(m.valid & (m.codes == code))
        label[found > 0] = found[found > 0] + label.max()
    count = label.max()
    pixels = np.bincount(label.ravel(), minlength=count + 1)
    first = {i: int(np.flatnonzero(label.ravel() == i)[0]) for i in range(1, count + 1)}
    group = np.arange(count + 1)  # of each region the one it ended in
    order = sorted((i for i in range(1, count + 1) if pixels[i] < least), key=lambda i: (pixels[i], first[i]))
    for own in order:
        now = group[label]
        border: dict[int, float] = {}
        for one, other, length in (
            (now[:, 1:], now[:, :-1], down),
            (now[:, :-1], now[:, 1:], down),
            (now[1:], now[:-1], across),
            (now[:-1], now[1:], across),
        ):
            for neighbour in other[(one == own) & (other != own) & (other > 0)].tolist():
                border[neighbour] = border.get(neighbour, 0) + length
        if border:
            best = min(border, key=lambda i: (-border[i], first[i]))
            group[group == own] = best
    codes = np.zeros(count + 1, np.uint8)
    for i in range(1, count + 1):
        codes[i] = m.codes.ravel()[first[group[i]]]
    return np.where(m.valid, codes[label], 0).astype(np.uint8)


def check(m: Map, least: int, heights: tuple[int, ...]) -> None:
    expected = defined(m, least)
    for rows in heights:
        np.testing.assert_array_equal(in_strips(m, least, rows), expected, err_msg=f"strips of {rows} rows")


@pytest.mark.parametrize("rows", [*ADVERSARIES.values(), *SEAMS.values()], ids=[*ADVERSARIES, *SEAMS])
def test_cases_on_which_merging_fails(rows: tuple[str, ...]) -> None:
    m = drawn(rows)
    for turns in (0, 1):
        turned = Map(codes=np.rot90(m.codes, turns).copy(), valid=np.rot90(m.valid, turns).copy())
        for least in (2, 5, 100):
            check(turned, least, (1, 2, 3, 100))


@settings(max_examples=40)
@given(maps(most=20), st.integers(1, 20), st.integers(1, 20))
def test_maps_in_strips(m: Map, least: int, rows: int) -> None:
    check(m, least, (rows, 100))


@given(tiny_maps, st.integers(1, 6))
@example(drawn(("1112", "1331", "1111", "1111")), 3)
def test_tiny_maps_in_strips(m: Map, least: int) -> None:
    check(m, least, (1, 2, 4))


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.sweep)])
def test_a_sweep_of_random_maps(count: int) -> None:
    random = np.random.default_rng(8)
    for _ in range(count):
        m = random_map(random)
        m = Map(codes=m.codes[:, :16].copy(), valid=m.valid[:, :16].copy())
        check(m, int(random.integers(1, 30)), (1, int(random.integers(1, 12))))


@pytest.mark.parametrize(
    ("rows", "least", "expected"),
    [
        # The longest border, not the largest neighbour, as the sieve of GDAL has it.
        (("2222222", "2222222", "1321111", "1331111", "1111111"), 4, None),
        # Two arms of one region count together: three edges each against five.
        (("1112111", "1112111", "1333331", "1444441", "1444441"), 6, None),
        # Of equal borders the neighbour with the lower first pixel.
        (("11322",), 2, ("11122",)),
        (("22311",), 2, ("22211",)),
        # Alone in no data: the class of the last one, the largest.
        (("...", "12.", ".2."), 9, ("...", "22.", ".2.")),
        (("...", ".1.", "..."), 9, ("...", ".1.", "...")),
        # No data is no neighbour, however long the border.
        (("..22", ".1.2", ".112"), 4, ("..22", ".2.2", ".222")),
    ],
)
def test_what_the_definition_means(
    rows: tuple[str, ...], least: int, expected: tuple[str, ...] | None
) -> None:
    m = drawn(rows)
    check(m, least, (1, 2, 10))
    if expected is not None:
        np.testing.assert_array_equal(
            in_strips(m, least, 1), np.where(drawn(expected).valid, drawn(expected).codes, 0)
        )


def test_arms_that_meet_far_below_are_one_neighbour() -> None:
    """Three edges with either arm of 1, four with 5 and four with 6: the arms together have the most."""
    codes = np.ones((40, 12), np.uint8)
    codes[:10, 4:8], codes[10:13, 4:8], codes[13:39, 4:8] = 5, 3, 6
    m = Map(codes=codes, valid=np.ones(codes.shape, np.bool_))
    assert (in_strips(m, 13, 1)[10:13] == 1).all()
    check(m, 13, (1, 3, 20))
    cut_off = Map(codes=codes[:39], valid=m.valid[:39])
    assert (in_strips(cut_off, 13, 1)[10:13, 4:8] == 5).all(), "now they are two neighbours"


def test_equal_borders_wait_for_the_first_pixel_of_a_region() -> None:
    """The left arm of 1 begins below 2, and the right one above it: together they come before it."""
    codes = np.full((12, 9), 9, np.uint8)
    codes[0] = 8
    codes[1:, 6:] = codes[3:, :3] = codes[11] = 1
    codes[2:11, 4], codes[3:11, 3] = 2, 7
    codes[5, 3] = 3
    m = Map(codes=codes, valid=np.ones(codes.shape, np.bool_))
    assert in_strips(m, 2, 1)[5, 3] == 1
    check(m, 2, (1, 3, 20))
    cut_off = Map(codes=codes[:11], valid=m.valid[:11])
    assert in_strips(cut_off, 2, 1)[5, 3] == 2, "now the arms are two regions"


def test_borders_are_measured_and_not_counted() -> None:
    """Where pixels are three times as wide as high, one edge along a row outweighs two along a column."""
    m = drawn(("13...", "13...", "12222"))
    wide = grid_of(m, Affine(3, 0, 0, 0, -1, 0))
    assert in_strips(m, 3, 1)[0, 1] == 1
    assert in_strips(m, 3, 1, wide)[0, 1] == 2
    np.testing.assert_array_equal(in_strips(m, 3, 1, wide), defined(m, 3, across=3))


def test_pixels_that_change_have_no_confidence() -> None:
    m = drawn(("1121", "1111"))
    whole = MapRows(codes=m.codes, valid=m.valid, confidence=np.full(m.codes.shape, 9, np.uint8))
    (found,) = absorbed([whole], grid_of(m), 2)
    assert found.confidence is not None
    assert found.confidence.tolist() == [[9, 9, 255, 9], [9, 9, 9, 9]]
    assert m.codes[0, 2] == 2, "what was given is not written to"


def test_rows_leave_when_they_are_decided() -> None:
    random = np.random.default_rng(3)
    codes = np.where(random.random((600, 40)) < 0.1, random.integers(2, 5, (600, 40)), 1).astype(np.uint8)
    m = Map(codes=codes, valid=np.ones(codes.shape, np.bool_))
    largest = max(
        len(band.codes) for band in absorbed(cut(MapRows(codes=m.codes, valid=m.valid), 600), grid_of(m), 5)
    )
    assert largest == 600, "one strip is looked at once"
    strips = [MapRows(codes=m.codes[r : r + 10], valid=m.valid[r : r + 10]) for r in range(0, 600, 10)]
    assert max(len(band.codes) for band in absorbed(strips, grid_of(m), 5, 10)) <= 40


@pytest.mark.parametrize(
    ("text", "crs", "pixels"),
    [
        ("20px", None, 20),
        ("500m2", LOCAL, 5),  # a plan of a site is its own ground
        ("501 m²", LOCAL, 6),
        ("0.5PX", "EPSG:4326", 1),
        ("0m2", LOCAL, 0),
    ],
)
def test_least_areas(text: str, crs: str | None, pixels: int) -> None:
    grid = grid_of(drawn(("1",)), Affine(10, 0, 0, 0, -10, 0), CRS(crs).to_wkt() if crs else None)
    assert least_size(text, grid) == (pixels, None)


@pytest.mark.parametrize(
    ("crs", "transform", "pixel"),
    [
        ("EPSG:6933", Affine(10, 0, 1e6, 0, -10, 4e6), 100.0),
        (
            "EPSG:3857",
            Affine(20, 0, 1e6, 0, -20, 8399737.9),
            100.05,
        ),  # at 60 degrees north, where 20 m are 10
        ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60), 62.13),
        ("EPSG:2263", Affine(10, 0, 1e6, 0, -10, 2e5), 9.2903),  # US feet
    ],
)
def test_least_areas_are_those_on_the_ground(crs: str, transform: Affine, pixel: float) -> None:
    """What stays has the area that was asked for, as the polygons say it; what went was smaller."""
    m = Map(
        codes=np.random.default_rng(0).integers(1, 4, (60, 60), dtype=np.uint8),
        valid=np.ones((60, 60), np.bool_),
    )
    grid = grid_of(m, transform, CRS(crs).to_wkt())
    for unit, size in (("m2", 1.0), ("ha", 1e4), ("km2", 1e6)):
        least, ground = least_size(f"{5.2 * pixel / size:.12f}{unit}", grid)
        assert ground is not None
        given = [MapRows(codes=m.codes, valid=m.valid)]
        (kept,) = absorbed(given, grid, least, ground=ground)
        np.testing.assert_array_equal(kept.codes, next(absorbed(given, grid, 6)).codes)
        assert polygonize(kept.codes, kept.valid, grid).area_m2.min() >= 5.2 * pixel
    least, ground = least_size(f"{5 * pixel * (1 - 1e-3)}m2", grid)
    (kept,) = absorbed(given, grid, least, ground=ground)
    np.testing.assert_array_equal(kept.codes, next(absorbed(given, grid, 5)).codes)


def test_five_pixels_of_a_hundred_square_metres_have_five_hundred() -> None:
    m = drawn(("2111122222", "2222222222"))
    grid = grid_of(m, Affine(10, 0, 1e6, 0, -10, 4e6), CRS("EPSG:6933").to_wkt())
    for text, codes in (("400m2", m.codes), ("401m2", np.full_like(m.codes, 2))):
        least, ground = least_size(text, grid)
        (kept,) = absorbed([MapRows(codes=m.codes, valid=m.valid)], grid, least, ground=ground)
        np.testing.assert_array_equal(kept.codes, codes)


def test_where_pixels_differ_the_ground_decides_and_not_their_number() -> None:
    """Two regions of 2 px, one near the pole; and strips change nothing."""
    codes = np.ones((170, 40), np.uint8)
    codes[10, 10:12] = codes[150, 10:12] = 2
    grid = Grid(height=170, width=40, transform=Affine(0.5, 0, 0, 0, -0.5, 85), crs=CRS("EPSG:4326").to_wkt())
    least, ground = least_size("4000km2", grid)
    for rows in (1, 7, 170):
        strips = [
            MapRows(codes=codes[i : i + rows], valid=np.ones((len(codes[i : i + rows]), 40), np.bool_))
            for i in range(0, 170, rows)
        ]
        kept = np.concatenate([band.codes for band in absorbed(strips, grid, least, rows, ground=ground)])
        assert (kept[10, 10], kept[150, 10]) == (1, 2)


@pytest.mark.parametrize("text", ["20", "px", "-1px", "nanpx", "5acres", ""])
def test_least_areas_without_a_unit_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="expected a number with its unit, such as 20px or 500m2"):
        parse_min_area(text)


def test_least_areas_are_text() -> None:
    with pytest.raises(OptionError, match="the least area is 20, expected text with a number and its unit"):
        geoseg.vectorize(np.ones((3, 3), np.uint8), min_area=20)  # type: ignore[call-overload]


def test_square_metres_need_a_grid_that_has_them() -> None:
    with pytest.raises(OptionError, match="the least area is in m2 and the grid has no CRS: give it in px"):
        least_size("500m2", grid_of(drawn(("1",))))
