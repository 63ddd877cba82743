"""The bands of a scene through a network that OpenVINO computes: tiles in a stream, stitched as they come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.engine.bands import BandResult, Engine, error_of_odd
from geoseg.engine.feed import Tile, marked, read_band
from geoseg.engine.mosaic import Deciding, Mosaic
from geoseg.engine.openvino_network import OpenVinoNetwork, contiguous
from geoseg.engine.plan import Band
from geoseg.raster.chip import Chip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """A band that was read.

    Parameters
    ----------
    chip : Chip
        Pixels as kernels take them.
    wanted : ndarray of bool, shape (row, col)
        Where a result is wanted.
    tiles : list of Tile
        In row-major order.
    """

    chip: Chip
    wanted: npt.NDArray[np.bool_]
    tiles: list[Tile]


class ArrayBands:
    """Bands that follow each other, as `geoseg.engine.bands.Lane` says.

    The stream stays full across the borders of bands: while the tiles of the next one are sent, the last ones of
    this one are stitched. No thread of the network waits, but for pixels that are not read yet.

    Parameters
    ----------
    engine : Engine
    network : OpenVinoNetwork
    """

    def __init__(self, engine: Engine, network: OpenVinoNetwork) -> None:
        self._engine = engine
        deciding = Deciding(
            task=engine.task,
            channels=engine.channels,
            thresholds=engine.thresholds,
            storage=engine.storage,
        )
        plan = engine.plan
        self._mosaic = Mosaic(plan.tiling, plan.padded, deciding, engine.depth)
        self._held = ExitStack()
        self._stream = self._held.enter_context(network.stream())
        self._flying: deque[tuple[Rows, Tile]] = deque()
        self._ends: deque[tuple[Band, Rows, bool]] = deque()
        """Bands whose tiles were all sent and have not all come out, and whether their rows are results."""

    def resume(self, band: Band) -> None:
        """Begin with a band in the middle."""
        self._mosaic.resume(band.start, band.tile_rows.start)

    def read(self, band: Band) -> Rows:
        """Read a band."""
        engine = self._engine
        with engine.clock.stage("read"):
            chip, wanted = read_band(engine.reader, engine.plan, band, engine.clip)
            chip = Chip(pixels=contiguous(chip.pixels), valid=np.ascontiguousarray(chip.valid))
            return Rows(
                chip=chip,
                wanted=np.ascontiguousarray(wanted),
                tiles=marked(engine.plan, band, chip, wanted),
            )

    def add(self, band: Band, rows: Rows, *, wanted: bool) -> Generator[BandResult, None, None]:
        """Send the tiles of a band, and yield whichever bands are finished meanwhile."""
        for tile in rows.tiles:
            if not tile.needed:
                self._mosaic.skip(tile.place)
                continue
            while self._stream.full:
                yield from self._stitch_oldest()
            valid = None if tile.whole else rows.chip.valid
            row, col = tile.window
            self._stream.send(rows.chip.pixels, valid, (row.start, col.start))
            self._flying.append((rows, tile))
        self._ends.append((band, rows, wanted))
        yield from self._finish()

    def rest(self) -> Generator[BandResult, None, None]:
        """Yield the bands that are not finished."""
        while self._flying:
            yield from self._stitch_oldest()

    def close(self) -> None:
        """Give back what the network lent."""
        self._held.close()

    def _stitch_oldest(self) -> Generator[BandResult, None, None]:
        """Wait for the oldest tile and blend it in."""
        rows, tile = self._flying.popleft()
        shares = self._stream.take()
        with self._engine.clock.stage("stitch"):
            row, col = tile.window
            self._mosaic.add(tile.place, shares, rows.wanted, (row.start, col.start))
        yield from self._finish()

    def _finish(self) -> Generator[BandResult, None, None]:
        """Finish the bands whose tiles have all come."""
        while self._ends and (not self._flying or self._flying[0][0] is not self._ends[0][1]):
            band, rows, wanted = self._ends.popleft()
            inside = self._engine.plan.inside(band)
            with self._engine.clock.stage("stitch"):
                found = self._mosaic.finish(band.stop, *inside, rows.wanted[inside])
            if not wanted:
                continue
            if found.odd:
                raise error_of_odd(self._engine, band)
            yield BandResult(band=band, codes=found.codes, confidence=found.confidence, stored=found.stored)
