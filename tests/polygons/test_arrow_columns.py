"""Arrow columns made of numpy's memory are those that pyarrow makes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.polygons.features import not_nan, numbers, texts


@given(arrays(np.int64, st.integers(0, 40)), st.integers(0, 2**32))
def test_numbers_and_what_is_not_known(values: npt.NDArray[np.int64], seed: int) -> None:
    known = np.random.default_rng(seed).random(len(values)) < 0.7
    found = numbers(values, known)
    found.validate(full=True)
    assert found.equals(pa.array(values, mask=~known))
    assert numbers(values[::2]).equals(pa.array(values[::2]))


@given(arrays(np.float64, st.integers(0, 40)))
def test_nan_is_null(values: npt.NDArray[np.float64]) -> None:
    found = not_nan(values)
    found.validate(full=True)
    assert found.to_pylist() == pa.array(values, from_pandas=True).to_pylist()


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5), st.lists(st.integers(0, 99), max_size=40))
def test_texts(words: list[str], numbers_of: list[int]) -> None:
    index = np.array(numbers_of, np.int64) % len(words)
    known = index % 3 != 1
    expected = [words[i] if k else None for i, k in zip(index, known, strict=True)]
    found = texts(words, index, known)
    found.validate(full=True)
    assert found.equals(pa.array(expected, pa.string()))
    assert texts(words, index).to_pylist() == [words[i] for i in index]
