"""Text of Shapefiles that do not say their encoding: Korean names are Korean, or a line says that they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.label import Meanings
from geoseg.labels.vector_labels import VectorLabels, found_classes
from geoseg.vector.rasterize import rasterize
from geoseg.vectorfiles.encodings import suspicious

NAMES = ["산림", "논", "시가지"]
GRID = Grid(height=1, width=3, transform=Affine.identity())


def shapefile(path: Path, names: list[str], encoding: str, *, said: bool = False) -> Path:
    """Names in an encoding, which a file ``.cpg`` says or nothing does."""
    shapes = [shapely.box(i, 0, i + 1, 1) for i in range(len(names))]
    frame = gpd.GeoDataFrame({"class_code": range(1, len(names) + 1), "class_name": names}, geometry=shapes)
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        pyogrio.write_dataframe(frame, path, encoding=encoding)
    if not said:
        path.with_suffix(".cpg").unlink()
    return path


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-8", "CP949"])
@pytest.mark.parametrize("said", [True, False])
def test_names_are_read_as_they_were_written(tmp_path: Path, encoding: str, said: bool) -> None:
    path = shapefile(tmp_path / "l.shp", NAMES, encoding, said=said)
    given = None if said or encoding == "utf-8" else encoding
    found = found_classes(path, class_field="class_name", encoding=given)
    assert {c.name for c in found} == set(NAMES)
    meanings = Meanings(codes=(1, 2, 3), code_of=dict(zip(NAMES, (1, 2, 3), strict=True)))
    labels = VectorLabels.open(path, GRID, meanings, class_field="class_name", encoding=given)
    np.testing.assert_array_equal(labels.read(Window(row=0, col=0, height=1, width=3)), [[1, 2, 3]])
    assert rasterize(path, like=GRID, encoding=given).attrs["flag_meanings"] == " ".join(NAMES)


def test_what_nothing_says_is_a_line_with_the_readings(tmp_path: Path, caplog: Any) -> None:
    path = shapefile(tmp_path / "a[1].shp", NAMES, "cp949")
    found_classes(path, class_field="class_name")
    (line,) = [message for message in caplog.messages if "encoding=" in message and "no .cpg" in message]
    assert line.startswith(f"{path}: nothing says in what encoding its text is (no .cpg file, no code page)")
    assert "산림, 논, 시가지 (cp949)" in line
    caplog.clear()
    german = shapefile(tmp_path / "b.shp", ["Höhe", "Straße"], "cp1252")
    assert {c.name for c in found_classes(german, class_field="class_name")} == {"Höhe", "Straße"}
    assert "Höhe, Straße (ISO-8859-1, which is taken)" in caplog.text
    caplog.clear()
    found_classes(shapefile(tmp_path / "c.shp", ["water"], "cp949"), class_field="class_name")
    assert not caplog.messages


def test_text_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    path = shapefile(tmp_path / "l.shp", NAMES, "cp949")
    path.with_suffix(".cpg").write_text("UTF-8")
    for options in ({}, {"encoding": "utf-8"}):
        with pytest.raises(DataError, match="its text is not in utf-8.*; pass the right encoding="):
            found_classes(path, class_field="class_name", **options)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="pass the right encoding="):
            rasterize(path, like=GRID, **options)  # type: ignore[call-overload]
    assert len(found_classes(path, class_field="class_name", encoding="cp949")) == 3


def test_encodings_that_cannot_be(tmp_path: Path) -> None:
    path = shapefile(tmp_path / "l.shp", NAMES, "cp949")
    with pytest.raises(OptionError, match="encoding 'klingon' is not known, expected one like utf-8, cp949"):
        found_classes(path, class_field="class_name", encoding="klingon")
    other = tmp_path / "l.fgb"
    gpd.GeoDataFrame({"class_code": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32652).to_file(other)
    with pytest.raises(OptionError, match="only the text of Shapefiles has an encoding to choose"):
        found_classes(other, class_field="class_code", encoding="cp949")


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_names_that_came_out_garbled_elsewhere_are_a_line(tmp_path: Path, caplog: Any) -> None:
    garbled = [name.encode("cp949").decode("latin-1") for name in NAMES]
    assert suspicious([*NAMES, "Höhe", "Straße", "forêt", "лес", "森林", "Ñandú"]) == []
    broken = [*garbled, "Höhe".encode().decode("latin-1"), "a\ufffd"]
    assert suspicious(broken) == broken
    frame = gpd.GeoDataFrame({"kind": garbled}, geometry=[shapely.box(i, 0, i + 1, 1) for i in range(3)])
    frame.to_file(tmp_path / "l.gpkg")
    found_classes(tmp_path / "l.gpkg", class_field="kind")
    assert "look like text that was read in a wrong encoding" in caplog.text
