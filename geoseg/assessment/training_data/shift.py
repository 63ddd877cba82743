"""Whether labels lie beside what they mean: edges of labels compared with edges of the image, shifted by some pixels.

An edge between two classes should lie where the image changes. For every shift the strength of the image's edges is
summed along the edges of the labels; if it is larger at another place than where the labels are, everywhere in the
image alike, the labels are likely shifted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

REACH: Final = 8
"""Largest shift, px."""
_SPAN: Final = 2 * REACH + 1
_ZERO: Final = REACH * _SPAN + REACH
_MOST: Final = 12_000
"""Most edges between label pixels of an image that are looked at."""
_STRONGEST: Final = 4.0
"""Largest strength of an edge of the image in units of the mean, so that a few do not decide."""
_TILE: Final = 64
"""Smallest edge of the squares that count as independent, px."""

_SURE: Final = 4.0
"""Standard errors by which a place must be better than where the labels are."""
_BETTER: Final = 1.1
"""Factor by which it must be better."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.int64]
Valid = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where labels would fit better.

    Parameters
    ----------
    rows, cols : int
        How far labels would have to move down and to the right, px.
    gain : float
        Strength of the image's edges there, by that where the labels are.
    """

    rows: int
    cols: int
    gain: float

    @property
    def words(self) -> str:
        """The move in words."""
        parts = []
        for amount, ways in ((self.rows, ("down", "up")), (self.cols, ("to the right", "to the left"))):
            if amount:
                parts.append(f"{abs(amount)} px {ways[amount < 0]}")
        return " and ".join(parts)


@dataclass(slots=True)
class EdgeMatch:
    """Sums over the edges of the labels, for every shift, of the strength of the image's edges there.

    Sums of several images add up.

    Parameters
    ----------
    edges, tiles : int
        Edges between label pixels, and squares of the image in which they lie.
    total : (shift,) float64
        Strength by shift.
    apart, squares : (shift,) float64
        Sum over the squares of the image of the difference to no shift, and sum of its squares.
    """

    edges: int = 0
    tiles: int = 0
    total: Floats = field(default_factory=lambda: np.zeros(_SPAN**2))
    apart: Floats = field(default_factory=lambda: np.zeros(_SPAN**2))
    squares: Floats = field(default_factory=lambda: np.zeros(_SPAN**2))

    def add(self, pixels: npt.NDArray[Any], valid: Valid, mask: Mask, shape: tuple[int, int]) -> None:
        """Look at a window of an image.

        Parameters
        ----------
        pixels : (band, row, col)
            Stored values.
        valid : (row, col) bool
            Which pixels are valid.
        mask : (row, col) int64
            Class of each pixel, negative where none is known.
        shape : (int, int)
            Rows and columns of the whole image.
        """
        height, width = valid.shape
        if min(height, width) <= 2 * REACH + 1:
            return
        most = max(100, _MOST * valid.size // (2 * shape[0] * shape[1]))
        tile = max(_TILE, -(-max(shape) // 32))
        known = valid & (mask >= 0)
        for axis in (0, 1):
            one, other = _neighbours(axis)
            edge = known[one] & known[other] & (mask[one] != mask[other])
            inside = np.zeros_like(edge)
            inside[REACH : edge.shape[0] - REACH, REACH : edge.shape[1] - REACH] = True
            at = np.flatnonzero(edge & inside)
            if len(at):
                at = at[:: -(-len(at) // most)]
                self._gather(_strength(pixels, valid, axis), at, tile)

    def _gather(self, strength: npt.NDArray[np.float32], at: npt.NDArray[np.intp], tile: int) -> None:
        rows, cols = np.divmod(at, strength.shape[1])
        by_tile = (rows // tile) * strength.shape[1] + cols // tile
        order = np.argsort(by_tile, kind="stable")
        starts = np.flatnonzero(np.diff(by_tile[order], prepend=-1))
        steps = np.arange(-REACH, REACH + 1)
        offsets = (steps[:, None] * strength.shape[1] + steps).ravel()
        found = strength.ravel()[at[order][:, None] + offsets]
        sums = np.add.reduceat(found, starts, axis=0, dtype=np.float64)
        apart = sums - sums[:, _ZERO, None]
        self.edges += len(at)
        self.tiles += len(starts)
        self.total += sums.sum(axis=0)
        self.apart += apart.sum(axis=0)
        self.squares += (apart**2).sum(axis=0)

    def merge(self, other: EdgeMatch) -> None:
        """Add the sums of another image."""
        self.edges += other.edges
        self.tiles += other.tiles
        self.total += other.total
        self.apart += other.apart
        self.squares += other.squares

    def found(self) -> Shift | None:
        """Return where the labels would fit better, or None if they lie well or nothing can be told."""
        if not self.edges:
            return None
        best = int(np.argmax(self.total))
        rows, cols = divmod(best, _SPAN)
        error = np.sqrt(self.squares[best])
        gain = self.total[best] / max(self.total[_ZERO], 1e-9)
        if best == _ZERO or self.apart[best] < _SURE * error or gain < _BETTER:
            return None
        return Shift(rows=rows - REACH, cols=cols - REACH, gain=float(gain))


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of pixels, and of their neighbours below (axis 0) or to the right (axis 1)."""
    before, after = slice(None, -1), slice(1, None)
    return ((before,), (after,)) if axis == 0 else ((slice(None), before), (slice(None), after))


def _strength(pixels: npt.NDArray[Any], valid: Valid, axis: int) -> npt.NDArray[np.float32]:
    """Return how much neighbours differ, mean over the bands, in units of the mean difference in the window."""
    one, other = _neighbours(axis)
    both = valid[one] & valid[other]
    strength = np.zeros(both.shape, dtype=np.float32)
    for band in pixels:
        plane = band.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            differs = np.abs(plane[other] - plane[one])
        differs[~both] = 0
        mean = float(differs.sum(dtype=np.float64)) / max(int(both.sum()), 1)
        if 0 < mean < np.inf:
            strength += np.minimum(differs / np.float32(mean), np.float32(_STRONGEST))
    strength /= len(pixels)
    strength[~both] = strength[both].mean() if both.any() else 0
    # Sums of these are exact, and do not depend on the order of images.
    return np.asarray(np.rint(strength * 1024) / 1024, dtype=np.float32)
