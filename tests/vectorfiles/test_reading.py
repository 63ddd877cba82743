"""Every vector format that is written is read, under any name, by every command that reads vectors."""

from __future__ import annotations

import math
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from geoseg_cli.main import group

import geoseg
from geoseg.assessment.describe import describe
from geoseg.datasets.label_config import form_of
from geoseg.errors import DataError, SceneError
from geoseg.grid.legend import Legend
from geoseg.labels.forms import form_of_source
from geoseg.raster.file_kinds import KINDS
from geoseg.vector.vectorize import vectorize
from geoseg.vectorfiles.batches import read_batches
from geoseg.vectorfiles.formats import check_vector_name
from geoseg.vectorfiles.reading import check_vector_file, choose_layers, read_features
from tests.small_files import Write
from tests.vector.test_vectorize import write_raster

LEGEND = Legend.parse("water=#0000ff,forest=#00ff00,town=#ff0000")
CODES = np.random.default_rng(1).integers(1, 4, (6, 8)).astype(np.uint8)
WRITTEN = (".gpkg", ".parquet", ".geoparquet", ".fgb", ".geojson", ".json")
DRIVERS = {
    ".shp": "ESRI Shapefile", ".kml": "KML", ".geojsonl": "GeoJSONSeq", ".sqlite": "SQLite", ".gdb": "OpenFileGDB"
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One map's polygons in every format that is read, each as ``a`` and its ending; m.tif is the map."""
    found = tmp_path_factory.mktemp("formats")
    raster = write_raster(found / "m.tif", CODES)
    for ending in WRITTEN:
        vectorize(raster, legend=LEGEND, output=found / f"a{ending}")
    frame = vectorize(raster, legend=LEGEND)[["class_code", "class_name", "area_m2", "geometry"]]
    frame["class_code"] = frame["class_code"].astype(np.int32)
    for ending, driver in DRIVERS.items():
        frame.to_crs(4326).to_file(found / f"a{ending}", driver=driver)
    return found


@pytest.mark.parametrize("ending", [*WRITTEN, *DRIVERS])
def test_what_is_written_is_read(folder: Path, tmp_path: Path, ending: str) -> None:
    path = folder / f"a{ending}"
    np.testing.assert_array_equal(geoseg.rasterize(path, like=folder / "m.tif").to_numpy(), CODES)
    assert form_of_source(path) == "vector"
    assert form_of(f"labels/*{ending}") == "vector"
    described = describe(path)
    (layer,) = described["layers"]
    assert described["kind"] in {kind.bare_name for kind in KINDS if kind.holds == "vector"}
    assert layer["features"] == len(vectorize(folder / "m.tif"))
    assert [c["name"] for c in layer["classes"]] == ["water", "forest", "town"]
    assert sum(c["area_m2"] for c in layer["classes"]) == pytest.approx(48 * 100, rel=1e-2)
    assert layer["crs"].startswith("EPSG:")
    assert layer["bounds"] is not None
    if ending == ".gdb":
        return
    # Content decides, not the name.
    other = shutil.copy(path, tmp_path / ("x.fgb" if ending != ".fgb" else "x.geojson"))
    assert check_vector_file(other) == check_vector_file(path)
    if ending != ".shp":  # whose parts are found by its name
        (about,) = [each for each in choose_layers(other) if "class_code" in each.fields]
        assert len(read_features(other, about, "class_code").geometry) == layer["features"]


def test_info_of_a_vector_file_is_said_in_its_own_words(folder: Path) -> None:
    for name in ("a.geojson", "a.fgb", "a.geoparquet"):
        done = CliRunner().invoke(group, ["info", str(folder / name)])
        assert done.exit_code == 0, done.output
        for word in ("layers", "features", "Polygon", "forest"):
            assert word in done.stdout
        for word in ("bands", "driver", "alpha_band", "GeoTIFF"):
            assert word not in done.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<gml:FeatureCollection/>", "is a GML file, expected .*; ogr2ogr turns vector files"),
        (b'<?xml version="1.0"?><foo/>', "is an XML file of foo, expected"),
        (b"PK\x03\x04", "is a ZIP archive, expected .*; unpack it"),
        (b"<html>", "is a web page"),
        (b"II*\0", "is a GeoTIFF, expected .*; vectorize makes polygons"),
        (b"", "is empty, expected .gpkg"),
        (b"hello", "none of the vector files that are read: .gpkg"),
    ],
)
def test_what_is_not_read_is_called_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        check_vector_file(path)
    if not content.startswith(b"II"):
        with pytest.raises((SceneError, DataError)) as caught:
            describe(path)
        assert "VRT" not in str(caught.value)


def test_names_that_can_be_written_are_those_of_formats() -> None:
    for ending in WRITTEN:
        check_vector_name(Path(f"a{ending.upper()}"))


def test_every_layer_of_a_file_clips(folder: Path, tmp_path: Path) -> None:
    from geoseg.inference.clip import ClipArea
    from geoseg.raster.scene import Scene

    grid = Scene.open(folder / "m.tif").grid
    frame = vectorize(folder / "m.tif", legend=LEGEND)
    for name in ("water", "town"):
        gpd.GeoDataFrame(frame[frame["class_name"] == name]).to_file(tmp_path / "c.gpkg", layer=name)
    np.testing.assert_array_equal(ClipArea(tmp_path / "c.gpkg", grid)(0, 6), CODES != 2)
    np.testing.assert_array_equal(ClipArea(folder / "a.geoparquet", grid)(0, 6), CODES > 0)


def test_every_command_takes_a_geodatabase_which_is_a_folder(
    folder: Path, tmp_path: Path, model_file: Path, write: Write
) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(group, [*words, "-q"])
        assert done.exit_code == 0, done.output
        return done.output

    database, raster = str(folder / "a.gdb"), str(folder / "m.tif")
    with rasterio.open(raster) as file:
        scene = str(write("s.tif", np.full((3, 6, 8), 99, np.uint8), crs=file.crs, transform=file.transform))
    run("rasterize", database, "--like", raster, "-o", str(tmp_path / "r.tif"))
    run("check", database)
    run("accuracy", "design", raster, "--strata", database, "--points", "9", "-o", str(tmp_path / "s.gpkg"))
    run("predict", scene, "-m", str(model_file), "--clip", database, "-o", str(tmp_path / "p.tif"))
    for command in (["rasterize", str(tmp_path), "--like", raster], ["predict", scene, "--clip"]):
        more = [str(tmp_path), "-m", str(model_file)] if command[-1] == "--clip" else []
        done = CliRunner().invoke(group, [*command, *more, "-o", str(tmp_path / "x.tif")])
        assert done.exit_code in (1, 2)
        assert "irectory" in done.output or "is a folder" in done.output


def test_curves_are_checked_as_the_lines_that_gdal_draws(tmp_path: Path) -> None:
    """GEOS knows no curves, and drawing programs and cadastres write them."""
    path = tmp_path / "c.gpkg"
    frame = gpd.GeoDataFrame({"class_code": [1, 2]}, geometry=[shapely.box(0, 0, 1, 1)] * 2, crs=32633)
    frame.to_file(path, SPATIAL_INDEX="NO", geometry_type="Unknown")
    ring = [(500_000, 0), (500_100, 100), (500_200, 0), (500_100, -100), (500_000, 0)]
    circle = struct.pack("<BIIBII10d", 1, 10, 1, 1, 8, 5, *(number for corner in ring for number in corner))
    square = shapely.to_wkb(shapely.box(500_300, 0, 500_400, 100))
    surface = struct.pack("<BII", 1, 12, 1) + square
    with closing(sqlite3.connect(path)) as database, database:
        for fid, wkb in ((1, circle), (2, surface)):
            blob = b"GP\0\1" + struct.pack("<i", 32633) + wkb
            database.execute("UPDATE c SET geom = ? WHERE fid = ?", (blob, fid))
    found = geoseg.check(path)
    assert found.passed
    (layer,) = choose_layers(path)
    circled, squared = shapely.area(shapely.from_wkb(next(iter(read_batches(path, layer, []))).geometry))
    assert circled == pytest.approx(math.pi * 1e4, rel=2e-3)
    assert squared == 1e4
