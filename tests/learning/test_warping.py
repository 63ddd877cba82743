"""Lookups against loops over pixels, symmetries against exact turns, rotations against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.augment import D4, turn
from geoseg.learning.warping import SMALLEST_SHARE, interpolate, look_up, rotation, shifted, symmetry


def still(linear: np.ndarray) -> np.ndarray:
    """(1, 2, 3) frame that moves nothing away from the centre."""
    return np.concatenate([linear, np.zeros((2, 1))], axis=1)[None]


@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_lookups_equal_the_loop_over_pixels(seed: int, height: int, width: int, each: bool) -> None:
    random = np.random.default_rng(seed)
    valid = random.random((2, height, width)) > 0.3
    image = (random.normal(size=(2, 3, height, width)) * valid[:, None]).astype(np.float32)
    mask = random.integers(0, 9, size=valid.shape)
    frames = random.normal(size=(2, 3 if each else 1, 2, 3)) * [1, 1, 2]
    found, share = interpolate(torch.tensor(image), torch.tensor(valid), frames)
    labels, known = look_up(torch.tensor(mask), torch.tensor(valid), frames[:, 0])
    for n, band, row, col in np.ndindex(*image.shape):
        frame = frames[n, band if each else 0]
        r, c = frame @ [row - (height - 1) / 2, col - (width - 1) / 2, 1]
        r, c = r + (height - 1) / 2, c + (width - 1) / 2
        total = weight = 0.0
        for i, j in np.ndindex(2, 2):
            y, x = math.floor(r) + i, math.floor(c) + j
            if 0 <= y < height and 0 <= x < width and valid[n, y, x]:
                w = (1 - abs(r - y)) * (1 - abs(c - x))
                total, weight = total + w * image[n, band, y, x], weight + w
        assert float(share[n, band if each else 0, row, col]) == pytest.approx(weight, abs=1e-4)
        if weight > SMALLEST_SHARE + 1e-3:
            assert float(found[n, band, row, col]) == pytest.approx(total / weight, abs=1e-3)
        tie = min(abs(r % 1 - 0.5), abs(c % 1 - 0.5)) < 1e-4
        if band == 0 and not tie:
            y, x = round(r), round(c)
            inside = 0 <= y < height and 0 <= x < width
            assert int(labels[n, row, col]) == (mask[n, y, x] if inside else IGNORED)
            assert bool(known[n, row, col]) == bool(inside and valid[n, y, x])
            assert not known[n, row, col] or weight >= SMALLEST_SHARE - 1e-4


@pytest.mark.parametrize("element", range(D4))
def test_the_frame_of_a_symmetry_is_the_exact_turn(element: int) -> None:
    for size in (1, 5, 8):
        numbers = torch.arange(size * size).reshape(1, size, size)
        valid = numbers % 3 > 0
        image = (numbers * valid).unsqueeze(1).float()
        frame = still(symmetry(element))
        labels, known = look_up(numbers, valid, frame)
        assert torch.equal(labels, turn(numbers, element))
        assert torch.equal(known, turn(valid, element))
        found, _ = interpolate(image, valid, frame[:, None])
        assert torch.allclose(found * known, turn(image, element), atol=1e-3)


@given(st.floats(-180, 180))
def test_a_rotation_is_that_of_scipy(degrees: float) -> None:
    image = np.random.default_rng(0).normal(size=(15, 11)).astype(np.float32)
    expected = ndimage.rotate(image, degrees, reshape=False, order=1, mode="grid-constant")
    whole = torch.ones(1, *image.shape, dtype=torch.bool)
    found, share = interpolate(
        torch.tensor(image)[None, None], whole, still(rotation(np.array([degrees]))[0])[:, None]
    )
    # Outside counts as 0 there and is left out here.
    sure = share[0, 0].numpy() > SMALLEST_SHARE
    assert np.abs(found[0, 0].numpy() * share[0, 0].numpy() - expected)[sure].max() < 1e-4


def test_a_quarter_of_rotation_is_a_quarter_turn_counter_clockwise() -> None:
    assert np.allclose(rotation(np.array([90.0]))[0], symmetry(1))


@given(st.integers(0, 2**32))
def test_shifts_are_px_of_the_result(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames, shifts, place = (
        random.normal(size=(2, 2, 3)),
        random.normal(size=(2, 4, 2)),
        random.normal(size=2),
    )
    own = shifted(frames, shifts)
    for n, band in np.ndindex(2, 4):
        assert np.allclose(own[n, band] @ [*place, 1], frames[n] @ [*(place + shifts[n, band]), 1])
