"""The order of an epoch's windows: those of one part of an image near each other, so that it is decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.datasets.dataset import Pair
from geoseg.datasets.series import Place, Size, TrainingSampler, random_of, shape_of

_BUDGET: Final = 128 * 2**20
"""Bytes of decoded pixels that a visit may need: less than any process that reads chips keeps. A fixed number,
because the order of the windows must not depend on the machine."""
_EDGES: Final = (4, 2, 1)
"""Edges of a region that are tried, in windows: windows stick out of large regions less."""
_FEWEST: Final = 8
"""Regions of a visit: with fewer, the chips of a batch would look alike."""
_ORDER: Final = 2**32 - 1
"""Stands for a step where random numbers are drawn for a whole epoch."""


def visiting(sampler: TrainingSampler, pairs: Sequence[Pair], size: Size, seed: int) -> TrainingSampler:
    """Order a sampler's windows by visits, where the images are too many to be kept decoded.

    Parameters
    ----------
    sampler : TrainingSampler
    pairs : sequence of Pair
        The images it draws from.
    size : int or (int, int)
        Of its windows, px.
    seed : int
    """
    shape = shape_of(size)
    # A label is a byte beside the pixel.
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
    """The windows of another sampler, region by region: a few regions at random at a time.

    A window belongs to the region of its first pixel. Regions come in random order, some of them together,
    whose windows are mixed.

    Laws: those of `TrainingSampler`; an epoch has the windows that it has without visits, each as often.

    Parameters
    ----------
    sampler : TrainingSampler
    region : (int, int)
        Rows and columns of a region, px.
    at_once : int
        Regions that are visited together.
    seed : int
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
        """Order of the windows that the sampler draws in an epoch from a step on."""
        rows, cols = self._region
        places = [self._sampler.draw(epoch, first + step) for step in range(len(self))]
        regions = [(index, window.row // rows, window.col // cols) for index, window in places]
        _, region = np.unique(np.array(regions), axis=0, return_inverse=True)
        region = region.reshape(-1)
        random = random_of(self._seed, epoch, _ORDER + first)
        visit = random.permutation(int(region.max()) + 1)[region] // self._at_once
        order: npt.NDArray[np.int64] = np.lexsort([random.random(len(places)), visit])
        return order
