"""Scales between nodes are those of the transformation, and depend on nothing but the grid."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from geoseg.grid.grid import Grid
from geoseg.grid.ground import ground_scales
from geoseg.vector.scale_nodes import ScaleNodes

GRIDS = {
    "UTM": ("EPSG:32632", Affine(10, 0, 5e5, 0, -10, 5.4e6), (4096, 4096)),
    "UTM, three zones wide": ("EPSG:32632", Affine(100, 0, -4e5, 0, -100, 7.4e6), (9000, 18000)),
    "Web Mercator": ("EPSG:3857", Affine(0.3, 0, 1e6, 0, -0.3, 6e6), (512, 300)),
    "Europe": ("EPSG:3035", Affine(100, 0, 2.5e6, 0, -100, 5.5e6), (40000, 40000)),
    "turned": ("EPSG:2154", Affine(2, 1, 6e5, 1, -2, 6.7e6), (700, 900)),
    "feet, one column": ("EPSG:2263", Affine(3, 0, 9.5e5, 0, -3, 2e5), (5000, 1)),
}


def grid_of(crs: str, transform: Affine, shape: tuple[int, int]) -> Grid:
    return Grid(height=shape[0], width=shape[1], transform=transform, crs=CRS(crs).to_wkt())


@pytest.mark.parametrize("name", GRIDS)
def test_scales_are_those_of_the_transformation(name: str) -> None:
    grid = grid_of(*GRIDS[name])
    nodes = ScaleNodes.of(grid)
    assert nodes is not None
    random = np.random.default_rng(1)
    col, row = random.random((2, 2000)) * np.array([[grid.width], [grid.height]])
    for found, exact in zip(nodes.at(col, row), ground_scales(grid, col, row) or (), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-8)
    # Each position for itself gives the same bits.
    alone = [nodes.at(col[i : i + 1], row[i : i + 1])[0][0] for i in range(9)]
    assert alone == nodes.at(col, row)[0][:9].tolist()


def test_the_corners_of_the_grid_are_nodes() -> None:
    grid = grid_of(*GRIDS["UTM"])
    nodes = ScaleNodes.of(grid)
    assert nodes is not None
    corners = np.array([0.0, grid.width]), np.array([0.0, grid.height])
    for found, exact in zip(nodes.at(*corners), ground_scales(grid, *corners) or (), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-15)


@pytest.mark.parametrize(
    ("crs", "transform", "shape"),
    [
        ("EPSG:3413", Affine(1000, 0, -3e6, 0, -1000, 3e6), (6000, 6000)),  # the pole in the middle
        ("EPSG:3857", Affine(20000, 0, -2e7, 0, -20000, 2e7), (2000, 2000)),
        ("EPSG:6933", Affine(25000, 0, -17e6, 0, -25000, 7e6), (560, 1360)),
    ],
)
def test_where_scales_change_too_fast_there_are_no_nodes(
    crs: str, transform: Affine, shape: tuple[int, int]
) -> None:
    assert ScaleNodes.of(grid_of(crs, transform, shape)) is None


def test_without_a_place_on_earth_there_are_none() -> None:
    assert ScaleNodes.of(Grid(height=9, width=9, transform=Affine.identity(), crs=None)) is None
