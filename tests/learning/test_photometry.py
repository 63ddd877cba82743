"""Changes of values against formulas and loops in numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special

from geoseg.learning.photometry import bend, blur, hide, noise

CPU = torch.device("cpu")


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), st.floats(0.2, 5))
def test_bending_follows_its_formula_and_keeps_order_sign_and_0(values: list[float], power: float) -> None:
    image = torch.tensor(sorted(values), dtype=torch.float32).view(1, 1, 1, -1)
    found = bend(image, np.array([power])).flatten().numpy()
    x = np.array(sorted(values))
    expected = np.sign(x) * ((1 + np.abs(x)) ** power - 1) / power
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert (np.diff(found) >= -1e-5 * np.abs(found[1:])).all()
    assert np.array_equal(bend(-image, np.array([power])).flatten().numpy(), -found)
    assert not bend(torch.zeros(1, 1, 1, 1), np.array([power])).any()


def test_bending_never_gives_nan_and_each_sample_has_its_power() -> None:
    image = torch.tensor([0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30]).view(1, 1, 1, -1).expand(3, -1, -1, -1)
    found = bend(image, np.array([0.1, 1.0, 30.0]))
    assert not bool(found.isnan().any())
    assert torch.allclose(found[1], image[1], rtol=1e-4)
    assert float(bend(torch.ones(2, 1, 1, 1), np.array([1.0, 2.0]))[1]) == pytest.approx(1.5)


@given(st.integers(0, 2**32), st.floats(0.1, 2.5), st.integers(1, 9), st.integers(1, 9))
def test_a_blur_is_the_gaussian_mean_of_the_valid_pixels(
    seed: int, largest: float, height: int, width: int
) -> None:
    random = np.random.default_rng(seed)
    valid = random.random((2, height, width)) > 0.3
    image = random.normal(size=(2, 3, height, width)) * valid[:, None]
    deviation = random.uniform(0.05, 1, size=2) * largest
    found = blur(torch.tensor(image, dtype=torch.float32), torch.tensor(valid), deviation, largest).numpy()
    radius = math.ceil(3 * largest)
    for n, band in np.ndindex(2, 3):
        weighted, weight = (
            ndimage.gaussian_filter(part, deviation[n], mode="constant", radius=radius)
            for part in (image[n, band], valid[n].astype(float))
        )
        expected = np.where(valid[n], weighted / np.where(valid[n], weight, 1), 0)
        assert np.abs(found[n, band] - expected).max() < 1e-4


def test_a_blur_of_nothing_changes_nothing() -> None:
    image = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(blur(image, image[:, 0] == image[:, 0], np.zeros(1), 2.0), image)


def naive_noise(place: int, keys: tuple[int, int]) -> float:
    def stir(bits: int) -> int:
        for step, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            bits = ((bits ^ (bits >> step)) * factor) % 2**32
        return bits ^ (bits >> 16)

    bits = stir(stir((place + keys[0]) % 2**32) ^ keys[1])
    top = (bits >> 8) - 2**24 * (bits >= 2**31)
    return float(math.sqrt(2) * special.erfinv((top + 0.5) / 2**23))


@given(st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 2), min_size=1, max_size=3))
def test_noise_is_a_function_of_key_and_place(keys: list[tuple[int, int]]) -> None:
    found = noise((len(keys), 2, 3, 4), np.array(keys, dtype=np.uint32), CPU)
    for n, key in enumerate(keys):
        expected = [naive_noise(place, key) for place in range(24)]
        assert found[n].flatten().tolist() == pytest.approx(expected, abs=1e-3)


def test_noise_is_normal_and_samples_bands_and_neighbours_have_nothing_in_common() -> None:
    found = noise(
        (4, 3, 256, 256), np.random.default_rng(0).integers(2**32, size=(4, 2), dtype=np.uint32), CPU
    )
    assert bool(found.isfinite().all())
    flat = found.double().flatten(1).numpy()
    count = flat.shape[1]
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert (np.abs((flat**power).mean(axis=1) - moment) < 6 * np.sqrt(105 / count)).all()
    planes = found.double().view(12, -1).numpy()
    assert np.abs(np.corrcoef(planes) - np.eye(12)).max() < 6 / 256
    for lag in (1, 2, 255, 256, 257):
        assert (np.abs((flat[:, lag:] * flat[:, :-lag]).mean(axis=1)) < 6 / np.sqrt(count)).all()


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 8))
def test_hiding_equals_slices_of_0(seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    rows, cols = (np.sort(random.integers(0, edge + 1, size=(3, 2)), axis=1) for edge in (height, width))
    corners = np.stack([rows[:, 0], cols[:, 0], rows[:, 1], cols[:, 1]], axis=1)
    image = torch.ones(3, 2, height, width)
    expected = image.clone()
    for n, (top, left, bottom, right) in enumerate(corners):
        expected[n, :, top:bottom, left:right] = 0
    assert torch.equal(hide(image, corners), expected)
