"""Read a scene from top to bottom, every row once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from geoseg.engine.plan import Plan
from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.scene import Chip
from geoseg.raster.source import Source

_TALLEST_BLOCK = 1024
"""Taller blocks are strips or whole images: reading ahead to their end would read the whole scene."""


class RowReader:
    """Reads successive ranges of rows of a source; rows shared by two ranges, and the rest of a block row, are
    kept.

    Parameters
    ----------
    source : Source
        The scene.
    plan : Plan
        Tells the width of the margin; pixels outside the scene are padded by reflection.
    tolerant : bool
        Whether blocks that cannot be read become no data; otherwise they are an error.
    threads : int
        Threads that decode in parallel, each with its own file handle; every block is decoded by one of them.

    Attributes
    ----------
    source : Source
        The scene.
    damaged : list of Window
        Windows that could not be read.
    """

    def __init__(self, source: Source, plan: Plan, *, tolerant: bool, threads: int = 1) -> None:
        self.source, self._tolerant, self._threads = source, tolerant, threads
        self._pool: ThreadPoolExecutor | None = None
        self._col, self._width = -plan.margin, plan.padded[1]
        self._kept: Chip | None = None
        self._first = self._stop = 0
        self.damaged: list[Window] = []

    def read(self, first: int, stop: int) -> Chip:
        """Read rows [first, stop) of the scene, which may lie outside it; neither bound may decrease between
        calls.

        Returns
        -------
        Chip
            Views: pixels (band, stop - first, width) in the source's dtype, valid (stop - first, width).
        """
        kept = self._kept
        if kept is None:
            self._first = self._stop = first
        if stop > self._stop:
            fresh = self._fetch(self._stop, self._ahead(stop))
            if kept is None:
                kept = fresh
            else:
                rest = slice(first - self._first, None)
                kept = Chip(
                    pixels=np.concatenate([kept.pixels[:, rest], fresh.pixels], axis=1),
                    valid=np.concatenate([kept.valid[rest], fresh.valid]),
                )
                self._first = first
            self._stop += fresh.valid.shape[0]
            self._kept = kept
        assert kept is not None
        rows = slice(first - self._first, stop - self._first)
        return Chip(pixels=kept.pixels[:, rows], valid=kept.valid[rows])

    def _ahead(self, stop: int) -> int:
        """Extend `stop` to the end of its block row, so that no block is decoded twice; not in the margin."""
        height = self.source.grid.height
        block = self.source.block_shape[0]
        if stop >= height or block > _TALLEST_BLOCK:
            return stop
        return min(-(-stop // block) * block, height)

    def _fetch(self, first: int, stop: int) -> Chip:
        window = Window(row=first, col=self._col, height=stop - first, width=self._width)
        try:
            return self._decode(window)
        except SceneError:
            if not self._tolerant:
                raise
        return self._salvage(window)

    def _decode(self, window: Window) -> Chip:
        """Read a window, in parallel parts if there are threads for it."""
        parts = self._parts(window)
        if len(parts) == 1:
            return self.source.read(window)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="geoseg-decode")
        pixels = np.empty((self.source.count, *window.shape), dtype=self.source.dtype)
        valid = np.empty(window.shape, dtype=bool)

        def place(part: Window) -> None:
            chip = self.source.read(part)
            rows, cols = part.shifted(-window.row, -window.col).slices
            pixels[:, rows, cols], valid[rows, cols] = chip.pixels, chip.valid

        list(self._pool.map(place, parts))
        return Chip(pixels=pixels, valid=valid)

    def _parts(self, window: Window) -> list[Window]:
        """Cut a window at block borders: side by side, or top to bottom if a block is as wide as the scene."""
        height, width = self.source.grid.shape
        block_rows, block_cols = self.source.block_shape
        if block_cols < width:
            return [
                Window(row=window.row, col=first, height=window.height, width=stop - first)
                for first, stop in _shares((window.col, window.col_stop), width, block_cols, self._threads)
            ]
        return [
            Window(row=first, col=window.col, height=stop - first, width=window.width)
            for first, stop in _shares((window.row, window.row_stop), height, block_rows, self._threads)
        ]

    def close(self) -> None:
        """Shut down the decoding threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _salvage(self, window: Window) -> Chip:
        """Read a window block by block; blocks that fail become no data."""
        block_rows, block_cols = self.source.block_shape
        pixels = np.zeros((self.source.count, *window.shape), dtype=self.source.dtype)
        valid = np.zeros(window.shape, dtype=bool)
        for row in _cuts(window.row, window.row_stop, block_rows):
            for col in _cuts(window.col, window.col_stop, block_cols):
                part = Window(row=row[0], col=col[0], height=row[1] - row[0], width=col[1] - col[0])
                try:
                    chip = self.source.read(part)
                except SceneError:
                    lost = part.within(self.source.grid.shape)
                    if lost is not None:
                        self.damaged.append(lost)
                    continue
                rows, cols = part.shifted(-window.row, -window.col).slices
                pixels[:, rows, cols], valid[rows, cols] = chip.pixels, chip.valid
        return Chip(pixels=pixels, valid=valid)


def _cuts(first: int, stop: int, step: int) -> list[tuple[int, int]]:
    """Cut [first, stop) at the multiples of `step`."""
    inner = list(range((first // step + 1) * step, stop, step))
    return list(zip([first, *inner], [*inner, stop], strict=True))


def _shares(edges: tuple[int, int], length: int, block: int, count: int) -> list[tuple[int, int]]:
    """Cut [first, stop) into at most `count` pieces at block borders; each holds pixels that lie on the axis.

    Pixels outside the axis are reflections of the piece next to them, and are read with it.
    """
    inner = [cut for cut in range(0, length, block) if max(edges[0], 0) < cut < min(edges[1], length)]
    each = -(-(len(inner) + 1) // count)
    inner = inner[each - 1 :: each]
    return list(zip([edges[0], *inner], [*inner, edges[1]], strict=True))
