"""Sizes of samples: published cases, and laws of sharing points out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.assessment.accuracy.allocation import (
    ALLOCATIONS,
    Allocation,
    allocate,
    sample_size,
    whole_number,
)

OLOFSSON = np.array([0.02, 0.015, 0.32, 0.645])
USERS = np.array([0.7, 0.6, 0.9, 0.95])
OTHER = np.array([0.41211, 0.49320, 0.02195, 0.06674, 0.00365, 0.00234])
SHARES = np.array([0.01, 0.01, 0.01, 0.6, 0, 0])


def test_published_sizes() -> None:
    assert round(sample_size(OLOFSSON, USERS, 0.01), 2) == 640.54
    assert whole_number(sample_size(OLOFSSON, USERS, 0.01)) == 641
    assert whole_number(sample_size(OLOFSSON, USERS, 0.005)) == 2563
    assert round(sample_size(OTHER, SHARES, 0.005), 2) == 624.57
    assert whole_number(sample_size(OTHER, SHARES, 0.005)) == 625


def test_published_allocations() -> None:
    assert allocate(641, "equal", OLOFSSON, USERS).tolist() == [160] * 4
    assert allocate(641, "proportional", OLOFSSON, USERS).tolist() == [13, 10, 205, 413]
    assert allocate(625, "proportional", OTHER, SHARES).tolist() == [258, 308, 14, 42, 2, 1]


def test_neyman_gives_more_to_what_varies_more() -> None:
    half = np.array([0.5, 0.5])
    assert allocate(80, "neyman", half, np.array([0.5, 0.9])).tolist() == [50, 30]
    assert allocate(80, "neyman", half, np.array([1.0, 1.0])).tolist() == [40, 40]


@given(
    st.integers(2, 2000),
    st.sampled_from(ALLOCATIONS),
    st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 1)), min_size=1, max_size=8),
    st.integers(2, 60),
)
def test_limits_are_kept_and_all_points_are_given_out(
    count: int, rule: Allocation, strata: list[tuple[int, float]], minimum: int
) -> None:
    pixels = np.array([n for n, _ in strata])
    accuracy = np.array([u for _, u in strata])
    count = min(max(count, int(np.minimum(pixels, minimum).sum())), int(pixels.sum()))
    found = allocate(count, rule, pixels / pixels.sum(), accuracy, (np.minimum(pixels, minimum), pixels))
    assert (found <= pixels).all()
    assert (found >= np.minimum(pixels, minimum)).all()
    assert rule == "equal" or found.sum() == count
    assert abs(found.sum() - count) <= len(pixels)


def test_a_minimum_that_needs_more_points_says_how_many() -> None:
    with pytest.raises(ValueError, match="^100$"):
        allocate(
            60, "proportional", np.array([0.5, 0.5]), USERS[:2], (np.array([50, 50]), np.array([900, 900]))
        )


def test_small_strata_are_counted_whole_and_large_ones_share_the_rest() -> None:
    share = np.array([0.001, 0.1, 0.899])
    limits = np.array([7, 50, 50]), np.array([7, 700, 6293])
    found = allocate(200, "proportional", share, USERS[:3], limits)
    assert found.tolist() == [7, 50, 143]
