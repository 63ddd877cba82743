"""GeoPackages are complete, styled, reproducible, and never half written."""

from __future__ import annotations

import re
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import geopandas.testing
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from affine import Affine
from pyproj import CRS

from geoseg.errors import OptionError, OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass
from geoseg.polygons.features import GEOMETRY, Features
from geoseg.polygons.polygonize import polygonize
from geoseg.vectorfiles import geopackage
from geoseg.vectorfiles.arrow_writer import TIMESTAMP, Layer
from geoseg.vectorfiles.geopackage import write_geopackage, write_tables
from tests.strategies import ADVERSARIES, drawn

LEGEND = Legend.parse("water,forest=#228B22,town")
HOSTILE = "x\"; DROP TABLE gpkg_contents; --'<script>é😀"


def features_of(
    rows: tuple[str, ...], crs: str | None = "EPSG:32632", legend: Legend = LEGEND, *, confident: bool = False
) -> Features:
    m = drawn(rows)
    height, width = m.codes.shape
    wkt = CRS(crs).to_wkt() if crs else None
    grid = Grid(height=height, width=width, transform=Affine(10, 0, 500000, 0, -10, 5400000), crs=wkt)
    confidence = np.full(m.codes.shape, 254, np.uint8) if confident else None
    return polygonize(m.codes, m.valid, grid, legend=legend, confidence=confidence)


FEATURES = features_of(ADVERSARIES["framed checkerboard"], confident=True)


def rows_of(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def test_the_file_holds_the_features(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, FEATURES)
    info = pyogrio.read_info(path, layer="landcover")
    assert info["geometry_type"] == "Polygon"
    assert info["crs"] == "EPSG:32632"
    assert dict(zip(info["fields"], info["ogr_types"], strict=True)) == {
        "class_code": "OFTInteger64",
        "class_name": "OFTString",
        "area_m2": "OFTReal",
        "pixels": "OFTInteger64",
        "confidence": "OFTReal",
        "perimeter_m": "OFTReal",
    }
    found, expected = gpd.read_file(path, layer="landcover"), FEATURES.to_geodataframe()
    gpd.testing.assert_geodataframe_equal(found, expected, check_dtype=False)
    assert (shapely.to_wkb(found.geometry.to_numpy()) == FEATURES.wkb).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.gpkg"]


def test_equal_features_give_equal_bytes_without_a_clock(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gpkg", tmp_path / "other.gpkg"
    for path in (one, other):
        write_geopackage(path, FEATURES, metadata={"MODEL": "abc", "GEOSEG": "1"})
    assert one.read_bytes() == other.read_bytes()
    times = set(re.findall(rb"(?:19|20)\d\d-\d\d-\d\dT[\d:.]+Z", one.read_bytes()))
    assert times == {TIMESTAMP.encode()}
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None
    assert pyogrio.read_info(one, layer="landcover")["layer_metadata"]["MODEL"] == "abc"


def test_the_clock_is_given_back_as_it_was(tmp_path: Path) -> None:
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2001-01-01T00:00:00.000Z"})
    try:
        write_geopackage(tmp_path / "a.gpkg", FEATURES)
        assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") == "2001-01-01T00:00:00.000Z"
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def test_the_legend_is_the_default_style(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, FEATURES)
    columns = (
        "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault, owner, styleQML"
    )
    ((*place, qml),) = rows_of(path, f"SELECT {columns} FROM layer_styles")
    assert place == ["", "", "landcover", GEOMETRY, 1, ""]
    categories = ET.fromstring(qml).findall("renderer-v2/categories/category")
    assert [(c.get("value"), c.get("label")) for c in categories] == [
        ("1", "water"),
        ("2", "forest"),
        ("3", "town"),
    ]
    registered = rows_of(path, "SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'")
    assert registered == [("attributes",)]


def test_an_empty_layer_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, features_of(("..",)))
    info = pyogrio.read_info(path, layer="landcover")
    assert (info["features"], info["geometry_type"], info["crs"]) == (0, "Polygon", "EPSG:32632")
    assert list(info["fields"]) == ["class_code", "class_name", "area_m2", "pixels", "perimeter_m"]


def test_no_crs_is_the_undefined_cartesian_one(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, features_of(("12",), crs=None))  # warnings are errors here
    assert rows_of(path, "SELECT srs_id FROM gpkg_contents WHERE table_name = 'landcover'") == [(-1,)]
    assert rows_of(path, "SELECT srs_id FROM gpkg_geometry_columns") == [(-1,)]
    assert gpd.read_file(path, layer="landcover")["area_m2"].isna().all()


@pytest.mark.parametrize(
    "layer", [HOSTILE, "a b", "a/../../b", "selectß", "x" * 300, "a'b", "a%s", "landcover:1"]
)
def test_hostile_names_are_only_text(tmp_path: Path, layer: str) -> None:
    path = tmp_path / "a.gpkg"
    legend = Legend(
        classes=tuple(LegendClass(code=i, name=f"{HOSTILE}{i}", color="#000000") for i in (1, 2, 3))
    )
    features = features_of(("12", "31"), legend=legend)
    write_geopackage(path, features, layer=layer, metadata={HOSTILE: HOSTILE})
    found = gpd.read_file(path, layer=layer)
    assert set(found["class_name"]) == set(legend.names)
    ((table, qml),) = rows_of(path, "SELECT f_table_name, styleQML FROM layer_styles")
    assert table == layer
    assert {c.get("label") for c in ET.fromstring(qml).iter("category")} == set(legend.names)


@pytest.mark.parametrize(
    "layer", ["", " ", "gpkg_x", "GPKG", "sqlite_master", "layer_styles", "rtree_a", "a\nb", "../a"]
)
def test_reserved_layer_names_are_refused(tmp_path: Path, layer: str) -> None:
    with pytest.raises(OptionError, match="pass another layer="):
        write_geopackage(tmp_path / "a.gpkg", FEATURES, layer=layer)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a;b", "a!b", "a#b?c", "100%", "'\"<>|", "é😀", "zip:a", "-", "x" * 99])
def test_hostile_paths_are_taken_literally(tmp_path: Path, name: str) -> None:
    """Pyogrio alone would write ``a;b.gpkg`` as ``a``, and ``a!b.gpkg`` as ``./b.gpkg``."""
    for folder in (tmp_path, tmp_path / name):
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.gpkg"
        write_geopackage(path, FEATURES)
        assert [p.name for p in folder.iterdir()] == [path.name]
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT count(*) FROM landcover").fetchone() == (len(FEATURES),)
        path.unlink()


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/a\.gpkg: the GeoPackage could not be written"):
        write_geopackage(tmp_path / "missing" / "a.gpkg", FEATURES)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("DELETE FROM rtree_landcover_geom_rowid WHERE rowid = 1", "entries in the R-tree"),
        ("UPDATE gpkg_contents SET min_x = NULL WHERE table_name = 'landcover'", "known extent"),
        ("UPDATE gpkg_geometry_columns SET geometry_type_name = 'GEOMETRY'", "geometry type"),
        ("DELETE FROM layer_styles", "default styles"),
        ("PRAGMA journal_mode = WAL", "journal mode"),
    ],
)
def test_verification_sees_what_a_killed_writer_leaves(tmp_path: Path, damage: str, what: str) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, FEATURES)
    with closing(sqlite3.connect(path)) as database:
        database.execute(damage)
        database.commit()
    layer = Layer(name="landcover", crs=FEATURES.crs, legend=lambda: LEGEND)
    with pytest.raises(OutputError, match=what):
        geopackage._verify(path, len(FEATURES), layer)


def test_verification_counts_the_features_and_sees_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_geopackage(path, FEATURES)
    layer = Layer(name="landcover", crs=FEATURES.crs, legend=lambda: LEGEND)
    with pytest.raises(OutputError, match="number of features"):
        geopackage._verify(path, len(FEATURES) + 1, layer)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises((OutputError, sqlite3.DatabaseError)):
        geopackage._verify(path, len(FEATURES), layer)


def test_features_that_gdal_refuses_are_an_output_error(tmp_path: Path) -> None:
    broken = pa.table({"class_code": [1], GEOMETRY: pa.array([b"\x01\x03"], pa.binary())})
    with pytest.raises(
        OutputError, match="(entries in the R-tree|known extent) is 0 after writing, expected 1"
    ):
        write_tables(
            tmp_path / "a.gpkg", [(broken.to_batches(), Layer(name="a", crs=None, legend=lambda: LEGEND))]
        )
