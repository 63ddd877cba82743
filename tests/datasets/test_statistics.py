"""What the training pixels are like, against numpy over the whole arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets import statistics
from geoseg.datasets.dataset import Channels, Pair
from geoseg.datasets.statistics import measure
from geoseg.errors import DataError
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.scene import Scene
from tests.datasets.in_memory import ArrayLabels, Marked, pair_of

RANDOM = np.random.default_rng(11)
PIXELS = RANDOM.integers(0, 4000, (2, 600, 700), dtype=np.uint16)
VALID = RANDOM.random((600, 700)) < 0.9


def test_binary_labels_have_pixels_of_both_values() -> None:
    codes = RANDOM.choice(np.array([0, 0, 1, 255]), (600, 700))
    found = measure([pair_of(PIXELS, codes, Channels(codes=(1,), task="binary"), valid=VALID)])
    assert found.pixels == tuple((codes[VALID] == value).sum() for value in (0, 1))
    assert found.shares.sum() == pytest.approx(1)
    assert found.index.pixels.tolist() == list(found.pixels)


def test_multilabel_classes_overlap_and_none_of_them_is_a_kind_of_its_own() -> None:
    codes = RANDOM.choice(np.array([0, 1, 255]), (3, 600, 700))
    found = measure([pair_of(PIXELS, codes, Channels(codes=(2, 5, 9), task="multilabel"), valid=VALID)])
    assert found.pixels == tuple((layer[VALID] == 1).sum() for layer in codes)
    labelled = (codes != 255).any(axis=0) & VALID
    assert found.index.pixels[-1] == (labelled & ~(codes == 1).any(axis=0)).sum()
    assert found.index.images[0].labelled.sum() == labelled.sum()


def test_pixels_outside_of_the_area_leak_nothing() -> None:
    codes = RANDOM.integers(0, 2, (600, 700))
    inside = np.zeros((600, 700), dtype=bool)
    inside[:530, 100:400] = True
    changed = np.where(inside, PIXELS, 65535).astype(np.uint16)
    channels = Channels(codes=(0, 1))
    one, other = (
        measure([pair_of(pixels, codes, channels, valid=VALID, area=Marked(pixels=inside))])
        for pixels in (PIXELS, changed)
    )
    counted = PIXELS[:, inside & VALID].astype(np.float64)
    assert one.mean == other.mean == pytest.approx(tuple(counted.mean(axis=1)), rel=1e-12)
    assert one.std == other.std == pytest.approx(tuple(counted.std(axis=1)), rel=1e-9)
    assert one.value_range == other.value_range == (counted.min(), counted.max())
    assert one.pixels == tuple((codes[inside & VALID] == code).sum() for code in (0, 1))
    assert not one.index.images[0].labelled[18:].any()


@pytest.mark.parametrize(
    ("task", "codes", "labels", "said"),
    [
        ("binary", (1,), np.ones((50, 50)), "labelled as 0; say what is 0"),
        ("binary", (1,), np.zeros((50, 50)), "labelled as 1; train on more"),
        ("multilabel", (3, 4), np.stack([np.ones((50, 50)), np.zeros((50, 50))]), "as class 4"),
        ("multiclass", (3, 4), np.full((50, 50), 4), "as class 3"),
    ],
)
def test_a_class_that_is_nowhere_is_refused(task: Any, codes: Any, labels: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        measure([pair_of(PIXELS[:, :50, :50], labels, Channels(codes=codes, task=task))])


def test_an_image_without_valid_pixels_is_refused() -> None:
    pair = pair_of(PIXELS, np.zeros((600, 700)), Channels(codes=(0, 1)), valid=np.zeros((600, 700), bool))
    with pytest.raises(DataError, match="no valid pixel"):
        measure([pair])


def test_the_fingerprint_sees_a_pixel_a_label_and_a_name() -> None:
    codes = RANDOM.integers(0, 2, (600, 700))
    channels = Channels(codes=(0, 1))
    prints = {measure([pair_of(PIXELS, codes, channels)]).fingerprint}
    pixels, labels = PIXELS.copy(), codes.copy()
    pixels[1, 599, 699] ^= 1
    labels[599, 699] ^= 1
    prints.add(measure([pair_of(pixels, codes, channels)]).fingerprint)
    prints.add(measure([pair_of(PIXELS, labels, channels)]).fingerprint)
    prints.add(measure([pair_of(PIXELS, codes, channels, name="other")]).fingerprint)
    assert len(prints) == 4


@given(
    st.tuples(st.integers(1, 1300), st.integers(1, 1300)),
    st.tuples(st.integers(1, 700), st.integers(1, 1300)),
)
def test_law_blocks_cut_no_block_of_the_file_and_cover_each_pixel_once(
    shape: tuple[int, int], source: tuple[int, int]
) -> None:
    hits = np.zeros(shape, dtype=int)
    for window in statistics._blocks(shape, source):
        assert window.within(shape) == window
        assert window.row % source[0] == 0
        assert window.col % source[1] == 0 or window.width == shape[1]
        hits[window.slices] += 1
    assert (hits == 1).all()


class _Counting:
    """A scene that counts how often each of its pixels is decoded: whole blocks are."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        rows, cols = scene.block_shape
        self.decoded = np.zeros((-(-scene.grid.height // rows), -(-scene.grid.width // cols)), dtype=int)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scene, name)

    def read(self, window: Window) -> Chip:
        rows, cols = self._scene.block_shape
        self.decoded[
            window.row // rows : -(-window.row_stop // rows), window.col // cols : -(-window.col_stop // cols)
        ] += 1
        return self._scene.read(window)


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 256, "blockysize": 128}])
def test_each_block_of_a_file_is_decoded_once(tmp_path: Path, write_raster: Any, layout: Any) -> None:
    path = write_raster(tmp_path / "image.tif", PIXELS, **layout)
    with rasterio.open(path) as file:
        assert file.block_shapes[0] == ((128, 256) if layout else file.block_shapes[0])
    scene = _Counting(Scene.open(path))
    codes = RANDOM.integers(0, 2, (600, 700)).astype(np.uint8)
    pair = Pair(
        name="a", image=scene, labels=ArrayLabels(codes=codes), channels=Channels(codes=(0, 1))  # type: ignore[arg-type]
    )  # fmt: skip
    measure([pair])
    assert (scene.decoded == 1).all()
