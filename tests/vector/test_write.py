"""The verb write: frames that a person has edited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import geoseg
from geoseg.errors import OptionError
from geoseg.vector.rasterize import rasterize
from geoseg.vector.write import write
from geoseg.vectorfiles.styles import class_styles


@pytest.fixture
def frame() -> gpd.GeoDataFrame:
    boxes = [shapely.box(x, 0, x + 10, 10) for x in (0, 10, 20)]
    columns = {"class_code": [1, 2, 2], "class_name": ["water", "forest", "forest"], "pixels": 1}
    return gpd.GeoDataFrame(columns, geometry=boxes, crs=32633)


def read(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="landcover")


@pytest.mark.parametrize("dtype", ["int16", "Int64", "object", "int64[pyarrow]"])
def test_codes_are_integers_of_any_library(tmp_path: Path, frame: gpd.GeoDataFrame, dtype: str) -> None:
    """A join makes Int64 of them."""
    path = write(frame.astype({"class_code": dtype}), tmp_path / "a.gpkg")
    assert read(path)["class_code"].tolist() == [1, 2, 2]


def test_a_column_that_is_to_be_filled_in_is_kept(tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    found = read(write(frame.assign(seen_by=None), tmp_path / "a.gpkg"))
    assert found["seen_by"].isna().all()
    assert "seen_by" in found


def test_a_class_keeps_its_name_where_some_rows_lack_it(tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    """Such as rows that were added: the last one would say what the style calls the class."""
    missing = write(frame.assign(class_name=["water", "forest", None]), tmp_path / "a.gpkg")
    nameless = write(frame.assign(class_name=None), tmp_path / "b.gpkg")
    for path, names in ((missing, {"water", "forest"}), (nameless, {"class 1", "class 2"})):
        styles = class_styles(path, "landcover", "class_code", alone=True)
        assert {style.name for style in styles.values()} == names


CASES: dict[str, tuple[Callable[[gpd.GeoDataFrame], Any], str]] = {
    "missing codes": (lambda f: f.assign(class_code=pd.array([None, 2, 2], "Int64")), "some are missing, .* .dropna"),
    "fractions": (lambda f: f.assign(class_code=1.5), "class_code is float64, expected integers"),
    "case": (lambda f: f.assign(PIXELS=1), "PIXELS has the name of another one"),
    "twice": (lambda f: pd.concat([f, f[["pixels"]]], axis=1), "pixels has the name of another one"),
    "geometry's name": (lambda f: f.assign(geom=1), "geom has the name of another one"),
    "rows": (lambda f: f.assign(fid=1), "fid would be the number of each row"),
    "durations": (lambda f: f.assign(time=pd.Timedelta(1, "s")), "time .* holds what a GeoPackage cannot"),
    "intervals": (lambda f: f.assign(size=pd.cut(f["class_code"], 2)), "size .* holds what a GeoPackage cannot"),
    "complex": (lambda f: f.assign(z=1j), "z .* holds what a GeoPackage cannot"),
    "mixed": (lambda f: f.assign(note=[1, "a", 2.0]), "note .* holds what a GeoPackage cannot"),
    "geometries": (lambda f: f.assign(centre=f.centroid), "centre .* holds what a GeoPackage cannot"),
    "no polygon": (lambda f: f.assign(geometry=[None, *f.geometry[1:]]), "1 row without a polygon"),
    "empty polygon": (lambda f: f.assign(geometry=[shapely.Polygon(), *f.geometry[1:]]), "1 row without a polygon"),
    "geometries alone": (lambda f: f.geometry, "the polygons are a GeoSeries, expected a GeoDataFrame"),
    "no geometries": (lambda f: pd.DataFrame(f), "the polygons are a DataFrame, expected a GeoDataFrame"),
    "a list": (lambda f: [f], "the polygons are a list, expected a GeoDataFrame"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_geopackage_cannot_hold_is_named(tmp_path: Path, frame: gpd.GeoDataFrame, case: str) -> None:
    change, reason = CASES[case]
    with pytest.raises(OptionError, match=reason):
        write(change(frame), tmp_path / "a.gpkg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", ["durations", "intervals", "complex", "mixed", "geometries"])
def test_the_advice_for_a_column_works(tmp_path: Path, frame: gpd.GeoDataFrame, case: str) -> None:
    changed = CASES[case][0](frame)
    name = changed.columns[-1]
    path = write(changed.assign(**{name: changed[name].astype(str)}), tmp_path / "a.gpkg")
    assert read(path)[name].tolist() == changed[name].astype(str).tolist()


@pytest.mark.parametrize("case", ["geometries alone", "no geometries", "a list"])
def test_only_frames_of_geometries_are_rasterized(frame: gpd.GeoDataFrame, case: str) -> None:
    with pytest.raises(OptionError, match="the polygons are a .*, or the path of a file"):
        rasterize(CASES[case][0](frame), resolution=1)
    assert np.unique(rasterize(frame, resolution=10)).tolist() == [1, 2]


def test_a_frame_where_a_file_is_read_is_refused(frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    """And an array, in one line that says what to do."""
    pixels = np.ones((3, 4, 4), np.uint8)
    codes = pixels[0]
    legend = geoseg.Legend.parse("water")
    calls: dict[str, Callable[[], Any]] = {
        "reference is a GeoDataFrame": lambda: geoseg.evaluate(codes, reference=frame, legend=legend),
        "reference is a ndarray": lambda: geoseg.compare(codes, codes, reference=pixels, legend=legend),
        "labels is a GeoDataFrame": lambda: geoseg.train(
            "scene.tif", frame, output=tmp_path / "m.safetensors"
        ),
        "source is a ndarray": lambda: geoseg.train(pixels, "l.gpkg", output=tmp_path / "m.safetensors"),
        "an entry of scenes is a ndarray": lambda: geoseg.map(
            [pixels], "m.safetensors", output=tmp_path / "m.gpkg"
        ),
    }
    for words, call in calls.items():
        with pytest.raises(OptionError, match=f"{words}, expected the path of a file; write it to one first"):
            call()
    for like in (pixels, frame):
        with pytest.raises(OptionError, match="like is a .*, expected the path of a raster, a Grid"):
            rasterize(frame, like=like)
