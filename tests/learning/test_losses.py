"""Every loss against plain float64 loops over pixels, in value and gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.dataset import IGNORED
from geoseg.grid.legend import Task
from geoseg.learning.loss_text import NAMES, Term, parse
from geoseg.learning.losses import Loss

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
TASKS: tuple[Task, ...] = ("multiclass", "binary", "multilabel")
GAMMA, ALPHA, BETA = 1.5, 0.2, 0.6


def names(task: Task) -> list[str]:
    return [name for name in NAMES if name != ("bce" if task == "multiclass" else "ce")]


def made(task: Task, text: str, weights: Sequence[float] = (), smoothing: float = 0.0) -> Loss:
    return Loss(
        task=task, terms=parse(text), class_weights=tuple(weights), label_smoothing=smoothing, gamma=GAMMA,
        alpha=ALPHA, beta=BETA,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A batch: logits (N, channel, row, col), target as the task has it, weights as `Loss` takes them."""

    task: Task
    logits: Floats
    target: Labels
    weights: tuple[float, ...]
    smoothing: float

    @property
    def layers(self) -> Labels:
        """(N, channel, row, col)."""
        return self.target if self.task == "multilabel" else self.target[:, None]

    def probabilities(self, n: int, row: int, col: int) -> Floats:
        x = self.logits[n, :, row, col]
        if self.task == "multiclass":
            powers = np.exp(x - x.max())
            return np.asarray(powers / powers.sum())
        return np.array([1 / (1 + math.exp(-v)) for v in x])

    def pixels(self) -> list[tuple[int, tuple[int, int, int], int]]:
        """(layer, place, label) of what counts."""
        found = []
        for n, layer, row, col in np.ndindex(*self.layers.shape):
            if self.layers[n, layer, row, col] != IGNORED:
                found.append((layer, (n, row, col), int(self.layers[n, layer, row, col])))
        return found

    def weight(self, layer: int, label: int) -> float:
        if not self.weights:
            return 1.0
        if self.task == "multilabel":
            return self.weights[layer] if label else 1.0
        return self.weights[label]

    def channel(self, channel: int) -> list[tuple[float, int]]:
        """(probability, truth) of what counts for a class."""
        if self.task == "multiclass":
            return [
                (self.probabilities(*at)[channel], int(label == channel)) for _, at, label in self.pixels()
            ]
        return [(self.probabilities(*at)[layer], t) for layer, at, t in self.pixels() if layer == channel]


def entropy(case: Case, gamma: float = 0.0, smoothing: float = 0.0) -> float:
    """Cross-entropy or focal."""
    total = weight = 0.0
    for layer, at, label in case.pixels():
        p, w = case.probabilities(*at), case.weight(layer, label)
        weight += w
        if case.task == "multiclass":
            total -= w * (1 - smoothing) * (1 - p[label]) ** gamma * math.log(p[label])
            for other, q in enumerate(p):
                total -= smoothing / len(p) * case.weight(layer, other) * math.log(q)
        else:
            right = p[layer] if label else 1 - p[layer]
            total -= w * (1 - smoothing / 2) * (1 - right) ** gamma * math.log(right)
            total -= w * smoothing / 2 * (math.log(1 - right) if smoothing else 0)
    return total / weight if weight else 0.0


def overlap(case: Case, alpha: float, beta: float) -> float:
    losses = []
    for channel in range(case.logits.shape[1]):
        pixels = case.channel(channel)
        hits = sum(p * t for p, t in pixels)
        false, missed = sum(p * (1 - t) for p, t in pixels), sum((1 - p) * t for p, t in pixels)
        if any(t for _, t in pixels):
            losses.append(1 - hits / (hits + alpha * false + beta * missed))
        elif pixels and case.task != "multiclass":
            losses.append(sum(p for p, _ in pixels) / len(pixels))
    return sum(losses) / len(losses) if losses else 0.0


def lovasz(case: Case) -> float:
    """As defined: the k largest errors are wrong, for each k; what that adds to 1 - Jaccard, times the error."""
    losses = []
    for channel in range(case.logits.shape[1]):
        pixels = case.channel(channel)
        if not pixels or (case.task == "multiclass" and not any(t for _, t in pixels)):
            continue
        errors = sorted(((abs(t - p), i) for i, (p, t) in enumerate(pixels)), reverse=True)
        labelled = {i for i, (_, t) in enumerate(pixels) if t}
        wrong: set[int] = set()
        value = before = 0.0
        for error, i in errors:
            wrong.add(i)
            now = len(wrong) / len(labelled | wrong)
            value, before = value + error * (now - before), now
        losses.append(value)
    return sum(losses) / len(losses) if losses else 0.0


def naive(case: Case, name: str) -> float:
    match name:
        case "ce" | "bce":
            return entropy(case, smoothing=case.smoothing)
        case "focal":
            return entropy(case, gamma=GAMMA)
        case "dice":
            return overlap(case, 0.5, 0.5)
        case "jaccard":
            return overlap(case, 1, 1)
        case "tversky":
            return overlap(case, ALPHA, BETA)
        case "lovasz":
            return lovasz(case)
        case _:
            raise AssertionError(name)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    task = draw(st.sampled_from(TASKS))
    channels = 1 if task == "binary" else draw(st.integers(1, 4))
    n, rows, cols = draw(st.tuples(*[st.integers(1, 3)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(
        st.integers(0, channels if task == "multiclass" else 2)
    )  # classes may be absent, or all unknown
    shape = (n, channels, rows, cols) if task == "multilabel" else (n, rows, cols)
    weights = random.uniform(0.1, 5, size=2 if task == "binary" else channels)
    return Case(
        task=task,
        logits=random.normal(0, 3, size=(n, channels, rows, cols)),
        target=random.choice([IGNORED, *range(kinds)], size=shape),
        weights=draw(st.sampled_from([(), tuple(map(float, weights))])),
        smoothing=draw(st.sampled_from([0.0, 0.1])),
    )


@given(cases())
def test_every_loss_equals_the_naive_loop(case: Case) -> None:
    for name in names(case.task):
        loss = made(case.task, name, case.weights, case.smoothing)
        found = float(loss(torch.tensor(case.logits), torch.tensor(case.target)))
        assert found == pytest.approx(naive(case, name), rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("task", TASKS)
def test_every_gradient_is_the_slope_of_the_naive_loop(task: Task) -> None:
    random = np.random.default_rng(7)
    channels = 1 if task == "binary" else 3
    target = random.choice([IGNORED, 0, 1], size=(1, 3, 2, 3) if task == "multilabel" else (1, 2, 3))
    logits, step = random.normal(0, 2, size=(1, channels, 2, 3)), 1e-5
    weights = tuple(map(float, random.uniform(0.5, 2, size=2 if task == "binary" else channels)))
    for name in names(task):
        slopes = np.zeros_like(logits)
        for place in np.ndindex(*logits.shape):
            ends = []
            for sign in (1, -1):
                moved = logits.copy()
                moved[place] += sign * step
                ends.append(naive(Case(task, moved, target, weights, 0.1), name))
            slopes[place] = (ends[0] - ends[1]) / (2 * step)
        scores = torch.tensor(logits, requires_grad=True)
        torch.autograd.backward(made(task, name, weights, 0.1)(scores, torch.tensor(target)))
        assert scores.grad is not None
        np.testing.assert_allclose(scores.grad.numpy(), slopes, rtol=1e-4, atol=1e-6, err_msg=name)


@given(cases(), st.integers(0, 2**32))
def test_law_6_ignored_pixels_change_neither_value_nor_gradient(case: Case, seed: int) -> None:
    """Not even where they are infinite or no numbers."""
    text = " + ".join(names(case.task))
    loss = made(case.task, text, case.weights, case.smoothing)
    ignored = np.broadcast_to(case.layers == IGNORED, case.logits.shape)
    noise = np.random.default_rng(seed).choice([1e3, -3.0, np.inf, -np.inf, np.nan], size=ignored.shape)
    results = []
    for logits in (case.logits, np.where(ignored, noise, case.logits)):
        scores = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
        value = loss(scores, torch.tensor(case.target))
        torch.autograd.backward(value)
        assert scores.grad is not None
        assert torch.isfinite(scores.grad).all()
        assert not scores.grad[torch.tensor(ignored)].any()
        results.append((value.detach(), scores.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_nothing_labelled_is_no_loss_and_no_nan(task: Task) -> None:
    for name in names(task):
        scores = torch.randn(2, 1 if task == "binary" else 3, 4, 4, requires_grad=True)
        shape = (2, 3, 4, 4) if task == "multilabel" else (2, 4, 4)
        value = made(task, name)(scores, torch.full(shape, IGNORED))
        torch.autograd.backward(value)
        assert float(value.detach()) == 0
        assert scores.grad is not None
        assert not scores.grad.any()


@given(st.lists(st.floats(0.01, 10), min_size=7, max_size=7), cases())
def test_a_sum_is_the_sum_of_its_terms(shares: list[float], case: Case) -> None:
    terms = tuple(Term(name=n, share=s) for n, s in zip(names(case.task), shares, strict=False))
    logits, target = torch.tensor(case.logits), torch.tensor(case.target)
    found = float(Loss(task=case.task, terms=terms)(logits, target))
    parts = [t.share * float(Loss(task=case.task, terms=(Term(name=t.name),))(logits, target)) for t in terms]
    assert found == pytest.approx(sum(parts), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("task", TASKS)
def test_half_precision_logits_are_widened_first(task: Task, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    half = (torch.randn(2, 1 if task == "binary" else 3, 64, 64, generator=random) * 20).to(dtype)
    shape = (2, 3, 64, 64) if task == "multilabel" else (2, 64, 64)
    target = torch.randint(0, 2, shape, generator=random)
    for name in names(task):
        loss, results = made(task, name), []
        for logits in (half, half.float()):
            scores = logits.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = loss(scores, target)
            torch.autograd.backward(value)
            assert value.dtype == torch.float32
            assert scores.grad is not None
            assert torch.isfinite(scores.grad).all()
            results.append(value.detach())
        assert torch.equal(*results), name
        assert torch.isfinite(results[0])


@pytest.mark.parametrize("task", TASKS)
def test_sure_logits_are_safe(task: Task) -> None:
    """Probabilities that round to 0 and 1, right and wrong."""
    for name in names(task):
        for size in (50.0, 1e4):
            logits = torch.tensor([[[[size, -size, size, -size]]]])
            logits = logits if task == "binary" else torch.cat([logits, -logits], dim=1)
            logits = logits.requires_grad_()
            labels = torch.tensor([[[1, 0, 0, 1]]])
            target = torch.stack([labels, 1 - labels], dim=1) if task == "multilabel" else labels
            value = made(task, name)(logits, target)
            torch.autograd.backward(value)
            assert torch.isfinite(value)
            assert logits.grad is not None
            assert torch.isfinite(logits.grad).all(), name


def test_a_term_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="bce is not for multiclass tasks, expected ce"):
        Loss(terms=parse("bce"))
    with pytest.raises(ValueError, match="ce is not for binary tasks, expected bce"):
        Loss(task="binary")
