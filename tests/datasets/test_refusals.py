"""Wrong configurations, tables and label files: each is one clear line before anything is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from PIL import Image

from geoseg.datasets.opening import open_data
from geoseg.errors import ConfigError, DataError, GeosegError
from geoseg.learning.config import Config
from tests.datasets.sets import card_of, description, write_set, write_tif

Change = Callable[[Path], object]


def read_and_open(folder: Path, fields: dict[str, Any]) -> None:
    """Do what a training run does first."""
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": fields, "train": {"epochs": 1}}))
    config = Config.read(folder / "config.yaml")
    open_data(config.data, config.data_root, card_of(config))


def nothing(folder: Path) -> None:
    """Leave the files as they are."""


def lines(name: str, *rows: str) -> Change:
    return lambda folder: (folder / name).write_text("\n".join(rows) + "\n")


def cut(name: str, to: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:to])


def copied(source: str, target: str) -> Change:
    return lambda folder: (folder / target).write_bytes((folder / source).read_bytes())


def raster(name: str, pixels: Any, **tags: Any) -> Change:
    return lambda folder: write_tif(folder / name, np.asarray(pixels), **tags)


def pictures(folder: Path) -> None:
    """Masks as colour-coded pictures, the last of a colour that means nothing."""
    for number in range(6):
        colors = np.random.default_rng(number).choice(np.uint8([[255, 0, 0], [0, 0, 255]]), size=(12, 16))
        Image.fromarray(colors).save(folder / f"{number}.png")
    colors[3, 4] = 7, 8, 9
    Image.fromarray(colors).save(folder / "5.png")


def resized_picture(folder: Path) -> None:
    """Masks as colour-coded pictures, the last of another size than its image."""
    pictures(folder)
    Image.new("RGB", (9, 9), (255, 0, 0)).save(folder / "5.png")


def two_bands(folder: Path) -> None:
    """Masks that are no pictures."""
    for number in range(6):
        write_tif(folder / f"m{number}.tif", np.full((2, 12, 16), number, dtype=np.uint8))


def placed(folder: Path, apart: int = 15) -> None:
    """Images on the ground, each overlapping the next where they are less than their 16 px apart."""
    for number in range(6):
        for kind in ("images", "labels"):
            path = folder / kind / f"{number}.tif"
            with rasterio.open(path) as file:
                pixels = file.read()
            write_tif(path, pixels, at=apart * number)


def polygons(crs: int | None = 32652, east: float = 0, **columns: Any) -> Change:
    def write(folder: Path) -> None:
        placed(folder, apart=20)
        box = shapely.box(500_000 + east, 3_999_900, 501_000 + east, 4_000_000)
        geopandas.GeoDataFrame(columns or {"kind": ["left"]}, geometry=[box], crs=crs).to_file(
            folder / "areas.gpkg"
        )

    return write


TABLE = {"table": "table.csv", "images": None, "labels": {"form": "codes"}}
VECTOR = {"labels": {"files": "areas.gpkg", "class_field": "kind"}}
COLORED = {
    "labels": {"files": "*.png", "form": "colors"},
    "classes": {1: {"name": "left", "color": "#ff0000"}, 2: {"name": "right", "color": "#0000ff"}},
    "ignore": [],
}
GREY = {
    "task": "binary",
    "classes": {1: "left"},
    "labels": {"files": "m*.tif", "key": "m(.)", "form": "grey"},
    "ignore": [],
}
RUNS = {"labels": "runs.csv", "ignore": []}
ROWS = [f"{n}.tif_{kind},{1 + n + place} 5" for n in range(6) for kind, place in (("left", 0), ("right", 20))]
HEADER = "Image_Label,EncodedPixels"

# ruff: noqa: E501 - a case a line
# What is changed in the description and in the files; what the line names; what it tells to do or expects.
CASES: dict[str, tuple[dict[str, Any], Change, str, str]] = {
    # Descriptions
    "a key that is not known": ({"lables": "x"}, nothing, r"data.lables", "remove it or correct its spelling"),
    "images and a table": ({"table": "t.csv"}, nothing, "data", "expected either images .*, table or pairs"),
    "a key pattern without a group": ({"key": "[0-9]+"}, nothing, "data.key", "has 0 groups, expected one"),
    "a key pattern that is none": ({"key": "(["}, nothing, "data.key", "is not a regular expression"),
    "a class without a name": ({"classes": {1: {"color": "#ff0000"}, 2: "b"}}, nothing, "data.classes.1.name", "is missing"),
    "one class": ({"classes": {1: "left"}}, nothing, "data", "at least 2 classes; set task: binary"),
    "a binary task of three": ({"task": "binary"}, nothing, "data", "a binary task has class 1"),
    "a value that is a class and ignored": ({"ignore": [0, 1]}, nothing, "data.*value 1", "expected one"),
    "a legend that is not built in": ({"classes": "deepglob"}, nothing, "data.classes", "expected one of .*deepglobe"),
    "grey masks of many classes": ({"labels": {"files": "*.png", "form": "grey"}}, nothing, "data", "binary task"),
    "a size without a way to reach it": ({"image_size": [8, 8]}, nothing, "data.*image_size", "expected both or neither"),
    "a method that is none": ({"split": {"method": "random"}}, nothing, "data.split", "expected one of 'given', 'column'"),
    "shares that leave nothing": ({"split": {"method": "fraction", "val": 0.7, "test": 0.3}}, nothing, "data.split", "leave nothing to train"),
    "a fold that is not there": ({"split": {"method": "folds", "k": 3, "fold": 3}}, nothing, "data.split", "expected 0 to 2"),
    "a column without a table": ({"split": {"method": "column"}}, nothing, "data", "needs a table"),
    # Files
    "a folder that is not there": ({"root": "nowhere"}, nothing, "nowhere", "correct the pattern or data.root"),
    "a pattern that matches nothing": ({"images": "images/*.png"}, nothing, r"data.images: .*images/\*.png", "correct the pattern"),
    "names without labels": ({"labels": "labels/*.png"}, nothing, r"data.labels: .*labels/\*.png", "correct the pattern"),
    "keys that never meet": ({"labels": {"files": "labels/*.tif", "key": "(ti|[0-9])"}, "key": "image(s)/"}, nothing, "images/1.tif", "set data.key"),
    "labels under other names": ({}, lambda f: [p.rename(p.with_name(f"m{p.name}")) for p in f.glob("labels/*")], "0.tif: has no labels", "set data.key and data.labels.key"),
    "a key that a name lacks": ({"key": "x([0-9])"}, nothing, "0.tif", "correct it or the files' pattern"),
    "an excluded image that is not there": ({"exclude": ["7"]}, nothing, "data.exclude names 7", "expected some of 0, 1, 2"),
    "a group that is not there": ({"split": {"train": ["0"], "val": ["9"]}}, nothing, "data.split.val", "expected 0, 1, 2"),
    "a group in two splits": ({"split": {"train": ["0", 1], "val": ["1"]}}, nothing, "data.split: group 1", "expected one"),
    "groups that are no lists": ({"groups": "g.json"}, lines("g.json", json.dumps({"a": 1})), "g.json", "is not a list of lists"),
    "overlapping images in two splits": ({"split": {"train": ["0", "2"], "val": ["1"]}}, placed, r"0 \(train\) and 1 \(val\)", "put them into one group"),
    "images that all overlap": ({}, placed, "6 images in 1 group", "split by blocks"),
    # Images
    "an empty file": ({}, cut("images/3.tif", 0), "images/3.tif: is empty", "fetch or write it again"),
    "a truncated image": ({}, cut("images/3.tif", 400), r"1 of 6 images .*images/3.tif: damaged or incomplete", "skip_bad=True"),
    "text called .tif": ({}, lines("images/3.tif", "hello"), "images/3.tif: is not a GeoTIFF", "gdal_translate"),
    "another number of bands": ({"bands": ["a", "b", "c"]}, nothing, "images/0.tif .and 5 others.: has 2 bands", "data.bands .*data.band_numbers"),
    "a band that is not there": ({"band_numbers": [1, 3]}, nothing, "images/0.tif .and 5 others.: has no band 3", "expected 1 to 2"),
    "another dtype": ({}, raster("images/3.tif", np.ones((2, 12, 16), dtype=np.uint16)), "images/3.tif: is uint16", "expected uint8; convert it"),
    "an image of one colour": ({}, raster("images/3.tif", np.ones((2, 12, 16), dtype=np.uint8)), "images/3.tif: is empty", "skip_bad=True"),
    "an image of no data": ({}, raster("images/3.tif", np.ones((2, 12, 16), dtype=np.uint8), nodata=1), "images/3.tif: has no valid pixel", "data.exclude"),
    # Labels
    "a code that means nothing": ({"ignore": []}, nothing, r"6 of 6 .*labels/0.tif .and 5 others.: holds .*\b0\b", "data.classes or data.ignore"),
    "labels of another size": (COLORED, resized_picture, r"1 of 6 .*5.png.*\b9\b", "expected|correct"),
    "labels that are no codes": ({}, raster("labels/3.tif", np.full((12, 16), 0.5, dtype=np.float32)), "labels/3.tif", "skip_bad=True"),
    "labels without a label": ({}, raster("labels/3.tif", np.zeros((12, 16), dtype=np.uint8)), "labels/3.tif: has no label", "skip_bad=True"),
    "one mask under two images": ({}, copied("labels/2.tif", "labels/4.tif"), "labels/2.tif: gives image 2 the mask that 4 has", "data.exclude"),
    "a truncated mask": ({}, cut("labels/3.tif", 300), "labels/3.tif: damaged or incomplete", "skip_bad=True"),
    "a missing mask": ({}, lambda f: (f / "labels/3.tif").unlink(), "images/3.tif: has no labels", "skip_bad=True"),
    "a colour that means nothing": (COLORED, pictures, "5.png.*#070809", "skip_bad=True"),
    "a grey mask of two bands": (GREY, two_bands, r"m0.tif .and 5 others.", "expected"),
    # Vectors
    "a vector file that is none": (VECTOR, lines("areas.gpkg", "hello"), "areas.gpkg", "expected|cannot be"),
    "an attribute that is not there": (VECTOR, polygons(class_=["left"]), "areas.gpkg.*kind", "expected|found"),
    "a value that means nothing": (VECTOR, polygons(kind=["middle"]), "areas.gpkg.*middle", "expected"),
    "areas somewhere else": (VECTOR, polygons(east=90_000), "areas.gpkg", "do both have the right CRS"),
    "a layer that is not there": (VECTOR | {"labels": {"files": "areas.gpkg", "layer": "x", "class_field": "kind"}}, polygons(), "areas.gpkg.*x", "expected"),
    # Run lengths
    "run lengths that are no numbers": (RUNS, lines("runs.csv", HEADER, *ROWS[:-1], "5.tif_right,a b"), "runs.csv", "expected"),
    "a run beyond the mask": (RUNS, lines("runs.csv", HEADER, *ROWS[:-1], "5.tif_right,190 9"), "runs.csv", "expected|correct"),
    "an image that the table does not name": (RUNS, lines("runs.csv", HEADER, *ROWS[:-2]), "runs.csv: does not name the image 5.tif", "needs a row"),
    "a class that means nothing": (RUNS, lines("runs.csv", HEADER, *ROWS, "5.tif_top,1 2"), "runs.csv.*'top'", "data.classes or data.ignore"),
    "classes that overlap": (RUNS, lines("runs.csv", HEADER, *ROWS[:-1], "5.tif_right,1 190"), "runs.csv: two classes of 5.tif", "task: multilabel"),
    "a table without a header": (RUNS, lines("runs.csv", *ROWS), "runs.csv", "expected"),
    # Tables
    "a table that is not there": (TABLE, nothing, "table.csv: is not there", "correct data.table"),
    "a table of another format": (TABLE | {"table": "t.xlsx"}, lines("t.xlsx", "x"), "t.xlsx", "expected .csv, .gpkg or .parquet"),
    "a column that is missing": (TABLE, lines("table.csv", "image,mask", "images/0.tif,labels/0.tif"), "table.csv: has no column label", "found image, mask; add or rename"),
    "rows without a path": (TABLE, lines("table.csv", "image,label", "images/0.tif,labels/0.tif", "images/1.tif,"), "table.csv: column label is empty in row 2", "expected a path"),
    "paths that lead nowhere": (TABLE, lines("table.csv", "image,label", *(f"images/{n}.tif,x/{n}.tif" for n in range(5))), "table.csv: 5 of 5 paths in column label .*x/0.tif, x/1.tif, x/2.tif", "seen from data.root"),
    "a row of other length": (TABLE, lines("table.csv", "image,label", "images/0.tif"), "table.csv: row 1 has 1 cell", "expected 2"),
    "an image in two rows": (TABLE, lines("table.csv", "image,label", *["images/0.tif,labels/0.tif"] * 2), "table.csv: rows 1 and 2 .*images/0.tif", "expected one row"),
    "a split that is none": (TABLE | {"split": {"method": "column"}}, lines("table.csv", "image,label,split", "images/0.tif,labels/0.tif,x"), "0 is in split 'x'", "expected train, val, test"),
    "a group in two columns' splits": (TABLE | {"split": {"method": "column"}}, lines("table.csv", "image,label,split,group", "images/0.tif,labels/0.tif,train,g", "images/1.tif,labels/1.tif,val,g"), "group g is in train .0. and in val .1.", "expected one split"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_that_names_the_place_and_what_to_do(tmp_path: Path, name: str) -> None:
    changes, change, place, remedy = CASES[name]
    write_set(tmp_path)
    change(tmp_path)
    with pytest.raises(GeosegError) as refused:
        read_and_open(tmp_path, description(**changes))
    said = str(refused.value)
    assert isinstance(refused.value, ConfigError | DataError)
    assert "\n" not in said
    for words in (place, remedy):
        assert re.search(words, said), said


def test_the_set_that_the_cases_change_is_right(tmp_path: Path) -> None:
    read_and_open(write_set(tmp_path), description())
