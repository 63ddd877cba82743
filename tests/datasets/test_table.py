"""Tables of a data set say the same in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pytest
import shapely

from geoseg.datasets.table import read_table
from geoseg.errors import DataError

FRAME = pd.DataFrame(
    {
        "Image": ["a, b.tif", "ü.tif", "c.tif"],
        "label": ["a.png", "b.png", "c.png"],
        "group": [1, None, 2],  # a column of integers with a gap is one of floats
        "split": ["train", None, "val"],
        "weight": [0.5, 0.25, 1],
    }
)
ROWS = [
    {"image": "a, b.tif", "label": "a.png", "split": "train", "group": "1"},
    {"image": "ü.tif", "label": "b.png", "split": "", "group": ""},
    {"image": "c.tif", "label": "c.png", "split": "val", "group": "2"},
]


def write(path: Path, name: str) -> Path:
    whole = FRAME.astype({"group": "Int64"})
    match name:
        case "comma.csv":
            whole.to_csv(path / name, index=False)
        case "semicolon.csv":  # as spreadsheets write it
            whole.to_csv(path / name, index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")
        case "tab.tsv":
            whole.to_csv(path / name, index=False, sep="\t")
        case "integers.parquet":
            whole.to_parquet(path / name)
        case "floats.parquet":
            FRAME.to_parquet(path / name)
        case "points.gpkg":
            geopandas.GeoDataFrame(FRAME, geometry=[shapely.Point(0, 0)] * 3, crs=4326).to_file(path / name)
    return path / name


@pytest.mark.parametrize(
    "name", ["comma.csv", "semicolon.csv", "tab.tsv", "integers.parquet", "floats.parquet", "points.gpkg"]
)
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    assert read_table(write(tmp_path, name), ["image", "label"]) == ROWS


@pytest.mark.parametrize("name", ["comma.csv", "integers.parquet", "points.gpkg"])
def test_a_missing_column_is_named_beside_those_that_are_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"has no column images, found Image, label, group, split, weight"):
        read_table(write(tmp_path, name), ["image", "images"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"PK", "expected .csv, .gpkg or .parquet"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"image,label\n", "has no rows"),
        ("t.csv", b"image,label\na.tif\n", "row 1 has 1 cell, expected 2"),
        ("t.csv", b"image,label,Label\na,b,c\n", "has two columns label"),
        ("t.csv", "image,label\nü,b\n".encode("latin-1"), "is not a CSV file in UTF-8"),
        ("t.csv", b'image,label\n"a,b\n', "is not a CSV file in UTF-8"),
        ("t.parquet", b"PAR1", "cannot be read as a Parquet table"),
        ("t.gpkg", b"SQLite format 3\0", "cannot be read as vectors"),
        ("t.csv", None, "is not there"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: Any, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as refusal:
        read_table(tmp_path / name, ["image", "label"])
    assert "\n" not in str(refusal.value)
    assert name in str(refusal.value)
