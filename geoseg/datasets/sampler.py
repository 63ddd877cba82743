"""Which windows of which scenes are looked at: a grid for looking at everything, others for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch.utils.data import Sampler

from geoseg.datasets.class_index import Cells, ClassIndex
from geoseg.datasets.labelled_samplers import BalancedSampler, ShuffledGridSampler, WholeSampler
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
from geoseg.grid.grid import Grid
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window

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
        Windows an epoch; by default as many as would cover once what may be drawn.
    index : ClassIndex, optional
        Where labelled pixels are.
    roi : Window or sequence, optional
        Draw only from this part.
    generator : torch.Generator, optional
        Supplies the seed, and nothing else, where no `seed` is given.
    seed : int, optional
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
    ) -> None:
        shape = shape_of(size)
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
                len(grid_corners(area, shape, cells))
                for area, cells in zip(areas, images, strict=True)
                if area is not None
            )
        if seed is None:
            seed = generator.initial_seed() if generator is not None else 0
        super().__init__(length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        drawn = int(random_of(self._seed, epoch, step).integers(self._last[-1]))
        index, rest = find(self._last, drawn)
        positions = self._positions[index]
        assert positions is not None, "a scene outside of the region of interest has no positions"
        return index, positions.window(rest)


def training_sampler(
    kind: Kind,
    pairs: Sequence[OnGrid],
    size: Size,
    length: int | None,
    *,
    index: ClassIndex,
    balance: float = 0.5,
    seed: int = 0,
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
        Windows an epoch; None: as many as cover once what is labelled.
    index : ClassIndex
        Of the pairs, in their order.
    balance : float
        Of balanced sampling; see `BalancedSampler`.
    seed : int

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
        return RandomSampler(pairs, size, length, index=index, seed=seed)
    if kind == "balanced":
        return BalancedSampler(index, size, length, balance=balance, seed=seed)
    once = {"grid": ShuffledGridSampler, "whole": WholeSampler}[kind]
    return once(index, size, length, seed=seed)


def _areas(scenes: Sequence[OnGrid], roi: Roi) -> list[Window | None]:
    """Part of each scene that may be looked at; None where that is nothing."""
    rois = [roi] * len(scenes) if roi is None or isinstance(roi, Window) else list(roi)
    if len(rois) != len(scenes):
        raise OptionError(f"{len(rois)} regions of interest for {len(scenes)} scenes, expected one for each")
    areas: list[Window | None] = []
    for scene, part in zip(scenes, rois, strict=True):
        everything = whole(scene.grid.shape)
        areas.append(everything if part is None else everything.intersection(part))
    return areas
