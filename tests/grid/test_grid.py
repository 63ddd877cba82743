from __future__ import annotations

from dataclasses import replace

import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid, same_crs
from geoseg.grid.window import Window

TRANSFORMS = {
    "utm": Affine(10, 0, 499980, 0, -10, 9900040),
    "south-up": Affine(10, 0, 499980, 0, 10, 4200000),
    "rotated": Affine.translation(5e5, 4e6) @ Affine.rotation(30) @ Affine.scale(0.3, -0.3),
    "sheared": Affine(10, 2.5, 1e5, 0, -10, 5e6),
    "degrees": Affine(1 / 3600, 0, 12.0, 0, -1 / 3600, 48.0),
    "plain": Affine.identity(),
}
grids = st.sampled_from(sorted(TRANSFORMS)).flatmap(
    lambda name: st.builds(
        Grid, height=st.integers(1, 5000), width=st.integers(1, 5000), transform=st.just(TRANSFORMS[name])
    )
)
AXIS_ALIGNED = st.sampled_from(["utm", "south-up", "degrees", "plain"])


@given(AXIS_ALIGNED, st.data())
def test_window_of_the_bounds_of_a_window_is_the_window(name: str, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20000)), data.draw(st.integers(1, 20000))
    grid = Grid(height=height, width=width, transform=TRANSFORMS[name])
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        row=row,
        col=col,
        height=data.draw(st.integers(1, height - row)),
        width=data.draw(st.integers(1, width - col)),
    )
    assert grid.window(grid.window_bounds(window)) == window


@given(grids)
def test_a_crop_at_the_origin_keeps_the_affine_bit_for_bit(grid: Grid) -> None:
    whole = Window(row=0, col=0, height=grid.height, width=grid.width)
    assert grid.cropped(whole).transform == grid.transform


@given(grids, st.integers(0, 4000), st.integers(0, 4000))
def test_a_crop_moves_the_origin_by_whole_pixels(grid: Grid, row: int, col: int) -> None:
    part = grid.cropped(Window(row=row, col=col, height=7, width=9))
    assert part.shape == (7, 9)
    assert part.transform @ (0, 0) == grid.transform @ (col, row)
    assert tuple(part.transform)[:2] == tuple(grid.transform)[:2]


def test_bounds_touching_pixels_partly_take_them_whole() -> None:
    grid = Grid(height=10, width=10, transform=TRANSFORMS["utm"])
    west, _, _, north = grid.bounds
    assert grid.window((west + 5, north - 25, west + 15, north - 1)) == Window(
        row=0, col=0, height=3, width=2
    )


def test_bounds_over_the_edge_are_cut() -> None:
    grid = Grid(height=10, width=10, transform=TRANSFORMS["plain"])
    assert grid.window((-5, -5, 3, 3)) == Window(row=0, col=0, height=3, width=3)


@pytest.mark.parametrize("bounds", [(0.0, 0.0, 0.0, 1.0), (5.0, 1.0, 1.0, 5.0), (20.0, 20.0, 30.0, 30.0)])
def test_useless_bounds_are_refused(bounds: tuple[float, float, float, float]) -> None:
    with pytest.raises(OptionError, match="bounds"):
        Grid(height=10, width=10, transform=TRANSFORMS["plain"]).window(bounds)


def test_bounds_of_a_rotated_grid_hold_its_corners() -> None:
    grid = Grid(height=10, width=20, transform=TRANSFORMS["rotated"])
    west, south, east, north = grid.bounds
    for corner in ((0, 0), (20, 0), (0, 10), (20, 10)):
        x, y = grid.transform @ corner
        assert west <= x <= east
        assert south <= y <= north


UTM = pyproj.CRS.from_epsg(32633).to_wkt()
DEGREES = pyproj.CRS.from_epsg(4326).to_wkt()


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from([1e-7, 8.3e-5, 0.075, 10.0, 1e5]),
    st.floats(0, 6.3),
    st.floats(-180, 180),
    st.floats(-1, 1),
    st.floats(-1, 1),
)
def test_grids_differ_by_what_corners_move_in_pixels(
    height: int, width: int, pixel: float, turned: float, origin: float, rows: float, cols: float
) -> None:
    """The same law for degrees and metres: pixels count, not units of the CRS."""
    transform = Affine.translation(origin, -origin) @ Affine.rotation(turned) @ Affine.scale(pixel, -pixel)
    grid = Grid(height=height, width=width, transform=transform)
    moved = replace(grid, transform=transform @ Affine.translation(cols, rows))
    assert grid.differs_from(grid) == ""
    assert (moved.differs_from(grid) == "") == (max(abs(rows), abs(cols)) <= 1e-3) or (
        # An affine near 180 degrees with pixels of a centimetre cannot tell a thousandth of them.
        abs(max(abs(rows), abs(cols)) - 1e-3) < 1e-5 + 1e-13 * abs(origin) / pixel
    )


@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.sampled_from([1e-4, 0.075, 10.0]),
    st.floats(0, 6.3),
    st.floats(-1000, 1000),
    st.floats(-1000, 1000),
)
def test_an_offset_is_what_pixels_lie_apart(
    height: int, width: int, pixel: float, turned: float, rows: float, cols: float
) -> None:
    transform = Affine.translation(7, 50) @ Affine.rotation(turned) @ Affine.scale(pixel, -pixel)
    grid = Grid(height=3, width=4, transform=transform, crs=UTM)
    moved = replace(
        grid, height=height, width=width, transform=transform @ Affine.translation(cols, rows), crs=None
    )
    assert moved.offset_on(grid) == pytest.approx((rows, cols), abs=1e-6)
    stretched = replace(moved, transform=moved.transform @ Affine.scale(1 + 0.01 / width, 1))
    assert stretched.offset_on(grid) is None, "the last column lies a hundredth of a pixel off"
    assert replace(moved, crs=DEGREES).offset_on(grid) is None


def test_how_grids_differ_is_said() -> None:
    grid = Grid(height=3, width=4, transform=Affine(10, 0, 5e5, 0, -10, 5e6), crs=UTM)
    assert replace(grid, width=5).differs_from(grid) == "is 3 x 5 px, expected 3 x 4 px"
    assert (
        replace(grid, crs=DEGREES).differs_from(grid) == "its CRS is WGS 84, expected WGS 84 / UTM zone 33N"
    )
    assert replace(grid, crs=None).differs_from(grid) == ""
    assert grid.differs_from(replace(grid, crs=None)) == ""
    wider = replace(grid, transform=Affine(10.01, 0, 5e5, 0, -10, 5e6))
    assert wider.differs_from(grid) == (
        "its affine is 10.01, 0, 500000, 0, -10, 5000000, expected 10, 0, 500000, 0, -10, 5000000"
    )
    finer = replace(grid, transform=Affine(10.0001, 0, 5e5, 0, -10, 5e6))
    assert finer.differs_from(grid) == "", "four columns move by 0.04 thousandths of a pixel"


def test_a_crs_is_one_however_it_is_written() -> None:
    old = pyproj.CRS.from_epsg(32633).to_wkt("WKT1_GDAL")
    assert old != UTM
    assert same_crs(UTM, old)
    assert same_crs("EPSG:32633", UTM)
    assert same_crs("OGC:CRS84", DEGREES), "only their axes are in another order"
    assert same_crs(None, UTM)
    assert not same_crs("EPSG:32632", UTM)
