"""Random windows of scenes, and the samplers for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch

from geoseg.datasets.class_index import Cells, ClassIndex
from geoseg.datasets.labelled_samplers import BalancedSampler, Positions, ShuffledGridSampler, WholeSampler
from geoseg.datasets.series import (
    Place,
    Size,
    TrainingSampler,
    find,
    grid_corners,
    random_of,
    shape_of,
)
from geoseg.errors import DataError, plural
from geoseg.grid.grid import Grid

Kind = Literal["random", "balanced", "grid", "whole"]


class OnGrid(Protocol):
    """Anything that has a grid, such as a scene."""

    @property
    def grid(self) -> Grid:
        """Shape, affine and CRS."""


class RandomSampler(TrainingSampler):
    """Random windows: every possible position in every scene is equally likely.

    Laws: those of `TrainingSampler`. With an `index`, the positions are those whose window touches a cell with
    labelled pixels.

    Parameters
    ----------
    scenes : sequence
        Scenes, or anything else with a `grid`.
    size : int or (int, int)
        Window edge or (rows, cols), px. Along an axis on which a scene is smaller there is one position, from
        which the window extends beyond the scene.
    length : int, optional
        Windows per epoch; by default as many as cover the possible positions once.
    index : ClassIndex, optional
        Labelled pixels of the scenes.
    generator : torch.Generator, optional
        Supplies only the seed, if no `seed` is given.
    seed : int, optional
        Seed of the random numbers.
    """

    def __init__(
        self,
        scenes: Sequence[OnGrid],
        size: Size,
        length: int | None = None,
        *,
        index: ClassIndex | None = None,
        generator: torch.Generator | None = None,
        seed: int | None = None,
    ) -> None:
        shape = shape_of(size)
        shapes = [scene.grid.shape for scene in scenes]
        images: Sequence[Cells | None] = [None] * len(shapes) if index is None else index.images
        self._positions = [Positions(each, shape, cells) for each, cells in zip(shapes, images, strict=True)]
        self._last = np.cumsum([positions.count for positions in self._positions], dtype=np.int64)
        if not shapes or not self._last[-1]:
            raise DataError("there is nothing to sample from: there is no scene, or no pixel is labelled")
        if length is None:
            length = sum(
                len(grid_corners(each, shape, cells)) for each, cells in zip(shapes, images, strict=True)
            )
        if seed is None:
            seed = generator.initial_seed() if generator is not None else 0
        super().__init__(length, seed=seed)

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        drawn = int(random_of(self._seed, epoch, step).integers(self._last[-1]))
        index, rest = find(self._last, drawn)
        return index, self._positions[index].window(rest)


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
    """Return the configured sampler.

    Parameters
    ----------
    kind : str
        ``random``, ``balanced``, ``grid`` or ``whole``.
    pairs : sequence
        Images with labels.
    size : int or (int, int)
        Window edge or (rows, cols), px.
    length : int or None
        Windows per epoch; None: as many as cover the labels once.
    index : ClassIndex
        Labelled pixels of the pairs, in their order.
    balance : float
        For balanced sampling, see `BalancedSampler`.
    seed : int
        Seed of the random numbers.

    Raises
    ------
    DataError
        If no pixel is labelled.
    OptionError
        If a number is out of range.
    """
    if [pair.grid.shape for pair in pairs] != [cells.shape for cells in index.images]:
        raise DataError(
            f"the class index is not one of these {plural(len(pairs), 'image')}; measure them again"
        )
    if kind == "random":
        return RandomSampler(pairs, size, length, index=index, seed=seed)
    if kind == "balanced":
        return BalancedSampler(index, size, length, balance=balance, seed=seed)
    once = {"grid": ShuffledGridSampler, "whole": WholeSampler}[kind]
    return once(index, size, length, seed=seed)
