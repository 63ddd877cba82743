"""Scores against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.metrics import Confusion


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
