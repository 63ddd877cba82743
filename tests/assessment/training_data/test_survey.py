"""What is counted of training data, against naive loops, other libraries and what a training itself counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import geoseg
from geoseg.assessment.training_data.shift import REACH, EdgeMatch
from geoseg.datasets.opening import open_data
from geoseg.datasets.statistics import measure
from geoseg.learning.config import Config
from tests.assessment.training_data.made import (
    CLASSES,
    EDGE,
    NAMES,
    clean_set,
    configured,
    image_of,
    labels_of,
    put_labels,
    write,
)
from tests.datasets.sets import card_of

SPLITS: dict[str, dict[str, Any]] = {
    "given": {"train": NAMES[:4], "val": NAMES[4:5]},
    "fraction": {"method": "fraction", "val": 0.3, "test": 0.2, "seed": 3},
    "blocks": {"method": "blocks", "size": 24, "val": 0.2, "test": 0.2},
    "blocks with a buffer": {"method": "blocks", "size": 24, "val": 0.2, "buffer": 4},
}


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("split", SPLITS)
def test_pixels_of_each_split_are_those_that_a_training_counts(split: str, task: str, tmp_path: Path) -> None:
    clean_set(tmp_path)
    labels = labels_of(0)
    labels[10:40] = 0
    put_labels(tmp_path, 0, labels)
    path = configured(tmp_path, split=SPLITS[split], task=task, ignore=[0])
    quality = geoseg.check(path, progress=False)
    assert isinstance(quality, geoseg.DataQuality)
    config = Config.read(path)
    opened = open_data(config.data, config.data_root, card_of(config, "uint16"))
    for name, pairs in opened.splits.items():
        if pairs:
            assert quality.classes[name].tolist() == list(measure(pairs).pixels), name
        else:
            assert not quality.classes[name].any()
    if split == "given":
        statistics = measure([*opened.splits["train"], *opened.splits["val"]])
        other = geoseg.check(path, changes=["data.exclude=[p5]"], progress=False)
        assert isinstance(other, geoseg.DataQuality)
        np.testing.assert_allclose(other.bands["mean"], statistics.mean, rtol=1e-12)
        np.testing.assert_allclose(other.bands["std"], statistics.std, rtol=1e-12)


def test_objects_are_whole_across_windows(tmp_path: Path) -> None:
    """Images are read in windows of 512 x 2048 px, and objects looked for in strips of 64 rows."""
    labels = np.tile(labels_of(3), (7, 23))[:600, :2100]
    pixels = image_of(labels, 0)
    write(tmp_path / "a.tif", pixels)
    write(tmp_path / "b.tif", labels)
    quality = geoseg.check(tmp_path / "a.tif", labels=tmp_path / "b.tif", progress=False)
    for number, code in enumerate((1, 2, 3)):
        sizes = np.bincount(ndimage.label(labels == code)[0].ravel())[1:]
        row = quality.classes.iloc[number]
        assert (row["objects"], row["largest_px"], row["smallest_px"]) == (
            len(sizes),
            sizes.max(),
            sizes.min(),
        )
        assert row["pixels"] == sizes.sum()


def test_classes_that_overlap_have_objects_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    layers = (ndimage.gaussian_filter(random.normal(size=(3, EDGE, EDGE)), (0, 4, 4)) > 0).astype(np.uint8)
    for name, at in (("a", 0), ("b", 200)):
        write(
            tmp_path / "images" / f"{name}.tif",
            random.integers(1, 999, (2, EDGE, EDGE)).astype(np.uint16),
            col=at,
        )
        write(tmp_path / "labels" / f"{name}.tif", layers if name == "a" else layers[::-1], col=at)
    path = configured(tmp_path, task="multilabel", classes=CLASSES, split={"train": ["a"], "val": ["b"]})
    quality = geoseg.check(path, progress=False)
    assert isinstance(quality, geoseg.DataQuality)
    assert quality.classes["train"].tolist() == layers.sum(axis=(1, 2)).tolist()
    for number in range(3):
        both = sum(ndimage.label(layer)[1] for layer in (layers[number], layers[::-1][number]))
        assert quality.classes["objects"].iloc[number] == both


def scene(seed: int, edge: int = 300) -> tuple[np.ndarray, np.ndarray]:
    labels = labels_of(seed, edge)
    return image_of(labels, seed), labels.astype(np.int64)


steps = st.integers(-REACH, REACH)


@settings(max_examples=20)
@given(steps, steps, st.integers(0, 3))
def test_any_shift_within_reach_is_found(rows: int, cols: int, seed: int) -> None:
    pixels, labels = scene(seed)
    match = EdgeMatch()
    match.add(pixels, np.ones(labels.shape, bool), np.roll(labels, (-rows, -cols), axis=(0, 1)), labels.shape)
    found = match.found()
    if rows == cols == 0:
        assert found is None
    else:
        assert found is not None
        assert (found.rows, found.cols) == (rows, cols)


def test_nothing_is_said_of_labels_that_have_nothing_to_do_with_the_image() -> None:
    for seed in range(12):
        pixels, _ = scene(seed)
        _, labels = scene(seed + 50)
        match = EdgeMatch()
        match.add(pixels, np.ones(labels.shape, bool), labels, labels.shape)
        assert match.found() is None


def test_invalid_and_unlabelled_pixels_have_no_edges() -> None:
    pixels, labels = scene(0)
    nothing, unlabelled = EdgeMatch(), EdgeMatch()
    nothing.add(pixels, np.zeros(labels.shape, bool), labels, labels.shape)
    unlabelled.add(pixels, np.ones(labels.shape, bool), np.where(labels == 1, labels, -100), labels.shape)
    assert nothing.edges == unlabelled.edges == 0
    assert nothing.found() is None
