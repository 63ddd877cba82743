"""Losses against plain loops over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.dataset import IGNORED
from geoseg.grid.legend import Task
from geoseg.learning.losses import Loss, cross_entropy, dice


def softmax(values: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def naive_cross_entropy(logits: np.ndarray, target: np.ndarray, weights: list[float]) -> float:
    total = weight = 0.0
    for n, row, col in np.ndindex(*target.shape):
        label = int(target[n, row, col])
        if label != IGNORED:
            total -= weights[label] * math.log(softmax(logits[n, :, row, col])[label])
            weight += weights[label]
    return total / weight if weight else 0.0


def naive_dice(logits: np.ndarray, target: np.ndarray) -> float:
    losses = []
    for channel in range(logits.shape[1]):
        both = either = truth = 0.0
        for n, row, col in np.ndindex(*target.shape):
            label = int(target[n, row, col])
            if label == IGNORED:
                continue
            p, t = softmax(logits[n, :, row, col])[channel], float(label == channel)
            both, either, truth = both + p * t, either + p + t, truth + t
        if truth:
            losses.append(1 - 2 * both / either)
    return sum(losses) / len(losses) if losses else 0.0


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[float]]:
    classes, shape = draw(st.integers(1, 4)), draw(st.tuples(*[st.integers(1, 4)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = [IGNORED, *range(draw(st.integers(0, classes)))]
    logits = random.normal(0, 3, size=(shape[0], classes, *shape[1:]))
    return logits, random.choice(labels, size=shape), list(random.uniform(0.1, 5, size=classes))


@given(batches())
def test_losses_equal_the_naive_loops(batch: tuple[np.ndarray, np.ndarray, list[float]]) -> None:
    logits, target, weights = batch
    scores, labels = torch.tensor(logits), torch.tensor(target)
    found = float(cross_entropy(scores, labels, torch.tensor(weights, dtype=torch.float32)))
    assert found == pytest.approx(naive_cross_entropy(logits, target, weights), abs=1e-5)
    plain = [1.0] * len(weights)
    assert float(cross_entropy(scores, labels)) == pytest.approx(
        naive_cross_entropy(logits, target, plain), abs=1e-5
    )
    assert float(dice(scores, labels)) == pytest.approx(naive_dice(logits, target), abs=1e-5)


@given(batches(), st.integers(0, 2**32))
def test_law_6_ignored_pixels_change_neither_value_nor_gradient(
    batch: tuple[np.ndarray, np.ndarray, list[float]], seed: int
) -> None:
    logits, target, weights = batch
    loss = Loss(cross_entropy=1, dice=0.5, class_weights=tuple(map(float, weights)))
    labels = torch.tensor(target)
    ignored = (labels == IGNORED).unsqueeze(1)
    noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed)) * 10
    results = []
    for scores in (torch.tensor(logits), torch.where(ignored, noise, torch.tensor(logits))):
        scores = scores.float().requires_grad_()
        value = loss(scores, labels)
        torch.autograd.backward(value)
        assert scores.grad is not None
        assert not scores.grad[ignored.expand_as(scores)].any()
        results.append((value.detach(), scores.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_nothing_labelled_is_no_loss_and_no_nan() -> None:
    scores = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = Loss()(scores, torch.full((2, 4, 4), IGNORED))
    torch.autograd.backward(value)
    assert float(value.detach()) == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@given(batches(), st.booleans())
def test_losses_of_classes_that_may_overlap_equal_the_naive_loops(
    batch: tuple[np.ndarray, np.ndarray, list[float]], weighted: bool
) -> None:
    logits, _, weights = batch
    random = np.random.default_rng(logits.shape)
    target = random.choice([IGNORED, 0, 1], size=logits.shape)
    total = weight = 0.0
    for place in np.ndindex(*logits.shape):
        if target[place] == IGNORED:
            continue
        w = weights[place[1]] if weighted and target[place] else 1.0
        total -= w * math.log(sigmoid(logits[place] if target[place] else -logits[place]))
        weight += w
    entropy = total / weight if weight else 0.0
    losses = []
    for channel in range(logits.shape[1]):
        values = [
            (sigmoid(x), t)
            for x, t in zip(logits[:, channel].flat, target[:, channel].flat, strict=True)
            if t >= 0
        ]
        if any(t for _, t in values):
            losses.append(1 - 2 * sum(p * t for p, t in values) / sum(p + t for p, t in values))
    overlap = sum(losses) / len(losses) if losses else 0.0
    loss = Loss(
        task="multilabel", cross_entropy=0.7, dice=0.3, class_weights=tuple(weights) if weighted else ()
    )
    found = float(loss(torch.tensor(logits), torch.tensor(target)))
    assert found == pytest.approx(0.7 * entropy + 0.3 * overlap, abs=1e-5)


def test_a_binary_mask_is_one_class_that_may_be_absent() -> None:
    logits, target = torch.tensor([[[[2.0, -1.0, 3.0]]]]), torch.tensor([[[1, 0, IGNORED]]])
    weights = (0.5, 2.0)
    expected = (2.0 * -math.log(sigmoid(2)) + 0.5 * -math.log(sigmoid(1))) / 2.5
    found = Loss(task="binary", dice=0, class_weights=weights)(logits, target)
    assert float(found) == pytest.approx(expected, abs=1e-6)
    both = Loss(task="binary", cross_entropy=0)(logits, target)
    assert float(both) == pytest.approx(1 - 2 * sigmoid(2) / (sigmoid(2) + sigmoid(-1) + 1), abs=1e-6)


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_law_6_infinite_logits_of_ignored_pixels_change_nothing(task: Task) -> None:
    channels = 1 if task == "binary" else 3
    logits = torch.randn(2, channels, 4, 4)
    target = torch.ones((2, 3, 4, 4) if task == "multilabel" else (2, 4, 4), dtype=torch.int64)
    target[..., 0, 0] = IGNORED
    target = target.clamp(max=channels - 1) if task == "multiclass" else target
    results = []
    for value in (0.5, math.inf, -math.inf, math.nan):
        scores = logits.clone()
        scores[..., 0, 0] = value
        scores.requires_grad_()
        loss = Loss(task=task)(scores, target)
        torch.autograd.backward(loss)
        assert scores.grad is not None
        results.append((loss.detach(), scores.grad))
    assert all(torch.equal(a, b) for found in results[1:] for a, b in zip(found, results[0], strict=True))
