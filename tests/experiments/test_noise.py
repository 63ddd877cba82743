"""What counts as noise is what a paired t-test says for two configurations, and a loop for more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from geoseg.experiments.noise import noise_of, words

SCORES = st.lists(st.floats(0, 1).map(lambda x: round(x, 4)), min_size=3, max_size=6)


def by_seed(scores: list[float]) -> dict[tuple[int, int | None], float]:
    return {(seed, None): score for seed, score in enumerate(scores)}


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_for_two_configurations_it_is_the_paired_t_test(seed: int, count: int) -> None:
    a, b = np.random.default_rng(seed).normal(0.8, 0.05, (2, count))
    noise = noise_of([by_seed(list(a)), by_seed(list(b))])
    p = stats.ttest_rel(a, b).pvalue
    assert (abs(a.mean() - b.mean()) > noise.margin) == (p < 0.05)
    # The margin is the distance at which the test says exactly one in twenty.
    shifted = b + (a.mean() - b.mean()) + noise.margin
    assert stats.ttest_rel(a, shifted).pvalue == pytest.approx(0.05, abs=1e-6)


def test_for_more_the_residuals_of_all_are_put_together() -> None:
    table = np.random.default_rng(3).normal(0.8, 0.05, (4, 3))
    left = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    expected = stats.t.ppf(0.975, 6) * math.sqrt((left**2).sum() / 6) * math.sqrt(2 / 3)
    assert noise_of([by_seed(list(row)) for row in table]).margin == pytest.approx(expected)


@given(st.floats(-0.5, 0.5))
def test_the_level_of_a_seed_counts_for_nothing(level: float) -> None:
    a, b = by_seed([0.7, 0.8, 0.75]), by_seed([0.72, 0.79, 0.8])
    moved = [{**each, (0, None): each[0, None] + level} for each in (a, b)]
    assert noise_of(moved).margin == pytest.approx(noise_of([a, b]).margin)


def test_seeds_that_one_lacks_are_left_out_and_one_seed_tells_nothing() -> None:
    a, b = by_seed([0.7, 0.8, 0.75]), by_seed([0.72, 0.79])
    assert noise_of([a, b]) == noise_of([by_seed([0.7, 0.8]), b])
    assert math.isinf(noise_of([by_seed([0.7]), by_seed([0.8])]).margin)
    assert math.isinf(noise_of([a]).margin)
    assert math.isinf(noise_of([]).margin)


def test_it_is_said_in_words() -> None:
    scores = [by_seed([0.80, 0.81]), by_seed([0.79, 0.805]), by_seed([0.30, 0.31])]
    noise = noise_of(scores)
    said = words(["a", "b", "c"], [0.805, 0.7975, 0.305], noise)
    assert said == f"a with 0.8050; within noise ({noise.margin:.4f}) of it: b"
    assert "further from all others than noise explains" in words(["a", "c"], [0.805, 0.305], noise)
    assert "nothing tells a difference from noise" in words(["a", "b"], [0.8, 0.7], noise_of([]))
    assert words(["a"], [0.8], noise_of([])) == "a with 0.8000: the only one that was scored"
