"""``--overwrite`` of a GeoPackage replaces the layers that are written, and nothing else that it holds."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from click.testing import CliRunner
from geoseg_cli.main import group
from shapely.geometry import LineString, box

from geoseg.errors import OptionError, OutputBusyError, OutputError
from geoseg.grid.legend import Legend
from geoseg.labels.conversion import Conversion, convert
from geoseg.vector.vectorize import vectorize
from geoseg.vector.write import write
from tests.polygons.test_proof import multilabel
from tests.vector.test_vectorize import write_raster

LEGEND = Legend.parse("water=#0000ff,forest=#00ff00,town=#ff0000")
OTHER = Legend.parse("a,b,c,d")


def codes_of(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 4, (30, 40)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write_raster(tmp_path / "in" / "m.tif", codes_of(1), nodata=0)


@pytest.fixture
def project(raster: Path, tmp_path: Path) -> Path:
    """A GeoPackage with land cover, somebody's roads with a style, notes without geometry, and a QGIS project."""
    path = vectorize(raster, legend=OTHER, output=tmp_path / "project.gpkg")
    roads = gpd.GeoDataFrame(
        {"name": ["A 1", "B 2"]}, geometry=[LineString([(0, 0), (9, 9)]), LineString([(1, 0), (5, 5)])], crs=32632
    )  # fmt: skip
    roads.to_file(path, layer="roads", driver="GPKG")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE qgis_projects (name TEXT PRIMARY KEY, metadata BLOB, content BLOB)")
        database.execute("INSERT INTO qgis_projects VALUES ('mine', x'00', x'01')")
        database.execute(
            "INSERT INTO layer_styles (f_table_name, f_geometry_column, styleName, styleQML, useAsDefault) "
            "VALUES ('roads', 'geom', 'mine', '<qgis/>', 1)"
        )
    return path


def others(path: Path) -> tuple[Any, ...]:
    """What the file holds that is not of `vectorize`."""
    with closing(sqlite3.connect(path)) as database:
        projects = database.execute("SELECT * FROM qgis_projects").fetchall()
        styles = database.execute(
            "SELECT styleName, styleQML FROM layer_styles WHERE f_table_name = 'roads'"
        ).fetchall()
        indexed = database.execute("SELECT count(*) FROM rtree_roads_geom").fetchall()
    roads = gpd.read_file(path, layer="roads")
    return projects, styles, indexed, roads["name"].tolist(), roads.geometry.to_wkt().tolist()


def rows(path: Path, layer: str = "landcover") -> Any:
    return gpd.read_file(path, layer=layer)


def style_of(path: Path, layer: str) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_name = ?", (layer,)
        ).fetchall()
    return [text for (text,) in found]


def test_only_the_layer_is_replaced(project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = others(project)
    new = write_raster(tmp_path / "in" / "n.tif", codes_of(2), nodata=0)
    fresh = vectorize(new, legend=LEGEND, output=tmp_path / "fresh.gpkg")
    with caplog.at_level(logging.INFO, "geoseg"):
        vectorize(new, legend=LEGEND, output=project, overwrite=True)
    assert "project.gpkg: its other content is kept: qgis_projects, roads" in caplog.text
    assert others(project) == before
    gpd.testing.assert_geodataframe_equal(rows(project), rows(fresh))
    assert style_of(project, "landcover") == style_of(fresh, "landcover")  # the old one does not grow
    assert "forest" in style_of(project, "landcover")[0]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["fresh.gpkg", "in", "project.gpkg"]
    with closing(sqlite3.connect(project)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        entries = database.execute("SELECT count(*) FROM gpkg_metadata_reference").fetchone()
        assert entries == (1,)


def test_a_file_that_holds_nothing_else_is_made_anew(raster: Path, tmp_path: Path) -> None:
    """Equal work gives equal bytes, whatever was there."""
    path = vectorize(raster, legend=LEGEND, output=tmp_path / "a.gpkg")
    first = path.read_bytes()
    vectorize(tmp_path / "in" / "m.tif", legend=OTHER, output=path, overwrite=True)
    vectorize(raster, legend=LEGEND, output=path, overwrite=True)
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"the old file", b"SQLite format 3\0" + bytes(200)])
def test_what_is_no_geopackage_is_replaced(raster: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(content)
    vectorize(raster, legend=LEGEND, output=path, overwrite=True)
    assert len(rows(path))


def test_layers_differ_by_more_than_case(project: Path, raster: Path) -> None:
    before = others(project)
    vectorize(raster, legend=LEGEND, output=project, layer="LandCover", overwrite=True)
    names = {str(name) for name in pyogrio.list_layers(project)[:, 0]}
    assert {name for name in names if name.lower() == "landcover"} == {"landcover"}
    assert rows(project)["class_name"].isin(LEGEND.names).all()
    assert others(project) == before


def test_a_layer_of_lines_of_that_name_is_replaced_as_asked(project: Path, raster: Path) -> None:
    vectorize(raster, legend=LEGEND, output=project, layer="roads", overwrite=True)
    assert rows(project, "roads")["class_name"].isin(LEGEND.names).all()
    assert rows(project)["class_name"].isin(OTHER.names).all()
    assert len(style_of(project, "roads")) == 1


def test_a_table_of_another_kind_is_refused(project: Path, raster: Path) -> None:
    before = project.read_bytes()
    with pytest.raises(
        OptionError, match="qgis_projects is a table of unknown content there.*another layer="
    ):
        vectorize(raster, output=project, layer="qgis_projects", overwrite=True)
    assert project.read_bytes() == before


def test_a_database_that_is_no_geopackage_is_not_deleted(raster: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE letters (text)")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is a database with letters, which is no GeoPackage"):
        vectorize(raster, output=path, overwrite=True)
    assert path.read_bytes() == before


def test_a_locked_file_is_refused(project: Path, raster: Path) -> None:
    with closing(sqlite3.connect(project, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutputBusyError):
            vectorize(raster, output=project, overwrite=True)
        database.execute("ROLLBACK")


def test_classes_of_a_multilabel_map_that_are_left_out_stay(project: Path) -> None:
    source = multilabel()
    vectorize(source, output=project, overwrite=True)
    names = [str(name) for name in pyogrio.list_layers(project)[:, 0]]
    whole = {
        name: len(rows(project, name)) for name in names if name not in ("layer_styles", "qgis_projects")
    }
    first = next(name for name in whole if name not in ("landcover", "roads"))
    vectorize(source, output=project, overwrite=True, classes=[first])
    assert {name: len(rows(project, name)) for name in whole} == whole


def test_write_and_labels_do_likewise(project: Path, raster: Path) -> None:
    before = others(project)
    frame = gpd.GeoDataFrame({"class_code": [7]}, geometry=[box(0, 0, 1, 1)], crs=32632)
    write(frame, project, overwrite=True)
    assert rows(project)["class_code"].tolist() == [7]
    assert others(project) == before
    write(frame, project, layer="mine", overwrite=True)
    convert(Conversion(source=raster, target=project), overwrite=True)
    assert len(rows(project, "labels"))
    assert rows(project)["class_code"].tolist() == [7]
    assert others(project) == before


def test_the_command_says_what_stays(project: Path, raster: Path) -> None:
    done = CliRunner().invoke(group, ["vectorize", str(raster), "-o", str(project), "--overwrite"])
    assert done.exit_code == 0, done.output
    assert "its other content is kept: qgis_projects, roads" in done.stderr
