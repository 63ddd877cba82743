"""Learning-rate schedules.

The rate is the largest one (``train.learning_rate``) times a factor that depends only on the step; only
plateau's also falls with the scores of the epochs. `warm_up` is a share of the whole run.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field

from geoseg.datasets.quantities import STRICT, Count, Positive, Share

SCHEDULES: Final = frozenset({"constant", "one_cycle", "cosine", "poly", "plateau"})


class Constant(BaseModel):
    """A constant rate after a linear warm-up."""

    model_config = STRICT

    name: Literal["constant"] = "constant"
    warm_up: Share = 0.0


class OneCycle(BaseModel):
    """Up to the largest rate and down again (Smith and Topin 2019, doi:10.1117/12.2520589), as in torch.

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
    """After a linear warm-up a constant rate, multiplied by `factor` after `patience` epochs without
    improvement.

    The score is that of ``train.monitor``.
    """

    model_config = STRICT

    name: Literal["plateau"] = "plateau"
    warm_up: Share = 0.0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 5


def _named(value: Any) -> Any:
    """Accept the name alone; a mapping without a name is the default schedule."""
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
    """Return the factor of the largest rate at a step, counted from 0, of a run of `steps`.

    Laws: it is in 0 to 1, rises to 1 during the warm-up, and never rises after it.
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
