"""Blocks of a scene that are computed independently, with the same tiles as the whole scene."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from geoseg.grid.tiling import Tiling
from geoseg.raster.chip import border_indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Pixels along an axis that a block needs.

    Parameters
    ----------
    block : slice
        Pixels of the block.
    start, length : int
        First pixel of its first tile, and length of all of its tiles together; beyond the scene they show
        reflected pixels.
    tiles : int
        Number of tiles that the block needs.
    needed : slice
        Pixels of the scene that the tiles show.
    """

    block: slice
    start: int
    length: int
    tiles: int
    needed: slice


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Tiles and blocks of a scene along one axis.

    Law: the tiles of a block are those of the whole scene that touch it, wherever it is cut. Taken alone they
    are the tiling of what they cover (`Tiling.starts`: regular ones, the last one shifted back at most), with
    the same tapers on the block's pixels, whose tiles are all there. So the engine, asked for that part of the
    scene, computes the block as it would within the whole.

    Parameters
    ----------
    length : int
        Edge of the scene, px.
    tiling : Tiling
        Tile size and overlap.
    chunks : tuple of int
        Edges of the blocks, px, first to last.
    """

    length: int
    tiling: Tiling
    chunks: tuple[int, ...]

    @cached_property
    def edges(self) -> list[int]:
        """First pixel of each block, followed by the end of the last."""
        return [0, *accumulate(self.chunks)]

    @cached_property
    def _starts(self) -> list[int]:
        """First pixels of the tiles, relative to the scene."""
        return self.tiling.framed(self.length)

    def span(self, block: int) -> Span:
        """Return the pixels that a block needs."""
        first, stop, size = self.edges[block], self.edges[block + 1], self.tiling.size
        touching = slice(bisect_right(self._starts, first - size), bisect_left(self._starts, stop))
        start, end = self._starts[touching.start], self._starts[touching.stop - 1] + size
        indices = border_indices(start, end - start, self.length)
        return Span(
            block=slice(first, stop),
            start=start,
            length=end - start,
            tiles=touching.stop - touching.start,
            needed=slice(int(indices.min()), int(indices.max()) + 1),
        )

    def shown(self, span: Span) -> npt.NDArray[np.intp]:
        """Return, for each pixel of the tiles, the index of the needed pixel that it shows."""
        places: npt.NDArray[np.intp] = border_indices(span.start, span.length, self.length)
        places -= span.needed.start
        return places

    def sources(self, span: Span) -> range:
        """Return the blocks that hold the needed pixels."""
        return range(
            bisect_right(self.edges, span.needed.start) - 1, bisect_left(self.edges, span.needed.stop)
        )

    @property
    def tiles(self) -> int:
        """Number of tiles of the scene."""
        return len(self._starts)

    @property
    def most_tiles(self) -> int:
        """Largest number of tiles of a block."""
        return max(self.span(block).tiles for block in range(len(self.chunks)))

    @property
    def repeats(self) -> float:
        """How often each tile is computed along this axis, on average."""
        tiles = sum(self.span(block).tiles for block in range(len(self.chunks)))
        return tiles / self.tiles
