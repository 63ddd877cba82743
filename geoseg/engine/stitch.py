"""Blend overlapping tiles of probabilities into one probability per pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geoseg.errors import StitchError
from geoseg.grid.tiling import Tiling


class Stitcher:
    """Weighted mean of tile probabilities over a strip of open rows that moves down the scene.

    Law: stitching the tiles of an array gives the array, to 1e-6, whatever the tiling; the weights of every
    pixel sum to 1 by construction (`Tiling.tapers`), so nothing is divided and no epsilon is added. The
    tiles of a pixel are added in row-major order, so that equal work gives equal bits.

    Parameters
    ----------
    tiling : Tiling
        Tile size and overlap.
    shape : tuple of int
        (rows, cols) of what the tiles cover: the scene with its margin, at least one tile.
    channels : int
        Probabilities per pixel.
    depth : int
        Largest number of rows that are open at once.
    device : torch.device
        Device of the probabilities.

    Notes
    -----
    Memory: ``4 * channels * depth * max(cols, tiling.size)`` bytes; finished rows are seen in place.
    """

    def __init__(
        self, tiling: Tiling, shape: tuple[int, int], channels: int, depth: int, device: torch.device
    ) -> None:
        self._rows, self._cols = tiling.starts(shape[0]), tiling.starts(shape[1])
        self._row_tapers = torch.from_numpy(tiling.tapers(shape[0])).to(device, torch.float32)
        self._col_tapers = torch.from_numpy(tiling.tapers(shape[1])).to(device, torch.float32)
        self._size, self._shape = tiling.size, shape
        self._open = torch.zeros(
            (channels, max(depth, tiling.size), max(shape[1], tiling.size)),
            dtype=torch.float32,
            device=device,
        )
        self._top = 0
        # Rows that `finish` has handed out but that are still in the buffer, and the rows that tiles had written
        # to then.
        self._finished = self._reached = 0
        self._added = np.zeros((len(self._rows), len(self._cols)), dtype=bool)

    def add(self, tile: tuple[int, int], probabilities: Tensor) -> None:
        """Blend in one tile.

        Parameters
        ----------
        tile : tuple of int
            Its (row, col) in the tiling.
        probabilities : Tensor of float32, shape (channel, size, size)
            Probabilities of the tile's pixels.
        """
        self._move_up()
        row, col = self._rows[tile[0]] - self._top, self._cols[tile[1]]
        taper = torch.outer(self._row_tapers[tile[0]], self._col_tapers[tile[1]])
        self._open[:, row : row + self._size, col : col + self._size].addcmul_(probabilities, taper)
        self._added[tile] = True

    def skip(self, tile: tuple[int, int]) -> None:
        """Mark a tile without valid pixels as done: its pixels are no data."""
        self._added[tile] = True

    def resume(self, row: int, tile_row: int) -> None:
        """Start at scene row `row`, the first row of `tile_row`, as if all tiles above had been added.

        Rows that those tiles reach into come out wrong: the caller adds
        tile rows from far enough above and drops the wrong rows.
        """
        self._top = row
        self._added[:tile_row] = True

    def finish(self, stop: int) -> Tensor:
        """Return the rows above `stop`, which no later tile may touch, and close them.

        Returns
        -------
        Tensor of float32, shape (channel, rows, cols)
            A view that is valid until the next call; pixels of skipped tiles are 0.

        Raises
        ------
        StitchError
            If a tile that covers these rows is missing.
        """
        self._move_up()
        reach = sum(1 for row in self._rows if row < stop)
        first = sum(1 for row in self._rows if row + self._size <= self._top)
        if not self._added[first:reach].all():
            raise StitchError(
                f"rows {self._top} to {stop} were to be finished before all of their tiles came in"
            )
        self._finished = stop - self._top
        begun = max((row + self._size for row in self._rows[:reach]), default=stop)
        self._reached = min(max(begun - self._top, self._finished), self._open.shape[1])
        return self._open[:, : self._finished, : self._shape[1]]

    def _move_up(self) -> None:
        """Move the rows that tiles have begun over the finished ones above them."""
        if not self._finished:
            return
        rows, kept = self._finished, self._reached - self._finished
        # In steps as high as the finished rows: no row is overwritten before it is read.
        for first in range(0, kept, rows):
            last = min(first + rows, kept)
            self._open[:, first:last] = self._open[:, first + rows : last + rows]
        self._open[:, kept : self._reached] = 0
        self._top += rows
        self._finished = 0
