"""How far a training is, as whoever follows it is told."""

from __future__ import annotations

import pytest

from geoseg.learning.records import Extent, Records
from geoseg.learning.state import TrainingPosition


@pytest.mark.parametrize(("epoch", "batch", "said"), [(0, 1, 1), (3, 30, 4), (2, 100, 3), (11, 100, 12)])
def test_steps_of_the_whole_training_are_counted_and_the_epoch_is_said(
    epoch: int, batch: int, said: int
) -> None:
    calls: list[tuple[int, int, str]] = []
    begin = TrainingPosition(epoch=epoch, batch=batch)
    records = Records(
        None,
        None,
        Extent(epochs=12, steps=100),
        begin,
        lambda *call: calls.append(call),  # type: ignore[arg-type]
    )
    records.step(begin, 0.25)
    records.scoring(begin, 1, 3)
    records.close()
    done = epoch * 100 + batch
    assert calls == [
        (done, 1200, f"epoch {said} of 12, loss 0.2500"),
        (done, 1200, f"epoch {said} of 12, scoring 1/3"),
    ]
