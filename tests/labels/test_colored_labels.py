"""Colour-coded pictures as labels."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import BUILT_IN
from geoseg.grid.window import Window
from geoseg.labels.colored_labels import ColoredLabels
from geoseg.labels.label import UNKNOWN, Meanings

COLORS = {"#00ffff": 1, "#ffff00": 2, "#000000": 3, "#ffffff": UNKNOWN}
MEANINGS = Meanings(codes=(1, 2, 3), code_of=COLORS)
CODES = np.random.default_rng(0).choice([1, 2, 3, UNKNOWN], size=(20, 30)).astype(np.uint8)
WHOLE = Window(row=0, col=0, height=20, width=30)


def grid(height: int = 20, width: int = 30) -> Grid:
    return Grid(height=height, width=width, transform=Affine.identity())


def picture(codes: np.ndarray = CODES) -> np.ndarray:
    """(row, col, 3) colours, pixel by pixel."""
    color_of = {code: [int(color[i : i + 2], 16) for i in (1, 3, 5)] for color, code in COLORS.items()}
    return np.array([[color_of[code] for code in row] for row in codes.tolist()], dtype=np.uint8)


def test_colours_become_codes_in_every_kind_of_file(tmp_path: Path, write) -> None:
    Image.fromarray(picture()).save(tmp_path / "rgb.png")
    palette = Image.fromarray(np.searchsorted([1, 2, 3, 255], CODES).astype(np.uint8), mode="P")
    palette.putpalette([0, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255])
    palette.save(tmp_path / "palette.png")
    write("rgb.tif", np.moveaxis(picture(), -1, 0))
    for name in ("rgb.png", "palette.png", "rgb.tif"):
        labels = ColoredLabels.open(tmp_path / name, grid(), MEANINGS)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(labels)).read(WHOLE), CODES, err_msg=name)


def test_a_window_sticks_out_and_layers_are_one_hot(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "rgb.png")
    labels = ColoredLabels.open(tmp_path / "rgb.png", grid(), MEANINGS, layered=True)
    read = labels.read(Window(row=15, col=-4, height=10, width=12))
    expected = np.full((3, 10, 12), UNKNOWN, dtype=np.uint8)
    part = CODES[15:, :8]
    expected[:, :5, 4:] = np.where(part == UNKNOWN, UNKNOWN, [part == code for code in (1, 2, 3)])
    np.testing.assert_array_equal(read, expected)


def test_transparent_pixels_are_unlabelled(tmp_path: Path) -> None:
    alpha = np.where(np.arange(30) < 10, 0, 255)[None].repeat(20, axis=0)
    strange = picture()
    strange[:, :10] = 77  # whatever colour lies under transparency
    Image.fromarray(np.dstack([strange, alpha.astype(np.uint8)])).save(tmp_path / "rgba.png")
    meanings = Meanings(codes=(1, 2, 3), code_of=COLORS, unlabelled=2)
    read = ColoredLabels.open(tmp_path / "rgba.png", grid(), meanings).read(WHOLE)
    np.testing.assert_array_equal(read, np.where(alpha, CODES, 2))


def test_grey_pictures_have_colours_too(tmp_path: Path) -> None:
    """Optimisers store a picture of black and white as grey, or in one bit."""
    black = np.isin(CODES, (1, 3))
    expected = np.where(black, 3, UNKNOWN)
    for mode in ("L", "1"):
        Image.fromarray(np.where(black, 0, 255).astype(np.uint8)).convert(mode).save(tmp_path / "grey.png")
        read = ColoredLabels.open(tmp_path / "grey.png", grid(), MEANINGS).read(WHOLE)
        np.testing.assert_array_equal(read, expected)


def test_strange_colours_are_named_with_their_counts(tmp_path: Path) -> None:
    colors = picture()
    for i in range(7):
        colors[i, : i + 1] = 200 + i, 10, 20
    Image.fromarray(colors).save(tmp_path / "rgb.png")
    labels = ColoredLabels.open(tmp_path / "rgb.png", grid(), MEANINGS)
    with pytest.raises(DataError) as error:
        labels.read(WHOLE)
    message = str(error.value)
    assert (
        "#ce0a14 (7 px), #cd0a14 (6 px), #cc0a14 (5 px), #cb0a14 (4 px), #ca0a14 (3 px) and 2 more" in message
    )
    assert message.endswith("; name them in data.classes or data.ignore")


def test_tolerance_takes_the_nearest_colour_of_a_class(tmp_path: Path) -> None:
    """Against a loop over pixels and classes."""
    noise = np.random.default_rng(1).integers(-9, 10, size=(20, 30, 3))
    meanings = Meanings(codes=(1, 2, 3), code_of={"#808080": 1, "#8c8080": 2, "#ff0000": 3})
    base = np.array([[128, 128, 128], [140, 128, 128], [255, 0, 0]])
    colors = (base[np.random.default_rng(2).integers(0, 3, size=(20, 30))] + noise).clip(0, 255)
    Image.fromarray(colors.astype(np.uint8)).save(tmp_path / "rgb.png")
    expected = [
        [
            1 + int(np.argmin([max(abs(int(a) - int(b)) for a, b in zip(c, k, strict=True)) for k in base]))
            for c in row
        ]
        for row in colors
    ]
    read = ColoredLabels.open(tmp_path / "rgb.png", grid(), meanings, tolerance=9).read(WHOLE)
    np.testing.assert_array_equal(read, expected)
    with pytest.raises(DataError, match="colours of no class"):
        ColoredLabels.open(tmp_path / "rgb.png", grid(), meanings, tolerance=5).read(WHOLE)


def test_jpegs_need_a_tolerance(tmp_path: Path) -> None:
    blocks = CODES[:2, :3].repeat(21, axis=0).repeat(21, axis=1)
    Image.fromarray(picture(blocks)).save(tmp_path / "rgb.jpg", quality=95, subsampling=0)
    with pytest.raises(DataError, match="colours of no class"):
        ColoredLabels.open(tmp_path / "rgb.jpg", grid(42, 63), MEANINGS).read(
            Window(row=0, col=0, height=42, width=63)
        )
    read = ColoredLabels.open(tmp_path / "rgb.jpg", grid(42, 63), MEANINGS, tolerance=40)
    np.testing.assert_array_equal(read.read(Window(row=0, col=0, height=42, width=63)), blocks)


def test_pictures_are_aligned_by_georeference(write) -> None:
    path = write("rgb.tif", np.moveaxis(picture(), -1, 0))
    with rasterio.open(path) as file:
        moved = Grid(
            height=20, width=30, transform=file.transform @ Affine.translation(5, -2), crs=file.crs.to_wkt()
        )
    read = ColoredLabels.open(path, moved, MEANINGS).read(WHOLE)
    np.testing.assert_array_equal(read[2:, :25], CODES[:18, 5:])
    assert (read[:2] == UNKNOWN).all()


def test_what_is_no_colour_coded_picture_is_refused(tmp_path: Path, write) -> None:
    Image.fromarray(picture()).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="the label value 'water' is not a colour"):
        ColoredLabels.open(tmp_path / "rgb.png", grid(), Meanings(codes=(1,), code_of={"water": 1}))
    with pytest.raises(DataError, match="20 x 30 px for an image of 21 x 30"):
        ColoredLabels.open(tmp_path / "rgb.png", grid(21), MEANINGS)
    with pytest.raises(DataError, match="holds uint16"):
        ColoredLabels.open(write("d.tif", np.zeros((3, 20, 30), np.uint16)), grid(), MEANINGS)
    with pytest.raises(DataError, match="has 2 bands"):
        ColoredLabels.open(write("t.tif", np.zeros((2, 20, 30), np.uint8)), grid(), MEANINGS)


def test_deepglobe_masks_are_read_as_pillow_sees_them(shared: Path) -> None:
    path = next(iter(sorted((shared / "deepglobe").glob("*_mask.png"))))
    classes = BUILT_IN["deepglobe"].classes
    meanings = Meanings(codes=tuple(c.code for c in classes), code_of={c.color: c.code for c in classes})
    labels = ColoredLabels.open(path, grid(2448, 2448), meanings)
    read = labels.read(Window(row=1000, col=500, height=600, width=700))
    with Image.open(path) as image:
        colors = np.asarray(image.convert("RGB"))[1000:1600, 500:1200]
    rgb = np.zeros((7, 3), dtype=np.uint8)
    for c in classes:
        rgb[c.code] = c.rgb
    np.testing.assert_array_equal(rgb[read], colors)
    assert len(np.unique(labels.read(Window(row=0, col=0, height=2448, width=2448)))) > 1
