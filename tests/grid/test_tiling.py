"""Law 1, and the weights behind law 2."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.grid.tiling import Tiling


@st.composite
def tilings(draw: st.DrawFn, largest: int = 24) -> Tiling:
    size = draw(st.integers(1, largest))
    return Tiling(size=size, overlap=draw(st.integers(0, size // 2)))


lengths = st.integers(1, 90)


@given(tilings(), lengths, lengths)
def test_every_pixel_lies_in_a_tile_and_no_tile_comes_twice(tiling: Tiling, rows: int, cols: int) -> None:
    hits = np.zeros((rows, cols), dtype=int)
    tiles = list(tiling.windows((rows, cols)))
    for tile in tiles:
        inside = tile.within((rows, cols))
        assert inside is not None
        hits[inside.slices] += 1
    assert hits.min() >= 1
    assert len(set(tiles)) == len(tiles)


@given(tilings(), lengths)
def test_tiles_stay_inside_a_long_enough_scene_and_overlap_enough(tiling: Tiling, length: int) -> None:
    starts = tiling.starts(length)
    assert starts == sorted(starts)
    if length >= tiling.size:
        assert starts[-1] + tiling.size == length
    else:
        assert starts == [0]
    for left, right in pairwise(starts):
        assert left + tiling.size - right >= tiling.overlap


@given(tilings(), lengths)
def test_no_tile_is_needless(tiling: Tiling, length: int) -> None:
    """One tile less at the same stride would leave the end uncovered."""
    count = len(tiling.starts(length))
    assert count == 1 or (count - 2) * tiling.stride + tiling.size < length


@given(tilings(), lengths)
def test_tapers_are_positive_and_sum_to_one(tiling: Tiling, length: int) -> None:
    tapers = tiling.tapers(length)
    total = np.zeros(max(length, tiling.size))
    for start, taper in zip(tiling.starts(length), tapers, strict=True):
        total[start : start + tiling.size] += taper
    assert tapers.min() > 0
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_a_taper_rises_as_half_a_hann_window_over_the_overlap() -> None:
    first, second = Tiling(size=8, overlap=4).tapers(12)
    falling = [(1 + np.cos(np.pi * k / 8)) / 2 for k in (1, 3, 5, 7)]
    np.testing.assert_allclose(first, [1, 1, 1, 1, *falling])
    np.testing.assert_allclose(second, first[::-1])


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-3, 0), (8, 5), (8, -1), (1, 1)])
def test_unusable_plans_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(OptionError, match="expected"):
        Tiling(size=size, overlap=overlap)
