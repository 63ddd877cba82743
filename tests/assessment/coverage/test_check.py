"""The verb check: one fault at a time, hostile names, files that cannot be checked."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
import shapely.affinity
from click.testing import CliRunner
from geoseg_cli.main import group
from pyproj import CRS
from rasterio.transform import from_origin

import geoseg
from geoseg.assessment.coverage import cells, faces, findings, regions, width
from geoseg.assessment.coverage.warm_up import compile_kernels
from geoseg.errors import ConfigError, DataError, GeosegError, OptionError, OutputError, OutputExistsError
from geoseg.kernels.kernel import Kernel
from tests.assessment.coverage.polygon_maps import (
    UTM,
    checked,
    class_map,
    counts,
    gdal_polygons,
    landscape,
    sheet,
)

# --- one fault each


def changed(at: int, shape: Any) -> gpd.GeoDataFrame:
    frame = sheet()
    shapes = frame.geometry.to_numpy().copy()
    shapes[at] = shape
    frame.geometry = shapes
    return frame


def bow_tie() -> Any:
    x, y, east, north = sheet().geometry[5].bounds
    return shapely.Polygon([(x, y), (east, north), (east, y), (x, north)])


def pair_of(at: int) -> Any:
    x, y, east, north = sheet().geometry[at].bounds
    middle = (x + east) / 2
    return shapely.MultiPolygon(
        [shapely.box(x, y, middle - 5, north), shapely.box(middle + 5, y, east, north)]
    )


FAULTS: dict[str, tuple[Any, dict[str, int]]] = {
    "none": (sheet, {}),
    "a polygon is missing": (lambda: sheet().drop(5), {"gaps": 1}),
    "a polygon on the border is missing": (lambda: sheet().drop(0), {}),
    "a polygon comes twice": (lambda: sheet().iloc[[*range(16), 5]], {"overlaps": 1}),
    "another class": (lambda: sheet().assign(class_code=["2", *sheet()["class_code"][1:]]), {"neighbours": 2}),
    "a vertex too much": (lambda: changed(0, shapely.segmentize(sheet().geometry[0], 60)), {"vertices": 2}),
    "not valid": (lambda: changed(5, bow_tie()), {"validity": 1, "gaps": 2, "vertices": 0}),
    "two parts": (lambda: changed(5, pair_of(5)), {"parts": 1, "gaps": 1, "vertices": 4}),
    "no geometry": (lambda: changed(0, None), {"validity": 1}),
    "an area that is wrong": (lambda: sheet().assign(area_ha=[2.0 if i == 5 else 1.0 for i in range(16)]), {"area": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_once(tmp_path: Path, name: str) -> None:
    make, wanted = FAULTS[name]
    found = checked(make(), tmp_path)
    assert counts(found) == {check: count for check, count in wanted.items() if count}
    assert found.passed == (not wanted)
    assert len(found.findings) == sum(counts(found).values())
    assert json.loads(json.dumps(found.to_dict()))["passed"] == found.passed


def test_a_finding_says_who_where_and_how_much(tmp_path: Path) -> None:
    moved = shapely.affinity.translate(sheet().geometry[5], 20, 0)
    rows = checked(changed(5, moved), tmp_path).findings
    overlap, gap = (rows[rows["check"] == name].iloc[0] for name in ("overlaps", "gaps"))
    assert overlap["polygons"] == "6, 7"  # numbers in the file begin at 1
    assert overlap["value"] == pytest.approx(2000, rel=1e-3)
    assert overlap.geometry.area == pytest.approx(2000)
    assert gap["polygons"] == "2, 5, 6, 10"
    assert gap["value"] == pytest.approx(2000, rel=1e-3)
    assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
    assert rows.crs == CRS.from_epsg(32633)


def test_an_overlap_names_who_covers_it(tmp_path: Path) -> None:
    """An island without a hole around it: only its own edges bound the overlap."""
    frame = sheet(1, 1)
    island = shapely.buffer(frame.geometry[0].centroid, 10)
    frame = gpd.GeoDataFrame({"class_code": ["1", "2"]}, geometry=[frame.geometry[0], island], crs=UTM)
    (row,) = checked(frame, tmp_path).findings.itertuples()
    assert (row.check, row.polygons) == ("overlaps", "1, 2")


def test_the_worst_comes_first(tmp_path: Path) -> None:
    frame = sheet()
    holes = [shapely.buffer(frame.geometry[at].centroid, size) for at, size in ((5, 3), (6, 30), (9, 10))]
    frame.geometry = [each - shapely.union_all(holes) for each in frame.geometry]
    rows = checked(frame, tmp_path).findings
    assert rows["value"].is_monotonic_decreasing
    assert rows["polygons"].tolist() == ["7", "10", "6"]


def test_of_many_findings_the_worst_are_kept_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "MOST", 3)
    rules = tmp_path / "rules.yaml"
    rules.write_text("unit: {units: [{area_m2: 20000}], border_m2: 15000}")
    found = checked(sheet(), tmp_path, profile=rules)
    assert counts(found) == {"unit": 16}
    assert len(found.findings) == 3


# --- files, hostile and broken


HOSTILE = "<script>alert(1)</script>\"'; DROP TABLE x;--\n=1+1"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """Of classes, layers and files: in the layer, the terminal, the notebook and JSON."""
    folder = tmp_path / "a b'& \"<i>é"
    folder.mkdir()
    frame = sheet(2, 2).assign(class_code=HOSTILE)
    path, output = folder / "x'y\".gpkg", folder / "find'ings\".gpkg"
    frame.to_file(tmp_path / "plain.gpkg", layer="a\"b'c <b>")
    (tmp_path / "plain.gpkg").rename(path)
    found = geoseg.check(path, output=output)
    assert counts(found) == {"neighbours": 4}
    rows = pyogrio.read_dataframe(output, layer="findings")
    assert set(rows["class_code"]) == {HOSTILE}
    assert "<script" not in found._repr_html_()
    result = CliRunner().invoke(group, ["check", str(path)])
    assert result.exit_code == 3
    assert "\\n=1+1" in result.stdout
    told = json.loads(CliRunner().invoke(group, ["check", str(path), "--json"]).stdout)
    assert told["layers"][0]["layer"] == "a\"b'c <b>"


def test_findings_are_a_styled_layer(tmp_path: Path) -> None:
    output = tmp_path / "findings.gpkg"
    frame = gdal_polygons(landscape(20))
    frame.geometry = shapely.simplify(frame.geometry.to_numpy(), 15)
    frame = frame[~frame.geometry.is_empty]
    found = checked(frame, tmp_path, output=output)
    rows = pyogrio.read_dataframe(output, layer="findings")
    assert len(rows) == len(found.findings)
    assert rows["message"].tolist() == found.findings["message"].tolist()
    info = pyogrio.read_info(output, layer="findings")
    assert info["geometry_type"] == "MultiPolygon"
    assert info["crs"] == "EPSG:32633"
    with closing(sqlite3.connect(output)) as database:
        ((style,),) = database.execute("SELECT styleQML FROM layer_styles WHERE useAsDefault").fetchall()
    assert 'attr="check"' in style
    again = geoseg.check(tmp_path / "polygons.gpkg", output=output, overwrite=True)
    assert len(again.findings) == len(rows)
    with pytest.raises(OutputExistsError):
        geoseg.check(tmp_path / "polygons.gpkg", output=output)


def test_no_findings_make_an_empty_layer(tmp_path: Path) -> None:
    checked(sheet(), tmp_path, output=tmp_path / "findings.gpkg")
    assert len(pyogrio.read_dataframe(tmp_path / "findings.gpkg", layer="findings")) == 0


def refusals(folder: Path) -> list[tuple[str, dict[str, Any], type[GeosegError], str]]:
    sheet().to_file(folder / "map.gpkg", layer="map")
    points = sheet()
    points.geometry = points.geometry.centroid
    points.to_file(folder / "points.gpkg")
    with pytest.warns(UserWarning, match="crs"):
        sheet().set_crs(None, allow_override=True).to_file(folder / "nowhere.gpkg")
    (folder / "text.gpkg").write_text("hello")
    return [
        ("text.gpkg", {}, DataError, "none of the vector files"),
        ("points.gpkg", {}, DataError, "has the layers points of Point, expected polygons"),
        ("map.gpkg", {"layer": "other"}, DataError, "has no layer other, expected one of map"),
        ("map.gpkg", {"class_field": "code"}, OptionError, "no attribute code, expected one of class_code"),
        ("map.gpkg", {"profile": "clc2000"}, OptionError, "there is no such profile, expected clc2024, urban"),
        ("map.gpkg", {"profile": "none.yaml"}, ConfigError, "none.yaml: cannot be read"),
        ("nowhere.gpkg", {"profile": "clc2024"}, OptionError, "has no CRS, and areas or widths in metres"),
        ("map.gpkg", {"output": folder / "map.gpkg"}, OptionError, "is the file that is checked; choose"),
        ("map.gpkg", {"output": folder / "f.shp"}, OptionError, "expected a name that ends in .gpkg"),
        ("map.gpkg", {"output": folder / "no" / "f.gpkg"}, OutputError, "does not exist"),
        ("map.gpkg", {"overwrite": True}, OptionError, "overwrite is about files"),
    ]  # fmt: skip


def test_what_cannot_be_checked_is_refused_in_one_line(tmp_path: Path) -> None:
    before = None
    for name, options, kind, said in refusals(tmp_path):
        with pytest.raises(kind) as error:
            geoseg.check(tmp_path / name, **options)
        assert said in str(error.value)
        assert "\n" not in str(error.value)
        now = sorted(path.name for path in tmp_path.iterdir())
        assert before in (None, now), "nothing is left behind"
        before = now


def test_the_command_tells_and_exits(tmp_path: Path) -> None:
    frame = sheet()
    frame.to_file(tmp_path / "good.gpkg", layer="map")
    frame.drop(5).to_file(tmp_path / "bad.gpkg", layer="map")
    good = CliRunner().invoke(group, ["check", str(tmp_path / "good.gpkg")])
    assert good.exit_code == 0
    assert "good.gpkg: passed (valid coverage)" in good.stdout
    output = tmp_path / "findings.gpkg"
    bad = CliRunner().invoke(group, ["check", str(tmp_path / "bad.gpkg"), "-o", str(output)])
    assert bad.exit_code == 3
    assert "bad.gpkg: FAILED (valid coverage)" in bad.stdout
    assert "error    gaps        1 gap, 10,00" in bad.stdout
    assert output.exists()
    refused = CliRunner().invoke(group, ["check", str(tmp_path / "good.gpkg"), "--profile", "clc"])
    assert refused.exit_code == 2
    assert refused.stderr == (
        "Error: --profile clc: there is no such profile, expected clc2024, urban-atlas2018 or a file that ends in "
        ".yaml\n"
    )


def test_codes_of_every_type_are_classes(tmp_path: Path) -> None:
    """Whole numbers, numbers with a point, text; a missing one is no class."""
    for codes in ([1, 1, 2, 2], [1.0, 1.0, 2.0, 2.0], ["1", "1", "2", "2"], [1.0, 1.0, np.nan, np.nan]):
        found = checked(sheet(2, 2).assign(class_code=codes), tmp_path)
        expected = 1 if isinstance(codes[3], float) and math.isnan(codes[3]) else 2
        assert counts(found) == {"neighbours": expected}
        assert set(found.findings["class_code"]) == ({"1"} if expected == 1 else {"1", "2"})


def test_a_product_that_was_changed_no_longer_states_its_holes(tmp_path: Path) -> None:
    codes = landscape()
    valid = np.ones(codes.shape, np.bool_)
    valid[20:31, 12:40] = False
    path = tmp_path / "map.gpkg"
    geoseg.vectorize(class_map(codes, valid=valid), output=path)
    with closing(sqlite3.connect(path)) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("DELETE FROM landcover WHERE fid = 9")
    found = geoseg.check(path)
    assert not found.passed
    assert "they were changed since" in found.layers[0].survey.notes[0]


def test_warming_up_compiles_what_a_check_needs(tmp_path: Path) -> None:
    modules = (cells, faces, regions, width)
    kernels = [each for module in modules for each in vars(module).values() if isinstance(each, Kernel)]
    rules = tmp_path / "rules.yaml"
    rules.write_text("width: {width_m: 50, border: true}")
    for kernel in kernels:
        kernel._entries.clear()
    compile_kernels()
    compiled = {kernel.name: set(kernel._entries) for kernel in kernels}
    assert sum(map(len, compiled.values())) >= 8
    checked(changed(5, shapely.affinity.translate(sheet().geometry[5], 20, 10)), tmp_path, profile=rules)
    assert {kernel.name: set(kernel._entries) for kernel in kernels} == compiled


def test_a_real_map_of_a_county(shared: Path) -> None:
    """Land cover of Zamora, whose neighbours differ by nanometres: that is no fault, and GEOS agrees after rounding."""
    folder = shared / "zamora_accuracy" / "lulc" / "shp"
    for year, wanted in ((1986, {"neighbours": 1}), (1998, {}), (2003, {"parts": 1, "neighbours": 1})):
        path = folder / str(year) / f"lulc_{year}.shp"
        frame = pyogrio.read_dataframe(path)
        found = geoseg.check(path, class_field=frame.columns[0])
        assert counts(found) == wanted
        shapes = frame.geometry.to_numpy()
        assert shapely.coverage_is_valid(shapes) == (year == 1998)
        assert shapely.coverage_is_valid(shapely.set_precision(shapes, 1e-6))
        one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        same = (one < other) & (frame.iloc[one, 0].to_numpy() == frame.iloc[other, 0].to_numpy())
        shared_border = shapely.length(shapely.intersection(shapes[one[same]], shapes[other[same]]))
        assert (shared_border > 0).sum() == wanted.get("neighbours", 0)


def test_empty_parts_are_no_parts(tmp_path: Path) -> None:
    """GDAL leaves them where it cuts at the antimeridian; GEOS crashes when it splits edges of such multipolygons."""
    ring = [[10, 50], [12, 50], [12, 51], [10, 51], [10, 50]]
    for number, parts in enumerate(([[], [ring]], [[ring], []], [[ring]])):
        geometry = {"type": "MultiPolygon", "coordinates": parts}
        feature = {"type": "Feature", "properties": {"class_code": 1}, "geometry": geometry}
        path = tmp_path / f"{number}.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
        found = geoseg.check(path)
        assert counts(found) == {}
        assert "layer 0: 1 polygon, 1".replace("0", str(number), 1) in str(found)


def test_polygons_cut_at_the_antimeridian_are_single(tmp_path: Path) -> None:
    """As GeoJSON has them; but not two that only touch it."""
    codes = np.kron(np.random.default_rng(1).choice([1, 2, 3], (6, 12)), np.ones((4, 4))).astype(np.uint8)
    across = class_map(codes, from_origin(179.76, 10, 0.01, 0.01), CRS(4326).to_wkt())
    geoseg.vectorize(across, output=tmp_path / "map.geojson")
    shapes = gpd.read_file(tmp_path / "map.geojson").geometry
    assert (shapes.geom_type == "MultiPolygon").any()
    assert counts(geoseg.check(tmp_path / "map.geojson")) == {}
    apart = shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 2, -179, 3)])
    gpd.GeoDataFrame({"class_code": [1]}, geometry=[apart], crs=4326).to_file(tmp_path / "apart.geojson")
    assert counts(geoseg.check(tmp_path / "apart.geojson")) == {"parts": 1}
