"""Ground cells and their owners."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.mapping.territory import Territory, cell_of
from tests.mapping.zones import LONLAT

owners = st.dictionaries(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3)), st.integers(0, 2), min_size=1, max_size=30
)
steps = st.sampled_from([0.1, 0.05, 1 / 3, 0.7, 10.0])


@given(owners, steps, steps, st.integers(0, 2**32 - 1))
def test_a_place_belongs_to_the_owner_of_its_cell(
    owner: dict[tuple[int, int], int], dx: float, dy: float, seed: int
) -> None:
    territory = Territory(crs=LONLAT, dx=dx, dy=dy, owner=owner)
    random = np.random.default_rng(seed)
    x, y = random.uniform(-5, 5, (2, 100)) * np.array([[dx], [dy]])
    x[:20], y[10:30] = np.rint(x[:20] / dx) * dx, np.rint(y[10:30] / dy) * dy
    x[-1] = np.inf
    for one, other, found in zip(x, y, territory.owners_at(x, y).tolist(), strict=True):
        inside = [
            zone
            for (gx, gy), zone in owner.items()
            if gx * dx <= one < (gx + 1) * dx and gy * dy <= other < (gy + 1) * dy
        ]
        assert inside == ([] if found == -1 else [found])


@given(owners, steps, steps)
def test_borders_are_where_owners_change(owner: dict[tuple[int, int], int], dx: float, dy: float) -> None:
    territory = Territory(crs=LONLAT, dx=dx, dy=dy, owner=owner)
    lines = {tuple(line) for line in territory.borders().tolist()}
    expected = set()
    for gx in range(-4, 5):
        for gy in range(-4, 5):
            me = owner.get((gx, gy), -1)
            if me != owner.get((gx + 1, gy), -1):
                expected.add(((gx + 1) * dx, gy * dy, (gx + 1) * dx, (gy + 1) * dy))
            if me != owner.get((gx, gy + 1), -1):
                expected.add((gx * dx, (gy + 1) * dy, (gx + 1) * dx, (gy + 1) * dy))
    assert lines == expected
    assert len(territory.borders()) == len(lines)


@given(owners, steps, steps)
def test_a_zone_is_its_cells(owner: dict[tuple[int, int], int], dx: float, dy: float) -> None:
    territory = Territory(crs=LONLAT, dx=dx, dy=dy, owner=owner)
    for zone in range(4):
        cells = [
            shapely.box(gx * dx, gy * dy, (gx + 1) * dx, (gy + 1) * dy)
            for (gx, gy), who in owner.items()
            if who == zone
        ]
        ground = territory.of_zone(zone)
        assert ground.area == pytest.approx(len(cells) * dx * dy)
        assert shapely.symmetric_difference(ground, shapely.union_all(cells)).area == pytest.approx(
            0, abs=1e-9
        )


@given(owners, st.lists(st.tuples(*[st.integers(-5, 5)] * 4), max_size=8))
def test_cells_in_rectangles_are_counted(
    owner: dict[tuple[int, int], int], ranges: list[tuple[int, int, int, int]]
) -> None:
    territory = Territory(crs=LONLAT, dx=1, dy=1, owner=owner)
    for zone in range(4):
        found = territory.count_in(zone, np.array(ranges, np.int64).reshape(-1, 4))
        assert found.tolist() == [
            sum(
                who == zone and west <= gx <= east and south <= gy <= north for (gx, gy), who in owner.items()
            )
            for west, south, east, north in ranges
        ]


@pytest.mark.parametrize("step", [0.1, 0.05, 1 / 3, 0.7, 1e-3, 1000.0])
def test_a_cell_begins_at_its_number_times_its_step(step: float) -> None:
    numbers = np.arange(-5000, 5000)
    assert (cell_of(numbers * step, step) == numbers).all()
    assert (cell_of(np.nextafter(numbers * step, -np.inf), step) == numbers - 1).all()
