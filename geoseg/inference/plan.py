"""The order of the work: a scene as bands of tile rows, from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.grid.tiling import Tiling


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Tile rows that are computed together.

    Parameters
    ----------
    index : int
        Place in the plan, from 0.
    tile_rows : range
        Rows of the tiling.
    start, stop : int
        Scene rows that are final once the band is done.
    read_stop : int
        First scene row that the band's tiles do not need; its first needed row is `start`.
    """

    index: int
    tile_rows: range
    start: int
    stop: int
    read_stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Bands of tiles over one scene.

    Law: the bands' rows [start, stop) are the scene's rows, in order, once each; every row that a band
    finishes is touched by none of the later tiles.

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
        """Group as few tile rows as fill one batch: narrow scenes need several."""
        rows, columns = tiling.starts(shape[0]), len(tiling.starts(shape[1]))
        together = -(-batch_size // columns)
        bands = []
        for index, first in enumerate(range(0, len(rows), together)):
            last = min(first + together, len(rows))
            bands.append(
                Band(
                    index=index,
                    tile_rows=range(first, last),
                    start=rows[first],
                    stop=rows[last] if last < len(rows) else shape[0],
                    read_stop=rows[last - 1] + tiling.size,
                )
            )
        return cls(tiling=tiling, shape=shape, bands=tuple(bands))

    @property
    def width(self) -> int:
        """Columns that are read: the scene's, or a tile's where the scene is narrower."""
        return max(self.shape[1], self.tiling.size)
