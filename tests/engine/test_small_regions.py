"""Small regions: the laws of taking them away, and a flood fill that knows nothing of scipy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.engine.small_regions import regions, strips_without_small, without_small

Bools = npt.NDArray[np.bool_]
layers = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda s: arrays(np.bool_, (2, *s)))
sizes = st.tuples(st.integers(0, 12), st.integers(0, 12))


def flooded(layer: Bools) -> list[set[tuple[int, int]]]:
    """Regions of a layer, by walking from pixel to pixel."""
    left = {(int(row), int(col)) for row, col in zip(*np.nonzero(layer), strict=True)}
    found = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            row, col = edge.pop()
            region.add((row, col))
            near = {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        found.append(region)
    return found


@given(layers, sizes)
def test_regions_stay_or_go_whole_by_their_size(present: Bools, fewest: tuple[int, int]) -> None:
    before = present.copy()
    kept = without_small(present, fewest)
    for layer, left, size in zip(present, kept, fewest, strict=True):
        expected = np.zeros_like(layer)
        for region in flooded(layer):
            if len(region) >= size:
                expected[tuple(np.transpose(list(region)))] = True
        np.testing.assert_array_equal(left, expected)
    np.testing.assert_array_equal(present, before)


@given(layers, sizes)
def test_again_changes_nothing_and_more_never_leaves_more(present: Bools, fewest: tuple[int, int]) -> None:
    kept = without_small(present, fewest)
    np.testing.assert_array_equal(without_small(kept, fewest), kept)
    assert not (without_small(present, [size + 1 for size in fewest]) & ~kept).any()


@given(layers)
def test_regions_are_counted(present: Bools) -> None:
    for layer in present:
        numbers, counts = regions(layer)
        assert sorted(counts[1:]) == sorted(map(len, flooded(layer)))
        assert counts.sum() == layer.size
        np.testing.assert_array_equal(numbers > 0, layer)


def test_a_corner_connects() -> None:
    diagonal = np.eye(4, dtype=bool)[None]
    np.testing.assert_array_equal(without_small(diagonal, [4]), diagonal)
    assert not without_small(diagonal, [5]).any()


def test_a_size_is_owed_for_each_class() -> None:
    with pytest.raises(ValueError, match="argument"):
        without_small(np.ones((2, 3, 3), dtype=bool), [1])


@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 2), st.integers(1, 24), st.integers(1, 9)),
        elements=st.sampled_from([0, 1, 1, 255]),
    ),
    st.tuples(st.integers(0, 12), st.integers(0, 40)),
    st.lists(st.integers(1, 7), min_size=24, max_size=24),
)
def test_law_strips_have_what_the_whole_has_and_the_confidence_of_what_they_say(
    codes: npt.NDArray[np.uint8], fewest: tuple[int, int], heights: list[int]
) -> None:
    sizes = fewest[: len(codes)]
    random = np.random.default_rng(int(codes.sum()))
    confidence = np.where(codes == 255, 255, random.integers(127, 255, codes.shape)).astype(np.uint8)
    ends = [end for end in np.cumsum(heights).tolist() if end < codes.shape[1]]
    strips = list(zip(*(np.split(whole, ends, axis=1) for whole in (codes, confidence)), strict=True))
    found, sure = (
        np.concatenate(parts, axis=1) for parts in zip(*strips_without_small(strips, sizes), strict=True)
    )
    kept = without_small(codes == 1, sizes)
    assert np.array_equal(found, np.where((codes == 1) & ~kept, 0, codes))
    assert np.array_equal(sure, np.where((codes == 1) & ~kept, 254 - confidence.astype(int), confidence))
    if len(codes) == 1:  # of a binary task
        plain = [(strip[0][0], strip[1][0]) for strip in strips]
        joined = np.concatenate([each for each, _ in strips_without_small(plain, sizes)])
        assert np.array_equal(joined, found[0])


def test_rows_are_held_only_while_a_region_that_is_too_small_is_open() -> None:
    line = np.zeros((100, 5), dtype=np.uint8)
    line[:60, 2] = 1
    strips = [(line[row : row + 1], line[row : row + 1]) for row in range(100)]
    first = next(strips_without_small(iter(strips[:40]), [20]))
    assert first[0].shape[0] >= 20, "it is known to be large enough"
    rest = sum(len(codes) for codes, _ in strips_without_small(strips, [80]))
    assert rest == 100
    assert not any(codes.any() for codes, _ in strips_without_small(strips, [80]))
