"""Index of labelled pixels by class, counted in square cells of each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.datasets.dataset import Channels
from geoseg.grid.window import Window

_SMALLEST_CELL: Final = 32  # px
_MOST_COUNTS: Final = 2**19
"""Maximum number of counts per image, 4 bytes each; cells grow with the image to respect it."""

Counts = npt.NDArray[np.uint32]


def kinds_of(channels: Channels) -> int:
    """Return the number of label values: those of a mask; for multilabel the classes and "none of them"."""
    return channels.count + 1 if channels.task == "multilabel" else channels.kinds


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Numbers of labelled pixels in the cells of one image.

    Parameters
    ----------
    shape : (int, int)
        (rows, cols) of the image, px.
    edge : int
        Edge of a cell, px. The last cell of a row or column may extend beyond the image.
    counts : ndarray of uint32, shape (kind, cell row, cell col)
        Pixels of each label value.
    labelled : ndarray of uint32, shape (cell row, cell col)
        Labelled pixels; not the sum of `counts`, since classes of a multilabel task overlap.
    """

    shape: tuple[int, int]
    edge: int
    counts: Counts
    labelled: Counts

    @classmethod
    def empty(cls, shape: tuple[int, int], kinds: int) -> Cells:
        """Return cells of an image without counts."""
        edge = _SMALLEST_CELL
        while (kinds + 1) * np.prod(_grid(shape, edge)) > _MOST_COUNTS:
            edge *= 2
        cells = _grid(shape, edge)
        counts, labelled = np.zeros((kinds, *cells), np.uint32), np.zeros(cells, np.uint32)
        return cls(shape=shape, edge=edge, counts=counts, labelled=labelled)

    def add(self, window: Window, mask: npt.NDArray[np.int64]) -> None:
        """Count the labelled pixels of a mask, as returned by `Pair.read`, for a window inside the image."""
        rows = np.arange(window.row, window.row_stop) // self.edge
        cols = np.arange(window.col, window.col_stop) // self.edge
        here = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
        shape = (int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1))
        of_pixel = (rows - rows[0])[:, None] * shape[1] + (cols - cols[0])
        known = mask >= 0
        labelled = known if mask.ndim == 2 else known.any(axis=0)
        self.labelled[here] += _count(of_pixel[labelled], shape)
        if mask.ndim == 2:
            size, kinds = shape[0] * shape[1], len(self.counts)
            each = np.bincount(mask[known] * size + of_pixel[known], minlength=kinds * size)
            self.counts[:, *here] += each.reshape(kinds, *shape).astype(np.uint32)
            return
        present = mask == 1
        for kind, where in enumerate([*present, labelled & ~present.any(axis=0)]):
            self.counts[kind, *here] += _count(of_pixel[where], shape)

    def window(self, row: int, col: int) -> Window:
        """Return the pixels of a cell that lie on the image."""
        height = min(self.edge, self.shape[0] - row * self.edge)
        width = min(self.edge, self.shape[1] - col * self.edge)
        return Window(row=row * self.edge, col=col * self.edge, height=height, width=width)

    def meet(
        self, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.bool_]:
        """Return whether windows of `shape` at these rows and columns (px, on the image) touch a labelled cell.

        Returns
        -------
        ndarray of bool, shape (row, col)
        """
        (top, bottom), (left, right) = (
            (starts // self.edge, (np.minimum(starts + size, extent) - 1) // self.edge + 1)
            for starts, size, extent in zip((rows, cols), shape, self.shape, strict=True)
        )
        sums = self._sums
        found = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)]
        meets: npt.NDArray[np.bool_] = found > sums[np.ix_(bottom, left)] - sums[np.ix_(top, left)]
        return meets

    @cached_property
    def _sums(self) -> npt.NDArray[np.int64]:
        """Cumulative numbers of labelled cells above and left of each cell corner."""
        sums = np.zeros((self.labelled.shape[0] + 1, self.labelled.shape[1] + 1), dtype=np.int64)
        (self.labelled > 0).astype(np.int64).cumsum(axis=0).cumsum(axis=1, out=sums[1:, 1:])
        return sums


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassIndex:
    """Index of the labelled pixels of every image of a split, in the order of its pairs.

    Parameters
    ----------
    images : sequence of Cells
        Cells of each image.
    """

    images: Sequence[Cells]

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """Labelled pixels of each label value, over all images."""
        total: npt.NDArray[np.int64] = np.sum(
            [cells.counts.sum(axis=(1, 2), dtype=np.int64) for cells in self.images], axis=0
        )
        return total

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The index as plain arrays, for `numpy.savez`; `of` restores it."""
        return {
            "shape": np.array([cells.shape for cells in self.images], dtype=np.int64),
            "edge": np.array([cells.edge for cells in self.images], dtype=np.int64),
            "counts": np.concatenate(
                [cells.counts.reshape(len(cells.counts), -1) for cells in self.images], 1
            ),
            "labelled": np.concatenate([cells.labelled.ravel() for cells in self.images]),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ClassIndex:
        """Restore an index from `arrays`."""
        images, start = [], 0
        counts, labelled = arrays["counts"], arrays["labelled"]
        for (height, width), edge in zip(arrays["shape"].tolist(), arrays["edge"].tolist(), strict=True):
            grid = _grid((height, width), edge)
            stop = start + grid[0] * grid[1]
            images.append(
                Cells(
                    shape=(height, width),
                    edge=edge,
                    counts=counts[:, start:stop].reshape(-1, *grid),
                    labelled=labelled[start:stop].reshape(grid),
                )
            )
            start = stop
        return cls(images=tuple(images))


def _grid(shape: tuple[int, int], edge: int) -> tuple[int, int]:
    """Return (rows, cols) of the cells that cover an image."""
    return -(-shape[0] // edge), -(-shape[1] // edge)


def _count(of_pixel: npt.NDArray[np.int64], shape: tuple[int, int]) -> Counts:
    """Return the number of pixels in each cell of a block."""
    return np.bincount(of_pixel, minlength=shape[0] * shape[1]).reshape(shape).astype(np.uint32)
