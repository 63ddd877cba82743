"""The sampler that a configuration asks for."""

from __future__ import annotations

from geoseg.datasets.sampler import training_sampler
from geoseg.datasets.series import Share, TrainingSampler
from geoseg.datasets.visits import visiting
from geoseg.learning.preparation import Run
from geoseg.learning.surroundings import rank


def sampler_of(run: Run) -> TrainingSampler:
    """Return this process's share of the sampler of the training split."""
    config, data, pairs = run.config.train, run.config.data, run.splits["train"]
    size = (data.image_size if data.fit is not None else None) or config.chip_size
    sampler = training_sampler(
        config.sampling,
        pairs,
        size,
        config.chips_per_epoch,
        index=run.statistics.index,
        balance=config.balance,
        seed=config.seed,
    )
    return Share(visiting(sampler, pairs, size, config.seed), rank(config.devices), config.devices)
