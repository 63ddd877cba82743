"""The configured sampler, in an order in which every part of an image is decoded once.

Windows of an epoch that lie in one part of an image follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.datasets.dataset import Pair
from geoseg.datasets.sampler import training_sampler
from geoseg.datasets.series import Place, Share, Size, TrainingSampler, random_of, shape_of
from geoseg.learning.consistency import AnyPlace
from geoseg.learning.preparation import PreparedTraining
from geoseg.learning.process_state import rank

_BUDGET: Final = 128 * 2**20
"""Bytes of decoded pixels per visit, less than any reading process keeps.

A fixed number, since the order of the windows must not depend on the machine.
"""
_EDGES: Final = (4, 2, 1)
"""Edges of a region to try, in windows: fewer windows cross the borders of large regions."""
_FEWEST: Final = 8
"""Minimum number of regions per visit: with fewer, the chips of a batch would look alike."""
_ORDER: Final = 2**32 - 1
"""Replaces the step where random numbers are drawn for a whole epoch."""


def sampler_of(run: PreparedTraining) -> TrainingSampler:
    """Return this process's share of the sampler of the training split."""
    config, pairs, size = run.config.train, run.splits["train"], run.config.chip_shape
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


def unlabelled_sampler_of(run: PreparedTraining) -> TrainingSampler:
    """Return this process's share of random windows in the unlabelled copies of the training images."""
    config, pairs = run.config.train, run.splits["train"]
    length = config.chips_per_epoch or len(pairs)
    # Another seed, so that it does not repeat the windows of a random sampler.
    sampler = AnyPlace(pairs, run.config.chip_shape, length, first=len(pairs), seed=config.seed + 1)
    return Share(sampler, rank(config.devices), config.devices)


def visiting(sampler: TrainingSampler, pairs: Sequence[Pair], size: Size, seed: int) -> TrainingSampler:
    """Order a sampler's windows by visits, if the images do not all fit in the cache.

    Parameters
    ----------
    sampler : TrainingSampler
        The sampler.
    pairs : sequence of Pair
        The images of the sampler.
    size : int or (int, int)
        Window edge or (rows, cols), px.
    seed : int
        Seed of the random order.
    """
    shape = shape_of(size)
    # A label takes one byte per pixel.
    depth = [pair.image.count * pair.image.dtype.itemsize + 1 for pair in pairs]
    areas = [pair.grid.height * pair.grid.width for pair in pairs]
    if sum(d * a for d, a in zip(depth, areas, strict=True)) <= _BUDGET:
        return sampler
    largest = max(a for a in areas)
    for edge in _EDGES:
        region = (edge * shape[0], edge * shape[1])
        touched = min((region[0] + shape[0]) * (region[1] + shape[1]), largest)
        at_once = _BUDGET // (touched * max(depth))
        if at_once >= _FEWEST:
            break
    return Visits(sampler, region, max(_FEWEST, at_once), seed=seed)


class Visits(TrainingSampler):
    """The windows of another sampler, ordered by region: a few random regions at a time.

    A window belongs to the region of its first pixel. Regions are visited in random order, several at a time,
    and their windows are mixed.

    Laws: those of `TrainingSampler`; an epoch has the same windows as without visits, each as often.

    Parameters
    ----------
    sampler : TrainingSampler
        The sampler.
    region : (int, int)
        Rows and columns of a region, px.
    at_once : int
        Number of regions that are visited together.
    seed : int
        Seed of the random order.
    """

    def __init__(
        self, sampler: TrainingSampler, region: tuple[int, int], at_once: int, *, seed: int = 0
    ) -> None:
        super().__init__(len(sampler), seed=seed)
        self._sampler, self._region, self._at_once = sampler, region, at_once
        self._order = lru_cache(maxsize=2)(self._ordered)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        turn, at = divmod(step, len(self))
        first = turn * len(self)
        return self._sampler.draw(epoch, first + int(self._order(epoch, first)[at]))

    def _ordered(self, epoch: int, first: int) -> npt.NDArray[np.int64]:
        """Return the order of the windows that the sampler draws in an epoch from a step on."""
        rows, cols = self._region
        places = [self._sampler.draw(epoch, first + step) for step in range(len(self))]
        regions = [(index, window.row // rows, window.col // cols) for index, window in places]
        _, region = np.unique(np.array(regions), axis=0, return_inverse=True)
        region = region.reshape(-1)
        random = random_of(self._seed, epoch, _ORDER + first)
        visit = random.permutation(int(region.max()) + 1)[region] // self._at_once
        order: npt.NDArray[np.int64] = np.lexsort([random.random(len(places)), visit])
        return order
