"""Tables of run lengths as labels, against loops over pixels."""

from __future__ import annotations

import csv
import pickle
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels import run_length_table
from geoseg.labels.label import UNKNOWN, Meanings
from geoseg.labels.rle import decode, encode
from geoseg.labels.run_lengths import RunLengthLabels, image_names

MULTILABEL = Meanings(codes=(1, 2), code_of={"fish": 1, "sugar": 2, "bad": UNKNOWN})
MULTICLASS = Meanings(codes=(1, 2), code_of={"fish": 1, "sugar": 2, "bad": UNKNOWN})
BINARY = Meanings(codes=(1,), code_of={"background": 0, "roof": 1})
A, B = np.zeros((2, 6, 8), dtype=bool)
A[1:4, 1:3] = True
B[2:6, 2:8] = True
NUMBERS = count()
WHOLE = Window(row=0, col=0, height=6, width=8)


def grid(height: int = 6, width: int = 8) -> Grid:
    return Grid(height=height, width=width, transform=Affine.identity())


def table(tmp_path: Path, *rows: tuple[str, ...], head: str = "Image_Label,EncodedPixels") -> Path:
    path = (
        tmp_path / str(next(NUMBERS)) / "table.csv"
    )  # rewritten faster than clocks tick, it would look the same
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        file.write(head + "\n")
        csv.writer(file).writerows(rows)
    return path


def test_classes_that_overlap_are_layers(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        ("a.jpg_Fish", encode(A)),
        ("a.jpg_Sugar", encode(B)),
        ("b.jpg_Fish", ""),
        ("b.jpg_Sugar", ""),
    )
    labels = RunLengthLabels.open(path, "a.jpg", grid(), MULTILABEL, layered=True)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(labels)).read(WHOLE), [A, B])
    assert not RunLengthLabels.open(path, "b.jpg", grid(), MULTILABEL, layered=True).read(WHOLE).any()
    assert image_names(path) == ("a.jpg", "b.jpg")


def test_all_three_kinds_of_table(tmp_path: Path) -> None:
    for head, rows in (
        ("Image_Label,EncodedPixels", [("a_b.jpg_sugar", encode(B)), ("a_b.jpg_fish", "")]),
        ("ImageId_ClassId,EncodedPixels", [("a_b_sugar", encode(B))]),
        ("EncodedPixels,ClassId,ImageId", [(encode(B), "sugar", "a_b.jpg")]),
        ("ImageId,Width,ClassId,EncodedPixels", [("a_b.png", "8", "Sugar ", encode(B))]),
    ):
        path = table(tmp_path, *rows, head=head)
        read = RunLengthLabels.open(path, "a_b.jpg", grid(), MULTILABEL, layered=True).read(WHOLE)
        np.testing.assert_array_equal(read, [np.zeros_like(B), B], err_msg=head)
    path = table(tmp_path, ("a.jpg", encode(B)), head="\ufeffImageId,EncodedPixels")
    np.testing.assert_array_equal(RunLengthLabels.open(path, "a.jpg", grid(), BINARY).read(WHOLE), B)


@pytest.mark.parametrize("absent", ["", " ", "-1", "NaN", "nan"])
def test_absent_is_0_in_binary_labels_and_unlabelled_in_multiclass_ones(tmp_path: Path, absent: str) -> None:
    path = table(tmp_path, ("a.jpg_Fish", encode(A)), ("a.jpg_Sugar", absent))
    read = RunLengthLabels.open(path, "a.jpg", grid(), MULTICLASS).read(WHOLE)
    np.testing.assert_array_equal(read, np.where(A, 1, UNKNOWN))
    rest = Meanings(codes=(1, 2), code_of=MULTICLASS.code_of, unlabelled=2)
    np.testing.assert_array_equal(
        RunLengthLabels.open(path, "a.jpg", grid(), rest).read(WHOLE), np.where(A, 1, 2)
    )
    path = table(tmp_path, ("a.jpg", absent), head="ImageId,EncodedPixels")
    assert (RunLengthLabels.open(path, "a.jpg", grid(), BINARY).read(WHOLE) == 0).all()


def test_ignored_classes_are_unknown_over_all_others(tmp_path: Path) -> None:
    path = table(tmp_path, ("a.jpg_Bad", encode(B)), ("a.jpg_Fish", encode(A)))
    read = RunLengthLabels.open(path, "a.jpg", grid(), MULTICLASS).read(WHOLE)
    np.testing.assert_array_equal(read, np.where(A & ~B, 1, UNKNOWN))
    read = RunLengthLabels.open(path, "a.jpg", grid(), MULTILABEL, layered=True).read(WHOLE)
    np.testing.assert_array_equal(read, [np.where(B, UNKNOWN, A), np.where(B, UNKNOWN, 0)])


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_masks_of_another_size_and_windows_against_a_loop(
    tmp_path: Path, data: st.DataObject, seed: int
) -> None:
    number = st.integers(1, 12)
    rows, cols, height, width = (data.draw(number) for _ in range(4))
    content = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4)), height, width
    window = Window(
        row=data.draw(st.integers(-5, 15)), col=data.draw(st.integers(-5, 15)), height=data.draw(number),
        width=data.draw(number),
    )  # fmt: skip
    masks = np.random.default_rng(seed).random((2, rows, cols)) < 0.4
    path = table(tmp_path, ("a.jpg_fish", encode(masks[0])), ("a.jpg_sugar", encode(masks[1])))
    image = grid(content[0] + height + 1, content[1] + width + 2)
    labels = RunLengthLabels.open(
        path, "a.jpg", image, MULTILABEL, layered=True, size=(rows, cols), content=content
    )
    expected = np.full((2, *window.shape), UNKNOWN)
    for r in range(height):
        for c in range(width):
            at = content[0] + r - window.row, content[1] + c - window.col
            if 0 <= at[0] < window.height and 0 <= at[1] < window.width:
                expected[:, at[0], at[1]] = masks[
                    :, int((r + 0.5) * rows / height + 1e-9), int((c + 0.5) * cols / width + 1e-9)
                ]
    np.testing.assert_array_equal(labels.read(window), expected)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(1, 6), st.integers(1, 8)), min_size=1
    )
)
def test_rows_of_one_class_are_united(tmp_path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    """As tables with a row for each object have them; objects may touch, overlap and lie in each other."""
    parts = [np.zeros_like(A) for _ in boxes]
    for part, (row, col, height, width) in zip(parts, boxes, strict=True):
        part[row : row + height, col : col + width] = True
    path = table(tmp_path, *(("a.jpg", encode(part)) for part in parts), head="ImageId,EncodedPixels")
    read = RunLengthLabels.open(path, "a.jpg", grid(), BINARY).read(WHOLE)
    np.testing.assert_array_equal(read, np.any(parts, axis=0))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a.jpg_fish", "1 2"), ("a.jpg_fish", "")], r"line 3: says that fish in a\.jpg is absent, but line 2"),
        ([("a.jpg_fish", "1 2 3")], r"table\.csv, line 2: run lengths hold an odd number of values, 3"),
        ([("b.jpg_fish", ""), ("a.jpg_fish", "48 2")], r"line 3: run 1 .*beyond the last pixel, which is 48 of 6 x 8"),
        ([("a.jpg_fish", "1 2"), ("b.jpg_whale", "")], r"holds the class 'whale', expected fish, sugar, bad"),
        ([("b.jpg_fish", "1 2")], r"does not name the image a\.jpg, expected one of b\.jpg"),
        ([("fish", "1 2")], r"line 2: holds 'fish', expected IMAGE_CLASS"),
        ([("a.jpg_fish",)], "line 2: has 1 column, expected 2"),
        ([("a.png_fish", ""), ("a.tif_fish", "")], r"names a\.png, a\.tif, expected one image for a\.jpg"),
        ([], "has no rows"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused(tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        RunLengthLabels.open(table(tmp_path, *rows), "a.jpg", grid(), MULTILABEL, layered=True)
    assert "\n" not in str(error.value)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="first line holds name,runs, expected Image_Label,EncodedPixels or"):
        image_names(table(tmp_path, head="name,runs"))
    with pytest.raises(DataError, match=r"gone\.csv: cannot be opened"):
        image_names(tmp_path / "gone.csv")
    (tmp_path / "b.csv").write_bytes(b"ImageId,EncodedPixels\n\xff\xfe,1 2\n")
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        image_names(tmp_path / "b.csv")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        image_names(table(tmp_path, head='ImageId,EncodedPixels\n"a.jpg,1 2'))
    path = table(tmp_path, ("a.jpg", "1 2"), head="ImageId,EncodedPixels")
    with pytest.raises(DataError, match="names no classes, expected fish, sugar"):
        RunLengthLabels.open(path, "a.jpg", grid(), MULTICLASS)
    with pytest.raises(DataError, match=r"content 2 0 6 8 extends beyond the 6 x 8 px of a\.jpg"):
        RunLengthLabels.open(path, "a.jpg", grid(), BINARY, content=(2, 0, 6, 8))


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_overlapping_classes_are_refused_unless_layered(
    tmp_path: Path, order: tuple[np.ndarray, np.ndarray]
) -> None:
    path = table(tmp_path, ("a.jpg_fish", encode(order[0])), ("a.jpg_sugar", encode(order[1])))
    with pytest.raises(
        DataError, match=r"two classes of a\.jpg lie on row 2, column 2 of the mask.*multilabel"
    ):
        RunLengthLabels.open(path, "a.jpg", grid(), MULTICLASS)
    same = Meanings(codes=(1, 2), code_of={"fish": 1, "sugar": 1})
    read = RunLengthLabels.open(path, "a.jpg", grid(), same).read(WHOLE)
    np.testing.assert_array_equal(read == 1, A | B)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.integers(0, 7), st.integers(1, 6), st.integers(1, 8), st.integers(0, 1)
        )
    )
)
def test_overlaps_are_found_wherever_they_are(tmp_path: Path, boxes: list[tuple[int, ...]]) -> None:
    masks = np.zeros((2, 6, 8), dtype=bool)
    for row, col, height, width, of in boxes:
        masks[of, row : row + height, col : col + width] = True
    path = table(tmp_path, ("a.jpg_fish", encode(masks[0])), ("a.jpg_sugar", encode(masks[1])))
    if masks.all(axis=0).any():
        with pytest.raises(DataError, match="two classes"):
            RunLengthLabels.open(path, "a.jpg", grid(), MULTICLASS)
    else:
        read = RunLengthLabels.open(path, "a.jpg", grid(), MULTICLASS).read(WHOLE)
        np.testing.assert_array_equal(read, np.select(list(masks), [1, 2], UNKNOWN))


def test_a_table_is_indexed_once_and_noticed_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path, ("a.jpg", encode(A)), ("b.jpg", encode(B)), head="ImageId,EncodedPixels")
    labels = RunLengthLabels.open(path, "a.jpg", grid(), BINARY)
    monkeypatch.setattr(run_length_table, "_columns", None)  # a second look would fail
    np.testing.assert_array_equal(RunLengthLabels.open(path, "b.jpg", grid(), BINARY).read(WHOLE), B)
    monkeypatch.undo()
    path.write_text("ImageId,EncodedPixels\na.jpg,1 1\n")
    with pytest.raises(DataError, match="changed while it was in use"):
        labels.read(WHOLE)
    assert RunLengthLabels.open(path, "a.jpg", grid(), BINARY).read(WHOLE).sum() == 1


def test_real_clouds_on_their_content_window(shared: Path) -> None:
    """Against a nearest resize of the whole mask in floating point."""
    path = shared / "clouds" / "train.csv"
    classes = ("Fish", "Flower", "Gravel", "Sugar")
    meanings = Meanings(codes=(1, 2, 3, 4), code_of={name.casefold(): i for i, name in enumerate(classes, 1)})
    with path.open(newline="") as file:
        texts = {row["Image_Label"]: row["EncodedPixels"] for row in csv.DictReader(file)}
    assert len(image_names(path)) == 24
    row = np.floor((np.arange(426) + 0.5) * (1400 / 426)).astype(int)
    col = np.floor((np.arange(640) + 0.5) * (2100 / 640)).astype(int)
    for name in image_names(path)[::5]:
        labels = RunLengthLabels.open(
            path, name, grid(640, 640), meanings, layered=True, size=(1400, 2100), content=(107, 0, 426, 640)
        )
        expected = np.full((4, 640, 640), UNKNOWN)
        for i, of in enumerate(classes):
            expected[i, 107:533] = decode(texts[f"{name}_{of}"], (1400, 2100))[np.ix_(row, col)]
        np.testing.assert_array_equal(labels.read(Window(row=0, col=0, height=640, width=640)), expected)
        np.testing.assert_array_equal(
            labels.read(Window(row=90, col=300, height=256, width=256)), expected[:, 90:346, 300:556]
        )
