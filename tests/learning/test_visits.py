"""Visits: the same windows, neighbours together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.sampler import RandomSampler
from geoseg.datasets.series import Place
from geoseg.grid.grid import Grid
from geoseg.learning.sampling import Visits, visiting
from tests.datasets.test_sampler import places

SHAPES = st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4)


@dataclass
class Image:
    """As much of a pair as is asked here."""

    grid: Grid
    count: int = 4
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype("uint16"))

    @property
    def image(self) -> Image:
        return self


def images(*shapes: tuple[int, int], **more: Any) -> list[Any]:
    return [Image(place.grid, **more) for place in places(*shapes)]


def region_of(place: Place, rows: int, cols: int) -> tuple[int, int, int]:
    index, window = place
    return index, window.row // rows, window.col // cols


@given(SHAPES, st.integers(1, 60), st.integers(1, 40), st.integers(1, 6), st.integers(0, 3))
def test_an_epoch_has_the_same_windows(
    shapes: list[tuple[int, int]], length: int, region: int, at_once: int, epoch: int
) -> None:
    sampler = RandomSampler(places(*shapes), 8, length, seed=3)
    visits = Visits(sampler, (region, 2 * region), at_once, seed=4)
    sampler.set_epoch(epoch)
    visits.set_epoch(epoch)
    series = list(visits)
    assert Counter(series) == Counter(sampler)
    assert len(visits) == length
    assert [visits.draw(epoch, step) for step in reversed(range(length))] == series[::-1], "no order matters"
    later = [[s.draw(epoch, length + step) for step in range(length)] for s in (visits, sampler)]
    assert Counter(later[0]) == Counter(later[1]), "the series goes on behind the end"


@given(SHAPES, st.integers(1, 80), st.integers(4, 40), st.integers(1, 6))
def test_few_regions_are_open_at_a_time(
    shapes: list[tuple[int, int]], length: int, region: int, at_once: int
) -> None:
    visits = Visits(RandomSampler(places(*shapes), 8, length, seed=0), (region, region), at_once)
    regions = [region_of(place, region, region) for place in visits]
    last = {each: step for step, each in enumerate(regions)}
    opened: set[tuple[int, int, int]] = set()
    for step, each in enumerate(regions):
        opened.add(each)
        assert len(opened) <= at_once, "a region opens only when the visit before is over"
        if all(last[other] <= step for other in opened):
            opened.clear()


def test_windows_of_a_visit_are_mixed_and_epochs_differ() -> None:
    visits = Visits(RandomSampler(places((400, 400)), 8, 400, seed=1), (100, 100), 4)
    regions = [region_of(place, 100, 100) for place in visits]
    changes = sum(a != b for a, b in pairwise(regions))
    assert changes > 200, "within a visit regions follow each other at random"
    visits.set_epoch(1)
    assert [region_of(place, 100, 100) for place in visits] != regions


@pytest.mark.parametrize(
    ("shapes", "more", "visited"),
    [
        (((1000, 1000),), {}, False),
        (((8192, 8192),), {}, True),
        (((512, 512),) * 50, {}, False),
        (((512, 512),) * 60, {}, True),
        (((512, 512),) * 60, {"count": 1, "dtype": np.dtype("uint8")}, False),
    ],
)
def test_images_that_can_be_kept_decoded_need_no_visits(
    shapes: tuple[tuple[int, int], ...], more: dict[str, Any], *, visited: bool
) -> None:
    pairs = images(*shapes, **more)
    sampler = RandomSampler(pairs, 64, 20, seed=0)
    assert isinstance(visiting(sampler, pairs, 64, 0), Visits) == visited


def test_many_regions_at_once_whatever_they_weigh() -> None:
    pairs = images((20000, 20000), count=13, dtype=np.dtype("float32"))
    visits = visiting(RandomSampler(pairs, 512, 200, seed=0), pairs, 512, 0)
    assert isinstance(visits, Visits)
    first = {region_of(place, 512, 512) for place in list(visits)[:8]}
    assert len(first) >= 6
