"""The series of windows that a training run draws, the same however it is cut into processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from geoseg.datasets.class_index import Cells
from geoseg.errors import OptionError
from geoseg.grid.tiling import starts
from geoseg.grid.window import Window

Place = tuple[int, Window]
"""Index of a scene, and a window of it."""

Size = int | tuple[int, int]
"""Edge of a window, or (rows, cols), px."""


class TrainingSampler(Sampler[Place], ABC):
    """Windows to train on, in a series that is the same however a run is cut into processes.

    Law: the window drawn at a step is a function of (seed, epoch, step) and of nothing else, so a run that
    continues at any step, on any number of workers, sees the windows it would have seen.

    Parameters
    ----------
    length : int
        Windows an epoch.
    seed : int
    """

    def __init__(self, length: int, *, seed: int = 0) -> None:
        if length < 1:
            raise OptionError(f"sampler length is {length}, expected at least 1")
        self._length, self._seed = length, seed
        self._epoch = self._first_step = 0

    def set_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Choose the epoch to draw next, and the step at which it begins."""
        self._epoch, self._first_step = epoch, first_step

    def __len__(self) -> int:
        """Count the windows of a whole epoch."""
        return self._length

    def __iter__(self) -> Iterator[Place]:
        """Yield (index of the scene, window) for the rest of the epoch."""
        for step in range(self._first_step, len(self)):
            yield self.draw(self._epoch, step)

    @abstractmethod
    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step; the series goes on behind the end of an epoch."""


class Share(TrainingSampler):
    """What one of several processes that train together draws of a sampler's series.

    Law: step by step, the processes draw what a single one would draw in that many steps. Where their number
    does not divide an epoch, its last step draws what comes next in the series.

    Parameters
    ----------
    sampler : TrainingSampler
    rank, world : int
        Which of how many processes draws.
    """

    def __init__(self, sampler: TrainingSampler, rank: int, world: int) -> None:
        if not 0 <= rank < world:
            raise OptionError(f"rank is {rank} of {world}, expected 0 to {world - 1}")
        super().__init__(-(-len(sampler) // world))
        self._sampler, self._rank, self._world = sampler, rank, world

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step of this process."""
        return self._sampler.draw(epoch, step * self._world + self._rank)


def random_of(seed: int, epoch: int, number: int) -> np.random.Generator:
    """Random numbers of one place in the series."""
    key = np.random.SeedSequence(seed % 2**64, spawn_key=(epoch, number))
    return np.random.Generator(np.random.Philox(key))


def find(last: npt.NDArray[np.int64], number: int) -> tuple[int, int]:
    """Return which part of a series, given the cumulated lengths of its parts, a number lies in, and where."""
    index = int(np.searchsorted(last, number, side="right"))
    return index, number - (int(last[index - 1]) if index else 0)


def grid_corners(part: Window, shape: tuple[int, int], cells: Cells | None) -> npt.NDArray[np.int64]:
    """(row, col) of each tile without overlap over a part of an image, row by row.

    With `cells`, only those tiles that meet one with labelled pixels.
    """
    rows, cols = (
        np.array(starts(extent, size, size), dtype=np.int64) + first
        for extent, size, first in zip(part.shape, shape, (part.row, part.col), strict=True)
    )
    meets = np.ones((len(rows), len(cols)), bool) if cells is None else cells.meet(rows, cols, shape)
    row, col = np.nonzero(meets)
    return np.stack([rows[row], cols[col]], axis=1)


def shape_of(size: Size) -> tuple[int, int]:
    """(rows, cols) of windows."""
    shape = (size, size) if isinstance(size, int) else size
    if min(shape) < 1:
        raise OptionError(f"sampler size is {size} px, expected at least 1")
    return shape


def whole(shape: tuple[int, int]) -> Window:
    """All of an image."""
    return Window(row=0, col=0, height=shape[0], width=shape[1])
