"""Which windows of which scenes are looked at: a grid for looking at everything, others for training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

from geoseg.datasets.class_index import Cells, ClassIndex
from geoseg.datasets.positions import Positions
from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.tiling import Tiling, starts
from geoseg.grid.window import Window

Place = tuple[int, Window]
"""Index of a scene, and a window of it."""

Size = int | tuple[int, int]
"""Edge of a window, or (rows, cols), px."""

Kind = Literal["random", "balanced", "grid", "whole"]

Roi = Window | Sequence[Window | None] | None
"""Region of interest in px: one window for all scenes, or one (or None) a scene."""


class OnGrid(Protocol):
    """Anything that lies on a grid: a scene."""

    @property
    def grid(self) -> Grid:
        """Shape, affine and CRS."""


class GridSampler(Sampler[Place]):
    """Every tile of every scene, scene by scene, row by row.

    Law: every pixel (of the region of interest) lies in at least one window, and no window comes twice. A
    scene smaller than a window has one window, which sticks out.

    Parameters
    ----------
    scenes : sequence
        Scenes, or anything else with a `grid`.
    size : int
        Window edge, px.
    stride : int, optional
        Distance between neighbours, px, at least half the size; `size` by default (no overlap).
    roi : Window or sequence, optional
        Look only at this part.
    """

    def __init__(
        self, scenes: Sequence[OnGrid], size: int, stride: int | None = None, *, roi: Roi = None
    ) -> None:
        self._tiling = Tiling(size=size, overlap=0 if stride is None else size - stride)
        self._areas = _areas(scenes, roi)

    def __iter__(self) -> Iterator[Place]:
        """Yield (index of the scene, window)."""
        for index, area in enumerate(self._areas):
            if area is not None:
                for window in self._tiling.windows(area.shape):
                    yield index, window.shifted(area.row, area.col)

    def __len__(self) -> int:
        """Count the windows."""
        starts = self._tiling.starts
        return sum(len(starts(a.height)) * len(starts(a.width)) for a in self._areas if a is not None)


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


class RandomSampler(TrainingSampler):
    """Windows at random: every possible position in every scene is equally likely.

    Laws: those of `TrainingSampler`. With an `index`, the positions are those whose window meets a cell with
    labelled pixels.

    Parameters
    ----------
    scenes : sequence
        Scenes, or anything else with a `grid`.
    size : int or (int, int)
        Window edge or (rows, cols), px. Along an axis on which a scene is smaller there is one position, from
        which the window sticks out.
    length : int, optional
        Windows an epoch, over all ranks; by default as many as would cover once what may be drawn.
    index : ClassIndex, optional
        Where labelled pixels are.
    roi : Window or sequence, optional
        Draw only from this part.
    generator : torch.Generator, optional
        Supplies the seed, and nothing else, where no `seed` is given.
    seed : int, optional
    rank, world : int
        Which of how many processes draws.
    """

    def __init__(
        self,
        scenes: Sequence[OnGrid],
        size: Size,
        length: int | None = None,
        *,
        index: ClassIndex | None = None,
        roi: Roi = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        shape = _shape(size)
        areas = _areas(scenes, roi)
        images: Sequence[Cells | None] = [None] * len(areas) if index is None else index.images
        self._positions = [
            None if area is None else Positions(area, shape, cells)
            for area, cells in zip(areas, images, strict=True)
        ]
        counts = [0 if positions is None else positions.count for positions in self._positions]
        self._last = np.cumsum(np.asarray(counts, dtype=np.int64))
        if not counts or not self._last[-1]:
            raise DataError(
                "there is nothing to sample from: no scene, or no scene meets the region of interest "
                "and has labelled pixels"
            )
        if length is None:
            length = sum(
                len(_grid_windows(area, shape, cells))
                for area, cells in zip(areas, images, strict=True)
                if area is not None
            )
        if seed is None:
            seed = generator.initial_seed() if generator is not None else 0
        super().__init__(length, seed=seed, rank=rank, world=world)

    def _place(self, epoch: int, number: int) -> Place:
        drawn = int(_random(self._seed, epoch, number).integers(self._last[-1]))
        index, rest = _find(self._last, drawn)
        positions = self._positions[index]
        assert positions is not None, "a scene outside of the region of interest has no positions"
        return index, positions.window(rest)


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
    seed, rank, world : int
    """

    def __init__(
        self,
        index: ClassIndex,
        size: Size,
        length: int | None = None,
        *,
        balance: float = 0.5,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not 0 <= balance <= 1:
            raise OptionError(f"balance is {balance:g}, expected 0 to 1")
        self._shape, self._images = _shape(size), index.images
        pixels = index.pixels if index.images else np.zeros(0, dtype=np.int64)
        found = np.flatnonzero(pixels)
        if not len(found):
            raise DataError("there is nothing to sample from: no pixel is labelled")
        self._cells = [_Cumulated(index, int(kind)) for kind in found]
        likely = np.cumsum((pixels[found] / pixels.sum()) ** (1 - balance))
        self._bounds = likely[:-1] / likely[-1]
        length = length or sum(len(_grid_windows(_whole(c.shape), self._shape, c)) for c in index.images)
        super().__init__(length, seed=seed, rank=rank, world=world)

    def _place(self, epoch: int, number: int) -> Place:
        random = _random(self._seed, epoch, number)
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

    def __init__(
        self, count: int, length: int | None, *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if not count:
            raise DataError("there is nothing to sample from: no pixel is labelled")
        self._count = count
        super().__init__(length or count, seed=seed, rank=rank, world=world)
        self._order = lru_cache(maxsize=2)(self._permuted)

    def _permuted(self, epoch: int, turn: int) -> npt.NDArray[np.int64]:
        order: npt.NDArray[np.int64] = _random(self._seed, epoch, turn).permutation(self._count)
        return order

    def _item(self, epoch: int, number: int) -> int:
        turn, at = divmod(number, self._count)
        return int(self._order(epoch, turn)[at])


class ShuffledGridSampler(_Shuffled):
    """Every tile without overlap that meets a cell with labelled pixels, once an epoch, in random order.

    Laws: those of `TrainingSampler`; every labelled pixel is in a window of every epoch. (In a world whose
    size does not divide the number of tiles, the last steps of an epoch draw tiles a second time.)

    Parameters
    ----------
    index : ClassIndex
    size : int or (int, int)
    length : int, optional
        Windows an epoch, over all ranks; once all tiles by default.
    seed, rank, world : int
    """

    def __init__(
        self,
        index: ClassIndex,
        size: Size,
        length: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        shape = _shape(size)
        self._places = [
            (number, window)
            for number, cells in enumerate(index.images)
            for window in _grid_windows(_whole(cells.shape), shape, cells)
        ]
        super().__init__(len(self._places), length, seed=seed, rank=rank, world=world)

    def _place(self, epoch: int, number: int) -> Place:
        return self._places[self._item(epoch, number)]


class WholeSampler(_Shuffled):
    """Every image that has labelled pixels once an epoch, in random order: for images that were cut before.

    Of an image larger than the window a random position is drawn, as `RandomSampler` does; a smaller one lies
    in the window's corner, which sticks out of it.

    Laws: those of `TrainingSampler`; each image once an epoch (see `ShuffledGridSampler` for worlds).

    Parameters
    ----------
    index : ClassIndex
    size : int or (int, int)
    length : int, optional
        Windows an epoch, over all ranks; once all images by default.
    seed, rank, world : int
    """

    def __init__(
        self,
        index: ClassIndex,
        size: Size,
        length: int | None = None,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        shape = _shape(size)
        positions = (
            (i, Positions(_whole(cells.shape), shape, cells)) for i, cells in enumerate(index.images)
        )
        self._positions = [(i, p) for i, p in positions if p.count]
        super().__init__(len(self._positions), length, seed=seed, rank=rank, world=world)

    def _place(self, epoch: int, number: int) -> Place:
        index, positions = self._positions[self._item(epoch, number)]
        random = _random(self._seed, epoch, number)
        return index, positions.window(int(random.integers(positions.count)))


def training_sampler(
    kind: Kind,
    pairs: Sequence[OnGrid],
    size: Size,
    length: int | None,
    *,
    index: ClassIndex,
    balance: float = 0.5,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
) -> TrainingSampler:
    """Return the sampler that a configuration names.

    Parameters
    ----------
    kind : str
        ``random``, ``balanced``, ``grid`` or ``whole``.
    pairs : sequence
        Images with labels.
    size : int or (int, int)
        Window edge or (rows, cols), px.
    length : int or None
        Windows an epoch, over all ranks; None: as many as cover once what is labelled.
    index : ClassIndex
        Of the pairs, in their order.
    balance : float
        Of balanced sampling; see `BalancedSampler`.
    seed, rank, world : int

    Raises
    ------
    DataError
        If no pixel is labelled.
    OptionError
        If a number cannot be used.
    """
    if [pair.grid.shape for pair in pairs] != [cells.shape for cells in index.images]:
        raise DataError(f"the class index is not one of these {len(pairs)} images; measure them again")
    if kind == "random":
        return RandomSampler(pairs, size, length, index=index, seed=seed, rank=rank, world=world)
    if kind == "balanced":
        return BalancedSampler(index, size, length, balance=balance, seed=seed, rank=rank, world=world)
    once = {"grid": ShuffledGridSampler, "whole": WholeSampler}[kind]
    return once(index, size, length, seed=seed, rank=rank, world=world)


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
        at, _ = _find(self._last, int(random.integers(self._last[-1])))
        index, number = _find(self._images, int(self._at[at]))
        return index, *divmod(number, self._cols[index])


def _around(random: np.random.Generator, start: int, edge: int, size: int, extent: int) -> int:
    """Draw the position, along an axis, of a window that holds a cell, or of a small one that lies in it."""
    if extent <= size:
        return 0
    ends = start + edge - size, start
    return int(random.integers(max(0, min(ends)), min(extent - size, max(ends)), endpoint=True))


def _random(seed: int, epoch: int, number: int) -> np.random.Generator:
    """Random numbers of one place in the series."""
    key = np.random.SeedSequence(seed % 2**64, spawn_key=(epoch, number))
    return np.random.Generator(np.random.Philox(key))


def _find(last: npt.NDArray[np.int64], number: int) -> tuple[int, int]:
    """Return which part of a series, given the cumulated lengths of its parts, a number lies in, and where."""
    index = int(np.searchsorted(last, number, side="right"))
    return index, number - (int(last[index - 1]) if index else 0)


def _grid_windows(part: Window, shape: tuple[int, int], cells: Cells | None) -> list[Window]:
    """Tiles without overlap over a part of an image; with `cells`, those that meet one with labelled pixels."""
    rows, cols = (
        np.array(starts(extent, size, size), dtype=np.int64) + first
        for extent, size, first in zip(part.shape, shape, (part.row, part.col), strict=True)
    )
    meets = np.ones((len(rows), len(cols)), bool) if cells is None else cells.meet(rows, cols, shape)
    return [
        Window(row=int(rows[i]), col=int(cols[j]), height=shape[0], width=shape[1])
        for i, j in np.argwhere(meets)
    ]


def _shape(size: Size) -> tuple[int, int]:
    """(rows, cols) of windows."""
    shape = (size, size) if isinstance(size, int) else size
    if min(shape) < 1:
        raise OptionError(f"sampler size is {size} px, expected at least 1")
    return shape


def _whole(shape: tuple[int, int]) -> Window:
    return Window(row=0, col=0, height=shape[0], width=shape[1])


def _areas(scenes: Sequence[OnGrid], roi: Roi) -> list[Window | None]:
    """Part of each scene that may be looked at; None where that is nothing."""
    rois = [roi] * len(scenes) if roi is None or isinstance(roi, Window) else list(roi)
    if len(rois) != len(scenes):
        raise OptionError(f"{len(rois)} regions of interest for {len(scenes)} scenes, expected one for each")
    areas: list[Window | None] = []
    for scene, part in zip(scenes, rois, strict=True):
        whole = _whole(scene.grid.shape)
        areas.append(whole if part is None else whole.intersection(part))
    return areas
