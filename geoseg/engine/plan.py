"""The order of the work: a scene as bands of tile rows, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.grid.tiling import Tiling

_WASTE = 0.05
"""Of a tile: less is not worth another open row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Tile rows that are computed together; rows are of the plan's padded lattice, where not said otherwise.

    Parameters
    ----------
    index : int
        Place in the plan, from 0.
    tile_rows : range
        Rows of the tiling.
    start, stop : int
        Rows that are final once the band is done.
    read_stop : int
        First row that the band's tiles do not need; its first needed row is `start`.
    rows : range
        Rows of the scene among the final ones; none where they all lie in the margin.
    """

    index: int
    tile_rows: range
    start: int
    stop: int
    read_stop: int
    rows: range


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Bands of tiles over one scene and a margin around it.

    Networks pad their input with zeros, so the outermost pixels of a tile come out worst. Inside a scene the
    taper hides them under the neighbour; at its border there is no neighbour, and a frame of wrong classes
    would stay. So the tiles begin half an overlap outside of the scene, on reflected pixels.

    Laws: the bands' scene rows are the scene's rows, in order, once each; what a band finishes is touched by
    none of the later tiles.

    Parameters
    ----------
    tiling : Tiling
    shape : tuple of int
        (rows, cols) of the scene.
    bands : tuple of Band
    """

    tiling: Tiling
    shape: tuple[int, int]
    bands: tuple[Band, ...]

    @classmethod
    def of(cls, shape: tuple[int, int], tiling: Tiling, batch_size: int) -> Plan:
        """Group tile rows as `rows_together` says."""
        rows, cols = tile_starts(shape, tiling)
        together = rows_together(len(cols), batch_size)
        margin, height = margin_of(tiling), shape[0]
        bands = []
        for index, first in enumerate(range(0, len(rows), together)):
            last = min(first + together, len(rows))
            start, stop = rows[first], rows[last] if last < len(rows) else height + 2 * margin
            top = max(start - margin, 0)
            bands.append(
                Band(
                    index=index,
                    tile_rows=range(first, last),
                    start=start,
                    stop=stop,
                    read_stop=rows[last - 1] + tiling.size,
                    rows=range(top, max(top, min(stop - margin, height))),
                )
            )
        return cls(tiling=tiling, shape=shape, bands=tuple(bands))

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Plan:
        """Take the whole scene as one band, without tiles and without a margin."""
        height = shape[0]
        band = Band(index=0, tile_rows=range(0), start=0, stop=height, read_stop=height, rows=range(height))
        return cls(tiling=Tiling(size=1, overlap=0), shape=shape, bands=(band,))

    def tiles(self, band: Band) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
        """Yield the tiles of a band in row-major order: (row, col) in the tiling, and rows and columns of the
        tile in the pixels that the band needs.
        """
        rows, cols = tile_starts(self.shape, self.tiling)
        size = self.tiling.size
        for tile_row in band.tile_rows:
            row = rows[tile_row] - band.start
            for tile_col, col in enumerate(cols):
                yield (tile_row, tile_col), (slice(row, row + size), slice(col, col + size))

    def inside(self, band: Band) -> tuple[slice, slice]:
        """Where the rows and columns of the scene lie in what a band finishes."""
        first = band.rows.start + self.margin - band.start
        return slice(first, first + len(band.rows)), slice(self.margin, self.margin + self.shape[1])

    @property
    def margin(self) -> int:
        """Width of the reflected frame around the scene, px."""
        return margin_of(self.tiling)

    @property
    def padded(self) -> tuple[int, int]:
        """(rows, cols) of the scene with its margin, or of a tile where that is larger."""
        size = self.tiling.size
        return max(self.shape[0] + 2 * self.margin, size), max(self.shape[1] + 2 * self.margin, size)


def rows_together(columns: int, batch_size: int) -> int:
    """How many tile rows make a band: as few as fill a batch, or up to three more where batches are fuller then.

    Batches do not cross bands, and what is left over of one is computed for nothing: five columns in batches of
    four would be eight tiles a row. Rows that are open cost memory.
    """
    least = -(-batch_size // columns)

    def computed(rows: int) -> float:
        """Tiles that the device computes for one that is wanted."""
        return -(-rows * columns // batch_size) * batch_size / (rows * columns)

    choices = range(least, least + 4)
    enough = min(map(computed, choices)) + _WASTE
    return next(rows for rows in choices if computed(rows) <= enough)


def margin_of(tiling: Tiling) -> int:
    """Half an overlap: where the taper of a tile has reached one half."""
    return tiling.overlap // 2


def tile_starts(shape: tuple[int, int], tiling: Tiling) -> tuple[list[int], list[int]]:
    """First rows and first columns of the tiles over a scene with its margin."""
    margin = margin_of(tiling)
    return tiling.starts(shape[0] + 2 * margin), tiling.starts(shape[1] + 2 * margin)
