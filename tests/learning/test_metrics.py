"""Scores against scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)
from torchmetrics.segmentation import DiceScore

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.metrics import KINDS, Confusion, ImageMeans, Kind

SKLEARN = {"iou": jaccard_score, "dice": f1_score, "precision": precision_score, "recall": recall_score}


@given(st.integers(2, 6), st.integers(1, 200), st.integers(0, 2**32))
def test_scores_equal_those_of_scikit_learn(classes: int, pixels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, predicted = random.integers(0, classes, size=(2, pixels))
    found = Confusion.of(reference, predicted, classes)
    every = list(range(classes))
    assert np.array_equal(found.counts, confusion_matrix(reference, predicted, labels=every))
    assert found.accuracy == pytest.approx(accuracy_score(reference, predicted))
    occurring = np.union1d(reference, predicted)
    assert found.mean_iou == pytest.approx(
        jaccard_score(reference, predicted, labels=occurring, average="macro")
    )
    for mine, theirs in (
        (found.iou, jaccard_score),
        (found.recall, recall_score),
        (found.precision, precision_score),
    ):
        expected = theirs(reference, predicted, labels=every, average=None, zero_division=0)
        assert np.allclose(np.nan_to_num(mine), expected)
    absent = [c for c in every if c not in occurring]
    assert np.isnan(found.iou[absent]).all()


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_parts_add_up_to_the_whole_and_ignored_pixels_do_not_count(seed: int, cut: int) -> None:
    random = np.random.default_rng(seed)
    reference = random.choice([IGNORED, 0, 1, 2], size=60)
    predicted = random.integers(0, 3, size=60)
    whole = Confusion.of(reference, predicted, 3)
    parts = Confusion.of(reference[:cut], predicted[:cut], 3) + Confusion.of(
        reference[cut:], predicted[cut:], 3
    )
    assert np.array_equal(whole.counts, parts.counts)
    counted = reference != IGNORED
    assert np.array_equal(whole.counts, Confusion.of(reference[counted], predicted[counted], 3).counts)


def test_nothing_counted_is_nan_without_a_warning() -> None:
    empty = Confusion.empty(3)
    assert math.isnan(empty.mean_iou)
    assert math.isnan(empty.accuracy)
    assert np.isnan(empty.iou).all()


@given(st.integers(1, 4), st.integers(1, 60), st.integers(0, 2**32))
def test_scores_of_overlapping_classes_are_those_of_each_class_alone(
    classes: int, pixels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    reference = random.choice([IGNORED, 0, 1], size=(classes, 1, pixels))
    predicted = random.integers(0, 2, size=(classes, 1, pixels))
    found = Confusion.of_layers(reference, predicted)
    right = counted = 0
    for i in range(classes):
        known = reference[i] != IGNORED
        r, p = reference[i][known], predicted[i][known]
        right, counted = right + int((r == p).sum()), counted + r.size
        if r.size and (r.any() or p.any()):
            assert found.iou[i] == pytest.approx(jaccard_score(r, p))
            assert found.dice[i] == pytest.approx(f1_score(r, p, zero_division=0))
        else:
            assert np.isnan(found.iou[i])
    assert counted == 0 or found.accuracy == pytest.approx(right / counted)
    half = pixels // 2
    parts = Confusion.of_layers(reference[..., :half], predicted[..., :half]) + Confusion.of_layers(
        reference[..., half:], predicted[..., half:]
    )
    assert np.array_equal(parts.counts, found.counts)


def images_of(seed: int, shape: tuple[int, ...], values: int, count: int = 3) -> list[tuple[Any, Any]]:
    """Pairs of reference, with ignored pixels, and prediction, in which values are often missing."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        chosen = random.choice(values, size=random.integers(1, values + 1), replace=False)
        reference = random.choice([IGNORED, *chosen], size=shape)
        predicted = random.choice(random.permutation(values)[: random.integers(1, values + 1)], size=shape)
        pairs.append((reference, predicted))
    return pairs


def expected_of_image(kind: Kind, reference: Any, predicted: Any, value: int) -> float | None:
    """Score of one class in one image by scikit-learn; None where no pixel counts."""
    known = reference != IGNORED
    r, p = reference[known] == value, predicted[known] == value
    if not known.any():
        return None
    return float(SKLEARN[kind](r, p, zero_division=0)) if r.any() or p.any() else 1.0


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(1, 12), st.integers(0, 2**32))
def test_means_over_images_are_those_of_scikit_learn(classes: int, pixels: int, seed: int) -> None:
    images = images_of(seed, (1, pixels), classes)
    found = sum(
        (ImageMeans.of(Confusion.of(r, p, classes)) for r, p in images),
        start=ImageMeans.of(Confusion.empty(classes)),
    )
    for kind in KINDS:
        table = [[expected_of_image(kind, r, p, c) for c in range(classes)] for r, p in images]
        known = np.array([row for row in table if row[0] is not None], dtype=float)
        if len(known):
            assert found.each(kind) == pytest.approx(known.mean(axis=0))
            assert found.mean(kind) == pytest.approx(known.mean())
            assert found.mean(kind, [0]) == pytest.approx(known[:, 0].mean())
        else:
            assert math.isnan(found.mean(kind))
    right = [accuracy_score(r[r >= 0], p[r >= 0]) for r, p in images if (r >= 0).any()]
    assert found.accuracy == (
        pytest.approx(np.mean(right)) if right else pytest.approx(math.nan, nan_ok=True)
    )


@settings(max_examples=15)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**32))
def test_means_over_images_of_overlapping_classes(classes: int, pixels: int, seed: int) -> None:
    images = images_of(seed, (classes, 1, pixels), 2, count=4)
    found = sum(
        (ImageMeans.of(Confusion.of_layers(r, p)) for r, p in images[1:]),
        start=ImageMeans.of(Confusion.of_layers(*images[0])),
    )
    for kind in KINDS:
        table = [[expected_of_image(kind, r[c], p[c], 1) for c in range(classes)] for r, p in images]
        known = np.array(table, dtype=float)
        if np.isfinite(known).any():
            assert found.mean(kind) == pytest.approx(np.nanmean(known))


@given(st.integers(0, 2**32))
def test_dice_and_iou_of_overlapping_classes_are_those_of_smp_and_torchmetrics(seed: int) -> None:
    images = images_of(seed, (3, 4, 5), 2)
    # Those libraries have no ignored pixels of single classes: such pixels are absent to both sides here.
    tensors = [torch.tensor(np.stack(side)) for side in zip(*images, strict=True)]
    reference, predicted = tensors[0].clamp(min=0), torch.where(tensors[0] < 0, 0, tensors[1])
    both = reference.numpy(), predicted.numpy()
    means = [ImageMeans.of(Confusion.of_layers(r, p)) for r, p in zip(*both, strict=True)]
    whole = [Confusion.of_layers(r, p) for r, p in zip(*both, strict=True)]
    each, summed = sum(means[1:], means[0]), sum(whole[1:], whole[0])
    stats = smp.metrics.get_stats(predicted, reference, mode="multilabel", threshold=None)
    options = {"reduction": "macro-imagewise", "zero_division": 1.0}
    assert each.mean("iou") == pytest.approx(float(smp.metrics.iou_score(*stats, **options)))
    assert each.mean("dice") == pytest.approx(float(smp.metrics.f1_score(*stats, **options)))
    options = {"reduction": "macro", "zero_division": math.nan}
    expected = float(smp.metrics.iou_score(*stats, **options))
    if math.isfinite(expected):
        assert summed.mean_iou == pytest.approx(expected)
    occurring = DiceScore(num_classes=3, average="none", aggregation_level="global")
    occurring.update(predicted, reference)
    assert np.nan_to_num(summed.dice) == pytest.approx(np.nan_to_num(occurring.compute().numpy()), abs=1e-6)


@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 2**32))
def test_the_ways_to_sum_agree_for_one_image(classes: int, pixels: int, seed: int) -> None:
    ((reference, predicted),) = images_of(seed, (1, pixels), classes, count=1)
    reference[0, 0] = 0
    whole = Confusion.of(reference, predicted, classes)
    alone = ImageMeans.of(whole)
    empty = (whole.predicted + whole.referenced) == 0
    for kind in KINDS:
        expected = np.where(empty, 1, np.nan_to_num(whole.each(kind)))
        assert np.array_equal(alone.each(kind), expected)
    assert alone.accuracy == whole.accuracy


def test_empty_against_empty_counts_as_found_and_an_image_without_counted_pixels_does_not_count() -> None:
    empty, found = Confusion(np.array([[[9, 0], [0, 0]]])), Confusion(np.array([[[5, 1], [1, 2]]]))
    unlabelled = Confusion(np.zeros((1, 2, 2), dtype=np.int64))
    each = ImageMeans.of(empty) + ImageMeans.of(found) + ImageMeans.of(unlabelled)
    assert each.mean("dice") == pytest.approx((1 + 4 / 6) / 2)
    false_alarm = ImageMeans.of(Confusion(np.array([[[8, 1], [0, 0]]])))
    assert [false_alarm.mean(kind) for kind in KINDS] == [0, 0, 0, 0]
