"""Tuned settings: none of the grid is better, by trying every one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import geoseg.learning.training_run as train_module
from geoseg.datasets.dataset import Channels, Pair
from geoseg.engine.decision import Decision
from geoseg.engine.small_regions import without_small
from geoseg.errors import ConfigError
from geoseg.learning.config import Config, TuneConfig
from geoseg.learning.train import train
from geoseg.learning.tuning import _HUNDREDTHS, _SIZES, _TWENTIETHS, Tuned, _best, _places, tune
from geoseg.models.card_file import read_card
from tests.datasets.in_memory import pair_of
from tests.learning.test_scoring import BINARY, LAYERS, SCORER, AsLogits, image_of, parts_of


def score_of(config: TuneConfig, pairs: list[Pair], channel: int, threshold: float, size: int) -> float:
    """Score of one class with one setting, in plain sums."""
    counts = []
    for pair in pairs:
        probabilities, valid, mask = parts_of(pair)
        present = (probabilities[channel] > np.float32(threshold)) & valid
        present = without_small(present[None], [size])[0]
        known = mask[channel] >= 0
        truth = mask[channel] == 1
        counts.append([(present & truth & known).sum(), (present & known).sum(), truth.sum(), known.sum()])
    if config.reduction == "dataset":
        counts = [np.sum(counts, axis=0)]
    scores = []
    for hits, predicted, referenced, known in counts:
        if known:
            whole = predicted + referenced - (0 if config.metric == "dice" else hits)
            part = hits * (2 if config.metric == "dice" else 1)
            scores.append(part / whole if whole else 1.0)
    return float(np.mean(scores))


@pytest.mark.parametrize("channels", [LAYERS, BINARY])
@pytest.mark.parametrize("regions", [False, True])
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32),
    metric=st.sampled_from(["dice", "iou"]),
    reduction=st.sampled_from(["dataset", "image"]),
)
def test_no_setting_is_better_and_those_as_good_are_no_nearer_to_the_defaults(
    channels: Channels, regions: bool, seed: int, metric: Any, reduction: Any
) -> None:
    config = TuneConfig(metric=metric, reduction=reduction, regions=regions)
    pairs = [image_of(seed + i, channels, (19, 11)) for i in range(2)]
    found = tune(SCORER, AsLogits(channels.count), pairs, config)
    assert len(found) == channels.count
    grid = list(itertools.product(_TWENTIETHS, _SIZES[:11])) if regions else [(t, 0) for t in _HUNDREDTHS]
    for channel, each in enumerate(found):
        scores = {place: score_of(config, pairs, channel, *place) for place in grid}
        assert each.before == pytest.approx(scores[0.5, 0])
        assert each.after == pytest.approx(max(scores.values()))
        assert each.after >= each.before
        best = [place for place, score in scores.items() if score >= max(scores.values()) - 1e-12]
        nearest = min(round(abs(t - 0.5), 9) for t, _ in best)
        assert round(abs(each.threshold - 0.5), 9) == nearest
        assert each.min_region == min(s for t, s in best if t == each.threshold)


@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.sampled_from([_HUNDREDTHS, _TWENTIETHS]))
def test_thresholds_are_compared_as_the_engine_compares_them(
    numbers: list[float], thresholds: tuple[float, ...]
) -> None:
    probabilities = torch.tensor([*numbers, *thresholds], dtype=torch.float32).view(1, 1, -1)
    places = _places(probabilities, thresholds)
    valid = torch.ones(probabilities.shape[1:], dtype=torch.bool)
    for step, threshold in enumerate(thresholds):
        codes, _, _ = Decision("multilabel", (1,), (threshold,), torch.device("cpu"))(probabilities, valid)
        assert torch.equal(codes == 1, places > step)


def test_ties_go_to_the_threshold_in_the_middle_then_to_the_smaller_region() -> None:
    scores = np.zeros((19, 3))
    assert _best(scores, _TWENTIETHS, (0, 10, 20), known=True) == Tuned(
        threshold=0.5, min_region=0, before=0.0, after=0.0
    )
    scores[[2, 8, 10, 15]] = 1.0
    scores[8, 0] = scores[10, 0] = 0.5
    assert _best(scores, _TWENTIETHS, (0, 10, 20), known=True).threshold == 0.45
    assert _best(scores, _TWENTIETHS, (0, 10, 20), known=True).min_region == 10


def test_a_region_is_as_large_as_it_is_whatever_of_it_has_a_label() -> None:
    logits, codes = np.full((1, 12, 20), -3, dtype=np.float32), np.zeros((12, 20))
    logits[0, 1:5, 1:6], codes[1:5, 1:6] = 2, 1
    logits[0, 7:9, 10:15], codes[7, 10:15] = 2, 255  # 10 px that are no such thing, half of them unknown
    pair = pair_of(logits, codes, BINARY)
    (found,) = tune(SCORER, AsLogits(1), [pair], TuneConfig(regions=True))
    assert found == Tuned(threshold=0.5, min_region=15, before=pytest.approx(40 / 45), after=1.0)
    (found,) = tune(SCORER, AsLogits(1), [pair], TuneConfig())
    assert (found.threshold, found.min_region) == (0.5, 0)


@pytest.mark.parametrize("reduction", ["dataset", "image"])
def test_a_class_without_a_label_stays_as_it_is(reduction: Any) -> None:
    pair = image_of(1, LAYERS)
    codes: Any = pair.labels
    codes = codes.codes.copy()
    codes[1][codes[1] == 1] = 0
    image: Any = pair.image
    pair = pair_of(image.pixels, codes, LAYERS)
    _, quiet = tune(SCORER, AsLogits(2), [pair, pair], TuneConfig(reduction=reduction))
    assert quiet == Tuned(threshold=0.5, min_region=0, before=None, after=None)


def test_each_class_stands_for_itself() -> None:
    def swapped(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array[::-1].copy()

    pair = image_of(5, LAYERS)
    image: Any = pair.image
    labels: Any = pair.labels
    other = pair_of(swapped(image.pixels), swapped(labels.codes), LAYERS, valid=image.known_valid)
    for regions in (False, True):
        first = tune(SCORER, AsLogits(2), [pair], TuneConfig(regions=regions))
        assert tune(SCORER, AsLogits(2), [other], TuneConfig(regions=regions)) == first[::-1]


def binary(toy: Path, more: str) -> Path:
    """The toy data as a binary task that is tuned."""
    text = toy.read_text()
    for old, new in (
        ('10: {name: left, color: "#d7301f"}', "0: {name: left, labels: [10]}"),
        ("20: {name: right}", "1: {name: right, labels: [20]}"),
        ("  bands: [blue", "  task: binary\n  bands: [blue"),
        ("epochs: 2", f"epochs: 1\n  {more}"),
    ):
        assert old in text
        text = text.replace(old, new)
    toy.write_text(text)
    return toy


@pytest.mark.long
def test_a_training_ends_with_what_was_tuned_and_scores_by_it_however_often_it_is_killed(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = binary(toy, "tune: {metric: iou, reduction: image, regions: true}")
    path = train(config, output=tmp_path / "run")
    card = read_card(path)
    assert card.thresholds is not None
    assert card.min_regions is not None
    training: Any = card.training
    tuned = training["tuned"]
    assert (tuned["metric"], tuned["reduction"], tuned["regions"]) == ("iou", "image", True)
    each = tuned["classes"]["right"]
    assert each["after"] >= each["before"]
    assert (each["threshold"], each["min_region"]) == (card.thresholds[0], card.min_regions[0])
    assert training["metrics"]["val"]["per_image"]["iou"]["right"] == pytest.approx(each["after"], abs=1e-6)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "decided_by", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, output=tmp_path / "again")
    assert read_card(train(config, output=tmp_path / "again")) == card

    untuned = train(Config.read(config, ["train.tune=null"]), output=tmp_path / "untuned")
    plain = read_card(untuned)
    assert (plain.thresholds, plain.min_regions) == (None, None)
    assert plain.weights_sha256 == card.weights_sha256
    metrics: Any = plain.training
    assert metrics["metrics"]["val"]["per_image"]["iou"]["right"] == pytest.approx(each["before"], abs=1e-6)


def test_a_multiclass_task_has_nothing_to_tune(toy: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.tune is for binary and multilabel tasks"):
        Config.read(toy, ["train.tune={}"])
