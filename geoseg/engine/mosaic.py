"""Blend overlapping tiles of probabilities and decide codes and confidence on the CPU, in one pass.

Does what `Stitcher` and `Decision` do with tensors on a device: a tile is blended into the open rows, and
pixels that wait for no other tile are decided in the same pass, while their probabilities are in the CPU's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.engine.blending import (
    BINARY,
    FIRST,
    LAST,
    MULTICLASS,
    MULTILABEL,
    Axis,
    Held,
    PlacedTile,
    Rule,
    Scratch,
    blend,
)
from geoseg.engine.network_input import Pixel
from geoseg.errors import StitchError
from geoseg.grid.legend import NODATA, THRESHOLD, Task
from geoseg.grid.tiling import Tiling
from geoseg.raster.band_encoding import Storage

_TASKS: Final = {"multiclass": MULTICLASS, "binary": BINARY, "multilabel": MULTILABEL}
_STEPS: Final = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """How probabilities become codes; see `geoseg.engine.decision.Decision`.

    Parameters
    ----------
    task : str
        ``multiclass``, ``binary`` or ``multilabel``.
    channels : sequence of int
        Legend code of each network channel.
    thresholds : sequence of float, optional
        Probability above which a class is present, one per channel; 0.5 by default. Not for multiclass.
    """

    task: Task
    channels: Sequence[int]
    thresholds: Sequence[float] | None = None

    @property
    def order(self) -> list[int]:
        """Channels in ascending order of their codes."""
        return sorted(range(len(self.channels)), key=lambda i: self.channels[i])

    @property
    def layers(self) -> int:
        """Number of layers of codes: one per class for a multilabel task, else 1."""
        return len(self.channels) if self.task == "multilabel" else 1

    def rule(self, *, keep: bool) -> Rule:
        """Return the decision as kernels take it; `keep`: whether final probabilities stay in the accumulator."""
        above = [THRESHOLD] * len(self.channels) if self.thresholds is None else self.thresholds
        place = np.zeros(len(self.channels), np.int64)
        if self.task == "multilabel":
            place[self.order] = np.arange(len(self.channels))
        return Rule(
            task=_TASKS[self.task],
            codes=np.array(self.channels, np.uint8),
            thresholds=np.array(above, np.float32),
            layers=place,
            keep=keep,
        )

    def stored(
        self, shares: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], storage: Storage
    ) -> npt.NDArray[Any]:
        """Return probabilities (channel, row, col) as files hold them; see `Decision.stored`."""
        shares = np.concatenate([1 - shares, shares]) if self.task == "binary" else shares[self.order]
        if storage == "uint8":
            shares = np.where(valid, shares, 0)
            steps = np.clip(np.rint(shares * np.float32(_STEPS)), 0, _STEPS).astype(np.uint8)
            return np.where(valid, steps, np.uint8(NODATA))
        return np.where(valid, shares, np.float32(np.nan)).astype(storage)

    def finished(
        self,
        codes: npt.NDArray[np.uint8],
        confidence: npt.NDArray[np.uint8],
        shares: npt.NDArray[np.float32] | None,
        *,
        has_nan: bool,
    ) -> Finished:
        """Return codes and confidence in the shape of the task: without the layer axis unless it is multilabel."""
        if self.task != "multilabel":
            codes, confidence = codes[0], confidence[0]
        return Finished(codes=codes, confidence=confidence, shares=shares, has_nan=has_nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """Decided pixels: rows of a scene without its margin, or a whole picture.

    Parameters
    ----------
    codes, confidence : ndarray of uint8, shape (row, col), of a multilabel task (layer, row, col)
        Class codes, and the probability of each times 254; 255 is no data. (layer, row, col) for a multilabel
        task.
    shares : ndarray of float32, shape (channel, row, col), optional
        Probabilities, if kept; undefined where no result is wanted. From a `Mosaic` they are valid only until its
        next call.
    has_nan : bool
        Whether any probability is NaN.
    """

    codes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    shares: npt.NDArray[np.float32] | None
    has_nan: bool


class Mosaic:
    """Blend and decide tiles over a strip of open rows that moves down the scene.

    Laws: those of `Stitcher` and of `Decision`: the weights of a pixel sum to 1, and its tiles are added in row-major
    order, so that equal work gives equal bits.

    Parameters
    ----------
    tiling : Tiling
        Tile size and overlap.
    shape : tuple of int
        (rows, cols) of what the tiles cover: the scene with its margin, at least one tile.
    deciding : Deciding
        How probabilities become codes.
    depth : int
        Largest number of rows that are open at once.
    keep : bool
        Whether finished rows come with their probabilities.

    Notes
    -----
    Memory: ``(4 * channels + 2 * layers) * depth * cols`` bytes.
    """

    def __init__(
        self, tiling: Tiling, shape: tuple[int, int], deciding: Deciding, depth: int, *, keep: bool = False
    ) -> None:
        self._rows, self._cols = tiling.starts(shape[0]), tiling.starts(shape[1])
        self._row_axes, self._col_axes = _axes(tiling, shape[0]), _axes(tiling, shape[1])
        self._deciding, self._rule, self._size = deciding, deciding.rule(keep=keep), tiling.size
        depth, cols = max(depth, tiling.size), max(shape[1], tiling.size)
        layers = deciding.layers
        self._held = Held(
            np.zeros((len(deciding.channels), depth, cols), np.float32),
            np.full((layers, depth, cols), NODATA, np.uint8),
            np.full((layers, depth, cols), NODATA, np.uint8),
        )
        self._scratch = _scratch(self._size)
        self._depth, self._top, self._has_nan = depth, 0, False
        self._added = np.zeros((len(self._rows), len(self._cols)), dtype=bool)

    def add(
        self,
        tile: tuple[int, int],
        shares: npt.NDArray[np.float32],
        wanted: npt.NDArray[np.bool_],
        at: tuple[int, int],
    ) -> None:
        """Blend in one tile and decide the pixels that it completes.

        Parameters
        ----------
        tile : tuple of int
            Its (row, col) in the tiling.
        shares : ndarray of float32, shape (channel, size, size)
            Probabilities.
        wanted : ndarray of bool, shape (row, col)
            Where results are wanted, for the rows that contain the tile.
        at : tuple of int
            Row and column of the tile's first pixel in `wanted`.
        """
        row, col = tile
        place = Pixel(self._rows[row] % self._depth, self._cols[col])
        placed = PlacedTile(shares, self._row_axes[row], self._col_axes[col], place, Pixel(*at))
        nans = blend(placed, self._held, wanted, self._rule, self._scratch)
        self._has_nan |= nans > 0
        self._added[tile] = True

    def skip(self, tile: tuple[int, int]) -> None:
        """Mark a tile as done in which no result is wanted."""
        self._added[tile] = True

    def resume(self, top: int, tile_row: int) -> None:
        """Start in the middle of the scene.

        Parameters
        ----------
        top : int
            First row that tiles will be added to.
        tile_row : int
            First row of the tiling that they belong to.
        """
        self._top = top
        self._added[:tile_row] = True

    def finish(self, stop: int, rows: slice, cols: slice) -> Finished:
        """Return the rows above `stop` and remove them from the open rows.

        Parameters
        ----------
        stop : int
            First row that stays open; no later tile may reach above it.
        rows, cols : slice
            Rows, counted from the first removed one, and columns that become results.

        Raises
        ------
        StitchError
            If one of their tiles is missing.
        """
        reach = sum(1 for row in self._rows if row < stop)
        first = sum(1 for row in self._rows if row + self._size <= self._top)
        if not self._added[first:reach].all():
            raise StitchError(
                f"rows {self._top} to {stop} were to be finished before all of their tiles came in"
            )
        top, has_nan = self._top, self._has_nan
        inside = (top + rows.start, top + rows.stop)
        codes, confidence = (self._ring(each, *inside)[..., cols].copy() for each in self._held[1:])
        shares = self._ring(self._held.shares, *inside)[..., cols] if self._rule.keep else None
        found = self._deciding.finished(codes, confidence, shares, has_nan=has_nan)
        for each in self._held[1:]:
            for part in self._parts(top, stop):
                each[:, part] = NODATA
        self._top, self._has_nan = stop, False
        return found

    def _parts(self, first: int, stop: int) -> list[slice]:
        """Return where rows lie in the ring buffers: one slice, or two where they wrap around."""
        if stop <= first:
            return []
        start, count = first % self._depth, stop - first
        parts = [slice(start, min(start + count, self._depth)), slice(0, start + count - self._depth)]
        return [part for part in parts if part.stop > part.start]

    def _ring(self, ring: npt.NDArray[Any], first: int, stop: int) -> npt.NDArray[Any]:
        """Return rows of a ring buffer, as a view where possible."""
        parts = [ring[:, part] for part in self._parts(first, stop)]
        if not parts:
            return ring[:, :0]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def decided(shares: npt.NDArray[np.float32], wanted: npt.NDArray[np.bool_], deciding: Deciding) -> Finished:
    """Decide pixels that are covered by a single tile.

    Parameters
    ----------
    shares : ndarray of float32, shape (channel, row, col)
        Probabilities.
    wanted : ndarray of bool, shape (row, col)
        Where results are wanted.
    deciding : Deciding
        How probabilities become codes.
    """
    shares, wanted = np.ascontiguousarray(shares), np.ascontiguousarray(wanted)
    codes, confidence = np.empty((2, deciding.layers, *wanted.shape), np.uint8)
    rows, cols = (
        Axis(np.ones(edge, np.float32), np.full(edge, FIRST | LAST, np.uint8)) for edge in wanted.shape
    )
    # Pixels of a single tile are read from it alone; the accumulator is not used.
    held, rule = Held(shares, codes, confidence), deciding.rule(keep=False)
    placed = PlacedTile(shares, rows, cols, Pixel(0, 0), Pixel(0, 0))
    nans = blend(placed, held, wanted, rule, _scratch(wanted.shape[1]))
    return deciding.finished(codes, confidence, shares, has_nan=nans > 0)


def _scratch(width: int) -> Scratch:
    value, best, total = np.empty((3, width), np.float32)
    return Scratch(value, best, total, np.empty(width, np.int32))


def _axes(tiling: Tiling, length: int) -> list[Axis]:
    """Return, for each tile along an axis, its weights and which pixels it is the first or last tile of."""
    starts, weights = tiling.starts(length), tiling.tapers(length).astype(np.float32)
    axes = []
    for place, start in enumerate(starts):
        pixels = np.arange(start, start + tiling.size)
        turns = np.zeros(tiling.size, np.uint8)
        turns[pixels >= (starts[place - 1] + tiling.size if place else 0)] |= FIRST
        turns[pixels < (starts[place + 1] if place + 1 < len(starts) else pixels[-1] + 1)] |= LAST
        axes.append(Axis(weights[place], turns))
    return axes
