"""The sampler that a configuration asks for."""

from __future__ import annotations

from geoseg.datasets.sampler import training_sampler
from geoseg.datasets.series import TrainingSampler
from geoseg.learning.preparation import Run
from geoseg.learning.surroundings import rank


def sampler_of(run: Run) -> TrainingSampler:
    """Return the sampler of the training split."""
    config, data = run.config.train, run.config.data
    whole = data.image_size if data.fit is not None else None
    return training_sampler(
        config.sampling,
        run.splits["train"],
        whole or config.chip_size,
        config.chips_per_epoch,
        index=run.statistics.index,
        balance=config.balance,
        seed=config.seed,
        rank=rank(config.devices),
        world=config.devices,
    )
