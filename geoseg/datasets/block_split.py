"""Split one image into square blocks for training, validation and testing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.datasets.ordering import shuffled
from geoseg.datasets.split_config import SPLITS, BlockFoldSplit, BlockSplit, InBlocks
from geoseg.grid.window import Window

NONE: Final = -1
"""Owner of a block without labels."""

Counts = npt.NDArray[np.int64]
"""Labelled pixels by (block row, block col, class)."""
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
    def of(cls, split: InBlocks, shape: tuple[int, int]) -> Lattice:
        """Return the blocks of an image of `shape`; by default their edge is a sixth of the image's shorter
        edge.
        """
        return cls(shape=shape, size=split.size or max(1, min(shape) // 6))

    @property
    def blocks(self) -> tuple[int, int]:
        """(rows, cols) of blocks."""
        height, width = self.shape
        return max(1, (height + self.size // 2) // self.size), max(1, (width + self.size // 2) // self.size)

    def block(self, pixels: Pixels, axis: int) -> Pixels:
        """Return the block row (axis 0) or column (axis 1) of pixels; pixels outside get that of the nearest
        inside.
        """
        inside = pixels.clip(0, self.shape[axis] - 1)
        return np.asarray(np.minimum(inside // self.size, self.blocks[axis] - 1), dtype=np.intp)


@dataclass(frozen=True, kw_only=True)
class BlockArea:
    """The pixels of an image that belong to one split; see `dataset.Area`.

    Law: a pixel counts if its block belongs to the split and no pixel within `buffer` rows and columns lies
    in a block of another split. So every pixel counts in one split at most, and two pixels of different splits
    are more than `buffer` rows or columns apart.

    Parameters
    ----------
    lattice : Lattice
        Blocks of the image.
    owners : tuple of tuple of int
        Index in ``SPLITS`` of each block's split, by (block row, block col), or NONE.
    split : int
        Index of the split in ``SPLITS``.
    buffer : int
        Distance to other splits, px.
    """

    lattice: Lattice
    owners: tuple[tuple[int, ...], ...]
    split: int
    buffer: int = 0

    def inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return whether each pixel of a window belongs to the split, (row, col); never outside the image."""
        row, top, bottom, on_rows, heights = self._runs(window.row, window.height, 0)
        col, left, right, on_cols, widths = self._runs(window.col, window.width, 1)
        # Number of blocks of other splits within reach of the buffer.
        sums = self._others
        others = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
        inside = self._own[np.ix_(row, col)] & (others + sums[np.ix_(top, left)] == 0)
        inside &= on_rows[:, None] & on_cols
        whole: npt.NDArray[np.bool_] = inside.repeat(heights, axis=0).repeat(widths, axis=1)
        return whole

    def with_unlabelled(self) -> BlockArea:
        """Return the area with the blocks that have no label; it keeps its distance to other splits.

        Most of a scene with few polygons lies in such blocks.
        """
        owners = tuple(tuple(self.split if owner == NONE else owner for owner in row) for row in self.owners)
        return replace(self, owners=owners)

    def _runs(
        self, first: int, count: int, axis: int
    ) -> tuple[Pixels, Pixels, Pixels, npt.NDArray[np.bool_], Pixels]:
        """Find runs of pixels along an axis with equal results.

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
        """Cumulative counts of the blocks of other splits above and to the left."""
        owners = np.array(self.owners)
        others = (owners != self.split) & (owners != NONE)
        return np.pad(others.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def buffer_of(split: BlockSplit | BlockFoldSplit, lattice: Lattice) -> int:
    """Return the distance that pixels of a split keep to blocks of other splits, px."""
    return max(1, lattice.size // 10) if split.buffer is None else split.buffer


def assign(counts: Counts, split: BlockSplit | BlockFoldSplit, name: str) -> Pixels:
    """Assign each labelled block of an image to a split.

    Law: the result depends only on the arguments, on any machine; and, if the split is not in folds, each class of the
    image is in a training block.

    Folds are those of `folds_of`. Otherwise blocks are stratified by class: first, starting with the rarest class, one
    block of each class goes to val (and one to test); then each block, in a seeded order, to the split that it brings
    closest to its share of every class. Blocks with the last training pixels of a class stay in training.

    Parameters
    ----------
    counts : Counts
        Labelled pixels of each block.
    split : BlockSplit or BlockFoldSplit
        Shares of the splits, or the folds, and seed.
    name : str
        Name of the image, so that images of equal shape are split differently.

    Returns
    -------
    ndarray of intp
        Index in ``SPLITS`` by (block row, block col), NONE for blocks without labels.
    """
    if isinstance(split, BlockFoldSplit):
        owner = np.array([SPLITS.index(split.split_of(fold)) for fold in range(split.k)] + [NONE])
        return np.asarray(owner[folds_of(counts, split, name)], dtype=np.intp)
    table = counts.reshape(-1, counts.shape[2])
    table = table[:, table.any(axis=0)]
    owners = np.where(table.any(axis=1), 0, NONE)
    shares = {SPLITS.index("val"): split.val, SPLITS.index("test"): split.test}
    wanted = {place: share for place, share in shares.items() if share}
    order = [int(i) for i in shuffled(map(str, np.flatnonzero(owners != NONE)), split.seed, name)]
    _one_of_each(table, owners, order, wanted)
    _fill(table, owners, order, wanted)
    return owners.reshape(counts.shape[:2])


def folds_of(counts: Counts, split: BlockFoldSplit, name: str) -> Pixels:
    """Divide the labelled blocks of an image into folds that are alike in their classes.

    Laws: every labelled block is in one fold; folds do not depend on which of them is held back; the numbers of blocks
    of two folds differ by one at most.

    Block by block, those with the largest share of a class first, each goes to the fold that has least of its classes,
    among those with the fewest blocks.

    Parameters
    ----------
    counts : Counts
        Labelled pixels of each block.
    split : BlockFoldSplit
        Number of folds, and seed.
    name : str
        Name of the image, so that images of equal shape are divided differently.

    Returns
    -------
    ndarray of intp
        Number of the fold by (block row, block col), NONE for blocks without labels.
    """
    table = counts.reshape(-1, counts.shape[2])
    table = table[:, table.any(axis=0)]
    shares = table / np.maximum(table.sum(axis=0), 1)
    drawn = [int(i) for i in shuffled(map(str, np.flatnonzero(table.any(axis=1))), split.seed, name)]
    order = sorted(drawn, key=lambda block: -float(shares[block].max()))
    folds = [int(i) for i in shuffled(map(str, range(split.k)), split.seed, f"folds of {name}")]
    have, blocks = np.zeros((split.k, table.shape[1])), np.zeros(split.k, dtype=np.intp)
    found = np.full(len(table), NONE, dtype=np.intp)
    for block in order:
        fewest = [fold for fold in folds if blocks[fold] == blocks.min()]
        fold = min(fewest, key=lambda fold: float(have[fold] @ shares[block]))
        found[block] = fold
        have[fold] += shares[block]
        blocks[fold] += 1
    return found.reshape(counts.shape[:2])


def _may_leave(table: Counts, owners: Pixels, block: int) -> bool:
    """Return whether training keeps every class of a block when the block is removed."""
    train = owners == 0
    train[block] = False
    return bool(table[train][:, table[block] > 0].any(axis=0).all())


def _one_of_each(table: Counts, owners: Pixels, order: Sequence[int], wanted: Mapping[int, float]) -> None:
    """Give each split a block of each class, the one closest to its share, as long as training keeps one."""
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
    """Move blocks from training to the other splits as long as this brings them closer to their shares."""
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
