"""The search for a batch size, with a device whose speed is made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.engine import settings
from geoseg.engine.plan import Plan, rows_together
from geoseg.engine.settings import Settings, batch_sizes, calls, cheapest_batch, with_fastest_batch
from geoseg.grid.tiling import Tiling

SETTINGS = Settings(device="cpu", precision="fp32", batch_size=8, threads=1)


class Device:
    """A clock that only this device moves; it runs a batch in a made-up time and holds so many tiles."""

    def __init__(self, seconds: Callable[[int], float], holds: int = 10**6) -> None:
        self.now, self.seconds, self.holds = 0.0, seconds, holds
        self.tried: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def trial(self, batch: int) -> Callable[[], None]:
        self.tried.append(batch)

        def run() -> None:
            if batch > self.holds:
                raise torch.OutOfMemoryError("made up")
            self.now += self.seconds(batch)

        return run


def searched(device: Device, tiles: tuple[int, int], monkeypatch: pytest.MonkeyPatch, start: int = 8) -> int:
    monkeypatch.setattr(settings, "time", device)
    return with_fastest_batch(replace(SETTINGS, batch_size=start), tiles, device.trial).batch_size


HUGE = (128, 128)


@pytest.mark.parametrize("best", [1, 2, 4, 8, 16])
def test_the_fastest_is_found_be_it_small_or_large(best: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(batch: int) -> float:
        return batch * (1 + 0.3 * abs(batch.bit_length() - best.bit_length()))

    device = Device(seconds)
    assert searched(device, HUGE, monkeypatch) == best
    assert device.now <= 0.03 * 2 * HUGE[0] * HUGE[1]


def test_a_small_scene_is_not_tried_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(float)
    assert searched(device, (20, 20), monkeypatch) == 8
    assert device.tried == []


def test_a_gain_that_may_be_noise_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched(Device(lambda batch: batch * (1 + 0.002 * batch)), HUGE, monkeypatch) == 8


@pytest.mark.parametrize(("holds", "chosen"), [(1, 1), (2, 2), (3, 2), (8, 8)])
def test_what_the_memory_does_not_hold_is_not_chosen(
    holds: int, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    device = Device(lambda batch: batch + 1.0, holds)
    assert searched(device, HUGE, monkeypatch) == chosen


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
def test_batches_are_counted_as_they_are_run(rows: int, cols: int, batch: int) -> None:
    tiling, count = Tiling(size=4, overlap=0), 0
    for strip in Plan.of((4 * rows, 4 * cols), tiling, batch).strips:
        tiles = len(strip.tile_rows) * cols
        while tiles > 0:
            tiles, count = tiles - batch, count + 1
    assert calls(rows, cols, batch) == count


@given(st.integers(1, 60), st.integers(1, 40))
def test_little_of_a_batch_is_computed_for_nothing(columns: int, batch: int) -> None:
    together = rows_together(columns, batch)
    least = -(-batch // columns)
    assert least <= together < least + 4

    def computed(rows: int) -> float:
        return -(-rows * columns // batch) * batch / (rows * columns)

    assert all(computed(together) <= computed(rows) + 0.05 + 1e-9 for rows in range(least, least + 4))
    assert computed(together) <= 1.35


@given(st.integers(1, 60), st.integers(1, 60))
def test_sizes_worth_trying_hold_the_one_that_is_taken_untried(rows: int, cols: int) -> None:
    sizes = batch_sizes((rows, cols), "cpu")
    assert cheapest_batch(rows, cols, 8) in sizes
    assert sizes <= set(range(1, 17))
