"""Where a window can lie on an image so that there is something to learn from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.datasets.class_index import Cells
from geoseg.grid.window import Window

Ints = npt.NDArray[np.int64]


class Positions:
    """Positions of a window on a part of an image, counted from 0.

    Law: the windows of all numbers are all windows that lie on the part and, where `cells` are given, meet a
    cell with labelled pixels; each comes once. Along an axis on which the part is smaller than the window
    there is one position, the part's first pixel, from which the window sticks out.

    Parameters
    ----------
    part : Window
        Of the image.
    shape : (int, int)
        (rows, cols) of the window, px.
    cells : Cells, optional
        Where labelled pixels are; everywhere by default.
    """

    def __init__(self, part: Window, shape: tuple[int, int], cells: Cells | None = None) -> None:
        self._shape = shape
        self._first = part.row, part.col
        rows, cols = (max(1, extent - size + 1) for extent, size in zip(part.shape, shape, strict=True))
        self._cols = cols
        self.count = rows * cols
        self._last: Ints | None = None
        if cells is None:
            return
        # Windows between two neighbouring starts meet the same cells: one look answers for all of them.
        self._row_starts, heights = _alike(part.row, rows, shape[0], cells.shape[0], cells.edge)
        self._col_starts, self._widths = _alike(part.col, cols, shape[1], cells.shape[1], cells.edge)
        meets = cells.meet(self._row_starts, self._col_starts, shape)
        if not meets.all():
            self._last = np.cumsum(heights[:, None] * self._widths * meets)
            self.count = int(self._last[-1])

    def window(self, number: int) -> Window:
        """Return the window of a number below `count`."""
        if self._last is None:
            row, col = divmod(number, self._cols)
            row, col = self._first[0] + row, self._first[1] + col
        else:
            at = int(np.searchsorted(self._last, number, side="right"))
            number -= int(self._last[at - 1]) if at else 0
            down, right = divmod(at, len(self._col_starts))
            row, col = divmod(number, int(self._widths[right]))
            row, col = int(self._row_starts[down]) + row, int(self._col_starts[right]) + col
        return Window(row=row, col=col, height=self._shape[0], width=self._shape[1])


def _alike(first: int, count: int, size: int, extent: int, edge: int) -> tuple[Ints, Ints]:
    """Cut the positions along an axis into runs that meet the same cells: (first position, length) of each."""
    starts = np.arange(first, first + count)
    first_cell, last_cell = starts // edge, (np.minimum(starts + size, extent) - 1) // edge
    changes = np.flatnonzero((np.diff(first_cell) != 0) | (np.diff(last_cell) != 0)) + 1
    cuts = np.concatenate([[0], changes, [count]])
    return first + cuts[:-1], np.diff(cuts)
