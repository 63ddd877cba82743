"""Masks as files and as tables of run lengths."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geoseg.errors import DataError, OutputError, OutputExistsError
from geoseg.labels.rle import decode
from geoseg.labels.run_length_table import read_table, table_text
from geoseg.pictures import rle_files
from geoseg.pictures.rle_files import encode_file, write_masks, write_rows

MASK = np.random.default_rng(0).random((2, 7, 9)) < 0.5


def picture(path: Path, mask: np.ndarray) -> Path:
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    return path


def rows(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["ImageId"]: row["EncodedPixels"] for row in csv.DictReader(file)}


def test_masks_become_a_table_and_come_back(tmp_path: Path) -> None:
    masks = [picture(tmp_path / name, mask) for name, mask in zip(("a.png", "b c.png"), MASK, strict=True)]
    write_rows(masks, tmp_path / "t.csv")
    assert list(rows(tmp_path / "t.csv")) == ["a.png", "b c.png"]
    written = write_masks(tmp_path / "t.csv", tmp_path / "out", (7, 9))
    assert [path.name for path in written] == ["a.png", "b c.png"]
    for path, mask in zip(written, MASK, strict=True):
        with Image.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), np.where(mask, 255, 0))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b c.png"]


FORMULAS = ["=1+1", "@x", "+1", "-1", "'=1+1", "''@x", "'quoted'", '=HYPERLINK("http://x")', "a=b"]


@given(
    st.lists(
        st.sampled_from([f"{name}.png" for name in FORMULAS]) | st.text("=+-@'\",a. ", min_size=1, max_size=6)
    )
)
def test_no_cell_of_a_table_is_a_formula_and_names_come_back(names: list[str]) -> None:
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    text = table_text([("ImageId", "EncodedPixels"), *((name, "1 2") for name in names)])
    cells = [row[0] for row in csv.reader(text.splitlines())][1:]
    assert not any(cell[0] in "=+-@" for cell in cells)
    assert [cell for cell in cells if cell in names and "'" not in cell] == [
        name for name in names if name[0] not in "=+-@'" and "'" not in name
    ], "other names are left alone"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "t.csv"
        table.write_text(text)
        assert not names or list(read_table(table).rows) == names


def test_masks_whose_names_are_formulas_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{name}.png" for name in ("=1+1", "@x", "-1", "a")]
    masks = [picture(tmp_path / name, MASK[0]) for name in names]
    write_rows(masks, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("'=1+1.png,")
    assert "=1+1.png, @x.png, -1.png: written with ' before it" in caplog.text
    assert [path.name for path in write_masks(tmp_path / "t.csv", tmp_path / "out", (7, 9))] == names


def test_a_value_is_chosen_and_no_data_is_nothing(write) -> None:
    codes = np.array([[[1, 2, 0], [2, 9, 2]]], dtype=np.int16)
    path = write("m.tif", codes, nodata=9)
    np.testing.assert_array_equal(decode(encode_file(path), (2, 3)), np.isin(codes[0], (1, 2)))
    np.testing.assert_array_equal(decode(encode_file(path, value=2), (2, 3)), codes[0] == 2)
    assert encode_file(path, value=9) == ""


def test_what_is_no_mask_is_refused(tmp_path: Path, write) -> None:
    with pytest.raises(DataError, match="has 3 bands, expected a mask of one band"):
        encode_file(write("rgb.tif", np.zeros((3, 2, 2), np.uint8)))
    with pytest.raises(DataError, match=r"gone\.png"):
        encode_file(tmp_path / "gone.png")
    first, second = tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"
    for path in (first, second):
        path.parent.mkdir()
        picture(path, MASK[0])
    with pytest.raises(DataError, match=r"a\.png: is the name of two masks"):
        write_rows([first, second], tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_a_mask_for_each_image_and_class(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("Image_Label,EncodedPixels\na.jpg_Fish,1 2\na.jpg_Sugar,\nb.jpg_Fish,4 1 6 1\n")
    written = write_masks(table, tmp_path / "out", (2, 3))
    assert [path.name for path in written] == ["a_Fish.png", "a_Sugar.png", "b_Fish.png"]
    assert [encode_file(path) for path in written] == ["1 2", "", "4 1 6 1"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("ImageId,EncodedPixels\na.jpg,1 2\nb.jpg,7 1\n", r"t\.csv, line 3: .* the last pixel, which is 6 of 2 x 3"),
        ("ImageId,EncodedPixels\n../../a.jpg,1 2\n", r"a mask cannot be called '\.\./\.\./a\.png'"),
        ("ImageId,ClassId,EncodedPixels\na.jpg,x/y,1 2\n", "a mask cannot be called 'a_x/y.png'"),
        ("ImageId,EncodedPixels\na\\b.jpg,1 2\n", "expected names without slashes"),
        ("ImageId,EncodedPixels\na.jpg,1 2\na.png,1 2\n", r"several of its masks would be a\.png"),
    ],
)  # fmt: skip
def test_nothing_is_written_where_something_is_wrong(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        write_masks(tmp_path / "t.csv", tmp_path / "out", (2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_masks_that_are_there_stay_unless_overwritten(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("ImageId,EncodedPixels\na.jpg,1 2\nb.jpg,2 1\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"already has b\.png; pass overwrite=True"):
        write_masks(table, tmp_path / "out", (2, 3))
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir()] == [("b.png", b"mine")]
    write_masks(table, tmp_path / "out", (2, 3), overwrite=True)
    assert encode_file(tmp_path / "out" / "b.png") == "2 1"
    with pytest.raises(OutputError, match="cannot be made"):
        write_masks(table, table / "out", (2, 3))


def test_the_same_call_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, folder = tmp_path / "t.csv", tmp_path / "out"
    table.write_text("ImageId,EncodedPixels\na.jpg,1 2\nb.jpg,2 1\nc.jpg,\n")
    write = rle_files._write_png

    def killed(path: Path, pixels: np.ndarray) -> None:
        if (folder / "a.png").exists():
            raise KeyboardInterrupt
        write(path, pixels)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rle_files, "_write_png", killed)
        write_masks(table, folder, (2, 3))
    stamp = (folder / "a.png").stat().st_mtime_ns
    expected = tuple(folder / f"{name}.png" for name in "abc")
    for _ in range(2):
        assert write_masks(table, folder, (2, 3)) == expected
    assert (folder / "a.png").stat().st_mtime_ns == stamp
    assert [encode_file(path) for path in expected] == ["1 2", "2 1", ""]
    assert sorted(folder.iterdir()) == list(expected)


def test_a_picture_that_was_not_written_whole_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("ImageId,EncodedPixels\na.jpg,1 2\n")
    monkeypatch.setattr(rle_files.np, "array_equal", lambda *_: False)
    with pytest.raises(OutputError, match="could not be written as it should be"):
        write_masks(table, tmp_path / "out", (2, 3))
    assert not list((tmp_path / "out").iterdir())
