"""The one schedule that looks at scores."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from geoseg.learning.schedules import Plateau, factor_at


class PlateauSchedule(LambdaLR):
    """A rate that falls when scores no longer get better.

    Law: the rate is ``largest * warm-up(step) * factor ** reductions``, and its state is two plain numbers beside
    the step. (torch's own has no warm-up, and judges scores by a rule of its own.)

    Parameters
    ----------
    optimizer : Optimizer
    config : Plateau
    steps : int
        Of the whole run.
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
        """Take note of an epoch; a lower rate holds from the next step on."""
        self.waited = 0 if better else self.waited + 1
        if self.waited < self._config.patience:
            return
        self.waited, self.reductions = 0, self.reductions + 1
        for group, largest, factor in zip(
            self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True
        ):
            group["lr"] = largest * factor(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the configuration, which is not for `torch.load`."""
        return {key: value for key, value in super().state_dict().items() if key != "_config"}
