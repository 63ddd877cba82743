"""Rasters of codes as labels."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels, found_classes
from geoseg.labels.label import UNKNOWN, FoundClass, Meanings
from geoseg.raster.scene import Scene

MEANINGS = Meanings(codes=(1, 2, 3), code_of={10: 1, 20: 2, 30: 3, 0: UNKNOWN})
VALUES = np.array([[10, 20, 30, 0], [20, 20, 99, 10], [30, 0, 10, 99]])
CODES = np.array([[1, 2, 3, UNKNOWN], [2, 2, UNKNOWN, 1], [3, UNKNOWN, 1, UNKNOWN]])
WHOLE = Window(row=0, col=0, height=3, width=4)


def grid_of(path: Path) -> Grid:
    return Scene.open(path, palette_as_codes=True).grid


def opened(path: Path, meanings: Meanings = MEANINGS, **options) -> CodedLabels:
    return CodedLabels.open(path, grid_of(path), meanings, **options)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
def test_values_of_any_dtype_become_codes(write, dtype: str) -> None:
    labels = opened(write("l.tif", VALUES.astype(dtype)[None], nodata=99))
    read = labels.read(WHOLE)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, CODES)


@given(
    row=st.integers(-5, 8), col=st.integers(-5, 8), height=st.integers(1, 9), width=st.integers(1, 9),
    unlabelled=st.sampled_from([UNKNOWN, 2]), layered=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_window_is_cut_out_of_the_whole(
    write, row: int, col: int, height: int, width: int, unlabelled: int, layered: bool, seed: int
) -> None:
    values = np.random.default_rng(seed).choice([0, 10, 20, 30, 99], size=(1, 7, 6)).astype(np.uint8)
    meanings = Meanings(
        codes=MEANINGS.codes, code_of=MEANINGS.code_of, unlabelled=0 if layered else unlabelled
    )
    path = write(f"l{seed}.tif", values, nodata=99)
    labels = pickle.loads(pickle.dumps(opened(path, meanings, layered=layered)))
    whole = labels.read(Window(row=0, col=0, height=7, width=6))
    around = np.pad(whole, [(0, 0)] * (whole.ndim - 2) + [(9, 9)] * 2, constant_values=UNKNOWN)
    window = Window(row=row, col=col, height=height, width=width)
    expected = around[..., row + 9 : row + 9 + height, col + 9 : col + 9 + width]
    read = labels.read(window)[..., : expected.shape[-2], : expected.shape[-1]]
    np.testing.assert_array_equal(read, expected)


def test_unlabelled_is_what_the_meanings_say_and_ignored_is_unknown(write) -> None:
    meanings = Meanings(codes=(1, 2, 3), code_of=MEANINGS.code_of, unlabelled=3)
    path = write("l.tif", VALUES[None].astype(np.uint8), nodata=99)
    read = opened(path, meanings).read(Window(row=1, col=1, height=3, width=4))
    np.testing.assert_array_equal(read, [[2, 3, 1, 255], [255, 1, 3, 255], [255] * 4])


def test_masked_and_transparent_pixels_are_unlabelled(write) -> None:
    values = np.full((1, 2, 3), 10, dtype=np.uint8)
    seen = np.array([[0, 255, 255], [255, 255, 0]], dtype=np.uint8)
    meanings = Meanings(codes=(1, 2), code_of={10: 1}, unlabelled=2)
    expected = np.where(seen, 1, 2)
    window = Window(row=0, col=0, height=2, width=3)
    np.testing.assert_array_equal(opened(write("m.tif", values, mask=seen), meanings).read(window), expected)

    both = np.concatenate([values, seen[None]])
    np.testing.assert_array_equal(opened(write("a.tif", both, alpha="yes"), meanings).read(window), expected)


def test_unknown_values_are_named(write) -> None:
    path = write("l.tif", VALUES[None].astype(np.int16))
    with pytest.raises(DataError, match=r"l\.tif: holds label codes 99, expected 0, 10, 20, 30"):
        opened(path).read(WHOLE)
    opened(path).read(Window(row=0, col=0, height=1, width=4))  # nobody asked for them
    path = write("f.tif", np.full((1, 3, 4), 10.5, dtype=np.float32))
    with pytest.raises(DataError, match=r"holds label codes 10\.5"):
        opened(path).read(WHOLE)


def test_no_data_that_is_also_a_class_is_told(write, caplog: pytest.LogCaptureFixture) -> None:
    path = write("l.tif", VALUES[None].astype(np.uint8), nodata=10)
    with caplog.at_level(logging.WARNING, logger="geoseg"):
        labels = opened(path)
    assert "10 is its no-data value and also the label of a class" in caplog.text
    assert labels.read(Window(row=0, col=0, height=1, width=2)).tolist() == [[UNKNOWN, 2]]


def test_a_band_is_chosen_by_number(write) -> None:
    values = np.stack([VALUES * 0 + 7, VALUES]).astype(np.uint8)
    path = write("l.tif", values, nodata=99)
    np.testing.assert_array_equal(opened(path, band=2).read(WHOLE), CODES)
    with pytest.raises(DataError, match=r"has no band 3.*labels\.band|band 3.*labels\.band"):
        opened(path, band=3)


def test_codes_of_one_band_become_layers(write) -> None:
    read = opened(write("l.tif", VALUES[None].astype(np.uint8), nodata=99), layered=True).read(WHOLE)
    for layer, code in zip(read, MEANINGS.codes, strict=True):
        np.testing.assert_array_equal(layer, np.where(CODES == UNKNOWN, UNKNOWN, code == CODES))


@pytest.mark.parametrize("nodata", [None, 255, 0])
def test_a_band_for_each_class_is_a_layer_with_its_own_no_data(write, nodata: int | None) -> None:
    layers = np.random.default_rng(0).choice([0, 1, 255], size=(3, 5, 6)).astype(np.uint8)
    read = opened(write("l.tif", layers, nodata=nodata), layered=True).read(
        Window(row=0, col=0, height=5, width=7)
    )
    np.testing.assert_array_equal(
        read[..., :6], np.where(layers == nodata, 255, layers) if nodata == 0 else layers
    )
    assert (read[..., 6] == UNKNOWN).all()


def test_a_fourth_layer_that_writers_tag_alpha_is_a_class(write) -> None:
    layers = np.random.default_rng(0).integers(0, 2, size=(4, 5, 6)).astype(np.uint8)
    path = write("l.tif", layers, photometric="RGB", alpha="yes")
    assert Scene.open(path).alpha_band == 4
    meanings = Meanings(codes=(1, 2, 3, 4), code_of={1: 1, 2: 2, 3: 3, 4: 4})
    np.testing.assert_array_equal(
        opened(path, meanings, layered=True).read(Window(row=0, col=0, height=5, width=6)), layers
    )


def test_layers_with_other_numbers_or_of_another_count_are_refused(write) -> None:
    layers = np.full((3, 3, 4), 2, dtype=np.uint16)
    with pytest.raises(DataError, match="its bands hold 2, expected 1 where"):
        opened(write("l.tif", layers), layered=True).read(WHOLE)
    with pytest.raises(DataError, match="has 2 bands, expected one band of label codes, or 3"):
        opened(write("m.tif", layers[:2]), layered=True)


def test_what_is_no_raster_of_codes_is_refused(write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="like a picture"):
        opened(write("rgb.tif", np.zeros((3, 3, 4), dtype=np.uint8)))
    path = write("l.tif", VALUES[None].astype(np.uint8))
    with pytest.raises(DataError, match="no label value is a whole number"):
        opened(path, Meanings(codes=(1,), code_of={"forest": 1}))
    (tmp_path / "text.tif").write_text("forest")
    with pytest.raises(DataError, match=r"text\.tif: is not a GeoTIFF"):
        CodedLabels.open(tmp_path / "text.tif", grid_of(path), MEANINGS)
    with pytest.raises(DataError, match=r"gone\.tif"):
        CodedLabels.open(tmp_path / "gone.tif", grid_of(path), MEANINGS)


def test_a_damaged_file_is_a_data_error(write) -> None:
    path = write("l.tif", np.full((1, 300, 300), 10, dtype=np.uint8), compress="deflate")
    labels = opened(path)
    damaged = bytearray(path.read_bytes())
    damaged[300:] = b"\xff" * (len(damaged) - 300)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"l\.tif"):
        labels.read(Window(row=0, col=0, height=300, width=300))


def test_found_classes_occur_or_are_named(write) -> None:
    path = write("l.tif", np.array([[[1, 2], [7, 255]]], dtype=np.uint8), nodata=255)
    plain = found_classes(path)
    assert plain == tuple(FoundClass(value=v, name=f"class {v}", color=None) for v in (1, 2, 7))
    legend = Legend(
        classes=(
            LegendClass(code=1, name="water", color="#0000ff"),
            LegendClass(code=5, name="rare", color="#123456"),
        )
    )
    path.with_name("l.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category/><Category>water</Category><Category/>'
        "<Category/><Category/><Category>rare</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    assert [(c.value, c.name, c.color) for c in found_classes(path)] == [
        (1, "water", None), (2, "class 2", None), (5, "rare", None), (7, "class 7", None),
    ]  # fmt: skip
    tag = json.dumps([{"code": c.code, "name": c.name, "color": c.color} for c in legend.classes])
    tagged = write("t.tif", np.full((1, 2, 2), 1, np.uint8), setup=lambda f: f.update_tags(GEOSEG_LEGEND=tag))
    assert [(c.value, c.name, c.color) for c in found_classes(tagged)] == [
        (1, "water", "#0000ff"),
        (5, "rare", "#123456"),
    ]


def test_found_classes_have_the_colours_of_the_palette(write) -> None:
    def palette(file) -> None:
        file.write_colormap(1, {3: (255, 0, 10, 255), 4: (1, 2, 3, 255)})

    path = write("l.tif", np.full((1, 600, 5), 3, dtype=np.uint8), setup=palette)
    assert found_classes(path) == (FoundClass(value=3, name="class 3", color="#ff000a"),)


def test_an_image_is_no_raster_of_codes(write) -> None:
    many = np.arange(1000, dtype=np.uint16).reshape(1, 25, 40)
    with pytest.raises(DataError, match="more than 255 different numbers"):
        found_classes(write("i.tif", many))
    with pytest.raises(DataError, match=r"holds 0\.5, expected whole numbers"):
        found_classes(write("f.tif", np.full((1, 2, 2), 0.5, np.float32)))
    with pytest.raises(DataError, match="like a picture"):
        found_classes(write("rgb.tif", np.zeros((3, 2, 2), np.uint8)))
