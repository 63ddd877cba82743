"""Batches: a function of epoch and number, whatever came before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.series import Place, TrainingSampler
from geoseg.grid.window import Window
from geoseg.learning.batches import Batches


class Counting(TrainingSampler):
    """Draws (step, window at the epoch's row)."""

    def draw(self, epoch: int, number: int) -> Place:
        assert 0 <= number < len(self)
        return number, Window(row=epoch, col=number, height=1, width=1)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.data())
def test_an_epoch_goes_on_anywhere(
    length: int, size: int, accumulate: int, epoch: int, data: st.DataObject
) -> None:
    batches = Batches(Counting(length), size, accumulate)
    batches.begin(epoch)
    whole = list(batches)
    assert len(whole) == len(batches)
    assert batches.count % accumulate == 0, "an epoch is whole optimizer steps"
    first = data.draw(st.integers(0, batches.count))
    batches.begin(epoch, first)
    assert list(batches) == whole[first * size :]
    assert [place for i in range(batches.count) for place in batches.batch(epoch, i)] == whole
    assert accumulate == 1 or len(whole) == batches.count * size
    assert all(window.row == epoch for _, window in whole)
    assert {step for step, _ in whole} == set(range(min(length, len(whole))))
    assert size == 1 or len(batches.batch(epoch, batches.count - 1)) > 1, "no statistics of a single chip"


def test_every_chip_of_an_epoch_comes_once() -> None:
    assert [step for step, _ in Batches(Counting(11), 4)] == list(range(11))
    assert [step for step, _ in Batches(Counting(11), 4, accumulate=2)] == list(range(8))
    assert [step for step, _ in Batches(Counting(3), 2, accumulate=2)] == [0, 1, 2, 0]
    assert [step for step, _ in Batches(Counting(9), 4)] == [*range(9), 0], "but one, for company"
