"""Samplers of labelled pixels: balanced by class, or covering all labels once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from geoseg.datasets.class_index import Cells, ClassIndex
from geoseg.datasets.series import (
    Place,
    Size,
    TrainingSampler,
    find,
    grid_corners,
    random_of,
    shape_of,
)
from geoseg.errors import DataError, OptionError
from geoseg.grid.window import Window

Ints = npt.NDArray[np.int64]


class Positions:
    """Positions of a window on an image, counted from 0.

    Law: the windows of all numbers are all windows that lie on the image and, if `cells` are given, touch a
    cell with labelled pixels; each occurs once. Along an axis on which the image is smaller than the window
    there is one position, the first pixel; the window then extends beyond the image.

    Parameters
    ----------
    image : (int, int)
        (rows, cols) of the image, px.
    shape : (int, int)
        (rows, cols) of the window, px.
    cells : Cells, optional
        Cells with labelled pixels; everywhere by default.
    """

    def __init__(self, image: tuple[int, int], shape: tuple[int, int], cells: Cells | None = None) -> None:
        self._shape = shape
        rows, cols = (max(1, extent - size + 1) for extent, size in zip(image, shape, strict=True))
        self._cols = cols
        self.count = rows * cols
        self._last: Ints | None = None
        if cells is None:
            return
        # Windows between two neighbouring starts touch the same cells, so one test serves for all of them.
        self._row_starts, heights = _alike(rows, shape[0], image[0], cells.edge)
        self._col_starts, self._widths = _alike(cols, shape[1], image[1], cells.edge)
        meets = cells.meet(self._row_starts, self._col_starts, shape)
        if not meets.all():
            self._last = np.cumsum(heights[:, None] * self._widths * meets)
            self.count = int(self._last[-1])

    def window(self, number: int) -> Window:
        """Return the window with a number below `count`."""
        if self._last is None:
            row, col = divmod(number, self._cols)
        else:
            at = int(np.searchsorted(self._last, number, side="right"))
            number -= int(self._last[at - 1]) if at else 0
            down, right = divmod(at, len(self._col_starts))
            row, col = divmod(number, int(self._widths[right]))
            row, col = int(self._row_starts[down]) + row, int(self._col_starts[right]) + col
        return Window(row=row, col=col, height=self._shape[0], width=self._shape[1])


def _alike(count: int, size: int, extent: int, edge: int) -> tuple[Ints, Ints]:
    """Cut the positions along an axis into runs that touch the same cells: (first position, length) of each."""
    starts = np.arange(count)
    first_cell, last_cell = starts // edge, (np.minimum(starts + size, extent) - 1) // edge
    changes = np.flatnonzero((np.diff(first_cell) != 0) | (np.diff(last_cell) != 0)) + 1
    cuts = np.concatenate([[0], changes, [count]])
    return cuts[:-1], np.diff(cuts)


class BalancedSampler(TrainingSampler):
    """Windows around labelled pixels, in which rare classes are over-represented.

    A label value (see `ClassIndex`) with share f of the labelled pixels is drawn in proportion to
    ``f ** (1 - balance)``; then a cell in proportion to its pixels of that value; then a window that contains the
    cell, all such positions being equally likely. A window smaller than the cell lies inside it.

    Laws: those of `TrainingSampler`; a window that is not smaller than a cell holds a labelled pixel.

    Parameters
    ----------
    index : ClassIndex
        Labelled pixels of the images.
    size : int or (int, int)
        Window edge or (rows, cols), px.
    length : int, optional
        Windows per epoch; by default the number of tiles with labelled pixels.
    balance : float
        0 draws label values in proportion to their pixels, 1 all equally often.
    seed : int
        Seed of the random numbers.
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
            length = sum(len(grid_corners(c.shape, self._shape, c)) for c in index.images)
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
    """Every one of `count` items once, in a new random order in each epoch (and each pass within it)."""

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
    """All tiles (without overlap) that touch a labelled cell, once per epoch, in random order.

    Laws: those of `TrainingSampler`; every labelled pixel is in a window of every epoch.

    Parameters
    ----------
    index : ClassIndex
        Labelled pixels of the images.
    size : int or (int, int)
        Tile edge or (rows, cols), px.
    length : int, optional
        Windows per epoch; by default all tiles once.
    seed : int
        Seed of the random numbers.
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
        self._corners = [grid_corners(cells.shape, self._shape, cells) for cells in index.images]
        self._last = np.cumsum([len(corners) for corners in self._corners], dtype=np.int64)
        super().__init__(sum(map(len, self._corners)), length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        index, at = find(self._last, self._item(epoch, step))
        row, col = self._corners[index][at].tolist()
        return index, Window(row=row, col=col, height=self._shape[0], width=self._shape[1])


class WholeSampler(_Shuffled):
    """Every labelled image once per epoch, in random order, for images that were cut beforehand.

    For an image larger than the window a random position is drawn, as by `RandomSampler`; a smaller one lies
    in the corner of the window, which extends beyond it.

    Laws: those of `TrainingSampler`; each image once an epoch.

    Parameters
    ----------
    index : ClassIndex
        Labelled pixels of the images.
    size : int or (int, int)
        Window edge or (rows, cols), px.
    length : int, optional
        Windows per epoch; by default all images once.
    seed : int
        Seed of the random numbers.
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
        positions = ((i, Positions(cells.shape, shape, cells)) for i, cells in enumerate(index.images))
        self._positions = [(i, p) for i, p in positions if p.count]
        super().__init__(len(self._positions), length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        index, positions = self._positions[self._item(epoch, step)]
        random = random_of(self._seed, epoch, step)
        return index, positions.window(int(random.integers(positions.count)))


class _Cumulated:
    """The cells of all images with a label value, drawn in proportion to its pixels."""

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
    """Draw the position, along an axis, of a window that contains a cell, or of a smaller one inside it."""
    if extent <= size:
        return 0
    ends = start + edge - size, start
    return int(random.integers(max(0, min(ends)), min(extent - size, max(ends)), endpoint=True))
