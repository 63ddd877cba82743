"""Which windows of which scenes are looked at: a grid for looking at everything, random ones for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Sampler

from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window

Roi = Window | Sequence[Window | None] | None
"""Region of interest in px: one window for all scenes, or one (or None) a scene."""


class OnGrid(Protocol):
    """Anything that lies on a grid: a scene."""

    @property
    def grid(self) -> Grid:
        """Shape, affine and CRS."""


class GridSampler(Sampler[tuple[int, Window]]):
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

    def __iter__(self) -> Iterator[tuple[int, Window]]:
        """Yield (index of the scene, window)."""
        for index, area in enumerate(self._areas):
            if area is not None:
                for window in self._tiling.windows(area.shape):
                    yield index, window.shifted(area.row, area.col)

    def __len__(self) -> int:
        """Count the windows."""
        starts = self._tiling.starts
        return sum(len(starts(a.height)) * len(starts(a.width)) for a in self._areas if a is not None)


class RandomSampler(Sampler[tuple[int, Window]]):
    """Windows at random: every possible position in every scene is equally likely.

    Law: the window drawn at a step is a function of (seed, epoch, step, rank, world) and of nothing else, so
    a run that continues at any step, on any number of workers, sees the windows it would have seen. The ranks
    of a world share out one series: together they draw what a single process draws.

    Parameters
    ----------
    scenes : sequence
        Scenes, or anything else with a `grid`.
    size : int
        Window edge, px. Scenes smaller than that have one position, from which the window sticks out.
    length : int, optional
        Windows an epoch, over all ranks; by default as many as would cover the scenes once.
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
        size: int,
        length: int | None = None,
        *,
        roi: Roi = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if size < 1 or (length is not None and length < 1):
            raise OptionError(f"sampler size is {size} px and length {length}, expected at least 1")
        if not 0 <= rank < world:
            raise OptionError(f"rank is {rank} of {world}, expected 0 to {world - 1}")
        self._size = size
        self._areas = _areas(scenes, roi)
        positions = [
            0 if a is None else max(1, a.height - size + 1) * max(1, a.width - size + 1) for a in self._areas
        ]
        self._last = np.cumsum(np.asarray(positions, dtype=np.int64))
        if not positions or not self._last[-1]:
            raise DataError(
                "there is nothing to sample from: no scene, or no scene meets the region of interest"
            )
        cover = sum(-(-a.height // size) * -(-a.width // size) for a in self._areas if a is not None)
        self._length = length or cover
        if seed is None:
            seed = generator.initial_seed() if generator is not None else 0
        self._seed, self._rank, self._world = seed, rank, world
        self._epoch = self._first_step = 0

    def set_epoch(self, epoch: int, first_step: int = 0) -> None:
        """Choose the epoch to draw next, and the step of this rank at which it begins."""
        self._epoch, self._first_step = epoch, first_step

    def __len__(self) -> int:
        """Count the windows this rank draws in a whole epoch: the same for every rank."""
        return -(-self._length // self._world)

    def __iter__(self) -> Iterator[tuple[int, Window]]:
        """Yield (index of the scene, window) for the rest of the epoch."""
        for step in range(self._first_step, len(self)):
            yield self.draw(self._epoch, step)

    def draw(self, epoch: int, step: int) -> tuple[int, Window]:
        """Return the window of one step of this rank."""
        place = step * self._world + self._rank
        key = np.random.SeedSequence(self._seed % 2**64, spawn_key=(epoch, place))
        number = int(np.random.Generator(np.random.Philox(key)).integers(self._last[-1]))
        index = int(np.searchsorted(self._last, number, side="right"))
        area = self._areas[index]
        assert area is not None, "a scene outside of the region of interest has no positions"
        number -= int(self._last[index - 1]) if index else 0
        row, col = divmod(number, max(1, area.width - self._size + 1))
        return index, Window(row=area.row + row, col=area.col + col, height=self._size, width=self._size)


def _areas(scenes: Sequence[OnGrid], roi: Roi) -> list[Window | None]:
    """Part of each scene that may be looked at; None where that is nothing."""
    rois = [roi] * len(scenes) if roi is None or isinstance(roi, Window) else list(roi)
    if len(rois) != len(scenes):
        raise OptionError(f"{len(rois)} regions of interest for {len(scenes)} scenes, expected one for each")
    areas: list[Window | None] = []
    for scene, part in zip(scenes, rois, strict=True):
        height, width = scene.grid.shape
        whole = Window(row=0, col=0, height=height, width=width)
        areas.append(whole if part is None else whole.intersection(part))
    return areas
