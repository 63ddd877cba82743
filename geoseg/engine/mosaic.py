"""Overlapping tiles of probabilities become codes and confidence, on the CPU, without a second look at any of them.

What `Stitcher` and `Decision` do with tensors on a device: here a tile is blended into rows that are open, and
whichever pixels wait for no other tile are decided in the same pass, while its numbers are in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.engine.storage import Storage
from geoseg.engine.tile_kernels import (
    BINARY,
    FIRST,
    LAST,
    MULTICLASS,
    MULTILABEL,
    Axis,
    Held,
    Rule,
    Scratch,
    blend,
)
from geoseg.errors import StitchError
from geoseg.grid.legend import NODATA, THRESHOLD, Task
from geoseg.grid.tiling import Tiling

_TASKS: Final = {"multiclass": MULTICLASS, "binary": BINARY, "multilabel": MULTILABEL}
_STEPS: Final = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """What becomes of the probabilities of a pixel; see `geoseg.engine.decision.Decision`.

    Parameters
    ----------
    task : str
    channels : sequence of int
        Legend code of each network channel.
    thresholds : sequence of float, optional
    storage : str, optional
        How probabilities are stored, where they are.
    """

    task: Task
    channels: Sequence[int]
    thresholds: Sequence[float] | None = None
    storage: Storage | None = None

    @property
    def order(self) -> list[int]:
        """Channels in ascending order of their codes."""
        return sorted(range(len(self.channels)), key=lambda i: self.channels[i])

    @property
    def layers(self) -> int:
        """Layers of codes."""
        return len(self.channels) if self.task == "multilabel" else 1

    def rule(self) -> Rule:
        """Return it as kernels take it."""
        above = [THRESHOLD] * len(self.channels) if self.thresholds is None else self.thresholds
        place = np.zeros(len(self.channels), np.int64)
        if self.task == "multilabel":
            place[self.order] = np.arange(len(self.channels))
        return Rule(
            task=_TASKS[self.task],
            codes=np.array(self.channels, np.uint8),
            thresholds=np.array(above, np.float32),
            layers=place,
            keep=self.storage is not None,
        )

    def stored(self, shares: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Return probabilities (channel, row, col) as files hold them; see `Decision.stored`."""
        shares = np.concatenate([1 - shares, shares]) if self.task == "binary" else shares[self.order]
        if self.storage == "uint8":
            shares = np.where(valid, shares, 0)
            steps = np.clip(np.rint(shares * np.float32(_STEPS)), 0, _STEPS).astype(np.uint8)
            return np.where(valid, steps, np.uint8(NODATA))
        return np.where(valid, shares, np.float32(np.nan)).astype(self.storage)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """Rows of a scene without its margin.

    Parameters
    ----------
    codes, confidence : ndarray of uint8, shape (row, col), of a multilabel task (layer, row, col)
    stored : ndarray, shape (class, row, col), optional
        Probabilities as `Deciding.stored` returns them.
    odd : bool
        Whether a probability in them is not a number.
    """

    codes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    stored: npt.NDArray[Any] | None
    odd: bool


class Mosaic:
    """Tiles blended and decided over a band of rows that moves down the scene.

    Laws: those of `Stitcher` and of `Decision`: the weights of a pixel sum to 1, and its tiles are added in row-major
    order, so that equal work gives equal bits.

    Parameters
    ----------
    tiling : Tiling
    shape : tuple of int
        (rows, cols) of what the tiles cover: the scene with its margin, at least one tile.
    deciding : Deciding
    depth : int
        Most rows that are open at once.

    Notes
    -----
    Memory: ``(4 * channels + 2 * layers) * depth * cols`` bytes.
    """

    def __init__(self, tiling: Tiling, shape: tuple[int, int], deciding: Deciding, depth: int) -> None:
        self._rows, self._cols = tiling.starts(shape[0]), tiling.starts(shape[1])
        self._row_axes, self._col_axes = _axes(tiling, shape[0]), _axes(tiling, shape[1])
        self._deciding, self._rule, self._size = deciding, deciding.rule(), tiling.size
        depth, cols = max(depth, tiling.size), max(shape[1], tiling.size)
        layers = deciding.layers
        self._held = Held(
            np.zeros((len(deciding.channels), depth, cols), np.float32),
            np.full((layers, depth, cols), NODATA, np.uint8),
            np.full((layers, depth, cols), NODATA, np.uint8),
        )
        value, best, total = np.empty((3, self._size), np.float32)
        self._scratch = Scratch(value, best, total, np.empty(self._size, np.int32))
        self._depth, self._top, self._odd = depth, 0, False
        self._added = np.zeros((len(self._rows), len(self._cols)), dtype=bool)

    def add(
        self,
        tile: tuple[int, int],
        shares: npt.NDArray[np.float32],
        wanted: npt.NDArray[np.bool_],
        at: tuple[int, int],
    ) -> None:
        """Blend in one tile.

        Parameters
        ----------
        tile : tuple of int
            Its (row, col) in the tiling.
        shares : ndarray of float32, shape (channel, size, size)
            Probabilities.
        wanted : ndarray of bool, shape (row, col)
            Where results are wanted, in the tile and around it.
        at : tuple of int
            Where the tile's first pixel is in it.
        """
        row, col = tile
        place = (self._rows[row] % self._depth, self._cols[col])
        axes = self._row_axes[row], self._col_axes[col]
        odd = blend(shares, *axes, place, self._held, wanted, at, self._rule, self._scratch)
        self._odd |= odd > 0
        self._added[tile] = True

    def skip(self, tile: tuple[int, int]) -> None:
        """Leave out a tile in which no result is wanted."""
        self._added[tile] = True

    def resume(self, top: int, tile_row: int) -> None:
        """Begin in the middle of the scene.

        Parameters
        ----------
        top : int
            First row that tiles will be added to.
        tile_row : int
            First row of the tiling that they belong to.
        """
        self._top = top
        self._added[:tile_row] = True

    def finish(self, stop: int, rows: slice, cols: slice, valid: npt.NDArray[np.bool_]) -> Finished:
        """Take the rows above `stop` away.

        Parameters
        ----------
        stop : int
            First row that stays; no later tile may reach above it.
        rows, cols : slice
            Which of the rows, counted from the first one that is taken, and columns become results.
        valid : ndarray of bool
            Where, of those, results are wanted.

        Raises
        ------
        StitchError
            If one of their tiles did not come.
        """
        reach = sum(1 for row in self._rows if row < stop)
        first = sum(1 for row in self._rows if row + self._size <= self._top)
        if not self._added[first:reach].all():
            raise StitchError(
                f"rows {self._top} to {stop} were to be finished before all of their tiles came in"
            )
        top, odd = self._top, self._odd
        inside = (top + rows.start, top + rows.stop)
        codes, confidence = (self._ring(each, *inside)[..., cols] for each in self._held[1:])
        shares = (
            self._ring(self._held.shares, *inside)[..., cols] if self._deciding.storage is not None else None
        )
        if self._deciding.layers == 1 and self._deciding.task != "multilabel":
            codes, confidence = codes[0], confidence[0]
        found = Finished(
            codes=codes.copy(),
            confidence=confidence.copy(),
            stored=None if shares is None or odd else self._deciding.stored(shares, valid),
            odd=odd,
        )
        for each in self._held[1:]:
            for part in self._parts(top, stop):
                each[:, part] = NODATA
        self._top, self._odd = stop, False
        return found

    def _parts(self, first: int, stop: int) -> list[slice]:
        """Where rows are in the rings."""
        if stop <= first:
            return []
        start, count = first % self._depth, stop - first
        parts = [slice(start, min(start + count, self._depth)), slice(0, start + count - self._depth)]
        return [part for part in parts if part.stop > part.start]

    def _ring(self, ring: npt.NDArray[Any], first: int, stop: int) -> npt.NDArray[Any]:
        """Return rows of a ring; they may be a view of it."""
        parts = [ring[:, part] for part in self._parts(first, stop)]
        if not parts:
            return ring[:, :0]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _axes(tiling: Tiling, length: int) -> list[Axis]:
    """Weights of the tiles along an axis, and which of a pixel's tiles comes first and last."""
    starts, weights = tiling.starts(length), tiling.tapers(length).astype(np.float32)
    axes = []
    for place, start in enumerate(starts):
        pixels = np.arange(start, start + tiling.size)
        turns = np.zeros(tiling.size, np.uint8)
        turns[pixels >= (starts[place - 1] + tiling.size if place else 0)] |= FIRST
        turns[pixels < (starts[place + 1] if place + 1 < len(starts) else pixels[-1] + 1)] |= LAST
        axes.append(Axis(weights[place], turns))
    return axes
