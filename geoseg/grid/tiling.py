"""Tilings: how a raster is cut into overlapping tiles, and how the overlaps are blended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.window import Window

LARGEST_EDGE = 2**15
"""Largest tile edge, px: one float32 band of a square tile of this size takes 4 GB."""


def starts(length: int, size: int, stride: int) -> list[int]:
    """Return the first pixels of the tiles along one axis.

    Law: every pixel of `length` lies in at least one tile, and no start occurs twice. The last tile is
    shifted back to end with the raster; a raster shorter than a tile has one tile, which extends beyond it.

    Parameters
    ----------
    length, size, stride : int
        Raster edge, tile edge and distance between neighbours, px.
    """
    if length <= size:
        return [0]
    count = -(-(length - size) // stride)
    return [min(i * stride, length - size) for i in range(count + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Regular grid of overlapping tiles of one size.

    Parameters
    ----------
    size : int
        Tile edge, px.
    overlap : int
        Pixels that neighbouring tiles share, at most half the size.

    Examples
    --------
    >>> plan = Tiling(size=512, overlap=128)
    >>> plan.starts(1000)  # the last tile is shifted back to end with the scene
    [0, 384, 488]
    """

    size: int
    overlap: int

    def __post_init__(self) -> None:
        """Refuse a tiling that would leave gaps or whose tiles would overlap more than twice."""
        if not 1 <= self.size <= LARGEST_EDGE:
            raise OptionError(f"tile size is {self.size} px, expected 1 to {LARGEST_EDGE}")
        if not 0 <= self.overlap <= self.size // 2:
            raise OptionError(
                f"overlap is {self.overlap} px, expected 0 to {self.size // 2} (half the tile size {self.size})"
            )

    @property
    def stride(self) -> int:
        """Distance between neighbouring tiles, px."""
        return self.size - self.overlap

    @property
    def margin(self) -> int:
        """Width of the frame around a scene that its tiles cover, px: half an overlap, where a taper is one half."""
        return self.overlap // 2

    def framed(self, length: int) -> list[int]:
        """First pixels of the tiles along an edge of `length` px with its frame, from the edge's own first pixel on."""
        return [start - self.margin for start in self.starts(length + 2 * self.margin)]

    def starts(self, length: int) -> list[int]:
        """Return the first pixels of the tiles along an axis of `length` px."""
        return starts(length, self.size, self.stride)

    def windows(self, shape: tuple[int, int]) -> Iterator[Window]:
        """Yield the tiles of a raster of `shape` (rows, cols), row by row."""
        cols = self.starts(shape[1])
        for row in self.starts(shape[0]):
            for col in cols:
                yield Window(row=row, col=col, height=self.size, width=self.size)

    def tapers(self, length: int) -> npt.NDArray[np.float64]:
        """Return the normalised blending weights of the tiles along an axis of `length` px.

        A tile's raw weight rises over `overlap` px as half a Hann window, sin²(π/2 · (k + 0.5) / overlap), and
        falls as its mirror; it is strictly positive, and the two sum to 1. A linear ramp has kinks at its ends,
        which would show where a network's output differs at a tile's edge, as with zero padding; this ramp starts
        and ends with slope 0. Because a tiling is the product of its row and column starts, dividing each axis by
        its own sum makes the two-dimensional weights of every pixel sum to 1: no division is needed later.

        Returns
        -------
        ndarray of float64, shape (tile, size)
            Weight of each tile's pixels; the weights of the tiles that cover a pixel sum to 1.
        """
        ramp = np.ones(self.size)
        if self.overlap:
            rise = np.sin(np.pi / 2 * (np.arange(self.overlap) + 0.5) / self.overlap) ** 2
            ramp[: self.overlap] = rise
            ramp[-self.overlap :] = np.minimum(ramp[-self.overlap :], rise[::-1])
        first = self.starts(length)
        total = np.zeros(max(length, self.size))
        for start in first:
            total[start : start + self.size] += ramp
        return np.stack([ramp / total[start : start + self.size] for start in first])
