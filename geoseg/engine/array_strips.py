"""Run a scene through an OpenVINO network: tiles are streamed and stitched as their results arrive."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.engine.feed import Tile, marked, read_strip
from geoseg.engine.mosaic import Deciding, Finished, Mosaic, decided
from geoseg.engine.network_input import contiguous
from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.plan import TileStrip
from geoseg.engine.resize import resize_planes
from geoseg.engine.resized import resize_chip
from geoseg.engine.strip_work import StripResult, StripWork, error_of_nan
from geoseg.raster.chip import Chip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Pixels of one strip of tile rows, as read from the source.

    Parameters
    ----------
    chip : Chip
        Pixels and validity, contiguous and in the machine's byte order.
    wanted : ndarray of bool, shape (row, col)
        True where a result is wanted.
    tiles : list of Tile
        Tiles of the strip in row-major order.
    """

    chip: Chip
    wanted: npt.NDArray[np.bool_]
    tiles: list[Tile]


class ArrayStrips:
    """Compute consecutive strips with OpenVINO; implements `geoseg.engine.strip_work.Lane`.

    The stream of tiles stays full across strip borders: while the tiles of the next strip are sent, the last ones of
    this one are stitched. The network's threads wait only for pixels that are not read yet.

    Parameters
    ----------
    engine : StripWork
        The scene's engine: its plan, reader and decision settings.
    network : OpenVinoNetwork
        The network that computes the tiles.
    """

    def __init__(self, engine: StripWork, network: OpenVinoNetwork) -> None:
        self._engine = engine
        plan, keep = engine.plan, engine.storage is not None
        self._mosaic = Mosaic(plan.tiling, plan.padded, _deciding(engine), engine.depth, keep=keep)
        self._held = ExitStack()
        self._stream = self._held.enter_context(network.stream())
        self._flying: deque[tuple[Rows, Tile]] = deque()
        self._ends: deque[tuple[TileStrip, Rows, bool]] = deque()
        """Strips whose tiles were all sent and have not all come out, and whether their rows are results."""

    def resume(self, strip: TileStrip) -> None:
        """Start at a strip in the middle of the scene."""
        self._mosaic.resume(strip.start, strip.tile_rows.start)

    def read(self, strip: TileStrip) -> Rows:
        """Read the pixels of a strip."""
        engine = self._engine
        with engine.clock.stage("read"):
            chip, wanted = read_strip(engine.reader, engine.plan, strip, engine.clip)
            chip = Chip(pixels=contiguous(chip.pixels), valid=np.ascontiguousarray(chip.valid))
            return Rows(
                chip=chip,
                wanted=np.ascontiguousarray(wanted),
                tiles=marked(engine.plan, strip, chip, wanted),
            )

    def add(self, strip: TileStrip, rows: Rows, *, wanted: bool) -> Generator[StripResult, None, None]:
        """Send the tiles of a strip to the network and yield the strips that are finished meanwhile."""
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
        self._ends.append((strip, rows, wanted))
        yield from self._finish()

    def rest(self) -> Generator[StripResult, None, None]:
        """Yield the strips that are still unfinished."""
        while self._flying:
            yield from self._stitch_oldest()

    def close(self) -> None:
        """Return the borrowed inference requests."""
        self._held.close()

    def _stitch_oldest(self) -> Generator[StripResult, None, None]:
        """Wait for the oldest tile in flight and blend it in."""
        rows, tile = self._flying.popleft()
        shares = self._stream.take()
        with self._engine.clock.stage("stitch"):
            row, col = tile.window
            self._mosaic.add(tile.place, shares, rows.wanted, (row.start, col.start))
        yield from self._finish()

    def _finish(self) -> Generator[StripResult, None, None]:
        """Yield the strips whose tiles have all arrived."""
        while self._ends and (not self._flying or self._flying[0][0] is not self._ends[0][1]):
            strip, rows, wanted = self._ends.popleft()
            inside = self._engine.plan.inside(strip)
            with self._engine.clock.stage("stitch"):
                found = self._mosaic.finish(strip.stop, *inside)
                result = _result(self._engine, strip, found, rows.wanted[inside]) if wanted else None
            if result is not None:
                yield result


def run_whole(engine: StripWork, network: OpenVinoNetwork, image_size: tuple[int, int]) -> StripResult:
    """Resize the whole scene to the network's input size and run it at once."""
    (strip,) = engine.plan.strips
    with engine.clock.stage("read"):
        chip, wanted = read_strip(engine.reader, engine.plan, strip, engine.clip)
        image = resize_chip(chip, image_size)
    (shares,) = network.probabilities([image.pixels], [image.valid])
    with engine.clock.stage("stitch"):
        found = decided(resize_planes(shares, engine.plan.shape), wanted, _deciding(engine))
        return _result(engine, strip, found, wanted)


def _deciding(engine: StripWork) -> Deciding:
    return Deciding(task=engine.task, channels=engine.channels, thresholds=engine.thresholds)


def _result(
    engine: StripWork, strip: TileStrip, found: Finished, wanted: npt.NDArray[np.bool_]
) -> StripResult:
    """Return the decided rows, with their probabilities as they are stored.

    Raises
    ------
    NotANumberError
    """
    if found.has_nan:
        raise error_of_nan(engine, strip)
    stored = None
    if engine.storage is not None and found.shares is not None:
        stored = _deciding(engine).stored(found.shares, wanted, engine.storage)
    return StripResult(strip=strip, codes=found.codes, confidence=found.confidence, stored=stored)
