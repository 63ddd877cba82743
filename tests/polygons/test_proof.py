"""What is said of the polygons is measured on them, and travels with them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import rioxarray
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OutputError
from geoseg.grid.grid import Grid
from geoseg.polygons.measure import UNITS, gathered, measure_wkb
from geoseg.polygons.polygonize import polygonize
from geoseg.polygons.proof import COVERAGE, Proof, coverage_entries
from geoseg.vector.vectorize import vectorize
from tests.strategies import Map, affines, maps
from tests.vector.test_vectorize import LEGEND, UTM, write_raster
from tests.vectorfiles.test_layers import LAYERS
from tests.vectorfiles.test_layers import LEGEND as CLASSES


def said(path: Path, layer: str = "landcover") -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        text = pq.read_metadata(path).metadata[COVERAGE.encode()].decode()
    else:
        text = pyogrio.read_info(path, layer=layer)["layer_metadata"][COVERAGE]
    return coverage_entries(text)


def multilabel() -> xr.DataArray:
    """Three classes that overlap."""
    return xr.DataArray(
        LAYERS,
        dims=("class", "y", "x"),
        coords={"class": list(CLASSES.names), "class_code": ("class", list(CLASSES.codes))},
        attrs={"_FillValue": np.uint8(255)},
    ).rio.write_transform(UTM)


def noise(seed: int, shape: tuple[int, int] = (30, 40)) -> Any:
    return np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint8)


@given(maps(), affines())
def test_the_area_is_that_of_the_pixels_and_vertices_are_those_of_the_rings(
    m: Map, transform: Affine
) -> None:
    """On any affine: whole pixels, although the coordinates are rounded; shapely counts the vertices."""
    grid = Grid(height=m.codes.shape[0], width=m.codes.shape[1], transform=transform)
    found = polygonize(m.codes, m.valid, grid)
    area, vertices = measure_wkb(found.buffer, found.offset, transform)
    assert area == int(m.valid.sum()) * UNITS
    shapes = shapely.from_wkb(found.wkb)
    rings = shapely.get_rings(shapes)
    assert vertices == shapely.get_num_coordinates(rings).sum() - len(rings)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_the_area_of_any_polygons_is_shapelys(seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    centre = random.uniform(-1e5, 1e5, 2)
    angle = np.sort(random.uniform(0, 2 * np.pi, 12))
    star = random.uniform(1, 100, (12, 1)) * np.column_stack([np.cos(angle), np.sin(angle)]) * size
    shape = shapely.polygons(np.concatenate([star, star[:1]]) + centre)
    shape = shapely.orient_polygons(shape)
    data = np.frombuffer(shapely.to_wkb(shape, byte_order=1), np.uint8)
    transform = Affine(size, 0, 7, 0, -size, 9)
    area, vertices = measure_wkb(data, np.array([0, len(data)]), transform)
    assert vertices == 12
    # Each corner moves by up to half a step of 1/1024 px.
    assert area / UNITS == pytest.approx(shape.area / size**2, abs=shape.length / size / 1024 + 1e-3)


@given(maps(most=12), st.data())
def test_chosen_polygons_are_the_bytes_they_were(m: Map, data: st.DataObject) -> None:
    grid = Grid(height=m.codes.shape[0], width=m.codes.shape[1], transform=UTM)
    found = polygonize(m.codes, m.valid, grid)
    chosen = data.draw(st.lists(st.integers(0, len(found) - 1), max_size=6)) if len(found) else []
    buffer, offset = gathered(found.buffer, found.offset, np.array(chosen, np.intp))
    parts = [buffer[a:b].tobytes() for a, b in pairwise(offset)]
    assert parts == [found.wkb[i] for i in chosen]


def test_files_say_what_is_known_of_their_polygons(tmp_path: Path) -> None:
    codes = noise(3)
    source = write_raster(tmp_path / "m.tif", codes, nodata=0)
    frame = vectorize(source)
    for name in ("a.gpkg", "a.parquet"):
        options = {"scene_name": "north", "rows": 7, "workers": 2}
        (entry,) = said(vectorize(source, output=tmp_path / name, **options))
        assert entry["coverage"] == "valid"
        assert (entry["scene"], entry["tolerance"], entry["merged_regions"]) == ("north", 0, 0)
        assert entry["polygons"] == len(frame)
        assert entry["valid_pixels"] == entry["area_in_pixels"] == int((codes != 0).sum())
        assert isinstance(entry["area_in_pixels"], int)
        assert entry["pixel_area"] * entry["area_in_pixels"] == pytest.approx(frame.geometry.area.sum())
        assert entry["vertices"] == sum(
            len(ring.coords) - 1 for shape in frame.geometry for ring in (shape.exterior, *shape.interiors)
        )
        assert entry["grid"] == {"height": 30, "width": 40, "transform": list(UTM[:6])}
        assert json.dumps(entry)


@pytest.mark.parametrize("rows", [1, 4, 40])
def test_merged_regions_are_counted_once(tmp_path: Path, rows: int) -> None:
    """Every polygon of the map that is not there afterwards went to a neighbour, or is one with another."""
    codes = np.full((40, 40), 1, np.uint8)
    codes[3::7, 2::5] = 2  # 6 * 8 specks in one field
    codes[30, 30:34] = 3
    source = rioxarray.open_rasterio(write_raster(tmp_path / "m.tif", codes)).chunk({"y": rows})
    options = {"min_area": "5px", "rows": rows}
    (entry,) = said(vectorize(source, output=tmp_path / "a.gpkg", **options))
    assert entry["polygons"] == 1
    assert entry["merged_regions"] == len(vectorize(source)) - 1
    assert entry["min_area"] == "5px"


def test_each_layer_says_what_is_known_of_it(tmp_path: Path) -> None:
    path = vectorize(multilabel(), output=tmp_path / "a.gpkg")
    frame = vectorize(multilabel())
    assert len(CLASSES.classes) > 1
    for c, name in zip(CLASSES.classes, pyogrio.list_layers(path)[:, 0], strict=False):
        (entry,) = said(path, name)
        own = frame[frame["class_code"] == c.code]
        assert (entry["polygons"], entry["area_in_pixels"]) == (len(own), own["pixels"].sum())
    parquet = said(vectorize(multilabel(), output=tmp_path / "a.parquet"))
    assert [entry["polygons"] for entry in parquet] == [
        int((frame["class_code"] == c.code).sum()) for c in CLASSES.classes
    ]


def test_polygons_that_do_not_cover_their_pixels_are_never_written() -> None:
    m = np.ones((4, 5), np.uint8)
    grid = Grid(height=4, width=5, transform=UTM)
    found = polygonize(m, m > 0, grid)
    wrong = replace(found, buffer=found.buffer.copy())
    wrong.buffer[-40:-32] = np.frombuffer(np.float64(500123.0).tobytes(), np.uint8)
    with pytest.raises(OutputError, match=r"the polygons have 20 pixels and the area of \d+"):
        list(Proof(grid=grid).watch([wrong]))
    list(Proof(grid=grid).watch([found]))


def test_an_affine_too_fine_for_its_numbers_is_refused(tmp_path: Path) -> None:
    """Neighbouring pixels would have the same coordinates: the polygons would be no coverage."""
    source = write_raster(tmp_path / "m.tif", noise(1), Affine(1e-9, 0, 5e6, 0, -1e-9, 5e6), crs=None)
    with pytest.raises(OutputError, match="cannot tell neighbouring pixels of this affine apart"):
        vectorize(source, output=tmp_path / "a.gpkg", legend=LEGEND)
    assert [p.name for p in tmp_path.iterdir()] == ["m.tif"]


def test_vertices_before_are_summed() -> None:
    m = np.ones((4, 5), np.uint8)
    grid = Grid(height=4, width=5, transform=UTM)
    found = replace(polygonize(m, m > 0, grid), vertices_before=np.array([40]))
    proof = Proof(grid=grid)
    list(proof.watch([found]))
    assert (proof.entry()["vertices_before"], proof.entry()["vertices"]) == (40, 4)


@pytest.mark.parametrize("text", [None, "", "{", "7", '["x"]', "[" * 100000])
def test_a_damaged_text_says_nothing(text: str | None) -> None:
    assert coverage_entries(text) == []
