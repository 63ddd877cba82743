"""Shapes on images in degrees: longitudes that differ by whole turns are one, whoever counts from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer

import geoseg
from geoseg.grid.grid import Grid
from geoseg.inference.clip import ClipArea
from geoseg.vectorfiles.longitudes import turn_of
from tests.labels.test_vector_labels import MEANINGS, VectorLabels, whole

WGS84 = CRS.from_epsg(4326).to_wkt()
Bools = npt.NDArray[np.bool_]


def grid_at(west: float, north: float, pixel: float, shape: tuple[int, int], crs: str = WGS84) -> Grid:
    height, width = shape
    return Grid(height=height, width=width, transform=Affine(pixel, 0, west, 0, -pixel, north), crs=crs)


FIJI = grid_at(178.5, 10, 0.1, (30, 25))
"""Reaches to 181 degrees."""


def centres(grid: Grid) -> tuple[Any, Any]:
    row, col = np.mgrid[: grid.height, : grid.width] + 0.5
    x, y = grid.transform @ (col, row)
    return x, y


def inside(grid: Grid, box: tuple[float, float, float, float]) -> Bools:
    """Pixels whose centres lie in a box of longitudes and latitudes, whatever turn they count in."""
    x, y = centres(grid)
    found: Bools = ((x - box[0]) % 360 < box[2] - box[0]) & (box[1] < y) & (y < box[3])
    return found


def drawn_by_all(path: Path, grid: Grid) -> list[Bools]:
    """The pixels of a file's polygons as rasterize, labels and --clip see them."""
    labels = VectorLabels.open(path, grid, MEANINGS, class_field="class")
    rasterized = geoseg.rasterize(path, like=grid).to_numpy() == 1
    return [rasterized, whole(labels, grid) == 1, ClipArea(path, grid)(0, grid.height)]


def polygons(path: Path, *shapes: Any, crs: Any = WGS84) -> Path:
    columns = {"class_code": [1] * len(shapes), "class": ["water"] * len(shapes)}
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(path)
    return path


def halves(west: float, south: float, east: float, north: float) -> list[Any]:
    """A box cut at the antimeridian, as GeoJSON asks for it."""
    return [shapely.box(west, south, 180, north), shapely.box(-180, south, east - 360, north)]


BOX = (178.77, 8.02, 180.72, 9.03)
CASES = {
    "on": [shapely.box(*BOX)],
    "cut": halves(*BOX),
    "from -180": [shapely.box(BOX[0] - 360, BOX[1], BOX[2] - 360, BOX[3])],
    "two turns": [shapely.box(BOX[0] + 360, BOX[1], BOX[2] + 360, BOX[3])],
    "one multipolygon": [shapely.MultiPolygon(halves(*BOX))],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ending", ["gpkg", "fgb", "geojson"])
@pytest.mark.parametrize("west", [178.5, -181.5, 0])
def test_whole_turns_change_nothing(tmp_path: Path, name: str, ending: str, west: float) -> None:
    grid = grid_at(0, 90, 1, (180, 360)) if west == 0 else grid_at(west, 10, 0.1, (30, 25))
    path = polygons(tmp_path / f"p.{ending}", *CASES[name])
    wanted = inside(grid, BOX)
    assert wanted.any()
    for found in drawn_by_all(path, grid):
        np.testing.assert_array_equal(found, wanted)


def test_a_map_from_0_to_360_comes_back_from_geojson(tmp_path: Path) -> None:
    grid = grid_at(0, 90, 2, (90, 180))
    blocks = np.random.default_rng(1).integers(1, 4, (9, 18))
    codes = blocks.repeat(10, axis=0).repeat(10, axis=1).astype(np.uint8)
    with rasterio.open(
        tmp_path / "m.tif", "w", driver="GTiff", count=1, height=90, width=180, dtype="uint8", crs=4326,
        transform=grid.transform,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    geoseg.vectorize(tmp_path / "m.tif", output=tmp_path / "m.geojson")
    made = geoseg.rasterize(tmp_path / "m.geojson", like=tmp_path / "m.tif")
    np.testing.assert_array_equal(made.to_numpy(), codes)


@pytest.mark.parametrize("epsg", [32660, 3832])
def test_projected_polygons_reach_over_the_antimeridian(tmp_path: Path, epsg: int) -> None:
    to_plane = Transformer.from_crs(4326, epsg, always_xy=True)
    hole = shapely.box(179.33, 8.33, 180.33, 8.66)
    shape = shapely.segmentize(shapely.box(*BOX).difference(hole), 0.02)
    flat = shapely.transform(shape, lambda xy: np.column_stack(to_plane.transform(*xy.T)))
    path = polygons(tmp_path / "p.gpkg", flat, crs=epsg)
    wanted = inside(FIJI, BOX) & ~inside(FIJI, hole.bounds)
    for found in drawn_by_all(path, FIJI):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("epsg", "south"), [(3413, False), (3031, True)])
@pytest.mark.parametrize("west", [-180, 0])
def test_polygons_around_a_pole_reach_all_longitudes(
    tmp_path: Path, epsg: int, south: bool, west: int
) -> None:
    grid = grid_at(west, 90, 1, (180, 360))
    ring = shapely.Point(0, 0).buffer(3e6).difference(shapely.Point(1e5, 0).buffer(1e6))
    path = polygons(tmp_path / "p.gpkg", ring, crs=epsg)
    x, y = centres(grid)
    at = np.nan_to_num(Transformer.from_crs(4326, epsg, always_xy=True).transform(x, y), posinf=1e9)
    in_cap = shapely.contains_xy(ring, *at) & ((y < 0) if south else (y > 0))
    assert in_cap.sum() > 3000
    for found in drawn_by_all(path, grid):
        assert (found != in_cap).sum() <= 2  # the ring has straight edges


def test_long_edges_of_a_clip_stay_straight_in_their_own_crs(tmp_path: Path) -> None:
    grid = grid_at(399_960, 5_700_000, 10, (300, 300), CRS.from_epsg(32633).to_wkt())
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(*centres(grid))
    middle = lat.mean()
    path = polygons(
        tmp_path / "p.gpkg", shapely.box(lon.min() - 1, middle - 0.01, lon.max() + 1, middle + 0.01)
    )
    for found in drawn_by_all(path, grid):
        np.testing.assert_array_equal(found, abs(lat - middle) < 0.01)


def test_a_turn_has_the_units_of_the_longitudes() -> None:
    assert turn_of(WGS84) == 360
    assert turn_of(CRS.from_epsg(4807).to_wkt()) == 400  # grads
    assert turn_of(CRS.from_epsg(4979).to_wkt()) == 360
    assert turn_of(CRS.from_epsg(32633).to_wkt()) is None
    assert turn_of(None) is None
