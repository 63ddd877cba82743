"""Deciding in strips of rows is deciding at once."""

from __future__ import annotations

import pytest
import torch

from geoseg.engine import decision
from geoseg.engine.decision import Decision
from geoseg.grid.legend import Task

CPU = torch.device("cpu")
CHANNELS: dict[Task, tuple[int, ...]] = {"multiclass": (5, 0, 9), "binary": (1,), "multilabel": (3, 1, 2)}


@pytest.mark.parametrize("rows", [0, 1, 6, 7])
@pytest.mark.parametrize("task", CHANNELS)
def test_strips_give_what_all_rows_give(task: Task, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = Decision(task, CHANNELS[task], None, CPU)
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand((len(CHANNELS[task]), rows, 5), generator=generator)
    valid = torch.rand((rows, 5), generator=generator) < 0.8

    def everything() -> list[torch.Tensor]:
        return [
            *decide(probabilities, valid),
            decide.stored(probabilities, valid, "uint8"),
            decide.stored(probabilities, valid, "float16"),
        ]

    whole = everything()
    monkeypatch.setattr(decision, "_STRIP", 13)  # two rows of five
    for ours, expected in zip(everything(), whole, strict=True):
        assert ours.shape == expected.shape
        assert torch.equal(ours.nan_to_num(-1), expected.nan_to_num(-1))


def test_a_strip_that_is_not_a_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "_STRIP", 13)
    probabilities = torch.full((3, 7, 5), 0.25)
    decide = Decision("multiclass", CHANNELS["multiclass"], None, CPU)
    assert not decide(probabilities, torch.ones(7, 5, dtype=torch.bool))[-1]
    probabilities[:, 3, 2] = torch.nan
    assert decide(probabilities, torch.ones(7, 5, dtype=torch.bool))[-1]
