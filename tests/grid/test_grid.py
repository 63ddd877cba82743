from __future__ import annotations

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
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
