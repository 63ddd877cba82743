"""Augmentation: pixels move together, labels stay with them, and the key decides everything."""

from __future__ import annotations

import pickle
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.augment import D4, Augment, _stream, turn
from geoseg.learning.augment_config import PRESETS, AugmentConfig

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

STILL = Augment(symmetries="none")
STRENGTH: dict[str, Any] = {
    "rotate": 30.0, "scale": 0.5, "crop": 0.4, "brightness": 0.3, "contrast": 0.3, "gamma": 0.5,
    "noise": 0.2, "shift": 1.5, "blur": 1.0, "cutout": 0.3,
}  # fmt: skip
EVERYTHING = Augment(per_band=0.5, **STRENGTH)


def batch(count: int = 6, size: int = 5) -> Batch:
    """Chips whose image, mask and valid say the same: every pixel carries its number."""
    numbers = torch.arange(size * size).reshape(size, size).expand(count, size, size)
    valid = numbers % 3 > 0
    image = torch.stack([numbers, 2 * numbers], dim=1).float() * valid.unsqueeze(1)
    return image, numbers.clone(), valid.clone()


def random_batch(seed: int, shape: tuple[int, int, int, int] = (4, 3, 12, 12), holes: float = 0.1) -> Batch:
    """Chips as training reads them: 0 and IGNORED where not valid."""
    random = np.random.default_rng(seed)
    count, _, height, width = shape
    valid = torch.tensor(random.random((count, height, width)) >= holes)
    image = torch.tensor(random.normal(size=shape), dtype=torch.float32) * valid.unsqueeze(1)
    mask = torch.tensor(random.choice([IGNORED, 0, 1, 2], size=(count, height, width)))
    return image, mask.masked_fill(~valid, IGNORED), valid


def ramps(shape: tuple[int, int, int, int]) -> Batch:
    """Chips whose even bands hold the row and whose odd bands hold the column, seen from the centre."""
    count, bands, height, width = shape
    row = torch.arange(height) - (height - 1) / 2
    col = torch.arange(width) - (width - 1) / 2
    both = torch.stack(torch.meshgrid(row, col, indexing="ij"))
    image = both.repeat(count, bands // 2, 1, 1)
    return (
        image,
        torch.arange(height * width).view(1, height, width).repeat(count, 1, 1),
        image[:, 0] == image[:, 0],
    )


def frame_of(image: torch.Tensor, known: torch.Tensor) -> np.ndarray:
    """(2, 3) matrix that laid out a chip of ramps (two bands), by least squares over some of its pixels."""
    rows, cols = (axis[known.numpy()] for axis in np.indices(known.shape))
    height, width = known.shape
    places = np.stack([rows - (height - 1) / 2, cols - (width - 1) / 2, np.ones(len(rows))], axis=1)
    values = image[:, known].numpy().T
    solution, *_ = np.linalg.lstsq(places, values, rcond=None)
    assert np.abs(places @ solution - values).max() < 1e-3, "not one affine lookup"
    return np.asarray(solution.T)


def inner(valid: torch.Tensor) -> torch.Tensor:
    """Pixels of a chip whose neighbours as far as two are valid: none of theirs came from an edge."""
    outside = torch.nn.functional.pad((~valid).float(), (2, 2, 2, 2), value=1.0)
    return torch.nn.functional.max_pool2d(outside[None], 5, 1)[0] == 0


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


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


def test_horizontal_flips_alone() -> None:
    _, mask, _ = batch(64)
    _, flipped, _ = Augment(symmetries="horizontal")(*batch(64), (3,))
    assert {chip.numpy().tobytes() for chip in flipped} == {
        mask[0].numpy().tobytes(),
        mask[0].flip(-1).contiguous().numpy().tobytes(),
    }


def test_a_chip_that_is_not_square_keeps_its_shape() -> None:
    image, mask, valid = random_batch(0, (32, 2, 4, 7))
    changed, labels, _ = Augment()(image, mask, valid, (0,))
    assert changed.shape == image.shape
    expected = [{turn(chip, e).numpy().tobytes() for e in (0, 2, 4, 6)} for chip in mask]
    found = [chip.numpy().tobytes() for chip in labels]
    assert all(f in e for f, e in zip(found, expected, strict=True))


def test_the_key_decides_and_chips_differ() -> None:
    augment = Augment(brightness=0.5, contrast=0.5, per_band=0.5)
    first = augment(*batch(32), (1, 2, 0))
    assert all(torch.equal(a, b) for a, b in zip(first, augment(*batch(32), (1, 2, 0)), strict=True))
    for key in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert not torch.equal(first[0], augment(*batch(32), key)[0])
    assert len({chip.numpy().tobytes() for chip in first[1]}) == D4


@given(st.integers(0, 2**32), st.booleans(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_symmetries_brightness_and_contrast_draw_as_they_always_did(
    seed: int, turned: bool, brightness: float, contrast: float, per_band: float
) -> None:
    # Models that were trained with these fields alone are trained again to the same weights.
    image, mask, valid = random_batch(1, (5, 3, 4, 4))
    augment = Augment(
        symmetries="all" if turned else "none", brightness=brightness, contrast=contrast, per_band=per_band
    )
    found = augment(image, mask, valid, (seed, 7, 1))
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 7, 1])))
    elements = random.integers(8, size=5) if turned else np.zeros(5, dtype=int)
    numbers = [random.uniform(-1, 1, size=shape) for shape in ((5, 1), (5, 3)) * 2]
    level, stretch = ((1 - per_band) * a + per_band * b for a, b in (numbers[:2], numbers[2:]))
    gain = torch.tensor(np.exp(stretch * np.log1p(contrast)), dtype=torch.float32)[..., None, None]
    lift = torch.tensor(level * brightness, dtype=torch.float32)[..., None, None]
    image, mask, valid = (
        torch.stack([turn(part, int(e)) for part, e in zip(whole, elements, strict=True)])
        for whole in (image, mask, valid)
    )
    if brightness or contrast:
        image = (image * gain + lift) * valid.unsqueeze(1)
    assert same(found, (image, mask, valid))


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_colours_change_within_bounds_and_invalid_pixels_stay_0(
    seed: int, brightness: float, contrast: float, per_band: float
) -> None:
    image, mask, valid = batch()
    augment = Augment(symmetries="none", brightness=brightness, contrast=contrast, per_band=per_band)
    changed, same_mask, same_valid = augment(image, mask, valid, (seed,))
    assert torch.equal(same_mask, mask)
    assert torch.equal(same_valid, valid)
    assert not changed[(~valid).unsqueeze(1).expand_as(changed)].any()
    limit = image * (1 + contrast) + brightness
    assert bool((changed <= limit + 1e-4)[valid.unsqueeze(1).expand_as(changed)].all())
    assert bool((changed >= image / (1 + contrast) - brightness - 1e-4).all())


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from(list(STRENGTH)), st.sampled_from(list(STRENGTH)))
def test_a_field_of_0_is_off_and_a_field_leaves_the_draws_of_others(seed: int, one: str, other: str) -> None:
    given_batch = random_batch(2)
    off = replace(STILL, **{one: 0.0})(*given_batch, (seed,))
    assert all(a is b for a, b in zip(off, given_batch, strict=True))
    both = Augment(**{one: STRENGTH[one], other: 0.0} if one != other else {one: STRENGTH[one]})
    assert same(both(*given_batch, (seed,)), Augment(**{one: STRENGTH[one]})(*given_batch, (seed,)))


def test_each_field_changes_something_and_only_what_it_should() -> None:
    moving = {"rotate", "scale", "crop", "shift"}
    for name, strength in STRENGTH.items():
        image, mask, valid = random_batch(3)
        changed, labels, known = replace(STILL, **{name: strength})(image, mask, valid, (0,))
        assert not torch.equal(changed, image), name
        if name not in moving:
            assert labels is mask, name
            assert known is valid, name


def test_every_change_draws_from_its_own_spawned_stream() -> None:
    # In this order for ever: a run that is continued by a later version repeats the draws.
    names = ("rotate", "scale", "crop", "shift", "blur", "gamma", "noise", "cutout")
    children = np.random.SeedSequence([1, 2**40]).spawn(len(names))
    for name, child in zip(names, children, strict=True):
        expected = np.random.Generator(np.random.Philox(child)).uniform(size=3)
        assert np.array_equal(_stream((1, 2**40), name).uniform(size=3), expected)


def test_noise_comes_on_top_of_brightness_whether_or_not_there_is_a_cutout() -> None:
    image, mask, valid = random_batch(4, holes=0)
    key = (5, 6)
    bright = replace(STILL, brightness=0.5)(image, mask, valid, key)[0]
    grain = replace(STILL, noise=0.2)(image, mask, valid, key)[0] - image
    both = replace(STILL, brightness=0.5, noise=0.2)(image, mask, valid, key)[0]
    assert torch.allclose(both, bright + grain, atol=1e-5)
    cut = replace(STILL, brightness=0.5, noise=0.2, cutout=0.5)(image, mask, valid, key)[0]
    hidden = (cut == 0).all(1, keepdim=True)
    assert hidden.any()
    assert torch.equal(cut, both.masked_fill(hidden, 0))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_sample_depends_on_the_key_and_its_number_alone(seed: int, state: int) -> None:
    image, mask, valid = random_batch(seed)
    key = (seed, 1)
    torch.manual_seed(state)
    before = torch.get_rng_state()
    given_parts = [part.clone() for part in (image, mask, valid)]
    whole = EVERYTHING(image, mask, valid, key)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(state + 1)
    assert same(whole, EVERYTHING(image, mask, valid, key))
    pairs = zip((image, mask, valid), given_parts, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs), "what was given was changed"
    others = [part.clone() for part in (image, mask, valid)]
    for part, fresh in zip(others, random_batch(seed + 1), strict=True):
        part[:2], part[3:] = fresh[:2], fresh[3:]
    again = EVERYTHING(*others, key)
    assert all(torch.allclose(a[2], b[2], atol=1e-6) for a, b in zip(whole, again, strict=True))
    # Brightness and contrast draw for the batch as one; everything else is a matter of the sample.
    alone = replace(EVERYTHING, brightness=0.0, contrast=0.0)
    parts = [part[:2] for part in (image, mask, valid)]
    few, many = alone(*parts, key), alone(image, mask, valid, key)
    assert all(torch.allclose(a, b[:2], atol=1e-6) for a, b in zip(few, many, strict=True))


@given(st.integers(0, 2**32), st.sets(st.sampled_from(list(STRENGTH))), st.sampled_from(["all", "none"]))
def test_invalid_pixels_are_0_and_everything_is_finite(seed: int, names: set[str], symmetries: Any) -> None:
    augment = Augment(symmetries=symmetries, **{name: STRENGTH[name] for name in names})
    image, mask, valid = augment(*random_batch(seed, (2, 2, 9, 9), 0.3), (seed,))
    assert image.dtype == torch.float32
    assert mask.dtype == torch.int64
    assert valid.dtype == torch.bool
    assert bool(image.isfinite().all())
    assert not image[(~valid).unsqueeze(1).expand_as(image)].any()
    assert bool((mask[~valid] == IGNORED).all())


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_layers_of_labels_move_as_each_alone(seed: int) -> None:
    image, mask, valid = random_batch(seed)
    layers = torch.stack([mask, (mask + 1).where(mask >= 0, mask)], dim=1)
    augment = replace(EVERYTHING, symmetries="all")
    changed, labels, known = augment(image, layers, valid, (seed,))
    for i in range(2):
        assert same((changed, labels[:, i], known), augment(image, layers[:, i], valid, (seed,)))


@given(st.integers(0, 2**32), st.floats(0, 180), st.floats(0, 1), st.floats(0, 0.8), st.booleans())
def test_a_chip_is_looked_up_once_through_symmetry_rotation_scale_and_crop(
    seed: int, rotate: float, scale: float, crop: float, turned: bool
) -> None:
    augment = Augment(symmetries="all" if turned else "none", rotate=rotate, scale=scale, crop=crop)
    size = 24
    image, mask, valid = augment(*ramps((3, 2, size, size)), (seed,))
    if augment == replace(STILL, symmetries=augment.symmetries):
        return
    for chip, labels, known in zip(image, mask, valid, strict=True):
        frame = frame_of(chip, inner(known))
        length = np.sqrt(abs(np.linalg.det(frame[:, :2])))
        assert (1 - crop) / (1 + scale) - 1e-3 < length < 1 + scale + 1e-3
        unit = frame[:, :2] / length
        assert np.abs(unit @ unit.T - np.eye(2)).max() < 1e-3
        assert turned or np.linalg.det(unit) > 0
        if not turned and rotate < 179:
            assert abs(np.degrees(np.arctan2(unit[0, 1], unit[0, 0]))) < rotate + 0.1
        assert np.abs(frame[:, 2]).max() <= crop / 2 * size * (1 + scale) * 2**0.5 + 1e-3
        # Labels are those of the nearest pixel, and there is none where the frame points outside.
        place = np.indices((size, size)).reshape(2, -1) - (size - 1) / 2
        source = frame[:, :2] @ place + frame[:, 2:] + (size - 1) / 2
        certain = (np.abs(source - np.floor(source) - 0.5) > 0.01).all(axis=0)
        nearest = np.rint(source).astype(int)
        inside = ((nearest >= 0) & (nearest < size)).all(axis=0)
        expected = np.where(inside, nearest[0] * size + nearest[1], IGNORED)
        assert np.array_equal(labels.numpy().ravel()[certain], expected[certain])
        assert np.array_equal(known.numpy().ravel()[certain], inside[certain])


def test_a_lookup_takes_the_symmetries_that_are_drawn_without_it() -> None:
    given_batch = random_batch(9, (64, 2, 9, 9))
    exact = Augment()(*given_batch, (4,))
    found = Augment(crop=1e-6)(*given_batch, (4,))
    assert same((exact[0], *found[1:]), exact)
    assert torch.allclose(found[0], exact[0], atol=1e-4)


@given(st.integers(0, 2**32), st.floats(0.01, 0.95))
def test_a_crop_shows_nothing_from_outside(seed: int, crop: float) -> None:
    image, mask, valid = replace(STILL, crop=crop)(*ramps((3, 2, 16, 20)), (seed,))
    assert bool(valid.all())
    assert bool((mask >= 0).all())
    for chip, known in zip(image, valid, strict=True):
        frame = frame_of(chip, known)
        assert 1 - crop - 1e-3 < frame[0, 0] <= 1.001
        assert frame[0, 0] == pytest.approx(frame[1, 1], abs=1e-3)


@given(st.integers(0, 2**32), st.floats(0.01, 2), st.booleans())
def test_a_shift_moves_bands_against_each_other_and_leaves_labels(
    seed: int, shift: float, warped: bool
) -> None:
    given_batch = ramps((2, 4, 20, 20))
    augment = replace(STILL, shift=shift, rotate=20.0 if warped else 0.0)
    unshifted, labels, still = replace(augment, shift=0.0)(*given_batch, (seed,))
    image, mask, valid = augment(*given_batch, (seed,))
    assert torch.equal(mask, labels.masked_fill(~valid, IGNORED))
    assert not bool((valid & ~still).any())
    assert warped or bool(inner(valid[0])[5:-5, 5:-5].all())
    frames = np.array(
        [
            [frame_of(chip[b : b + 2], inner(known)) for b in (0, 2)]
            for chip, known in zip(image, valid, strict=True)
        ]
    )
    common = [frame_of(chip[:2], inner(known))[:, :2] for chip, known in zip(unshifted, still, strict=True)]
    assert np.abs(frames[..., :2] - np.array(common)[:, None]).max() < 1e-3, "bands are turned as labels are"
    assert np.abs(frames[..., 2]).max() <= shift * (2**0.5 if warped else 1) + 1e-3
    assert shift < 0.1 or np.abs(frames[:, 0, :, 2] - frames[:, 1, :, 2]).max() > 1e-3


@given(st.integers(0, 2**32), st.floats(0.01, 1), st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_a_cutout_hides_one_rectangle_of_limited_area(
    seed: int, share: float, shape: tuple[int, int]
) -> None:
    image, mask, valid = (
        torch.ones(4, 2, *shape),
        torch.ones(4, *shape, dtype=torch.int64),
        torch.ones(4, *shape) > 0,
    )
    cut, labels, known = replace(STILL, cutout=share)(image, mask, valid, (seed,))
    assert labels is mask
    assert known is valid
    for chip in cut.numpy():
        hidden = chip[0] == 0
        assert np.array_equal(chip[0], chip[1])
        assert hidden.sum() <= share * hidden.size
        if hidden.any():
            rows, cols = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
            assert hidden.sum() == (np.ptp(rows) + 1) * (np.ptp(cols) + 1)


def test_cutouts_are_as_large_as_asked_and_lie_everywhere() -> None:
    size = 32
    image, valid = torch.ones(2000, 1, size, size), torch.ones(2000, size, size, dtype=torch.bool)
    hidden = replace(STILL, cutout=0.5)(image, valid.long(), valid, (0,))[0] == 0
    shares = hidden.flatten(1).float().mean(1)
    assert 0.4 < float(shares.max()) <= 0.5
    assert 0.2 < float(shares.mean()) < 0.26  # uniform from 0 to 0.5, cut down to whole pixels
    assert bool(hidden.any(0).all())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_half_precision_around_it_and_the_memory_layout_change_nothing(layout: torch.memory_format) -> None:
    image, mask, valid = random_batch(6)
    expected = EVERYTHING(image, mask, valid, (1,))
    with torch.autocast("cpu", torch.bfloat16):
        found = EVERYTHING(image.contiguous(memory_format=layout), mask, valid, (1,))
    assert found[0].dtype == torch.float32
    assert torch.allclose(found[0], expected[0], atol=1e-5)
    assert same((expected[0], *found[1:]), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_changes_nothing() -> None:
    parts = random_batch(7, (4, 3, 64, 64))
    expected = EVERYTHING(*parts, (1,))
    found = EVERYTHING(*(part.cuda() for part in parts), (1,))
    assert torch.allclose(found[0].cpu(), expected[0], atol=1e-2)
    assert same((expected[0], found[1].cpu(), found[2].cpu()), expected)


def test_it_takes_every_field_and_preset_of_the_configuration() -> None:
    assert asdict(Augment()) == AugmentConfig().model_dump()
    for fields in PRESETS.values():
        augment = Augment(**AugmentConfig(**fields).model_dump())
        assert pickle.loads(pickle.dumps(augment)) == augment
        assert augment(*random_batch(8), (0,))[0].shape == (4, 3, 12, 12)
    given_batch = random_batch(8)
    none = Augment(**AugmentConfig(**PRESETS["none"]).model_dump())(*given_batch, (0,))
    assert all(a is b for a, b in zip(none, given_batch, strict=True))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 0.45, 1.0, 2.0]))
def test_amounts_mean_the_same_whatever_a_network_is_fed_by(seed: int, spread: float) -> None:
    """Numbers that are fed half as large are changed half as much: the picture is the same."""
    augment = Augment(brightness=0.3, contrast=0.3, per_band=0.5, noise=0.2, rotate=20.0)
    image, mask, valid = random_batch(seed)
    plain, _, _ = augment(image, mask, valid, (seed,))
    other, _, _ = augment.in_units_of(spread)(spread * image, mask, valid, (seed,))
    torch.testing.assert_close(other, spread * plain, rtol=1e-5, atol=1e-5)
