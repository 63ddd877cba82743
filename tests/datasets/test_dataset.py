"""Pairs of images and labels: what counts, what is refused, what the network sees."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geoseg.datasets.dataset import IGNORED, Channels, Chips, Pair
from geoseg.datasets.opening import open_data
from geoseg.datasets.splits import Splits, with_card
from geoseg.datasets.statistics import measure
from geoseg.errors import ConfigError, DataError, GeosegError
from geoseg.grid.legend import Legend, Task
from geoseg.grid.window import Window
from geoseg.learning.config import Config
from geoseg.models.model import Model

SPLIT = "split: {train: [a], val: [b]}"


def opened(path: Path, small: dict[str, Any]) -> Splits:
    """The splits of a configuration, normalised by a card with default numbers."""
    card = Model.new(**small).card
    config = Config.read(path)
    return with_card(open_data(config.data, config.data_root, card).splits, card)


def pair_of(path: Path, small: dict[str, Any]) -> Pair:
    return opened(path, small)["train"][0]


def test_a_sample_is_normalised_and_named_as_torchgeo_names_it(toy: Path, small: dict[str, Any]) -> None:
    pair = pair_of(toy, small)
    sample = Chips([pair])[0, Window(row=4, col=8, height=16, width=40)]
    assert sample["image"].shape == (2, 16, 40)
    assert str(sample["image"].dtype) == "torch.float32"
    assert str(sample["mask"].dtype) == "torch.int64"
    with rasterio.open(toy.parent / "images" / "a.tif") as file:
        stored = file.read()[:, 4:20, 8:48].astype(np.float64)
    card = Model.new(**small).card
    expected = (stored * card.scale[0] + card.offset[0] - card.mean[0]) / card.std[0]
    assert np.allclose(sample["image"].numpy(), expected, atol=1e-5)
    assert np.array_equal(sample["mask"].numpy()[0], np.repeat([0, 1], [24, 16]))
    assert sample["valid"].all()


def test_law_6_invalid_unlabelled_and_padding_pixels_never_count(
    toy: Path, small: dict[str, Any], write_raster: Any
) -> None:
    with rasterio.open(toy.parent / "images" / "a.tif") as file:
        image = file.read()
    image[image == 7] = 8
    image[:, 10, 10] = 7  # no data
    image[0, 11, 11] = 7  # in one band: data
    write_raster(toy.parent / "images" / "a.tif", image, nodata=7)
    sample = pair_of(toy, small).sample(Window(row=-5, col=-5, height=64, width=80))
    mask = sample["mask"].numpy()
    inside = mask[5:53, 5:69]
    assert (mask == IGNORED).sum() == mask.size - inside.size + 3 * 64 + 1
    assert (inside[:3] == IGNORED).all(), "code 0 is ignored"
    assert inside[10, 10] == IGNORED
    assert not sample["image"][:, 15, 15].any(), "an invalid pixel is 0 in every band"
    assert not sample["valid"][15, 15]
    assert sample["valid"].sum() < sample["valid"].numel(), "valid is reflected with the pixels"


@pytest.mark.parametrize(
    ("task", "codes", "expected"),
    [
        ("multiclass", (10, 20), [IGNORED, 0, 1, IGNORED]),
        ("binary", (1,), [0, IGNORED, IGNORED, IGNORED]),
        ("multilabel", (10, 20), [0, IGNORED, IGNORED, IGNORED]),
    ],
)
def test_legend_codes_become_what_the_task_trains_on(
    task: Task, codes: tuple[int, ...], expected: list[int]
) -> None:
    found = Channels(codes=codes, task=task).mask(np.array([[0, 10, 20, 255]], dtype=np.uint8))
    assert found.tolist() == [expected]


def test_statistics_are_those_of_the_valid_pixels(
    toy: Path, small: dict[str, Any], write_raster: Any
) -> None:
    random = np.random.default_rng(3)
    image = (random.normal(30_000, 5, size=(2, 700, 600))).astype(np.uint16)
    image[:, :50] = 65535
    write_raster(toy.parent / "images" / "a.tif", image, nodata=65535)
    labels = random.choice(np.array([0, 10, 20], dtype=np.uint8), size=(700, 600))
    write_raster(toy.parent / "labels" / "a.tif", labels)
    toy.write_text(toy.read_text().replace("val: [b]", "val: [a2]").replace("train: [a]", "train: [a]"))
    write_raster(toy.parent / "images" / "a2.tif", image, at_col=5000, nodata=65535)
    write_raster(toy.parent / "labels" / "a2.tif", labels[::-1], at_col=5000)
    pairs = opened(toy, {**small, "dtype": "uint16"})["train"]
    found = measure(pairs)
    valid = image[:, 50:].reshape(2, -1).astype(np.float64)
    assert found.mean == pytest.approx(tuple(valid.mean(axis=1)), rel=1e-12)
    assert found.std == pytest.approx(tuple(valid.std(axis=1)), rel=1e-9)
    assert found.value_range == (valid.min(), valid.max())
    assert found.pixels == tuple((labels[50:] == code).sum() for code in (10, 20))
    assert found.fingerprint == measure(pairs).fingerprint
    weights = np.array(found.class_weights(0.5))
    assert (weights * found.shares).sum() == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx((found.pixels[1] / found.pixels[0]) ** 0.5)


def test_a_class_without_pixels_and_a_constant_band_are_refused(
    toy: Path, small: dict[str, Any], write_raster: Any
) -> None:
    pairs = opened(toy, small)["train"]
    with pytest.raises(DataError, match="no training pixel is labelled as class 30"):
        measure([replace(pair, channels=Channels(codes=(10, 20, 30))) for pair in pairs])
    named = Legend.of([(10, "left", None), (20, "right", None), (30, "lava", None)])
    with pytest.raises(DataError, match=r"labelled as class 30 \(lava\)"):
        measure([replace(pair, channels=Channels(codes=named.codes)) for pair in pairs], legend=named)
    with rasterio.open(toy.parent / "images" / "a.tif") as file:
        image = file.read()
    image[1] = 9
    write_raster(toy.parent / "images" / "a.tif", image)
    with pytest.raises(DataError, match="band 2 is constant"):
        measure(opened(toy, small)["train"])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_groups_keep_images_together(toy: Path, small: dict[str, Any]) -> None:
    (toy.parent / "groups.json").write_text(json.dumps([["b"], ["a"]]))
    edit(toy, "split: {train: [a], val: [b]}", "groups: groups.json\n  split: {train: [1], val: [0]}")
    splits = opened(toy, small)
    assert [pair.name for pair in splits["train"]] == ["a"]
    assert [pair.name for pair in splits["val"]] == ["b"]
    assert splits["test"] == ()


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("train: [a]", "train: [c]", ConfigError, "there is no group c, expected a, b"),
        ("split:", "groups: [[a], [b]]\n  split:", ConfigError, "there is no group a, expected 0, 1"),
        (SPLIT, "groups: [[a, x], [b]]\n  split: {train: [0], val: [1]}", DataError, "not an image of the data"),
        (SPLIT, "groups: [[a], [a, b]]\n  split: {train: [0], val: [1]}", DataError, "in groups 0 and 1, expected one"),
        ("split:", "groups: none.json\n  split:", ConfigError, "none.json cannot be read"),
        ("images/*.tif", "pictures/*.tif", DataError, "matches no file"),
        ("labels/*.tif", "labels/a*.tif", DataError, "b.tif: has no labels"),
        ("bands: [blue, green]", "bands: [blue, green]\n  band_numbers: [1, 3]", GeosegError, "no band 3"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    toy: Path, small: dict[str, Any], old: str, new: str, error: type[GeosegError], said: str
) -> None:
    edit(toy, old, new)
    with pytest.raises(error, match=re.escape(said)):
        opened(toy, small)


def test_labels_on_another_grid_and_splits_that_share_ground_are_refused(
    toy: Path, small: dict[str, Any], write_raster: Any
) -> None:
    labels = toy.parent / "labels" / "b.tif"
    with rasterio.open(labels) as file:
        codes = file.read(1)
    write_raster(labels, codes, at_col=500)
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used: .*b.tif"):
        opened(toy, small)
    write_raster(labels, codes.astype(np.float32) + 0.5, at_col=100)
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used: .*b.tif"):
        opened(toy, small)
    with rasterio.open(toy.parent / "images" / "b.tif") as file:
        image = file.read()
    write_raster(labels, codes, at_col=63)
    write_raster(toy.parent / "images" / "b.tif", image, at_col=63)
    with pytest.raises(DataError, match=r"a \(train\) and b \(val\) overlap on the ground"):
        opened(toy, small)
    # Sharing an edge is not overlapping.
    write_raster(labels, codes, at_col=64)
    write_raster(toy.parent / "images" / "b.tif", image, at_col=64)
    assert opened(toy, small)["val"]


def test_an_image_of_another_dtype_is_refused(toy: Path, small: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="a.tif .and 1 other.: is uint8, expected uint16"):
        opened(toy, {**small, "dtype": "uint16"})
