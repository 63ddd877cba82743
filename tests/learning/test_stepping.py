"""A rate that falls with the scores."""

from __future__ import annotations

import io

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from geoseg.learning.schedules import Plateau
from geoseg.learning.stepping import PlateauSchedule

EPOCH, STEPS = 3, 60


def made(config: Plateau) -> tuple[torch.optim.Optimizer, PlateauSchedule]:
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    return optimizer, PlateauSchedule(optimizer, config, STEPS)


def train(optimizer: torch.optim.Optimizer, schedule: PlateauSchedule, scores: list[bool]) -> list[float]:
    """Rate of each step; a score after each epoch."""
    rates = []
    for better in scores:
        for _ in range(EPOCH):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
        schedule.scored(better=better)
    return rates


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 4))
def test_without_warm_up_it_falls_where_torchs_does(scores: list[bool], patience: int) -> None:
    config = Plateau(factor=0.5, patience=patience)
    theirs, _ = made(config)
    # torch falls after more than its patience of bad epochs. Better here is lower than all before.
    judge = ReduceLROnPlateau(theirs, factor=0.5, patience=patience - 1, threshold=0)
    expected, best = [], 0.0
    judge.step(best)
    for better in scores:
        expected += [float(theirs.param_groups[0]["lr"])] * EPOCH
        best -= better
        judge.step(best)
    assert train(*made(config), scores) == expected


def test_a_reduction_holds_at_once_and_through_the_warm_up() -> None:
    config = Plateau(warm_up=0.1, factor=0.5, patience=1)  # 6 steps
    found = train(*made(config), [True, False, False, True])
    assert found == [i / 6 for i in range(1, 7)] + [0.5] * 3 + [0.25] * 3


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.integers(0, 8))
def test_law_9_its_state_goes_through_a_file(scores: list[bool], stop: int) -> None:
    config = Plateau(warm_up=0.2, factor=0.3, patience=2)
    expected = train(*made(config), scores)
    optimizer, schedule = made(config)
    begun = train(optimizer, schedule, scores[:stop])
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), schedule.state_dict()], file)
    file.seek(0)
    of_optimizer, of_schedule = torch.load(file, weights_only=True)
    optimizer, schedule = made(config)
    optimizer.load_state_dict(of_optimizer)
    schedule.load_state_dict(of_schedule)
    assert begun + train(optimizer, schedule, scores[stop:]) == expected
