"""Polygons added to a GeoPackage: both scenes, one legend, and the old file until the new one is complete."""

from __future__ import annotations

import re
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine

from geoseg.errors import ClassMapError, GeosegError, LegendError, OptionError, OutputBusyError, OutputError
from geoseg.grid.legend import Legend, LegendClass
from geoseg.vector.rasterize import rasterize
from geoseg.vector.vectorize import vectorize
from geoseg.vectorfiles import appending
from geoseg.vectorfiles.arrow_writer import TIMESTAMP
from tests.polygons.test_proof import multilabel, said
from tests.vector.test_vectorize import write_raster
from tests.vectorfiles.conftest import SOUTH, codes_of
from tests.vectorfiles.test_geopackage import HOSTILE

LEGEND = Legend.parse("water=#0000ff,forest=#00ff00,town=#ff0000")
WIDER = Legend(classes=(*LEGEND.classes, LegendClass(code=4, name="rock", color="#888888")))


def add(source: Any, output: Path, legend: Legend | None = LEGEND, **more: Any) -> Path:
    """Add a map; many tests add one twice."""
    return vectorize(source, legend=legend, output=output, append=True, **{"duplicate": True, **more})


def style_of(path: Path, layer: str = "landcover") -> list[tuple[str | None, str | None]]:
    with closing(sqlite3.connect(path)) as database:
        ((qml,),) = database.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = ?", (layer,))
    return [(c.get("value"), c.get("label")) for c in ET.fromstring(qml).iter("category")]


def test_the_layer_holds_both_scenes_one_after_the_other(tmp_path: Path, north: Path, south: Path) -> None:
    path = add(north, tmp_path / "a.gpkg")  # not there yet: made
    assert add(south, path, WIDER) == path
    expected = [
        vectorize(north, legend=LEGEND),
        vectorize(south, legend=WIDER),
    ]
    found = gpd.read_file(path, layer="landcover")
    gpd.testing.assert_geodataframe_equal(found, pd.concat(expected, ignore_index=True), check_dtype=False)
    info = pyogrio.read_info(path, layer="landcover")
    assert info["total_bounds"] == (500000, 5399400, 500400, 5400000)
    with closing(sqlite3.connect(path)) as database:
        extent = "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = 'landcover'"
        assert database.execute(extent).fetchone() == (500000, 5399400, 500400, 5400000)
    near = gpd.read_file(path, layer="landcover", bbox=(500000, 5399400, 500050, 5399450))  # by the R-tree
    assert 0 < len(near) < len(expected[1])
    assert style_of(path) == [("1", "water"), ("2", "forest"), ("3", "town"), ("4", "rock")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "in"]


def test_a_scene_is_added_once(tmp_path: Path, north: Path, south: Path) -> None:
    """A command that is run again would double every area."""
    output = tmp_path / "out.gpkg"
    add(north, output, scene_name="north", duplicate=False)
    add(south, output, scene_name="south", duplicate=False)
    before = output.read_bytes()
    message = r"layer landcover: holds polygons of scene 'north' on this grid \(40 x 30 px at .* its own scene_name="
    with pytest.raises(OptionError, match=message):
        add(north, output, scene_name="north", duplicate=False)
    assert output.read_bytes() == before
    # Another day on the same grid has another name, another layer is another place, and an answer is an answer.
    add(north, output, scene_name="north, May", duplicate=False)
    add(north, output, scene_name="north", layer="other", duplicate=False)
    count = len(gpd.read_file(output, layer="landcover"))
    add(north, output, scene_name="north")
    assert len(gpd.read_file(output, layer="landcover")) > count


def test_a_scene_is_added_once_whatever_digits_its_affine_was_written_with(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    here = Affine(10 / 3, 0, 500000 + 1 / 3, 0, -10 / 3, 5400000 + 1 / 3)
    rounded = Affine(3.3333333, 0, 500000.3333, 0, -3.3333333, 5400000.3333)
    for name, transform in (("a.tif", here), ("b.tif", rounded), ("c.tif", here @ Affine.translation(1, 0))):
        write_raster(tmp_path / name, codes_of(1), transform, nodata=0)
    add(tmp_path / "a.tif", output, duplicate=False)
    with pytest.raises(OptionError, match="holds polygons of a map without a name on this grid"):
        add(tmp_path / "b.tif", output, duplicate=False)
    add(tmp_path / "b.tif", output)
    np.testing.assert_array_equal(rasterize(output), rasterize(output, like=tmp_path / "a.tif"))
    add(tmp_path / "c.tif", output, duplicate=False)
    with pytest.raises(OptionError, match="were traced on several grids"):
        rasterize(output)


def test_classes_of_a_scene_are_added_one_after_the_other_and_each_once(tmp_path: Path, north: Path) -> None:
    output = tmp_path / "out.gpkg"
    for name in ("water", "forest"):
        add(north, output, classes=[name], duplicate=False)
    for again in (["water"], [2], []):
        with pytest.raises(OptionError, match="holds polygons of a map without a name on this grid"):
            add(north, output, classes=again, duplicate=False)


def test_to_add_anew_what_was_deleted_is_no_duplicate(tmp_path: Path, north: Path) -> None:
    output = add(north, tmp_path / "out.gpkg")
    with closing(sqlite3.connect(output)) as database, database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (trigger,) in triggers:
            database.execute(f'DROP TRIGGER "{trigger}"')
        database.execute("DELETE FROM landcover")
    add(north, output, duplicate=False)
    count = len(gpd.read_file(output, layer="landcover"))
    assert count > 0
    with closing(sqlite3.connect(output)) as database:  # the number that QGIS shows
        assert database.execute("SELECT feature_count FROM gpkg_ogr_contents").fetchall() == [(count,)]


def test_what_is_advised_about_a_second_map_of_the_same_grid_works(tmp_path: Path, north: Path) -> None:
    """A layer whose polygons do not say their scene takes none that do."""
    output = tmp_path / "out.gpkg"
    add(north, output, duplicate=False)
    with pytest.raises(OptionError, match="count twice; if it is another one pass duplicate=True$"):
        add(north, output, duplicate=False)
    with pytest.raises(OptionError, match="leave out scene_name="):
        add(north, output, scene_name="north", duplicate=False)
    add(north, output, duplicate=True)


def test_duplicate_is_about_what_is_added(tmp_path: Path, north: Path) -> None:
    with pytest.raises(OptionError, match="duplicate applies to append only"):
        vectorize(north, output=tmp_path / "out.gpkg", duplicate=True)


def test_what_is_known_of_each_scene_stays(tmp_path: Path, north: Path, south: Path) -> None:
    path = add(north, tmp_path / "a.gpkg", scene_name="north")
    add(south, path, WIDER, scene_name="south")
    one, two = said(path)
    assert (one["scene"], two["scene"]) == ("north", "south")
    assert one["area_in_pixels"] == int((codes_of(1) != 0).sum())
    assert two["area_in_pixels"] == int((codes_of(2, 4) != 0).sum())
    assert two["grid"]["transform"] == list(SOUTH[:6])


def test_equal_work_gives_equal_bytes(tmp_path: Path, north: Path, south: Path) -> None:
    for name, options in (("a.gpkg", {"rows": 3}), ("b.gpkg", {"workers": 2})):
        add(north, tmp_path / name)
        add(south, tmp_path / name, WIDER, **options)
    content = (tmp_path / "a.gpkg").read_bytes()
    assert content == (tmp_path / "b.gpkg").read_bytes()
    assert set(re.findall(rb"(?:19|20)\d\d-\d\d-\d\dT[\d:.]+Z", content)) == {TIMESTAMP.encode()}


def test_a_layer_that_is_not_there_is_made_beside_the_others(
    tmp_path: Path, north: Path, south: Path
) -> None:
    path = vectorize(north, legend=LEGEND, output=tmp_path / "a.gpkg")
    add(south, path, Legend.parse("a,b,c,d"), layer="other")
    assert {str(name) for name in pyogrio.list_layers(path)[:, 0]} == {"landcover", "layer_styles", "other"}
    assert len(gpd.read_file(path, layer="landcover")) == len(vectorize(north))
    assert len(gpd.read_file(path, layer="other")) == len(vectorize(south))
    assert style_of(path, "other")[0] == ("1", "a")


@pytest.mark.parametrize("layer", [HOSTILE, "a b", "x" * 300, "a'b", "a%s"])
def test_hostile_names_are_only_text(tmp_path: Path, north: Path, layer: str) -> None:
    legend = Legend(
        classes=tuple(LegendClass(code=i, name=f"{HOSTILE}{i}", color="#000000") for i in (1, 2, 3))
    )
    folder = tmp_path / "a;b!c #%"
    folder.mkdir()
    path = vectorize(north, legend=legend, output=folder / "a;b!.gpkg", layer=layer)
    add(north, path, legend, layer=layer)
    with closing(sqlite3.connect(path)) as database:
        count = database.execute(f'SELECT count(*) FROM "{layer.replace(chr(34), 2 * chr(34))}"').fetchone()
    assert count == (2 * len(vectorize(north)),)
    assert [label for _, label in style_of(path, layer)] == list(legend.names)
    assert [p.name for p in folder.iterdir()] == ["a;b!.gpkg"]


def test_names_of_layers_are_the_files_whatever_their_case(tmp_path: Path, north: Path) -> None:
    path = vectorize(north, legend=LEGEND, output=tmp_path / "a.gpkg", layer="LandCover")
    add(north, path)
    assert len(gpd.read_file(path, layer="LandCover")) == 2 * len(vectorize(north))


def test_a_multilabel_map_is_added_layer_by_layer(tmp_path: Path) -> None:
    path = vectorize(multilabel(), output=tmp_path / "a.gpkg")
    vectorize(multilabel(), output=path, append=True, classes=["water"])
    frame = vectorize(multilabel())
    counts = frame["class_code"].value_counts()
    for name, code, times in (("cloud & fog", 0, 1), ("water", 7, 2), ("roof>", 9, 1)):
        assert len(gpd.read_file(path, layer=name)) == times * counts.get(code, 0)


def test_no_crs_goes_with_no_crs(tmp_path: Path, north: Path) -> None:
    path = vectorize(codes_of(1), output=tmp_path / "a.gpkg")
    vectorize(codes_of(2), output=path, append=True, duplicate=True)
    assert len(said(path)) == 2
    with pytest.raises(
        OptionError, match="has the CRS NONE:-1, the map WGS 84 / UTM zone 32N; add to another"
    ):
        add(north, path, None)


def test_a_crs_without_a_code_is_known_again(tmp_path: Path) -> None:
    crs = "+proj=laea +lat_0=12 +lon_0=3 +x_0=7 +datum=WGS84"
    raster = write_raster(tmp_path / "m.tif", codes_of(1), crs=crs)
    path = vectorize(raster, output=tmp_path / "a.gpkg")
    vectorize(raster, output=path, append=True, duplicate=True)
    assert len(said(path)) == 2
    other = write_raster(tmp_path / "o.tif", codes_of(1), crs=crs.replace("12", "13"))
    with pytest.raises(OptionError, match="has the CRS"):
        vectorize(other, output=path, append=True)


def test_a_style_that_was_edited_keeps_what_it_has(tmp_path: Path, north: Path, south: Path) -> None:
    path = add(north, tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE layer_styles SET styleQML = replace(styleQML, '0,0,255,255', '9,9,99,255')")
        database.execute(
            "UPDATE layer_styles SET styleQML = replace(styleQML, 'label=\"water\"', 'label=\"Wasser\"')"
        )
        database.execute(
            "UPDATE layer_styles SET styleQML = replace(styleQML, '<blendMode>0', '<blendMode>3')"
        )
    add(north, path)
    assert b"<?xml" not in path.read_bytes()
    add(south, path, WIDER)
    assert style_of(path) == [("1", "Wasser"), ("2", "forest"), ("3", "town"), ("4", "rock")]
    with closing(sqlite3.connect(path)) as database:
        ((qml,),) = database.execute("SELECT styleQML FROM layer_styles")
    assert all(words in qml for words in ("9,9,99,255", "<blendMode>3", "136,136,136,255"))
    symbols = [s.get("name") for s in ET.fromstring(qml).iter("symbol")]
    assert len(set(symbols)) == 4
    assert [c.get("symbol") for c in ET.fromstring(qml).iter("category")] == symbols


@pytest.mark.parametrize(
    ("legend", "message"),
    [
        (
            Legend.parse("water,wood,town"),
            "calls code 2 'forest', the map 'wood'; pass a legend= that agrees",
        ),
        (Legend.parse("forest,water,town"), "calls code 1 'water', the map 'forest'"),
        (
            Legend(classes=(LegendClass(code=9, name="water", color="#000000"),)),
            "gives 'water' the code 1, the map 9",
        ),
        (
            None,
            r"has names for its classes \(1 water, 2 forest, 3 town\) and the map has none; pass legend=",
        ),
    ],
)
def test_codes_with_other_names_are_refused(
    tmp_path: Path, north: Path, legend: Legend | None, message: str
) -> None:
    path = add(north, tmp_path / "a.gpkg")
    content = path.read_bytes()
    with pytest.raises(LegendError, match=message):
        add(north, path, legend)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "in"]


def test_a_name_that_turns_up_late_is_refused_too(tmp_path: Path, north: Path, south: Path) -> None:
    """The map's own legend lacks code 4, which gets a made-up name when it is seen."""
    path = add(north, tmp_path / "a.gpkg", WIDER)
    content = path.read_bytes()
    with pytest.raises(LegendError, match="calls code 4 'rock', the map 'class 4'"):
        add(south, path, LEGEND)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            {},
            {"scene_name": "s"},
            "lacks scene, which the polygons have; leave out scene_name=, or add to another layer=",
        ),
    ],
)
def test_other_columns_are_refused(
    tmp_path: Path, north: Path, first: dict[str, Any], then: dict[str, Any], message: str
) -> None:
    path = add(north, tmp_path / "a.gpkg", **first)
    with pytest.raises(OptionError, match=message):
        add(north, path, **then)


def edited(path: Path, north: Path, kind: str = "MultiPolygon", **columns: Any) -> gpd.GeoDataFrame:
    """Polygons as somebody saved them again: a code changed and its name not, a polygon with nothing but a code."""
    frame = vectorize(north, legend=LEGEND)
    frame.loc[frame.index[:3], "class_code"] = 3
    frame = frame.drop(columns="pixels").assign(note="seen", **columns)
    added = gpd.GeoDataFrame({"class_code": [9]}, geometry=[frame.geometry[0]], crs=frame.crs)
    frame = pd.concat([frame, added], ignore_index=True)
    if kind == "MultiPolygon":
        frame.geometry = shapely.multipolygons(frame.geometry.to_numpy(), indices=np.arange(len(frame)))
    frame.to_file(path, layer="landcover", engine="pyogrio", geometry_type=kind)
    return frame


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "Unknown"])
@pytest.mark.filterwarnings("ignore:You will likely lose important projection:UserWarning")
def test_a_layer_that_was_edited_and_saved_again_grows(
    tmp_path: Path, north: Path, south: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="geoseg")
    before = edited(tmp_path / "a.gpkg", north, kind)
    path = add(south, tmp_path / "a.gpkg", WIDER)
    found = gpd.read_file(path, layer="landcover")
    added = vectorize(south, legend=WIDER)
    assert len(found) == len(before) + len(added)
    rest = found.iloc[len(before) :].reset_index(drop=True)
    assert rest["note"].isna().all()
    assert "pixels" not in found
    columns = ["class_code", "class_name", "area_m2", "perimeter_m"]
    pd.testing.assert_frame_equal(rest[columns], added[columns], check_dtype=False)
    assert rest.geometry.geom_equals(added.geometry).all()
    assert pyogrio.read_info(path, layer="landcover")["geometry_type"] == kind
    messages = "\n".join(caplog.messages)
    assert f"{path}, layer landcover: has no pixels; the polygons are added without it" in messages
    assert "has note, which is empty for the polygons that are added" in messages
    assert "the code counts, not the name: of the polygons" in messages


def test_what_a_layer_cannot_take_is_refused(tmp_path: Path, north: Path) -> None:
    frame = vectorize(north, legend=LEGEND)
    frame.drop(columns="class_code").to_file(tmp_path / "a.gpkg", layer="landcover")
    with pytest.raises(
        OptionError, match="has no column class_code, expected land cover; add to another layer="
    ):
        add(north, tmp_path / "a.gpkg")
    frame.assign(class_name=7).to_file(tmp_path / "b.gpkg", layer="landcover")
    with pytest.raises(OptionError, match="column class_name is INTEGER, expected TEXT"):
        add(north, tmp_path / "b.gpkg")
    lines = frame.set_geometry(frame.boundary)
    lines.to_file(tmp_path / "c.gpkg", layer="landcover")
    with pytest.raises(OptionError, match="expected geom of POLYGON or MULTIPOLYGON without heights"):
        add(north, tmp_path / "c.gpkg")
    frame.to_file(tmp_path / "e.gpkg", layer="landcover", SPATIAL_INDEX="NO")
    with pytest.raises(OptionError, match="has no spatial index"):
        add(north, tmp_path / "e.gpkg")
    path = add(north, tmp_path / "d.gpkg")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE landcover ADD COLUMN who TEXT NOT NULL DEFAULT 'me'")
    add(north, path)


def test_a_layer_written_by_gdal_gets_a_style(tmp_path: Path, north: Path) -> None:
    path = tmp_path / "a.gpkg"
    vectorize(north, legend=LEGEND).to_file(path, layer="landcover", GEOMETRY_NAME="geom")
    add(north, path)
    assert style_of(path) == [("1", "water"), ("2", "forest"), ("3", "town")]
    assert len(gpd.read_file(path, layer="landcover")) == 2 * len(vectorize(north))


@pytest.mark.parametrize("content", [b"", b"the old file", b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_geopackage_is_refused(tmp_path: Path, north: Path, content: bytes) -> None:
    path = tmp_path / "a.gpkg"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="is no GeoPackage that polygons can be added to"):
        add(north, path)
    assert path.read_bytes() == content


def test_a_damaged_geopackage_stays_as_it_is(tmp_path: Path, north: Path) -> None:
    path = add(north, tmp_path / "a.gpkg")
    content = bytearray(path.read_bytes())
    for at in range(30 * 4096, len(content) - 4096, 5 * 4096):
        content[at : at + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"a\.gpkg"):
        add(north, path)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "in"]


def test_an_open_transaction_and_a_second_writer_are_refused(tmp_path: Path, north: Path) -> None:
    path = add(north, tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM landcover WHERE fid = 1")
        with pytest.raises(OutputBusyError, match="is open in another program"):
            add(north, path)
        database.rollback()
    add(north, path)


def test_a_file_that_changes_meanwhile_is_not_overwritten(
    tmp_path: Path, north: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add(north, tmp_path / "a.gpkg")
    copied = appending.Base.copy_to

    def and_somebody_writes(self: appending.Base, to: Path) -> None:
        copied(self, to)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE layer_styles SET description = 'edited'")

    monkeypatch.setattr(appending.Base, "copy_to", and_somebody_writes)
    with pytest.raises(OutputBusyError, match="was changed by another program"):
        add(north, path)
    assert b"edited" in path.read_bytes()


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path, north: Path) -> None:
    path = add(north, tmp_path / "a.gpkg")
    content = path.read_bytes()
    codes = np.ones((1100, 8), np.float32)
    codes[-1, -1] = 0.5
    wrong = write_raster(tmp_path / "in" / "wrong.tif", codes)
    with pytest.raises(ClassMapError, match="expected whole numbers"):
        add(wrong, path, rows=5)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "in"]


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("a.parquet", {}, "polygons can be added to a GeoPackage only"),
        ("a.gpkg", {"overwrite": True}, "append adds to a file and overwrite replaces it"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    tmp_path: Path, north: Path, name: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(GeosegError, match=message):
        add(north, tmp_path / name, **more)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_is_seen_before_the_copy(
    tmp_path: Path, north: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add(north, tmp_path / "a.gpkg")
    from geoseg.storage import space

    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OutputError, match=r"has 0\.0 MB free, the run may need \d\.\d MB; make room$"):
        add(north, path)
