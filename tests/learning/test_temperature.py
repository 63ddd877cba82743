"""Temperatures: those of torch's LBFGS, whichever way the pixels come in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.grid.legend import Task
from geoseg.learning.temperature import MOST, HeldPixels, fitted, likelihoods

Numbers = npt.NDArray[np.float64]


def drawn(seed: int, pixels: int, classes: int, temperature: float) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Logits, and labels as often right as the logits say after they are divided by the temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(pixels, classes)) * 3
    logits[:, 0] = 0
    odds = np.exp(logits / temperature)
    odds /= odds.sum(axis=1, keepdims=True)
    labels = (random.random(pixels)[:, None] > odds.cumsum(axis=1)).sum(axis=1)
    return logits, np.minimum(labels, classes - 1)


def loss(logits: Numbers, labels: npt.NDArray[np.int64], temperature: float) -> float:
    scaled = logits / temperature
    log_odds = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return float(-log_odds[np.arange(len(labels)), labels].mean())


def by_lbfgs(logits: Numbers, labels: npt.NDArray[np.int64]) -> float:
    found = torch.zeros((), dtype=torch.float64, requires_grad=True)  # of its logarithm
    optimizer = torch.optim.LBFGS([found], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")
    ours, target = torch.from_numpy(logits), torch.from_numpy(labels)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(ours / found.exp(), target)
        value.backward()
        return value

    optimizer.step(closure)  # type: ignore[arg-type]
    return float(found.detach().exp())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    classes=st.integers(2, 5),
    temperature=st.sampled_from([0.3, 0.8, 1.0, 1.7, 4.0]),
)
def test_it_is_the_temperature_of_lbfgs_and_no_other_is_better(
    seed: int, classes: int, temperature: float
) -> None:
    logits, labels = drawn(seed, 3000, classes, temperature)
    found = fitted(logits, labels)
    assert found == pytest.approx(by_lbfgs(logits, labels), rel=1e-4)
    assert found == pytest.approx(temperature, rel=0.2)
    least = loss(logits, labels, found)
    for other in (0.5, 0.97, 1.03, 1.0 / found, 2.0):
        assert loss(logits, labels, found * other) >= least


def test_what_is_always_right_or_never_stays_within_bounds() -> None:
    logits, _ = drawn(0, 500, 3, 1.0)
    assert fitted(logits, logits.argmax(axis=1)) == 1 / MOST
    assert fitted(logits, logits.argmin(axis=1)) == MOST
    assert fitted(np.zeros((5, 3)), np.array([0, 1, 2, 0, 1])) == MOST  # nothing depends on it


TASKS: tuple[Task, ...] = ("multiclass", "binary", "multilabel")


def image_of(task: Task, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """Probabilities (channel, row, col) and a mask with pixels that do not count."""
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(size=(1 if task == "binary" else 3, 40, 50)) * 4).float()
    shares = (logits.softmax(0) if task == "multiclass" else logits.sigmoid()).numpy()
    shape = shares.shape if task == "multilabel" else shares.shape[1:]
    mask = random.integers(0, 3 if task == "multiclass" else 2, shape).astype(np.int16)
    mask[random.random(shape) < 0.3] = -100
    shares[:, 3, :] = np.nan  # where nothing counts nothing is known
    mask[..., 3, :] = -100
    return shares, mask


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 39), max_size=4), most=st.sampled_from([50, 900, 10**6]))
def test_strips_change_nothing_of_what_is_kept(task: Task, cuts: list[int], most: int) -> None:
    shares, mask = image_of(task)
    whole, parts = HeldPixels(task, most), HeldPixels(task, most)
    whole.add(shares, mask)
    edges = [0, *sorted(cuts), 40]
    for first, stop in pairwise(edges):
        parts.add(shares[:, first:stop], mask[..., first:stop, :])
    kept = [np.concatenate([getattr(part, name) for part in whole._parts]) for name in ("keys", "labels")]
    for name, expected in zip(("keys", "labels"), kept, strict=True):
        found = np.concatenate([getattr(part, name) for part in parts._parts])
        np.testing.assert_array_equal(found, expected)
    assert sum(part.logits.size for part in parts._parts) <= most
    if len(kept[0]) > 20:
        channel = 1 if task == "multilabel" else None
        assert parts.temperature(channel) == whole.temperature(channel)


def test_kept_pixels_are_a_fair_draw() -> None:
    held = HeldPixels("binary", 5000)
    ramp = np.linspace(0.1, 0.9, 300 * 400, dtype=np.float32).reshape(1, 300, 400)
    held.add(ramp, np.ones((300, 400), np.int16))
    logits = np.concatenate([part.logits for part in held._parts])[:, 0]
    assert 2000 < len(logits) <= 5000
    shares = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert np.histogram(shares, 10, (0.1, 0.9))[0].min() > 0.08 * len(shares)


@pytest.mark.parametrize("task", TASKS)
def test_likelihoods_are_those_of_a_loop(task: Task) -> None:
    shares, mask = image_of(task)
    found = likelihoods(shares, mask, task)
    for place in zip(*np.nonzero(mask >= 0), strict=True):
        label = mask[place]
        if task == "multiclass":
            expected = shares[(label, *place)]
        else:
            own = shares[place if task == "multilabel" else (0, *place)]
            expected = own if label else 1 - own
        assert found[place] == np.float32(max(expected, 1e-30 if task == "multiclass" else 1e-7))


@pytest.mark.parametrize("task", TASKS)
def test_kept_logits_give_the_temperature_of_all_pixels(task: Task) -> None:
    random = np.random.default_rng(5)
    channels = 1 if task == "binary" else 3
    logits = (random.normal(size=(channels, 60, 70)) * 5).astype(np.float32)
    if task == "multiclass":
        shares = torch.from_numpy(logits).softmax(0).numpy()
        mask = random.integers(0, 3, (60, 70)).astype(np.int16)
        mask = np.where(random.random((60, 70)) < 0.7, logits.argmax(axis=0), mask).astype(np.int16)
        table, labels = logits.reshape(3, -1).T, mask.ravel()
    else:
        shares = torch.from_numpy(logits).sigmoid().numpy()
        mask = (random.random(logits.shape) < 1 / (1 + np.exp(-logits / 3))).astype(np.int16)
        table, labels = np.stack([np.zeros(60 * 70), logits[-1].ravel()], axis=1), mask[-1].ravel()
        mask = mask if task == "multilabel" else mask[0]
    held = HeldPixels(task)
    held.add(shares, mask)
    found = held.temperature(2 if task == "multilabel" else None)
    expected = by_lbfgs(table.astype(np.float64), labels.astype(np.int64))
    assert found == pytest.approx(expected, rel=2e-3)
