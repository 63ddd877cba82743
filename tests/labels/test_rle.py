"""Run lengths against a loop over pixels."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.errors import DataError
from geoseg.labels.rle import decode, encode, fill, parse

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


def naive_encode(mask: np.ndarray) -> str:
    """Pixel by pixel, down each column."""
    runs: list[list[int]] = []
    number = 0
    for col in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            number += 1
            if mask[row, col]:
                if runs and sum(runs[-1]) == number:
                    runs[-1][1] += 1
                else:
                    runs.append([number, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


def naive_decode(text: str, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for number in range(start - 1, start - 1 + length):
            mask[number % shape[0], number // shape[0]] = True
    return mask


def test_a_mask_as_the_competitions_explain_it() -> None:
    mask = np.zeros((4, 5), dtype=np.uint8)
    mask[:3, 0] = 255  # pixels 1 to 3
    mask[3, 1] = mask[0, 2] = 7  # pixels 8 and 9, around the corner
    mask[3, 4] = 1  # the last one, 20
    assert encode(mask) == "1 3 8 2 20 1"
    np.testing.assert_array_equal(decode("1 3 8 2 20 1", (4, 5)), mask != 0)


@given(masks, st.sampled_from([np.bool_, np.uint8, np.int16, np.float32]), st.sampled_from(["C", "F"]))
def test_decode_undoes_encode(mask: np.ndarray, dtype: type, order: str) -> None:
    text = encode(np.asarray(mask * 3, order=order).astype(dtype))
    assert text == naive_encode(mask)
    again = decode(text, mask.shape)
    assert again.dtype == np.bool_
    np.testing.assert_array_equal(again, mask)
    np.testing.assert_array_equal(again, naive_decode(text, mask.shape))


@given(masks, st.data())
def test_touching_runs_are_united(mask: np.ndarray, data: st.DataObject) -> None:
    numbers = [int(word) for word in encode(mask).split()]
    words = []
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        cuts = data.draw(
            st.sets(st.integers(start + 1, start + length - 1)) if length > 1 else st.just(set())
        )
        words += [f"{a} {b - a}" for a, b in pairwise([start, *sorted(cuts), start + length])]
    text = "  ".join(words) + "\n"
    np.testing.assert_array_equal(decode(text, mask.shape), mask)
    assert encode(decode(text, mask.shape)) == encode(mask)


@given(masks, st.data())
def test_a_part_is_filled_as_the_whole_is(mask: np.ndarray, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, mask.size - 1))
    stop = data.draw(st.integers(first + 1, mask.size))
    flat = mask.ravel(order="F")
    np.testing.assert_array_equal(fill(parse(encode(mask), mask.shape), first, stop), flat[first:stop])


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_text_is_no_pixel(text: str) -> None:
    assert not decode(text, (3, 4)).any()
    assert encode(np.zeros((3, 4))) == ""
    assert encode(np.zeros((0, 4))) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "hold an odd number of values, 1, expected pairs"),
        ("1 2 5", "hold an odd number of values, 3, expected pairs"),
        ("1 2 x 3", "hold 'x' as word 3, expected whole numbers"),
        ("1 2 -5 3", "hold '-5' as word 3"),
        ("1.0 2", "hold '1.0' as word 1"),
        ("1,2", "hold '1,2' as word 1"),
        ("١ 2", "as word 1"),
        ("nan", "hold 'nan'"),
        ("0 3", r"run 1 \(start 0, length 3\) starts before the first pixel"),
        ("1 2 5 0", r"run 2 \(start 5, length 0\) is empty"),
        ("13 1", r"run 1 \(start 13, length 1\) goes beyond the last pixel, which is 12 of 3 x 4"),
        ("12 2", "goes beyond"),
        ("1 99999999999999999999999999", "goes beyond"),
        ("99999999999999999999999999 1", "goes beyond"),
        ("9223372036854775000 9223372036854775000", "goes beyond"),
        ("1 3 3 2", r"run 2 \(start 3, length 2\) starts before the end of the one before"),
        ("5 2 1 2", r"run 2 \(start 1, length 2\) starts before the end"),
        ("5 2 5 2", "run 2"),
    ],
)
def test_what_are_no_run_lengths_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        decode(text, (3, 4))
    assert "\n" not in str(error.value)


def test_a_mask_has_two_axes() -> None:
    with pytest.raises(DataError, match=r"shape \(1, 3, 4\), expected \(row, col\)"):
        encode(np.zeros((1, 3, 4)))


def test_real_run_lengths_come_back(shared: Path) -> None:
    with (shared / "clouds" / "train.csv").open(newline="") as file:
        texts = [row["EncodedPixels"] for row in csv.DictReader(file)]
    for text in texts[::7]:
        mask = decode(text, (1400, 2100))
        assert mask.sum() == sum(map(int, text.split()[1::2]))
        assert decode(encode(mask), mask.shape).tobytes() == mask.tobytes()
        assert len(encode(mask)) <= len(text)
