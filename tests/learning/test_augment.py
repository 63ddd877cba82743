"""Augmentation: pixels move together, none is lost, and the key decides everything."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.learning.augment import D4, Augment, turn


def batch(count: int = 6, size: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chips whose image, mask and valid say the same: every pixel carries its number."""
    numbers = torch.arange(size * size).reshape(size, size).expand(count, size, size)
    valid = numbers % 3 > 0
    image = torch.stack([numbers, 2 * numbers], dim=1).float() * valid.unsqueeze(1)
    return image, numbers.clone(), valid.clone()


def test_the_eight_elements_are_the_symmetries_of_the_square() -> None:
    square = np.arange(9).reshape(3, 3)
    expected = {np.rot90(side, k).tobytes() for k in range(4) for side in (square, square.T)}
    found = {turn(torch.tensor(square), element).numpy().tobytes() for element in range(D4)}
    assert found == expected
    assert len(found) == D4
    assert torch.equal(turn(torch.tensor(square), 0), torch.tensor(square))
    # One quarter turn counter-clockwise: the last column becomes the first row.
    assert turn(torch.tensor(square), 1)[0].tolist() == [2, 5, 8]


@given(st.integers(0, 2**64), st.integers(0, 10**6))
def test_image_mask_and_valid_are_turned_together(seed: int, step: int) -> None:
    image, mask, valid = Augment()(*batch(), (seed, step, 0))
    assert torch.equal(image[:, 0], mask * valid)
    assert torch.equal(image[:, 1], 2 * mask * valid)
    assert torch.equal(valid, mask % 3 > 0)
    assert all(sorted(chip.flatten().tolist()) == list(range(25)) for chip in mask)


def test_the_key_decides_and_chips_differ() -> None:
    augment = Augment(brightness=0.5, contrast=0.5, per_band=0.5)
    first = augment(*batch(32), (1, 2, 0))
    assert all(torch.equal(a, b) for a, b in zip(first, augment(*batch(32), (1, 2, 0)), strict=True))
    for key in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert not torch.equal(first[0], augment(*batch(32), key)[0])
    assert len({chip.numpy().tobytes() for chip in first[1]}) == D4


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_colours_change_within_bounds_and_invalid_pixels_stay_0(
    seed: int, brightness: float, contrast: float, per_band: float
) -> None:
    image, mask, valid = batch()
    augment = Augment(symmetries=False, brightness=brightness, contrast=contrast, per_band=per_band)
    changed, same_mask, same_valid = augment(image, mask, valid, (seed,))
    assert torch.equal(same_mask, mask)
    assert torch.equal(same_valid, valid)
    assert not changed[(~valid).unsqueeze(1).expand_as(changed)].any()
    limit = image * (1 + contrast) + brightness
    assert bool((changed <= limit + 1e-4)[valid.unsqueeze(1).expand_as(changed)].all())
    assert bool((changed >= image / (1 + contrast) - brightness - 1e-4).all())
