"""Schedules: functions of the step, against torch's where it has them."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, PolynomialLR

from geoseg.learning.optimizers import OptimizerConfig
from geoseg.learning.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    OneCycle,
    Plateau,
    Poly,
    ScheduleConfig,
    factor_at,
)
from geoseg.learning.stepping import build_schedule

READ: TypeAdapter[Any] = TypeAdapter(ScheduleConfig)
STEPS = 20


def optimizer(name: str = "adamw", rate: float = 0.5) -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    return OptimizerConfig(name=name).build([weight], rate, 0.0)


def rates(made: torch.optim.Optimizer, schedule: LRScheduler, count: int = STEPS) -> list[tuple[float, Any]]:
    """Rate and first beta of each step."""
    seen = []
    for _ in range(count):
        group = made.param_groups[0]
        seen.append((float(group["lr"]), group.get("betas", (None,))[0]))
        made.step()
        schedule.step()
    return seen


def run(config: Any, name: str = "adamw", steps: int = STEPS) -> list[float]:
    made = optimizer(name)
    schedule = build_schedule(
        READ.validate_python(config), made, steps, cycle_momentum=OptimizerConfig(name=name).cycles_momentum
    )
    return [rate for rate, _ in rates(made, schedule, steps)]


def test_the_default_is_torchs_one_cycle_with_its_momentum() -> None:
    ours, theirs = optimizer(), optimizer()
    schedule = build_schedule(OneCycle(), ours, STEPS, cycle_momentum=True)
    expected = rates(theirs, OneCycleLR(theirs, max_lr=0.5, total_steps=STEPS))
    assert rates(ours, schedule) == expected
    assert len({beta for _, beta in expected}) > 5


def test_cosine_and_poly_are_torchs() -> None:
    for config, kind, options in (
        (Cosine(), CosineAnnealingLR, {"T_max": STEPS}),
        (Poly(power=0.7), PolynomialLR, {"total_iters": STEPS, "power": 0.7}),
    ):
        theirs = optimizer()
        expected = [rate for rate, _ in rates(theirs, kind(theirs, **options))]
        assert run(config) == pytest.approx(expected)


def test_warm_up_is_a_linear_rise() -> None:
    theirs = optimizer()
    expected = [rate for rate, _ in rates(theirs, LinearLR(theirs, start_factor=0.2, total_iters=4))]
    assert run({"name": "constant", "warm_up": 0.25}) == pytest.approx(expected)


@given(
    st.sampled_from([Constant, Cosine, Poly, Plateau]),
    st.floats(0, 0.99),
    st.integers(1, 200),
    st.floats(0.1, 5),
)
def test_a_factor_rises_to_1_and_never_again(kind: Any, warm_up: float, steps: int, power: float) -> None:
    config = kind(warm_up=warm_up, **({"power": power} if kind is Poly else {}))
    found = [factor_at(config, step, steps) for step in range(steps + 1)]
    rising = round(warm_up * steps)
    assert all(0 <= f <= 1 for f in found)
    assert all(a < b for a, b in pairwise(found[:rising]))
    assert found[max(0, rising - 1)] == 1
    assert all(a >= b for a, b in pairwise(found[rising:]))
    if kind in (Cosine, Poly) and rising < steps:
        assert found[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("optimizer_name", ["adamw", "sgd", "rmsprop", "adafactor", "rprop"])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_every_schedule_runs_on_every_optimizer(name: str, optimizer_name: str, steps: int) -> None:
    found = run({"name": name, "warm_up": 0.5}, optimizer_name, steps)
    assert len(found) == steps
    assert all(0 <= rate <= 0.5 and math.isfinite(rate) for rate in found)
    assert max(found) == pytest.approx(0.5, rel=1e-6) or (name, steps) == ("one_cycle", 1)


@pytest.mark.parametrize("name", sorted(SCHEDULES - {"cosine", "poly"}))
@pytest.mark.parametrize("steps", [2, 4, 20])
def test_after_the_last_step_the_rate_stays_as_it_was(name: str, steps: int) -> None:
    made = optimizer()
    schedule = build_schedule(READ.validate_python({"name": name}), made, steps, cycle_momentum=True)
    last, _ = rates(made, schedule, steps)[-1]
    assert made.param_groups[0]["lr"] == last


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_law_9_the_state_goes_through_a_file(name: str) -> None:
    config = READ.validate_python({"name": name, "warm_up": 0.3})
    made = optimizer()
    expected = rates(made, build_schedule(config, made, STEPS, cycle_momentum=True))
    made = optimizer()
    schedule = build_schedule(config, made, STEPS, cycle_momentum=True)
    begun = rates(made, schedule, 7)
    file = io.BytesIO()
    torch.save([made.state_dict(), schedule.state_dict()], file)
    file.seek(0)
    of_optimizer, of_schedule = torch.load(file, weights_only=True)
    made = optimizer()
    schedule = build_schedule(config, made, STEPS, cycle_momentum=True)
    made.load_state_dict(of_optimizer)
    schedule.load_state_dict(of_schedule)
    assert begun + rates(made, schedule, STEPS - 7) == expected


def test_a_name_is_enough_and_the_default_needs_none() -> None:
    assert READ.validate_python("cosine") == Cosine()
    assert READ.validate_python({"warm_up": 0.1}) == OneCycle(warm_up=0.1)
    assert {READ.validate_python(name).name for name in SCHEDULES} == SCHEDULES


@pytest.mark.parametrize(
    "config",
    [
        "linear",
        3,
        {"name": "cosine", "power": 1},
        {"warm_up": 1},
        {"warm_up": -0.1},
        {"name": "plateau", "factor": 1},
    ],
)
def test_other_schedules_are_refused(config: Any) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(config)
