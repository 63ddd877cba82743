"""Square blocks of one image that train, validate or test, so that a single scene is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.datasets.ordering import shuffled
from geoseg.datasets.split_config import SPLITS, BlockSplit
from geoseg.grid.window import Window

NONE: Final = -1
"""Owner of a block without any label."""

Counts = npt.NDArray[np.int64]
"""Labelled pixels (block row, block col, class)."""
Pixels = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Blocks of an image; the last ones of a row and column are up to half a block longer or shorter.

    Parameters
    ----------
    shape : (int, int)
        (rows, cols) of the image, px.
    size : int
        Edge of a block, px.
    """

    shape: tuple[int, int]
    size: int

    @classmethod
    def of(cls, split: BlockSplit, shape: tuple[int, int]) -> Lattice:
        """Lattice of an image of `shape`: a sixth of its shorter edge where no size is given."""
        return cls(shape=shape, size=split.size or max(1, min(shape) // 6))

    @property
    def blocks(self) -> tuple[int, int]:
        """(rows, cols) of blocks."""
        height, width = self.shape
        return max(1, (height + self.size // 2) // self.size), max(1, (width + self.size // 2) // self.size)

    def block(self, pixels: Pixels, axis: int) -> Pixels:
        """Block row (axis 0) or column (axis 1) of pixels; those outside have that of the nearest inside."""
        inside = pixels.clip(0, self.shape[axis] - 1)
        return np.asarray(np.minimum(inside // self.size, self.blocks[axis] - 1), dtype=np.intp)


@dataclass(frozen=True, kw_only=True)
class BlockArea:
    """The pixels of an image that count in one split; see `dataset.Area`.

    Law: a pixel counts where its block belongs to the split and no pixel within `buffer` rows and columns lies
    in a block of another split. So every pixel counts in one split at most, and two pixels of different splits
    are more than `buffer` rows or columns apart.

    Parameters
    ----------
    lattice : Lattice
    owners : tuple of tuple of int
        (block row, block col): place in ``SPLITS``, or NONE.
    split : int
        Place in ``SPLITS``.
    buffer : int
        px.
    """

    lattice: Lattice
    owners: tuple[tuple[int, ...], ...]
    split: int
    buffer: int = 0

    def inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """(row, col): whether each pixel of a window counts in the split; none outside of the image does."""
        row, top, bottom, on_rows, heights = self._runs(window.row, window.height, 0)
        col, left, right, on_cols, widths = self._runs(window.col, window.width, 1)
        # Blocks of other splits in the rectangle of blocks that the buffer reaches.
        sums = self._others
        others = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
        inside = self._own[np.ix_(row, col)] & (others + sums[np.ix_(top, left)] == 0)
        inside &= on_rows[:, None] & on_cols
        whole: npt.NDArray[np.bool_] = inside.repeat(heights, axis=0).repeat(widths, axis=1)
        return whole

    def _runs(
        self, first: int, count: int, axis: int
    ) -> tuple[Pixels, Pixels, Pixels, npt.NDArray[np.bool_], Pixels]:
        """Find the runs of pixels along an axis that fare alike.

        Returns
        -------
        block, first, stop, on, count
            Of each run: its block, the first block that the buffer reaches and the one after the last, whether
            it is on the image, and its number of pixels.
        """
        pixels = np.arange(first, first + count)
        block = self.lattice.block
        own, low = block(pixels, axis), block(pixels - self.buffer, axis)
        high = block(pixels + self.buffer, axis) + 1
        on = (pixels >= 0) & (pixels < self.lattice.shape[axis])
        changes = np.any([np.diff(each) != 0 for each in (own, low, high, on.astype(np.intp))], axis=0)
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        lengths = np.diff(np.append(starts, count))
        return own[starts], low[starts], high[starts], on[starts], lengths

    @cached_property
    def _own(self) -> npt.NDArray[np.bool_]:
        return np.asarray(np.array(self.owners) == self.split)

    @cached_property
    def _others(self) -> npt.NDArray[np.int64]:
        """(block row + 1, block col + 1): blocks of other splits above and to the left."""
        owners = np.array(self.owners)
        others = (owners != self.split) & (owners != NONE)
        return np.pad(others.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def assign(counts: Counts, split: BlockSplit, name: str) -> Pixels:
    """Give each labelled block of an image to a split.

    Law: each class of the image is in a block that trains; and a function of the arguments alone, on any
    machine.

    Blocks are stratified by their classes: first, the rarest class first, one block of each class goes to val
    (and one to test); then each block, in a seeded order, to the split that it brings closest to its share of
    every class. No block is taken from training that holds the last training pixels of a class.

    Parameters
    ----------
    counts : Counts
        Labelled pixels.
    split : BlockSplit
        Shares and seed.
    name : str
        Of the image: images of one shape are not divided alike.

    Returns
    -------
    ndarray of intp
        (block row, block col): place in ``SPLITS``, NONE for blocks without labels.
    """
    table = counts.reshape(-1, counts.shape[2])
    table = table[:, table.any(axis=0)]
    owners = np.where(table.any(axis=1), 0, NONE)
    shares = {SPLITS.index("val"): split.val, SPLITS.index("test"): split.test}
    wanted = {place: share for place, share in shares.items() if share}
    order = [int(i) for i in shuffled(map(str, np.flatnonzero(owners != NONE)), split.seed, name)]
    _one_of_each(table, owners, order, wanted)
    _fill(table, owners, order, wanted)
    return owners.reshape(counts.shape[:2])


def _may_leave(table: Counts, owners: Pixels, block: int) -> bool:
    """Whether training keeps each class of a block without it."""
    train = owners == 0
    train[block] = False
    return bool(table[train][:, table[block] > 0].any(axis=0).all())


def _one_of_each(table: Counts, owners: Pixels, order: Sequence[int], wanted: Mapping[int, float]) -> None:
    """Give a block of each class to each place, that closest to its share, as far as training keeps one."""
    shares = table / table.sum(axis=0)
    for c in np.lexsort((table.sum(axis=0), (table > 0).sum(axis=0))):
        for place, share in wanted.items():
            if table[owners == place, c].any():
                continue
            holders = [block for block in order if owners[block] == 0 and table[block, c]]
            holders.sort(key=lambda block: abs(float(shares[block, c]) - share))
            chosen = next((block for block in holders if _may_leave(table, owners, block)), None)
            if chosen is not None:
                owners[chosen] = place


def _fill(table: Counts, owners: Pixels, order: Sequence[int], wanted: Mapping[int, float]) -> None:
    """Move blocks from training to the other splits as long as that brings these closer to their shares."""
    shares = table / table.sum(axis=0)  # of each class, in each block
    have = {place: shares[owners == place].sum(axis=0) for place in wanted}
    for block in order:
        if owners[block] != 0:
            continue
        gains = {
            place: float(((have[place] - share) ** 2 - (have[place] + shares[block] - share) ** 2).sum())
            for place, share in wanted.items()
        }
        place = max(gains, key=lambda place: gains[place], default=0)
        if place and gains[place] > 0 and _may_leave(table, owners, block):
            owners[block] = place
            have[place] += shares[block]
