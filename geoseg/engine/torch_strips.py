"""Run the strips of a scene through a torch network: batches are stitched and decided on the device."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geoseg.engine.decision import Decision
from geoseg.engine.feed import Tile, read_strip
from geoseg.engine.network import Network
from geoseg.engine.plan import TileStrip
from geoseg.engine.resized import resize_chip
from geoseg.engine.stitch import Stitcher
from geoseg.engine.strip_work import StripResult, StripWork, error_of_nan
from geoseg.engine.torch_resize import resize_planes
from geoseg.engine.upload import Rows, read_rows, sent, uploaded
from geoseg.errors import ON_CPU, SMALLER_TILES, GeosegError, Message


class TorchStrips:
    """Compute consecutive strips with torch; implements `geoseg.engine.strip_work.Lane`.

    A finished strip is fetched from the device once the work on the next one is queued there.

    Parameters
    ----------
    engine : StripWork
        The scene's engine; its network is a `Network`.
    network : Network
        The network that computes the tiles.
    """

    def __init__(self, engine: StripWork, network: Network) -> None:
        self._engine, self._network, self._device = engine, network, network.device
        plan, channels = engine.plan, engine.channels
        self._stitcher = Stitcher(plan.tiling, plan.padded, len(channels), engine.depth, self._device)
        self._decide = Decision(network.task, channels, engine.thresholds, self._device)
        self._coming: _Coming | None = None

    def resume(self, strip: TileStrip) -> None:
        """Start at a strip in the middle of the scene."""
        self._stitcher.resume(strip.start, strip.tile_rows.start)

    def read(self, strip: TileStrip) -> Rows:
        """Read a strip into memory that the device can copy from."""
        engine = self._engine
        with engine.clock.stage("read"):
            return read_rows(engine.reader, engine.plan, strip, engine.clip, self._device)

    def add(self, strip: TileStrip, rows: Rows, *, wanted: bool) -> Generator[StripResult, None, None]:
        """Compute a strip and yield the one before it."""
        self._add_tiles(strip, rows)
        found = None
        with self._engine.clock.stage("stitch"):
            means = self._stitcher.finish(strip.stop)
            if wanted:
                found, self._coming = self._coming, self._decided(strip, rows.wanted, means)
        if found is not None:
            yield self._fetched(found)

    def rest(self) -> Generator[StripResult, None, None]:
        """Yield the last strip."""
        if self._coming is not None:
            yield self._fetched(self._coming)

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def _add_tiles(self, strip: TileStrip, rows: Rows) -> None:
        """Run the tiles of a strip through the network in row-major order, except those without wanted results."""
        tiles = [tile for tile in rows.tiles if tile.needed]
        for tile in rows.tiles:
            if not tile.needed:
                self._stitcher.skip(tile.place)
        if not tiles:
            return
        with self._engine.clock.stage("upload"):
            pixels, valid = (sent(each, self._device) for each in (rows.pixels, rows.valid))
        done = 0
        while done < len(tiles):
            batch = tiles[done : done + self._network.settings.batch_size]
            if self._add_batch(batch, pixels, valid):
                done += len(batch)
            else:
                self._shrink(strip)

    def _add_batch(self, batch: Sequence[Tile], pixels: Tensor, valid: Tensor) -> bool:
        """Run a batch of tiles and stitch it; return False if the device's memory is too small for it.

        The batch's probabilities are freed before the next batch is run.
        """
        try:
            probabilities = self._network.probabilities(
                [pixels[(slice(None), *tile.window)] for tile in batch],
                [None if tile.whole else valid[tile.window] for tile in batch],
            )
        except torch.OutOfMemoryError:
            return False
        with self._engine.clock.stage("stitch"):
            for tile, each in zip(batch, probabilities, strict=True):
                self._stitcher.add(tile.place, each)
        return True

    def _shrink(self, strip: TileStrip) -> None:
        settings = self._network.settings
        if settings.batch_size == 1:
            size = self._engine.plan.tiling.size
            raise GeosegError(
                f"{settings.device}: out of memory with a single tile of {size} px", SMALLER_TILES
            )
        self._network.settings = replace(settings, batch_size=settings.batch_size // 2)
        self._engine.shrunk.append((strip.index, self._network.settings.batch_size))
        if settings.device == "cuda":
            torch.cuda.empty_cache()

    def _decided(self, strip: TileStrip, wanted: Tensor, means: Tensor) -> _Coming:
        """Decide the rows that a strip finishes and start copying them to the host."""
        inside = self._engine.plan.inside(strip)
        probabilities, valid = means[(slice(None), *inside)], sent(wanted, self._device)[inside]
        return _decided(self._engine, self._decide, strip, probabilities, valid)

    def _fetched(self, coming: _Coming) -> StripResult:
        return _fetched(self._engine, coming)


def run_whole(engine: StripWork, network: Network, image_size: tuple[int, int]) -> StripResult:
    """Resize the whole scene to the network's input size and run it at once."""
    (strip,), device = engine.plan.strips, network.device
    with engine.clock.stage("read"):
        chip, wanted = read_strip(engine.reader, engine.plan, strip, engine.clip)
        image = resize_chip(chip, image_size)
    try:
        (found,) = network.probabilities([uploaded(image.pixels, device)], [uploaded(image.valid, device)])
        means = resize_planes(found, engine.plan.shape)
    except torch.OutOfMemoryError:
        raise GeosegError(
            f"{device.type}: out of memory with the whole scene of {engine.plan.shape[0]} x "
            f"{engine.plan.shape[1]} px",
            Message("{}, or cut the scene with {bounds}", ON_CPU),
        ) from None
    decide = Decision(engine.task, engine.channels, engine.thresholds, device)
    return _fetched(engine, _decided(engine, decide, strip, means, uploaded(wanted, device)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coming:
    """A decided strip, perhaps still being copied from the device; the last of `sent` tells whether it has NaN."""

    strip: TileStrip
    sent: list[Tensor]
    there: torch.cuda.Event | None
    probabilities: Tensor | None


def _decided(
    engine: StripWork, decide: Decision, strip: TileStrip, probabilities: Tensor, valid: Tensor
) -> _Coming:
    """Decide rows and start copying them to the host."""
    *decided, has_nan = decide(probabilities, valid)
    if engine.storage is not None:
        decided.append(decide.stored(probabilities, valid, engine.storage))
    return _Coming(
        strip=strip,
        sent=[each.to("cpu", non_blocking=True) for each in (*decided, has_nan)],
        there=torch.cuda.current_stream().record_event() if valid.device.type == "cuda" else None,
        # A copy: the stitcher reuses these rows for the next strip.
        probabilities=probabilities.clone() if engine.keep_probabilities else None,
    )


def _fetched(engine: StripWork, coming: _Coming) -> StripResult:
    """Wait for the rows of a strip."""
    if coming.there is not None:
        coming.there.synchronize()
    codes, confidence, *stored, has_nan = coming.sent
    if bool(has_nan):
        raise error_of_nan(engine, coming.strip)
    return StripResult(
        strip=coming.strip,
        codes=codes.numpy(),
        confidence=confidence.numpy(),
        probabilities=coming.probabilities,
        stored=stored[0].numpy() if stored else None,
    )
