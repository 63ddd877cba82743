"""Grey masks as labels."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.grey_labels import GreyLabels
from geoseg.labels.label import UNKNOWN, Meanings

MEANINGS = Meanings(codes=(1,), code_of={0: 0, 1: 1})
GREY = np.arange(256, dtype=np.uint8).reshape(8, 32)
WHOLE = Window(row=0, col=0, height=8, width=32)
GRID = Grid(height=8, width=32, transform=Affine.identity())


@pytest.mark.parametrize("threshold", [127.0, 0, 254.5])
@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P"])
def test_pixels_above_the_threshold_are_one(tmp_path: Path, mode: str, threshold: float) -> None:
    """Also where the same grey is stored in another way."""
    Image.fromarray(GREY).convert(mode).save(tmp_path / "m.png")
    labels = pickle.loads(
        pickle.dumps(GreyLabels.open(tmp_path / "m.png", GRID, MEANINGS, threshold=threshold))
    )
    np.testing.assert_array_equal(labels.read(WHOLE), threshold < GREY)
    absent = Meanings(codes=(1,), code_of={0: 0, 1: 1}, unlabelled=0)
    labels = GreyLabels.open(tmp_path / "m.png", GRID, absent, threshold=threshold)
    read = labels.read(Window(row=-1, col=30, height=3, width=4))
    np.testing.assert_array_equal(read[1:, :2], GREY[:2, 30:] > threshold)
    assert (read[0] == UNKNOWN).all()
    assert (read[:, 2:] == UNKNOWN).all()


def test_white_of_one_bit_is_bright(tmp_path: Path) -> None:
    for name in ("m.png", "m.tif"):
        Image.fromarray(np.where(GREY % 3, 0, 255).astype(np.uint8)).convert("1").save(tmp_path / name)
        np.testing.assert_array_equal(
            GreyLabels.open(tmp_path / name, GRID, MEANINGS).read(WHOLE), GREY % 3 == 0
        )


def test_colours_count_by_their_luminance(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, size=(8, 32, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    read = GreyLabels.open(tmp_path / "m.png", GRID, MEANINGS).read(WHOLE)
    np.testing.assert_array_equal(read, rgb.astype(int) @ [299, 587, 114] > 127_000)


def test_no_data_and_transparent_pixels_are_unlabelled(tmp_path: Path, write) -> None:
    meanings = Meanings(codes=(1,), code_of={0: 0, 1: 1}, unlabelled=0)
    alpha = np.where(GREY % 2, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([GREY, alpha]), mode="LA").save(tmp_path / "m.png")
    for chosen, unlabelled in ((MEANINGS, UNKNOWN), (meanings, 0)):
        read = GreyLabels.open(tmp_path / "m.png", GRID, chosen).read(WHOLE)
        np.testing.assert_array_equal(read, np.where(alpha, GREY > 127, unlabelled))
    path = write("m.tif", np.array([[[0.2, np.nan], [0.9, -1]]], np.float32), nodata=-1)
    grid = Grid(height=2, width=2, transform=Affine(10, 0, 399960, 0, -10, 5700000))
    read = GreyLabels.open(path, grid, MEANINGS, threshold=0.5).read(Window(row=0, col=0, height=2, width=2))
    np.testing.assert_array_equal(read, [[0, UNKNOWN], [1, UNKNOWN]])


def test_what_is_no_mask_of_the_image_is_refused(tmp_path: Path, write) -> None:
    Image.fromarray(GREY).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="8 x 32 px for an image of 9 x 32"):
        GreyLabels.open(tmp_path / "m.png", Grid(height=9, width=32, transform=Affine.identity()), MEANINGS)
    with pytest.raises(DataError, match="has 2 bands"):
        GreyLabels.open(write("t.tif", np.zeros((2, 8, 32), np.uint8)), GRID, MEANINGS)


def test_real_masks_are_read_as_pillow_sees_them(shared: Path) -> None:
    for path in [*sorted(shared.glob("roofs/labels/*.png")), *sorted(shared.glob("people/masks/*.png"))]:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))
        grid = Grid(height=grey.shape[0], width=grey.shape[1], transform=Affine.identity())
        read = GreyLabels.open(path, grid, MEANINGS).read(
            Window(row=0, col=0, height=grey.shape[0], width=grey.shape[1])
        )
        np.testing.assert_array_equal(read, grey > 127, err_msg=str(path))
        assert 0 < read.mean() < 1
