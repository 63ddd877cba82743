"""Find the batch size and the learning rate by trial."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Final

import torch
from torch import nn

from geoseg.datasets.dataset import Chips
from geoseg.engine.network import DTYPES
from geoseg.learning.batches import Batches
from geoseg.learning.optimizers import parameter_groups
from geoseg.learning.preparation import PreparedTraining
from geoseg.learning.sampling import sampler_of
from geoseg.storage.journal import Journal

_log = logging.getLogger(__name__)

_CPU_BATCH: Final = 8
"""Batch size on a CPU, which a few chips keep busy; more would only make steps rarer."""
_LARGEST_BATCH: Final = 256
_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 60
_TRIAL_EPOCH: Final = 2**31
"""An epoch that no training reaches, so that the test uses other chips."""


def try_batch_sizes(run: PreparedTraining) -> int:
    """Return the largest power of two of chips whose step fits in the device's memory with a tenth to spare."""
    if run.device != "cuda":
        return _CPU_BATCH
    shape = (len(run.config.data.bands), *run.config.chip_shape)
    network = run.model.network.to("cuda").to(memory_format=torch.channels_last).train()
    batch, total = 1, torch.cuda.get_device_properties(0).total_memory
    try:
        while batch < _LARGEST_BATCH:
            torch.cuda.reset_peak_memory_stats()
            try:
                image = torch.zeros(2 * batch, *shape, device="cuda")
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
    """Result of a learning-rate range test.

    Parameters
    ----------
    rates, losses : tuple of float
        Rising learning rates, and the smoothed loss at each of them.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def chosen(self) -> float:
        """Learning rate at which the smoothed loss falls fastest."""
        slopes = [b - a for a, b in pairwise(self.losses)]
        if not slopes:
            return 1e-3
        return float(f"{self.rates[min(range(len(slopes)), key=slopes.__getitem__)]:.1e}")


def range_test(run: PreparedTraining, batch_size: int) -> RangeTest:
    """Run a learning-rate range test (Smith 2017, doi:10.1109/WACV.2017.58).

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


def _rising(run: PreparedTraining, network: nn.Module, batch_size: int) -> tuple[list[float], list[float]]:
    """Return the learning rates, and the loss at each of them, smoothed over about ten steps."""
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


def settle(run: PreparedTraining, journal: Journal) -> PreparedTraining:
    """Replace ``auto`` by numbers: those in the journal, or newly found ones, which are written there."""
    settled = journal.last("settled")
    if settled is None:
        settled = {**_find(run), "date": run.date}
        journal.append(settled)
    train = run.config.train.model_copy(update=settled["settled"])
    config = run.config.model_copy(update={"train": train})
    return replace(run, config=config, date=settled["date"], range_test=settled.get("range_test"))


def _find(run: PreparedTraining) -> dict[str, Any]:
    """Find the batch size and the learning rate if they are ``auto``."""
    found: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    config = run.config.train
    batch_size = config.batch_size
    if batch_size == "auto":
        batch_size = found["batch_size"] = try_batch_sizes(run)
        _log.info("batch size %d fits", batch_size)
    if config.learning_rate == "auto":
        test = range_test(run, batch_size)
        found["learning_rate"], seen["range_test"] = test.chosen, asdict(test)
        _log.info("learning rate %.2g", test.chosen)
    return {"settled": found, **seen}
