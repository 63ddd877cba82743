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

    Law: the window drawn at a step is a function of (seed, epoch, step, rank, world) and of nothing else, so
    a run that continues at any step, on any number of workers, sees the windows it would have seen. The ranks
    of a world share out one series: together they draw what a single process draws.

    Parameters
    ----------
    length : int
        Windows an epoch, over all ranks.
    seed : int
    rank, world : int
        Which of how many processes draws.
    """

    def __init__(self, length: int, *, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        if length < 1:
            raise OptionError(f"sampler length is {length}, expected at least 1")
        if not 0 <= rank < world:
            raise OptionError(f"rank is {rank} of {world}, expected 0 to {world - 1}")
        self._length, self._seed, self._rank, self._world = length, seed, rank, world
        self._epoch = self._first_step = 0

    def set_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Choose the epoch to draw next, and the step of this rank at which it begins."""
        self._epoch, self._first_step = epoch, first_step

    def __len__(self) -> int:
        """Count the windows this rank draws in a whole epoch: the same for every rank."""
        return -(-self._length // self._world)

    def __iter__(self) -> Iterator[Place]:
        """Yield (index of the scene, window) for the rest of the epoch."""
        for step in range(self._first_step, len(self)):
            yield self.draw(self._epoch, step)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step of this rank."""
        return self._place(epoch, step * self._world + self._rank)

    @abstractmethod
    def _place(self, epoch: int, number: int) -> Place:
        """Return a window of the series that all ranks share."""


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
