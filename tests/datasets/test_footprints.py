"""Images that show the same ground are found, whatever their coordinate systems."""

from __future__ import annotations

import itertools
import math

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from geoseg.datasets.footprints import overlapping
from geoseg.grid.grid import Grid


def wkt(epsg: int) -> str:
    return str(CRS.from_epsg(epsg).to_wkt())


def grid(
    west: float, north: float, height: int, width: int, *, size: float = 10, epsg: int | None = 32632
) -> Grid:
    transform = Affine(size, 0, west, 0, -size, north)
    return Grid(height=height, width=width, transform=transform, crs=epsg and wkt(epsg))


RECTANGLES = st.lists(
    st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 6)] * 2, st.sampled_from([32632, 32633])), max_size=8
)  # fmt: skip


@given(RECTANGLES)
def test_in_one_crs_those_overlap_that_share_a_pixel(
    rectangles: list[tuple[int, int, int, int, int]],
) -> None:
    # The zones' own coordinates put the same numbers 6 degrees apart: nothing overlaps across them.
    grids = {
        str(i): grid(500_000 + 10 * col, 5e6 - 10 * row, height, width, epsg=epsg)
        for i, (row, col, height, width, epsg) in enumerate(rectangles)
    }
    pixels = [
        {(epsg, r, c) for r in range(row, row + height) for c in range(col, col + width)}
        for row, col, height, width, epsg in rectangles
    ]
    expected = [
        (str(a), str(b)) for a, b in itertools.combinations(range(len(pixels)), 2) if pixels[a] & pixels[b]
    ]
    assert overlapping(grids) == expected


def test_edges_that_only_touch_are_rounded_here_and_there() -> None:
    size = 0.1
    grids = {str(i): grid(500_000 + i * 512 * size, 5e6 + 0.3, 512, 512, size=size) for i in range(5)}
    assert overlapping(grids) == []
    nearer = {str(i): grid(500_000 + i * 511 * size, 5e6 + 0.3, 512, 512, size=size) for i in range(3)}
    assert overlapping(nearer) == [("0", "1"), ("1", "2")]


def test_a_rotated_image_overlaps_only_what_it_covers() -> None:
    turned = Affine.translation(500_000, 5e6) @ Affine.rotation(45) @ Affine.scale(10, -10)
    diamond = Grid(height=100, width=100, transform=turned, crs=wkt(32632))
    # Its bounding box begins at 500000, its corner at the middle of the left edge.
    corner = grid(500_000, 5e6 + 100 * 10 * math.sqrt(0.5), 20, 20)
    middle = grid(500_000 + 700, 5e6 + 100, 20, 20)
    assert overlapping({"diamond": diamond, "corner": corner, "middle": middle}) == [("diamond", "middle")]


def test_overlaps_are_found_across_coordinate_systems() -> None:
    # 12 degrees east is the border of the zones 32 and 33.
    west_zone = grid(734_000, 5_320_000, 300, 300)  # near 12.15 E, 48 N
    east_zone = grid(287_000, 5_321_000, 300, 300, epsg=33 + 32600)
    geographic = grid(12.16, 47.99, 300, 300, size=1e-4, epsg=4326)
    mercator = grid(1_340_000, 6_100_000, 300, 300, epsg=3857)
    far = grid(500_000, 5_320_000, 300, 300)
    none = grid(734_000, 5_320_000, 300, 300, epsg=None)
    found = overlapping(
        {
            "west": west_zone,
            "far": far,
            "east": east_zone,
            "degrees": geographic,
            "none": none,
            "mercator": mercator,
        }
    )
    assert found == [("west", "east"), ("west", "degrees"), ("east", "degrees")]


def test_one_crs_written_in_two_ways_is_one() -> None:
    plain = grid(500_000, 5e6, 64, 64)
    old = Grid(
        height=64,
        width=64,
        transform=Affine(10, 0, 500_640, 0, -10, 5e6),
        crs=str(CRS.from_epsg(32632).to_wkt(version="WKT1_GDAL")),
    )
    new = Grid(
        height=64,
        width=64,
        transform=Affine(10, 0, 500_630, 0, -10, 5e6),
        crs=str(CRS.from_epsg(32632).to_wkt(version="WKT2_2019")),
    )
    assert old.crs != new.crs
    assert overlapping({"plain": plain, "old": old, "new": new}) == [("plain", "new"), ("old", "new")]


def test_the_180th_meridian_divides_nothing() -> None:
    east = grid(179.9, 10.0, 100, 200, size=0.001, epsg=4326)  # to 180.1
    west = grid(-179.95, 10.0, 100, 100, size=0.001, epsg=4267)
    assert overlapping({"east": east, "west": west}) == [("east", "west")]
    fiji = grid(
        2_100_000, 4_000_000, 8, 8, size=20_000, epsg=3460
    )  # from 179.7 to 181.2, the latter as -178.8
    beyond = grid(-179.95, -17.2, 100, 100, size=0.001, epsg=4326)
    africa = grid(20, -17.2, 100, 100, size=0.001, epsg=4326)
    assert overlapping({"africa": africa, "fiji": fiji, "beyond": beyond}) == [("fiji", "beyond")]


def test_a_plan_without_a_place_on_the_earth_overlaps_only_its_like() -> None:
    local = 'LOCAL_CS["plan",UNIT["metre",1]]'
    a = Grid(height=9, width=9, transform=Affine.identity(), crs=local)
    assert overlapping({"a": a, "b": a, "c": grid(0, 0, 9, 9)}) == [("a", "b")]


@pytest.mark.parametrize("count", [0, 1])
def test_few_images_overlap_with_none(count: int) -> None:
    assert overlapping({str(i): grid(0, 0, 4, 4) for i in range(count)}) == []
