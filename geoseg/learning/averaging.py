"""Weights averaged over the steps of a training."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of a network's weights and batch statistics.

    After step n the average moves by ``1 - min(decay, (1 + n) / (10 + n))`` towards the network (the rise is that of
    TensorFlow's ExponentialMovingAverage), so that the random weights of the beginning are soon forgotten. Averages
    of late steps are often better than the last step (Polyak and Juditsky 1992, doi:10.1137/0330046).

    Parameters
    ----------
    network : Module
        What is trained; a copy of it holds the average.
    decay : float
        0 to below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take note of a step of the network."""
        self._steps += 1
        share = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        new = network.state_dict()
        for name, own in self.network.state_dict().items():
            if own.is_floating_point():
                own.lerp_(new[name], share)
            else:  # how many batches the statistics saw
                own.copy_(new[name])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on."""
        return {"network": self.network.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self._steps = int(state["steps"])
