"""Batches: a function of epoch and number, whatever came before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.window import Window
from geoseg.learning.batches import Batches, Place


class Counting:
    """Draws (step, window at the epoch's row)."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def draw(self, epoch: int, step: int) -> Place:
        assert 0 <= step < self.length
        return step, Window(row=epoch, col=step, height=1, width=1)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.data())
def test_an_epoch_goes_on_anywhere(
    length: int, size: int, accumulate: int, epoch: int, data: st.DataObject
) -> None:
    batches = Batches(Counting(length), size, accumulate)
    batches.begin(epoch)
    whole = list(batches)
    assert len(whole) == len(batches)
    assert len(batches) % accumulate == 0, "an epoch is whole optimizer steps"
    first = data.draw(st.integers(0, len(whole)))
    batches.begin(epoch, first)
    assert list(batches) == whole[first:]
    assert all(1 <= len(batch) <= size for batch in whole)
    assert all(window.row == epoch for batch in whole for _, window in batch)


def test_every_chip_of_an_epoch_comes_once() -> None:
    drawn = [step for batch in Batches(Counting(11), 4) for step, _ in batch]
    assert drawn == list(range(11))
    assert [step for batch in Batches(Counting(11), 4, accumulate=2) for step, _ in batch] == list(range(8))
