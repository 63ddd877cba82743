"""Calibrated models: as LBFGS and torchmetrics say, never worse, and with the same classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from geoseg.datasets.dataset import Channels, Pair
from geoseg.grid.legend import Task
from geoseg.grid.tiling import Tiling
from geoseg.learning.calibration import FEWEST, calibrated
from geoseg.models.card import SOFTEST, Card
from tests.datasets.in_memory import pair_of
from tests.learning.test_scoring import SCORER, AsLogits
from tests.learning.test_temperature import by_lbfgs
from tests.oracle import pointwise_card

SURE = 3.0
"""How many times too large the logits are."""
WHOLE = replace(SCORER, tiling=Tiling(size=64, overlap=0))
CODES = {"multiclass": (3, 5, 9), "binary": (1,), "multilabel": (3, 5, 9)}


def card_of(task: Task, **changes: object) -> Card:
    return pointwise_card(3, (0, 1) if task == "binary" else CODES[task], task=task, **changes)


def over_confident(task: Task, seed: int = 0, shape: tuple[int, int] = (64, 64)) -> Pair:
    """An image whose bands are logits three times too large; of a multilabel task by 3, 6 and 9."""
    random, count = np.random.default_rng(seed), len(CODES[task])
    logits = random.normal(size=(count, *shape)) * 1.5
    if task == "multiclass":
        odds = np.exp(logits) / np.exp(logits).sum(axis=0)
        labels = np.minimum((random.random(shape) > odds.cumsum(axis=0)).sum(axis=0), count - 1)
        codes = np.array(CODES[task])[labels]
    else:
        codes = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
        codes = codes if task == "multilabel" else codes[0]
    codes[..., :2, :] = 255
    factors = SURE * np.arange(1, count + 1) if task == "multilabel" else np.full(count, SURE)
    pixels = (logits * factors[:, None, None]).astype(np.float32)
    return pair_of(pixels, codes, Channels(codes=CODES[task], task=task), name=f"{task} {seed}")


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_an_over_confident_network_is_softened_and_its_classes_stay(task: Task) -> None:
    pairs = [over_confident(task, seed) for seed in range(2)]
    network, card = AsLogits(len(CODES[task])), card_of(task)
    found = calibrated(WHOLE, network, pairs, card)
    gained = found.card.calibration
    assert not found.refusal
    assert gained is not None
    assert gained.pixels == 2 * 62 * 64 * (3 if task == "multilabel" else 1)
    assert gained.nll < gained.nll_before
    assert gained.ece < 0.02 < 0.1 < gained.ece_before
    expected = [3.0, 6.0, 9.0] if task == "multilabel" else [3.0]
    divisor = found.card.divisor if isinstance(found.card.divisor, tuple) else (found.card.divisor,)
    assert divisor == pytest.approx(expected, rel=0.1)
    for pair, score in zip(pairs, found.scores, strict=True):
        before = WHOLE.image(network, pair)
        assert np.array_equal(score.confusion.counts, before.confusion.counts), "no class changes"
        assert np.array_equal(
            WHOLE.deciding_as(found.card).image(network, pair).confusion.counts, score.confusion.counts
        )
    # What is calibrated is not calibrated again.
    again = calibrated(WHOLE, network, pairs, found.card)
    assert again.card.divisor == pytest.approx(found.card.divisor, rel=1e-4)


def test_it_is_what_lbfgs_and_torchmetrics_say_of_the_same_logits() -> None:
    pair = over_confident("multiclass")
    found = calibrated(WHOLE, AsLogits(3), [pair], card_of("multiclass")).card
    logits = np.asarray(pair.image.pixels, dtype=np.float64)[:, 2:].reshape(3, -1).T  # type: ignore[attr-defined]
    labels = np.searchsorted(CODES["multiclass"], pair.labels.codes[2:].ravel())  # type: ignore[attr-defined]
    expected = by_lbfgs(logits, labels.astype(np.int64))
    assert found.temperature == pytest.approx(expected, rel=1e-4)
    assert found.calibration is not None
    for divisor, error, loss in (
        (1.0, found.calibration.ece_before, found.calibration.nll_before),
        (expected, found.calibration.ece, found.calibration.nll),
    ):
        shares = torch.softmax(torch.from_numpy(logits) / divisor, dim=1)
        target = torch.from_numpy(labels)
        assert error == pytest.approx(
            float(multiclass_calibration_error(shares, target, 3, n_bins=15)), abs=2e-3
        )
        assert loss == pytest.approx(float(torch.nn.functional.nll_loss(shares.log(), target)), rel=1e-4)


def test_thresholds_move_with_the_temperature() -> None:
    pair, card = over_confident("binary"), card_of("binary", thresholds=[0.8])
    found = calibrated(WHOLE, AsLogits(1), [pair], card).card
    assert found.thresholds is not None
    assert 0.5 < found.thresholds[0] < 0.7
    before, after = (WHOLE.deciding_as(each).image(AsLogits(1), pair) for each in (card, found))
    assert np.array_equal(before.confusion.counts, after.confusion.counts)
    at_half = calibrated(WHOLE, AsLogits(1), [pair], card_of("binary", thresholds=[0.5])).card
    assert at_half.thresholds == (0.5,)


def test_where_tiles_overlap_the_likelihood_is_no_worse() -> None:
    """Tiles of 8 px that overlap, and a network that looks around: what is blended differs."""

    class Around(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 2 * torch.nn.functional.avg_pool2d(image, 5, stride=1, padding=2)

    found = calibrated(SCORER, Around(), [over_confident("multiclass", 3)], card_of("multiclass")).card
    assert found.calibration is not None
    assert found.calibration.nll <= found.calibration.nll_before


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_what_cannot_be_calibrated_is_left_as_it_is(task: Task) -> None:
    card = card_of(task)
    few = over_confident(task, shape=(20, 20))
    found = calibrated(WHOLE, AsLogits(3), [few], card)
    assert found.card == card
    assert found.refusal == f"found 360 labelled pixels, expected at least {FEWEST}"
    assert len(found.scores) == 1
    right = over_confident(task)
    logits = right.image.pixels  # type: ignore[attr-defined]
    codes = (
        (logits > 0).astype(np.uint8)
        if task == "multilabel"
        else np.array(CODES[task])[logits.argmax(axis=0)]
    )
    right = pair_of(logits, codes, right.channels)
    found = calibrated(WHOLE, AsLogits(3), [right], card)
    assert found.card == card
    assert "are mapped right, which says nothing" in found.refusal


def test_a_class_without_labels_keeps_its_temperature() -> None:
    pair = over_confident("multilabel")
    codes = pair.labels.codes.copy()  # type: ignore[attr-defined]
    codes[1] = 255
    pair = pair_of(pair.image.pixels, codes, pair.channels)  # type: ignore[attr-defined]
    found = calibrated(WHOLE, AsLogits(3), [pair], card_of("multilabel")).card
    assert isinstance(found.temperature, tuple)
    assert found.temperature == pytest.approx((3.0, 1.0, 9.0), rel=0.1)
    assert found.temperature[1] == 1.0


def test_a_temperature_that_does_no_good_is_not_kept() -> None:
    """Fitted to what comes out of the engine; if the engine does worse with it, the card keeps what it had."""
    pair = over_confident("multiclass")

    class Turning(AsLogits):
        """Answers something else in the second look."""

        looks = 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.looks += 1
            return super().forward(image) * (1 if self.looks == 1 else -1)

    found = calibrated(WHOLE, Turning(3), [pair], card_of("multiclass")).card
    assert found.temperature is None
    assert found.calibration is not None
    assert found.calibration.nll == found.calibration.nll_before


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_what_is_soft_already_gets_no_softer_than_a_card_may_say(task: Task) -> None:
    """Labels that say the opposite of the network: the softer the better, without end."""
    pair = over_confident(task)
    opposite = pair_of(-pair.image.pixels * 1e6, pair.labels.codes, pair.channels)  # type: ignore[attr-defined]
    softest = [SOFTEST] * 3 if task == "multilabel" else SOFTEST
    found = calibrated(WHOLE, AsLogits(3), [opposite], card_of(task, temperature=softest)).card
    assert found.temperature == (tuple(softest) if isinstance(softest, list) else softest)
