"""Scores of whole images: cut in bands or not, with thresholds, without small regions, added up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geoseg.datasets.dataset import IGNORED, Channels, Pair
from geoseg.engine.resized import ResizedSource
from geoseg.engine.small_regions import without_small
from geoseg.grid.tiling import Tiling
from geoseg.learning.metrics import KINDS, Confusion, ImageMeans
from geoseg.learning.scoring import Score, Scorer, scored_sizes
from tests.datasets.in_memory import pair_of

SCORER = Scorer(tiling=Tiling(size=8, overlap=2), device="cpu", precision="fp32")
LAYERS = Channels(codes=(3, 7), task="multilabel")
BINARY = Channels(codes=(1,), task="binary")


class AsLogits(torch.nn.Module):
    """A network whose logits are the first bands of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        return image[:, : self.channels]


def blobs(random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Noise with regions of some px."""
    noise = random.normal(size=shape)
    smooth = sum(np.roll(noise, (i, j), (-2, -1)) for i in range(3) for j in range(3))
    return np.asarray(smooth, dtype=np.float32)


def image_of(seed: int, channels: Channels, shape: tuple[int, int] = (21, 13)) -> Pair:
    """An image whose first bands are logits, with labels that go with them, unknown and invalid pixels."""
    random = np.random.default_rng(seed)
    logits = blobs(random, (channels.count, *shape))
    labels = (logits + random.normal(size=logits.shape) > random.normal()).astype(np.uint8)
    labels[random.random(labels.shape) < 0.1] = 255
    valid = random.random(shape) > 0.05
    codes = labels if channels.task == "multilabel" else labels[0]
    return pair_of(logits, codes, channels, valid=valid, name=str(seed))


def parts_of(pair: Pair) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Probabilities, validity and mask (class, row, col) of a whole image, without the engine."""
    image: Any = pair.image
    probabilities = torch.sigmoid(torch.from_numpy(image.pixels)).numpy()
    codes: Any = pair.labels
    codes = codes.codes.reshape(probabilities.shape)
    mask = np.where((codes == 255) | ~image.known_valid, IGNORED, codes.astype(np.int64))
    return probabilities, image.known_valid, mask


@pytest.mark.parametrize("channels", [LAYERS, BINARY])
@pytest.mark.parametrize("min_regions", [False, True])
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_an_image_is_decided_by_thresholds_and_sizes_and_counts_as_one(
    channels: Channels, min_regions: bool, seed: int
) -> None:
    pair = image_of(seed, channels)
    thresholds, sizes = (0.3, 0.8)[: channels.count], (9, 4)[: channels.count]
    scorer = replace(SCORER, thresholds=thresholds, min_regions=sizes if min_regions else None)
    found = scorer.image(AsLogits(channels.count), pair)
    probabilities, valid, mask = parts_of(pair)
    present = (probabilities > np.array(thresholds, dtype=np.float32)[:, None, None]) & valid
    if min_regions:
        present = without_small(present, sizes)
    predicted = present.astype(np.int64)
    whole = (
        Confusion.of_layers(mask, predicted)
        if channels.task == "multilabel"
        else Confusion.of(mask[0], predicted[0], 2)
    )
    assert np.array_equal(found.confusion.counts, whole.counts)
    for kind in KINDS:
        assert np.array_equal(found.image_means.each(kind), ImageMeans.of(whole).each(kind))


def test_images_add_up_each_as_one() -> None:
    pairs = [image_of(seed, LAYERS) for seed in range(3)]
    network = AsLogits(2)
    each = [SCORER.image(network, pair) for pair in pairs]
    whole = sum(each[1:], start=each[0])
    assert np.array_equal(whole.confusion.counts, sum(s.confusion.counts for s in each))
    for kind in KINDS:
        assert whole.image_means.each(kind) == pytest.approx(
            np.mean([score.image_means.each(kind) for score in each], axis=0)
        )
    assert whole.image_means.accuracy == pytest.approx(np.mean([s.confusion.accuracy for s in each]))
    nothing = Score.nothing(LAYERS) + whole
    assert np.array_equal(nothing.image_means.sums, whole.image_means.sums)
    assert np.array_equal(nothing.image_means.images, [3, 3])


def test_processes_add_up_as_images_do() -> None:
    network = AsLogits(1)
    first, second = (SCORER.image(network, image_of(seed, BINARY)) for seed in (1, 2))
    first, second = replace(first, losses=(0.5, 3)), replace(second, losses=(0.25, 4))
    others: list[npt.NDArray[Any]] = []
    second.added_by(lambda numbers: others.append(numbers) or numbers)  # type: ignore[func-returns-value]
    waiting = iter(others)
    total, expected = first.added_by(lambda numbers: numbers + next(waiting)), first + second
    assert next(waiting, None) is None
    assert np.array_equal(total.confusion.counts, expected.confusion.counts)
    assert total.losses == expected.losses
    for kind in KINDS:
        assert np.array_equal(total.image_means.each(kind), expected.image_means.each(kind))
    assert total.image_means.accuracy == expected.image_means.accuracy


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2000))
def test_a_region_of_a_resized_image_is_judged_by_what_it_would_cover(
    height: int, rows: int, cols: int, size: int
) -> None:
    pair = pair_of(np.zeros((1, height, 7), dtype=np.float32), np.zeros((height, 7)), BINARY)
    assert scored_sizes(pair, [size]) == (size,)
    pair = replace(pair, image=ResizedSource(source=pair.image, shape=(rows, cols)))
    (fewest,) = scored_sizes(pair, [size])
    for pixels in (fewest - 1, fewest, fewest + 1):
        assert (pixels >= fewest) == (pixels * height * 7 >= size * rows * cols)
