"""How the learning rate goes over a training.

The rate is the largest one (``train.learning_rate``) times a factor that is a function of the step alone; only
plateau's also falls with the scores of the epochs. `warm_up` is a share of the whole run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from geoseg.datasets.quantities import STRICT, Count, Positive, Share

if TYPE_CHECKING:
    import torch

SCHEDULES: Final = frozenset({"constant", "one_cycle", "cosine", "poly", "plateau"})


class Constant(BaseModel):
    """The same rate throughout, after a linear rise."""

    model_config = STRICT

    name: Literal["constant"] = "constant"
    warm_up: Share = 0.0


class OneCycle(BaseModel):
    """Up to the largest rate and down again (Smith and Topin 2019, doi:10.1117/12.2520589), as torch has it.

    From 1/25 of the largest rate, by cosines, down to 1/250000.
    """

    model_config = STRICT

    name: Literal["one_cycle"] = "one_cycle"
    warm_up: Share = 0.3


class Cosine(BaseModel):
    """After a linear rise, half a cosine down to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

    model_config = STRICT

    name: Literal["cosine"] = "cosine"
    warm_up: Share = 0.0


class Poly(BaseModel):
    """After a linear rise, ``(1 - part done) ** power`` (Chen et al. 2018, doi:10.1109/TPAMI.2017.2699184)."""

    model_config = STRICT

    name: Literal["poly"] = "poly"
    warm_up: Share = 0.0
    power: Positive = 0.9


class Plateau(BaseModel):
    """After a linear rise, the same rate, times `factor` each time `patience` epochs brought no better score.

    The score is that of ``train.monitor``.
    """

    model_config = STRICT

    name: Literal["plateau"] = "plateau"
    warm_up: Share = 0.0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 5


def _named(value: Any) -> Any:
    """Take the name alone; a mapping without one is the default's."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict):
        return {"name": "one_cycle", **value}
    if not isinstance(value, BaseModel):
        raise ValueError("expected the name of a schedule, or its name and options")
    return value


ScheduleConfig = Annotated[
    Annotated[Constant | OneCycle | Cosine | Poly | Plateau, Field(discriminator="name")],
    BeforeValidator(_named),
]


def factor_at(schedule: Constant | Cosine | Poly | Plateau, step: int, steps: int) -> float:
    """Return the factor of the largest rate at a step, counted from 0, of a run of so many.

    Laws: it is in 0 to 1, rises through the warm-up to 1, and never rises after it.
    """
    rising = round(schedule.warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    part = min(1.0, (step - rising) / max(1, steps - rising))
    match schedule:
        case Cosine():
            return (1 + math.cos(math.pi * part)) / 2
        case Poly():
            return float((1 - part) ** schedule.power)
        case _:
            return 1.0


def build_schedule(
    schedule: Constant | OneCycle | Cosine | Poly | Plateau,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    cycle_momentum: bool,
) -> torch.optim.lr_scheduler.LRScheduler:
    """Make the schedule of an optimizer whose rates are the largest ones.

    Parameters
    ----------
    schedule
    optimizer : Optimizer
    steps : int
        Of the whole run.
    cycle_momentum : bool
        Whether one_cycle moves the momentum against the rate, 0.95 to 0.85 and back.
    """
    from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

    from geoseg.learning.plateau import PlateauSchedule

    if isinstance(schedule, OneCycle):
        warm_up = schedule.warm_up
        if warm_up * steps == 1:
            warm_up -= 1e-9  # the rise is one step, and torch divides by one less
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        return OneCycleLR(
            optimizer,
            max_lr=rates,
            total_steps=steps,
            pct_start=float(warm_up),
            cycle_momentum=cycle_momentum,
        )
    if isinstance(schedule, Plateau):
        return PlateauSchedule(optimizer, schedule, steps)
    return LambdaLR(optimizer, lambda step: factor_at(schedule, step, steps))
