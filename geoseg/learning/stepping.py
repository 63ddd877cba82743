"""Learning-rate schedules as torch steps them, and the one that depends on scores."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from geoseg.learning.schedules import Constant, Cosine, OneCycle, Plateau, Poly, factor_at


class PlateauSchedule(LambdaLR):
    """A learning rate that falls when scores stop improving.

    Law: the rate is ``largest * warm-up(step) * factor ** reductions``, and its state is two plain numbers beside
    the step. (torch's own schedule has no warm-up and another rule for improvements.)

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer, whose rates are the largest ones.
    config : Plateau
        Warm-up, factor and patience.
    steps : int
        Number of steps of the whole run.
    """

    def __init__(self, optimizer: Optimizer, config: Plateau, steps: int) -> None:
        self.reductions = 0
        self.waited = 0
        """Epochs without a better score since the last better one, or the last reduction."""
        self._config = config
        super().__init__(
            optimizer, lambda step: factor_at(config, step, steps) * config.factor**self.reductions
        )

    def scored(self, *, better: bool) -> None:
        """Record whether an epoch improved the score; a lower rate applies from the next step on."""
        self.waited = 0 if better else self.waited + 1
        if self.waited < self._config.patience:
            return
        self.waited, self.reductions = 0, self.reductions + 1
        for group, largest, factor in zip(
            self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True
        ):
            group["lr"] = largest * factor(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the configuration, which `torch.load` would refuse."""
        return {key: value for key, value in super().state_dict().items() if key != "_config"}


class OneCycleSchedule(OneCycleLR):
    """torch's one cycle, whose rate stays where the last step left it.

    After the last step torch asks for one more rate, beyond the end of the cosine, where it rises again: no step is
    taken with it, but it would be recorded as that at the end of the last epoch.
    """

    def get_lr(self) -> list[float | Tensor]:
        """Return the rates of the next step; after the last one, its own."""
        if self.last_epoch == self.total_steps:
            return [group["lr"] for group in self.optimizer.param_groups]
        return super().get_lr()


def build_schedule(
    schedule: Constant | OneCycle | Cosine | Poly | Plateau,
    optimizer: Optimizer,
    steps: int,
    *,
    cycle_momentum: bool,
) -> LRScheduler:
    """Create the schedule of an optimizer whose rates are the largest ones.

    Parameters
    ----------
    schedule : Constant, OneCycle, Cosine, Poly or Plateau
        The configured schedule.
    optimizer : Optimizer
        The optimizer.
    steps : int
        Number of steps of the whole run.
    cycle_momentum : bool
        Whether one_cycle changes the momentum opposite to the rate, 0.95 to 0.85 and back.
    """
    if isinstance(schedule, OneCycle):
        warm_up = schedule.warm_up
        if warm_up * steps == 1:
            warm_up -= 1e-9  # the rise is one step, and torch divides by one less
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        return OneCycleSchedule(
            optimizer,
            max_lr=rates,
            total_steps=steps,
            pct_start=float(warm_up),
            cycle_momentum=cycle_momentum,
        )
    if isinstance(schedule, Plateau):
        return PlateauSchedule(optimizer, schedule, steps)
    return LambdaLR(optimizer, lambda step: factor_at(schedule, step, steps))
