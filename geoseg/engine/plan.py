"""The order of the work: a scene as strips of tile rows, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.grid.tiling import Tiling

_WASTE = 0.05
"""Share of a tile: saving less computation than this is not worth another open row of tiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileStrip:
    """A strip of tile rows computed together; rows count in the padded scene unless said otherwise.

    Parameters
    ----------
    index : int
        Place in the plan, from 0.
    tile_rows : range
        Rows of the tiling.
    start, stop : int
        Rows that are final once the strip is done.
    read_stop : int
        First row that the strip's tiles do not need; the first row that they need is `start`.
    rows : range
        Rows of the scene among the final ones; empty if they all lie in the margin.
    """

    index: int
    tile_rows: range
    start: int
    stop: int
    read_stop: int
    rows: range


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Strips of tiles over one scene and a margin around it.

    Networks pad their input with zeros, so the outermost pixels of a tile are the least reliable. Inside a scene the
    taper favours the neighbouring tile there; at its border there is no neighbour, and a frame of wrong classes
    would remain. So the tiles begin half an overlap outside the scene, on reflected pixels.

    Laws: the strips' scene rows are the scene's rows, in order, once each; rows that a strip finishes are touched by
    no later tile.

    Parameters
    ----------
    tiling : Tiling
        Tile size and overlap.
    shape : tuple of int
        (rows, cols) of the scene.
    strips : tuple of TileStrip
        Strips from top to bottom.
    """

    tiling: Tiling
    shape: tuple[int, int]
    strips: tuple[TileStrip, ...]

    @classmethod
    def of(cls, shape: tuple[int, int], tiling: Tiling | None, batch_size: int) -> Plan:
        """Return the plan of a scene, its tile rows grouped by `rows_together`; without a tiling that of `whole`."""
        if tiling is None:
            return cls.whole(shape)
        rows, cols = tile_starts(shape, tiling)
        together = rows_together(len(cols), batch_size)
        margin, height = tiling.margin, shape[0]
        strips = []
        for index, first in enumerate(range(0, len(rows), together)):
            last = min(first + together, len(rows))
            start, stop = rows[first], rows[last] if last < len(rows) else height + 2 * margin
            top = max(start - margin, 0)
            strips.append(
                TileStrip(
                    index=index,
                    tile_rows=range(first, last),
                    start=start,
                    stop=stop,
                    read_stop=rows[last - 1] + tiling.size,
                    rows=range(top, max(top, min(stop - margin, height))),
                )
            )
        return cls(tiling=tiling, shape=shape, strips=tuple(strips))

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Plan:
        """Return the plan of a scene that is computed at once, without tiles and without a margin."""
        height = shape[0]
        strip = TileStrip(
            index=0, tile_rows=range(0), start=0, stop=height, read_stop=height, rows=range(height)
        )
        return cls(tiling=Tiling(size=1, overlap=0), shape=shape, strips=(strip,))

    def tiles(self, strip: TileStrip) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
        """Yield the tiles of a strip in row-major order: (row, col) in the tiling, and (rows, cols) slices in
        the strip.
        """
        rows, cols = tile_starts(self.shape, self.tiling)
        size = self.tiling.size
        for tile_row in strip.tile_rows:
            row = rows[tile_row] - strip.start
            for tile_col, col in enumerate(cols):
                yield (tile_row, tile_col), (slice(row, row + size), slice(col, col + size))

    def inside(self, strip: TileStrip) -> tuple[slice, slice]:
        """Return where the rows and columns of the scene lie in the rows that a strip finishes."""
        first = strip.rows.start + self.margin - strip.start
        return slice(first, first + len(strip.rows)), slice(self.margin, self.margin + self.shape[1])

    def reads(self, strip: TileStrip) -> range:
        """Return the rows of the scene that a strip is read from, which may stick out of it."""
        return range(strip.start - self.margin, strip.read_stop - self.margin)

    @property
    def margin(self) -> int:
        """Width of the reflected frame around the scene, px."""
        return self.tiling.margin

    @property
    def padded(self) -> tuple[int, int]:
        """(rows, cols) of the scene with its margin, at least one tile."""
        size = self.tiling.size
        return max(self.shape[0] + 2 * self.margin, size), max(self.shape[1] + 2 * self.margin, size)


def rows_together(columns: int, batch_size: int) -> int:
    """Return how many tile rows make a strip: as few as fill a batch, or up to three more if batches are fuller
    then.

    Batches do not cross strips, and the unused places of a batch are computed in vain: five columns in batches of
    four compute eight tiles per row. Open rows cost memory.
    """
    least = -(-batch_size // columns)

    def computed(rows: int) -> float:
        """Return how many tiles the device computes for each wanted one."""
        return -(-rows * columns // batch_size) * batch_size / (rows * columns)

    choices = range(least, least + 4)
    enough = min(map(computed, choices)) + _WASTE
    return next(rows for rows in choices if computed(rows) <= enough)


def tile_counts(shape: tuple[int, int], tiling: Tiling | None) -> tuple[int, int]:
    """Return the number of rows and columns of tiles; (1, 1) without a tiling, for a scene that is seen whole."""
    if tiling is None:
        return 1, 1
    rows, cols = tile_starts(shape, tiling)
    return len(rows), len(cols)


def tile_starts(shape: tuple[int, int], tiling: Tiling) -> tuple[list[int], list[int]]:
    """Return the first rows and columns of the tiles over a scene, counted from the first pixel of its margin."""
    rows, cols = ([start + tiling.margin for start in tiling.framed(edge)] for edge in shape)
    return rows, cols
