"""Law 5: strips of any height and any number of workers give the polygons of the whole raster."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons.features import Features
from geoseg.polygons.rings import Rings
from geoseg.polygons.runs import find_regions
from geoseg.polygons.seams import Seams
from geoseg.polygons.stream import Wanted, polygonize_connected
from geoseg.polygons.strips import MapRows, connected, cut
from geoseg.polygons.trace import trace
from geoseg.polygons.wkb import write_wkb
from tests.strategies import ADVERSARIES, Map, drawn, maps, tiny_maps

ANY = Legend.made_up((0,))


def spiral(edge: int) -> tuple[str, ...]:
    """One region of class 1 that winds to the middle, one pixel wide, in class 2."""
    signs = np.full((edge, edge), "2")
    row, col, heading, length = 0, 0, (0, 1), edge - 1
    signs[0, 0] = "1"
    for turn in range(2 * edge):
        for _ in range(length):
            row, col = row + heading[0], col + heading[1]
            signs[row, col] = "1"
        heading = (heading[1], -heading[0])
        length -= 2 * (turn % 2) if turn else 0
        if length <= 1:
            break
    return tuple("".join(line) for line in signs)


# Where merging blocks has failed elsewhere: with blocks of 4 px their corners lie at multiples of 4.
SEAMS: dict[str, tuple[str, ...]] = {
    "regions that touch at a block's corner alone": ("11112222", "11112222", "11112222", "11112222") * 1
    + ("22221111", "22221111", "22221111", "22221111"),
    "ring around a block's corner": (
        "11111111",
        "11111111",
        "11222211",
        "11211211",
        "11211211",
        "11222211",
        "11111111",
        "11111111",
    ),
    "hole that spans four blocks": (
        "11111111",
        "11111111",
        "11....11",
        "11....11",
        "11....11",
        "11....11",
        "11111111",
        "11111111",
    ),
    "diagonal chain of pixels": tuple("1" * i + "2" + "1" * (9 - i) for i in range(10)),
    "diagonal chain of holes": tuple("1" * i + "." + "1" * (9 - i) for i in range(10)),
    "spiral through every block": spiral(13),
    "checkerboard": ("1212121212", "2121212121") * 5,
    "frame around the raster": ("1111111111", *("1222222221",) * 8, "1111111111"),
    "frames in frames": (
        "1111111111",
        "1222222221",
        "1211111121",
        "1212222121",
        "1212112121",
        "1212112121",
        "1212222121",
        "1211111121",
        "1222222221",
        "1111111111",
    ),
    "one class": ("11111111",) * 9,
    "columns": ("12312312",) * 9,
    "U": ("1211121", "1211121", "1211121", "1222221", "1111111"),
    "U upside down": ("1111111", "1222221", "1211121", "1211121", "1211121"),
    "E": ("1222", "1122", "1222", "1122", "1222"),
    # Pinches whose diagonal pixels are one region only far below, only far above, or never.
    "pinch closed below": ("1222", "2122", "2122", "1122", "1122"),
    "pinch closed below, around": ("12222", "21222", "22122", "12122", "11122"),
    "pinch closed above": ("1111", "1221", "1221", "2112", "1221"),
    "pinch closed on both sides": ("111111", "122221", "121221", "122121", "122221", "111111"),
    "pinch of two classes": ("111222", "122112", "121212", "121212", "211221", "222111"),
    "pinch never closed": ("1222", "2122", "2222", "2212", "2221"),
    "row of pinches": ("1111111", "1212121", "2121212", "2111112", "2222222"),
}


def grid_of(m: Map) -> Grid:
    height, width = m.codes.shape
    return Grid(height=height, width=width, transform=Affine.identity(), crs=None)


def streamed(m: Map, rows: int, workers: int = 1) -> Features:
    strips = cut(MapRows(codes=m.codes, valid=m.valid), rows)
    return Features.joined(list(polygonize_connected(strips, Wanted(grid=grid_of(m)), workers=workers)), ANY)


def check_bands(m: Map, heights: tuple[int, ...]) -> None:
    """Bytes of well-known binary say ring, start, direction and order at once."""
    runs = find_regions(m.codes, m.valid)
    buffer, offset = write_wkb(trace(runs), Affine.identity())
    pixels = np.bincount(
        runs.region.repeat(np.maximum(np.diff(runs.start, append=0), 0)), minlength=runs.count + 1
    )
    for rows in heights:
        found = streamed(m, rows)
        assert found.buffer.tobytes() == buffer.tobytes(), f"strips of {rows} rows"
        np.testing.assert_array_equal(found.offset, offset)
        np.testing.assert_array_equal(found.class_code, runs.code)
        np.testing.assert_array_equal(found.pixels, pixels[1:])


@pytest.mark.parametrize("rows", [*ADVERSARIES.values(), *SEAMS.values()], ids=[*ADVERSARIES, *SEAMS])
def test_cases_on_which_merging_fails(rows: tuple[str, ...]) -> None:
    m = drawn(rows)
    for turns in range(4):
        turned = Map(codes=np.rot90(m.codes, turns).copy(), valid=np.rot90(m.valid, turns).copy())
        check_bands(turned, (1, 2, 3, 4, 5))


@given(maps(), st.integers(1, 40))
def test_maps_in_bands(m: Map, rows: int) -> None:
    check_bands(m, (rows,))


@given(tiny_maps)
def test_tiny_maps_in_bands(m: Map) -> None:
    check_bands(m, (1, 2, 3))


@settings(max_examples=10)
@given(maps(), st.integers(1, 9), st.sampled_from([2, 4]))
def test_workers_change_nothing(m: Map, rows: int, workers: int) -> None:
    alone, together = streamed(m, rows), streamed(m, rows, workers)
    assert alone.buffer.tobytes() == together.buffer.tobytes()
    np.testing.assert_array_equal(alone.pixels, together.pixels)


def test_polygons_leave_when_their_regions_end() -> None:
    m = drawn(("1122", "3344", "3344", "5566", "7767"))
    strips = cut(MapRows(codes=m.codes, valid=m.valid), 1)
    batches = [part.class_code.tolist() for part in polygonize_connected(strips, Wanted(grid=grid_of(m)))]
    assert batches == [[], [1, 2], [], [3, 4], [5, 7, 6, 7]]


def test_memory_grows_with_what_is_open_and_not_with_the_raster() -> None:
    assert _held_of_islands(4) == _held_of_islands(64)


def _held_of_islands(copies: int) -> int:
    """Return what is held after a map whose seams are crossed by islands that end soon, in no data."""
    random = np.random.default_rng(4)
    strip = np.where(random.random((24, 256)) < 0.6, random.integers(1, 9, (24, 256)), 0).astype(np.uint8)
    strip[0] = 0
    codes = np.tile(strip, (copies, 1))
    seams = Seams(7)
    for band in cut(MapRows(codes=codes, valid=codes > 0), 16):
        _join_alone(seams, band)
    return seams.nbytes


def _join_alone(seams: Seams, band: MapRows) -> None:
    from geoseg.polygons.areas import Ground, sum_regions
    from geoseg.polygons.trace import complete_regions, trace_band

    runs = find_regions(band.codes, band.valid, row=band.row, halo=band.halo, last=band.last)
    _, arcs, _ = trace_band(runs, complete_regions(runs))
    sums, last = sum_regions(runs, Ground(Grid(height=10**4, width=1, transform=Affine.identity(), crs=None)))
    seams.join(runs, arcs, last, np.zeros((len(sums), 7), np.int64))


def test_strips_of_any_height_become_bands() -> None:
    m = drawn(SEAMS["frames in frames"])
    whole = streamed(m, 10)
    for heights in ((10,), (1, 9), (3, 0, 4, 3), (1,) * 10):
        edges = np.cumsum([0, *heights])
        strips = (MapRows(codes=m.codes[a:b], valid=m.valid[a:b]) for a, b in pairwise(edges))
        parts = polygonize_connected(connected(strips, m.codes.shape), Wanted(grid=grid_of(m)))
        assert Features.joined(list(parts), ANY).buffer.tobytes() == whole.buffer.tobytes()


@pytest.mark.parametrize(("heights", "message"), [((4, 4), "ends at row 8"), ((8, 4), "strip .* at row 8")])
def test_strips_that_are_not_the_raster_are_refused(heights: tuple[int, ...], message: str) -> None:
    m = drawn(SEAMS["frames in frames"])
    strips = (MapRows(codes=m.codes[:h], valid=m.valid[:h]) for h in heights)
    with pytest.raises(ClassMapError, match=message):
        list(connected(strips, m.codes.shape))


def check_against_gdal(m: Map, rows: int) -> None:
    """Law 4 by GDAL's two ways and GEOS."""
    found = streamed(m, rows)
    polygons = shapely.from_wkb([found.buffer[a:b].tobytes() for a, b in pairwise(found.offset)])
    if not len(polygons):
        assert not m.valid.any()
        return
    burnt = rasterize(
        zip(polygons, range(1, len(polygons) + 1), strict=True), out_shape=m.codes.shape, dtype=np.int32
    )
    np.testing.assert_array_equal(burnt > 0, m.valid)
    np.testing.assert_array_equal(found.class_code[burnt[m.valid] - 1], m.codes[m.valid])
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == m.valid.sum()
    theirs = [shapely.geometry.shape(s) for s, _ in shapes(m.codes, mask=m.valid, connectivity=4)]
    assert len(theirs) == len(polygons)


@given(maps(), st.integers(1, 12))
def test_law_4_in_bands(m: Map, rows: int) -> None:
    check_against_gdal(m, rows)


def random_map(random: np.random.Generator) -> Map:
    """1 to 40 px a side, 1 to 8 classes, in grains, with no data."""
    shape = tuple(random.integers(1, 41, 2))
    grain = int(random.integers(1, 5))
    small = [-(-length // grain) for length in shape]
    codes = random.integers(0, random.integers(1, 9), small, dtype=np.uint8)
    codes = codes.repeat(grain, 0).repeat(grain, 1)[: shape[0], : shape[1]].copy()
    return Map(codes=codes, valid=random.random(shape) >= random.choice([0.0, 0.0, 0.1, 0.5]))


@pytest.mark.long
@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.sweep)])
def test_a_sweep_of_random_maps(count: int) -> None:
    random = np.random.default_rng(20)
    for number in range(count):
        m = random_map(random)
        height = len(m.codes)
        every = number % 50 == 0
        check_bands(m, tuple(range(1, height + 1)) if every else (1, int(random.integers(1, height + 1))))
        check_against_gdal(m, int(random.integers(1, height + 1)))
        if number % 10 == 0:
            for workers in (2, 4):
                assert streamed(m, 3, workers).buffer.tobytes() == streamed(m, height).buffer.tobytes()


def test_a_ring_may_not_start_elsewhere() -> None:
    """The check above can fail: a ring that begins at another corner has other bytes."""
    rings = trace(find_regions(np.ones((2, 2), np.uint8), np.ones((2, 2), np.bool_)))
    turned = Rings(
        corner=np.roll(rings.corner, 1, axis=0),
        ring_first=rings.ring_first,
        polygon_first=rings.polygon_first,
    )
    assert (
        write_wkb(rings, Affine.identity())[0].tobytes() != write_wkb(turned, Affine.identity())[0].tobytes()
    )
