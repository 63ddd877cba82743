"""Numbers found by trying: the batch that fits, the learning rate that learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import nn

from geoseg.datasets.dataset import Chips
from geoseg.engine.network import DTYPES
from geoseg.learning.batches import Batches
from geoseg.learning.optimizers import parameter_groups
from geoseg.learning.preparation import Run
from geoseg.learning.sampling import sampler_of

_CPU_BATCH: Final = 8
"""A CPU is busy with few chips; more only make steps rarer."""
_LARGEST_BATCH: Final = 256
_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 60
_TRIAL_EPOCH: Final = 2**31
"""Chips of an epoch that no training reaches, so that the test sees none twice."""


def fitting_batch(run: Run) -> int:
    """Return the largest power of two of chips whose step fits the device's memory with a tenth to spare."""
    if run.device != "cuda":
        return _CPU_BATCH
    size, bands = run.config.train.chip_size, len(run.config.data.bands)
    network = run.model.network.to("cuda").to(memory_format=torch.channels_last).train()
    batch, total = 1, torch.cuda.get_device_properties(0).total_memory
    try:
        while batch < _LARGEST_BATCH:
            torch.cuda.reset_peak_memory_stats()
            try:
                image = torch.zeros(2 * batch, bands, size, size, device="cuda")
                with torch.autocast("cuda", dtype=DTYPES[run.precision]):
                    network(image.contiguous(memory_format=torch.channels_last)).float().mean().backward()
            except torch.OutOfMemoryError:
                break
            if torch.cuda.max_memory_allocated() > 0.9 * total:
                break
            batch *= 2
    finally:
        network.zero_grad(set_to_none=True)
        run.model.network.to("cpu")
        torch.cuda.empty_cache()
    return batch


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTest:
    """What a range test saw.

    Parameters
    ----------
    rates, losses : tuple of float
        Rising learning rates, and the smoothed loss at each of them.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def chosen(self) -> float:
        """The rate at which the smoothed loss falls fastest."""
        slopes = [b - a for a, b in pairwise(self.losses)]
        if not slopes:
            return 1e-3
        return float(f"{self.rates[min(range(len(slopes)), key=slopes.__getitem__)]:.1e}")


def range_test(run: Run, batch_size: int) -> RangeTest:
    """Try learning rates (Smith 2017, doi:10.1109/WACV.2017.58).

    The rate rises exponentially from 1e-6 to 1 over 60 steps, until the loss is four times its best. The network
    is left as it was.
    """
    before = {name: value.clone() for name, value in run.model.network.state_dict().items()}
    network = run.model.network.to(run.device).to(memory_format=torch.channels_last).train()
    try:
        rates, losses = _rising(run, network, batch_size)
    finally:
        network.load_state_dict(before)
        network.to("cpu").eval()
    return RangeTest(rates=tuple(rates), losses=tuple(losses))


def _rising(run: Run, network: nn.Module, batch_size: int) -> tuple[list[float], list[float]]:
    """Rates, and the loss at each of them, smoothed over about ten steps."""
    batches = Batches(sampler_of(run), batch_size)
    chips, loss = Chips(run.splits["train"]), run.loss
    config = run.config.train
    groups = parameter_groups(
        network,
        learning_rate=1.0,
        weight_decay=config.weight_decay or 0.0,
        encoder_rate=config.encoder_rate,
    )
    optimizer = config.optimizer.build(groups, _LOWEST, config.weight_decay or 0.0)
    shares = [float(group["lr"]) for group in optimizer.param_groups]
    dtype = DTYPES[run.precision]
    rates, losses, mean, best = [], [], 0.0, math.inf
    for step in range(_STEPS):
        rate = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        epoch, number = divmod(step, batches.count)
        samples = [chips[place] for place in batches.batch(_TRIAL_EPOCH + epoch, number)]
        image = torch.stack([s["image"] for s in samples]).to(run.device, memory_format=torch.channels_last)
        mask = torch.stack([s["mask"] for s in samples]).to(run.device)
        with torch.autocast(run.device, dtype=dtype, enabled=dtype is not torch.float32):
            logits = network(image)
        value = loss(logits, mask)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), run.config.train.clip_gradient or math.inf)
        optimizer.step()
        mean = 0.9 * mean + 0.1 * float(value.detach())
        smooth = mean / (1 - 0.9 ** (step + 1))
        if not math.isfinite(smooth) or smooth > 4 * best:
            break
        best = min(best, smooth)
        rates.append(rate)
        losses.append(smooth)
    return rates, losses
