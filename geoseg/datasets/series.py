"""The series of windows that a training draws, independent of the number of processes."""

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
"""Index of a scene, and a window in it."""

Size = int | tuple[int, int]
"""Edge of a window, or (rows, cols), px."""


class TrainingSampler(Sampler[Place], ABC):
    """Windows for training, in a series that does not depend on the number of processes.

    Law: the window drawn at a step depends only on (seed, epoch, step), so a run that
    continues at any step, on any number of workers, sees the windows it would have seen.

    Parameters
    ----------
    length : int
        Windows per epoch.
    seed : int
        Seed of the random numbers.
    """

    def __init__(self, length: int, *, seed: int = 0) -> None:
        if length < 1:
            raise OptionError(f"sampler length is {length}, expected at least 1")
        self._length, self._seed = length, seed
        self._epoch = self._first_step = 0

    def set_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Set the epoch to draw next, and its first step."""
        self._epoch, self._first_step = epoch, first_step

    def __len__(self) -> int:
        """Return the number of windows of an epoch."""
        return self._length

    def __iter__(self) -> Iterator[Place]:
        """Yield (index of the scene, window) for the rest of the epoch."""
        for step in range(self._first_step, len(self)):
            yield self.draw(self._epoch, step)

    @abstractmethod
    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step; the series continues beyond the end of an epoch."""


class Share(TrainingSampler):
    """The windows that one of several processes draws from a sampler's series.

    Law: in each step, the processes together draw what a single one would draw in that many steps. If their number
    does not divide an epoch, its last step continues the series.

    Parameters
    ----------
    sampler : TrainingSampler
        The sampler that is shared.
    rank, world : int
        Rank of this process, and number of processes.
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
    """Return the random generator for one position in the series."""
    key = np.random.SeedSequence(seed % 2**64, spawn_key=(epoch, number))
    return np.random.Generator(np.random.Philox(key))


def find(last: npt.NDArray[np.int64], number: int) -> tuple[int, int]:
    """Return the index of the part of a series that a number lies in, given cumulated lengths, and the position
    in it.
    """
    index = int(np.searchsorted(last, number, side="right"))
    return index, number - (int(last[index - 1]) if index else 0)


def grid_corners(
    image: tuple[int, int], shape: tuple[int, int], cells: Cells | None
) -> npt.NDArray[np.int64]:
    """Return (row, col) of each tile (without overlap) over a part of an image, row by row.

    With `cells`, only tiles that touch a cell with labelled pixels.
    """
    rows, cols = (
        np.array(starts(extent, size, size), dtype=np.int64)
        for extent, size in zip(image, shape, strict=True)
    )
    meets = np.ones((len(rows), len(cols)), bool) if cells is None else cells.meet(rows, cols, shape)
    row, col = np.nonzero(meets)
    return np.stack([rows[row], cols[col]], axis=1)


def shape_of(size: Size) -> tuple[int, int]:
    """Return (rows, cols) of windows."""
    shape = (size, size) if isinstance(size, int) else size
    if min(shape) < 1:
        raise OptionError(f"sampler size is {size} px, expected at least 1")
    return shape
