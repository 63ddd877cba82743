"""Samplers that know where the labels are: balanced by class, or everything that is labelled once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from geoseg.datasets.class_index import ClassIndex
from geoseg.datasets.positions import Positions
from geoseg.datasets.series import (
    Place,
    Size,
    TrainingSampler,
    find,
    grid_corners,
    random_of,
    shape_of,
    whole,
)
from geoseg.errors import DataError, OptionError
from geoseg.grid.window import Window


class BalancedSampler(TrainingSampler):
    """Windows around labelled pixels, rare classes more often than they are found.

    A kind of pixels (see `ClassIndex`) that has the share f of the labelled ones is drawn in proportion to
    ``f ** (1 - balance)``; then a cell in proportion to its pixels of that kind; then a window that holds the
    cell, every such position on the scene equally likely. A window smaller than the cell lies in it.

    Laws: those of `TrainingSampler`; a window that is not smaller than a cell holds a labelled pixel.

    Parameters
    ----------
    index : ClassIndex
    size : int or (int, int)
    length : int, optional
        Windows an epoch; by default as many tiles as have labelled pixels.
    balance : float
        0: as they are; 1: all kinds alike.
    seed : int
    """

    def __init__(
        self,
        index: ClassIndex,
        size: Size,
        length: int | None = None,
        *,
        balance: float = 0.5,
        seed: int = 0,
    ) -> None:
        if not 0 <= balance <= 1:
            raise OptionError(f"balance is {balance:g}, expected 0 to 1")
        self._shape, self._images = shape_of(size), index.images
        pixels = index.pixels if index.images else np.zeros(0, dtype=np.int64)
        found = np.flatnonzero(pixels)
        if not len(found):
            raise DataError("there is nothing to sample from: no pixel is labelled")
        self._cells = [_Cumulated(index, int(kind)) for kind in found]
        likely = np.cumsum((pixels[found] / pixels.sum()) ** (1 - balance))
        self._bounds = likely[:-1] / likely[-1]
        if length is None:
            length = sum(len(grid_corners(whole(c.shape), self._shape, c)) for c in index.images)
        super().__init__(length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        random = random_of(self._seed, epoch, step)
        kind = np.searchsorted(self._bounds, random.random(), side="right")
        index, row, col = self._cells[int(kind)].draw(random)
        cells = self._images[index]
        cell = cells.window(row, col)
        top, left = (
            _around(random, start, edge, size, extent)
            for start, edge, size, extent in zip(
                (cell.row, cell.col), cell.shape, self._shape, cells.shape, strict=True
            )
        )
        return index, Window(row=top, col=left, height=self._shape[0], width=self._shape[1])


class _Shuffled(TrainingSampler):
    """Every one of `count` items once, in an order that each epoch (and each round in it) draws anew."""

    def __init__(self, count: int, length: int | None, *, seed: int = 0) -> None:
        if not count:
            raise DataError("there is nothing to sample from: no pixel is labelled")
        self._count = count
        super().__init__(count if length is None else length, seed=seed)
        self._order = lru_cache(maxsize=2)(self._permuted)

    def _permuted(self, epoch: int, turn: int) -> npt.NDArray[np.int64]:
        order: npt.NDArray[np.int64] = random_of(self._seed, epoch, turn).permutation(self._count)
        return order

    def _item(self, epoch: int, step: int) -> int:
        turn, at = divmod(step, self._count)
        return int(self._order(epoch, turn)[at])


class ShuffledGridSampler(_Shuffled):
    """Every tile without overlap that meets a cell with labelled pixels, once an epoch, in random order.

    Laws: those of `TrainingSampler`; every labelled pixel is in a window of every epoch.

    Parameters
    ----------
    index : ClassIndex
    size : int or (int, int)
    length : int, optional
        Windows an epoch; once all tiles by default.
    seed : int
    """

    def __init__(
        self,
        index: ClassIndex,
        size: Size,
        length: int | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._shape = shape_of(size)
        self._corners = [grid_corners(whole(cells.shape), self._shape, cells) for cells in index.images]
        self._last = np.cumsum([len(corners) for corners in self._corners], dtype=np.int64)
        super().__init__(sum(map(len, self._corners)), length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        index, at = find(self._last, self._item(epoch, step))
        row, col = self._corners[index][at].tolist()
        return index, Window(row=row, col=col, height=self._shape[0], width=self._shape[1])


class WholeSampler(_Shuffled):
    """Every image that has labelled pixels once an epoch, in random order: for images that were cut before.

    Of an image larger than the window a random position is drawn, as `RandomSampler` does; a smaller one lies
    in the window's corner, which sticks out of it.

    Laws: those of `TrainingSampler`; each image once an epoch.

    Parameters
    ----------
    index : ClassIndex
    size : int or (int, int)
    length : int, optional
        Windows an epoch; once all images by default.
    seed : int
    """

    def __init__(
        self,
        index: ClassIndex,
        size: Size,
        length: int | None = None,
        *,
        seed: int = 0,
    ) -> None:
        shape = shape_of(size)
        positions = ((i, Positions(whole(cells.shape), shape, cells)) for i, cells in enumerate(index.images))
        self._positions = [(i, p) for i, p in positions if p.count]
        super().__init__(len(self._positions), length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        index, positions = self._positions[self._item(epoch, step)]
        random = random_of(self._seed, epoch, step)
        return index, positions.window(int(random.integers(positions.count)))


class _Cumulated:
    """Cells of all images that hold a kind of pixels, to draw from by the count of these."""

    def __init__(self, index: ClassIndex, kind: int) -> None:
        counts = [cells.counts[kind].ravel() for cells in index.images]
        everything = np.concatenate(counts)
        self._at = np.flatnonzero(everything)
        self._last = np.cumsum(everything[self._at], dtype=np.int64)
        self._images = np.cumsum([len(each) for each in counts])
        self._cols = [cells.labelled.shape[1] for cells in index.images]

    def draw(self, random: np.random.Generator) -> tuple[int, int, int]:
        """Return (index of the image, cell row, cell col)."""
        at, _ = find(self._last, int(random.integers(self._last[-1])))
        index, number = find(self._images, int(self._at[at]))
        return index, *divmod(number, self._cols[index])


def _around(random: np.random.Generator, start: int, edge: int, size: int, extent: int) -> int:
    """Draw the position, along an axis, of a window that holds a cell, or of a small one that lies in it."""
    if extent <= size:
        return 0
    ends = start + edge - size, start
    return int(random.integers(max(0, min(ends)), min(extent - size, max(ends)), endpoint=True))
