"""The bands of a scene through a network of torch: batches on a device, stitched and decided there."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geoseg.engine.bands import BandResult, Engine, error_of_odd
from geoseg.engine.decision import Decision
from geoseg.engine.feed import Tile, read_band
from geoseg.engine.network import Network
from geoseg.engine.plan import Band
from geoseg.engine.resized import resize_chip, resize_planes
from geoseg.engine.stitch import Stitcher
from geoseg.engine.upload import Rows, read_rows, sent, uploaded
from geoseg.errors import GeosegError


class TorchBands:
    """Bands that follow each other, as `geoseg.engine.bands.Lane` says.

    A finished band is fetched from the device when the work on the next one stands in its queue.

    Parameters
    ----------
    engine : Engine
        Its network is a `Network`.
    network : Network
    """

    def __init__(self, engine: Engine, network: Network) -> None:
        self._engine, self._network, self._device = engine, network, network.device
        plan, channels = engine.plan, engine.channels
        self._stitcher = Stitcher(plan.tiling, plan.padded, len(channels), engine.depth, self._device)
        self._decide = Decision(network.task, channels, engine.thresholds, self._device)
        self._coming: _Coming | None = None

    def resume(self, band: Band) -> None:
        """Begin with a band in the middle."""
        self._stitcher.resume(band.start, band.tile_rows.start)

    def read(self, band: Band) -> Rows:
        """Read a band, and have it ready where the device can fetch it by itself."""
        engine = self._engine
        with engine.clock.stage("read"):
            return read_rows(engine.reader, engine.plan, band, engine.clip, self._device)

    def add(self, band: Band, rows: Rows, *, wanted: bool) -> Generator[BandResult, None, None]:
        """Compute a band, and yield the one before it."""
        self._add_tiles(band, rows)
        found = None
        with self._engine.clock.stage("stitch"):
            means = self._stitcher.finish(band.stop)
            if wanted:
                found, self._coming = self._coming, self._decided(band, rows.wanted, means)
        if found is not None:
            yield self._fetched(found)

    def rest(self) -> Generator[BandResult, None, None]:
        """Yield the last band."""
        if self._coming is not None:
            yield self._fetched(self._coming)

    def close(self) -> None:
        """Nothing is held."""

    def _add_tiles(self, band: Band, rows: Rows) -> None:
        """Run the tiles of a band through the network, in row-major order, those without a result left out."""
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
                self._shrink(band)

    def _add_batch(self, batch: Sequence[Tile], pixels: Tensor, valid: Tensor) -> bool:
        """Run a batch of tiles through the network and stitch it, unless the device's memory is too small for it.

        What the network said is gone before the next batch is run.
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

    def _shrink(self, band: Band) -> None:
        settings = self._network.settings
        if settings.batch_size == 1:
            size = self._engine.plan.tiling.size
            raise GeosegError(
                f"{settings.device}: out of memory with a single tile of {size} px; pass a smaller --tile-size"
            )
        self._network.settings = replace(settings, batch_size=settings.batch_size // 2)
        self._engine.shrunk.append((band.index, self._network.settings.batch_size))
        if settings.device == "cuda":
            torch.cuda.empty_cache()

    def _decided(self, band: Band, wanted: Tensor, means: Tensor) -> _Coming:
        """Decide the rows that a band finishes, and send them off without waiting for them."""
        inside = self._engine.plan.inside(band)
        probabilities, valid = means[(slice(None), *inside)], sent(wanted, self._device)[inside]
        return _decided(self._engine, self._decide, band, probabilities, valid)

    def _fetched(self, coming: _Coming) -> BandResult:
        return _fetched(self._engine, coming)


def run_whole(engine: Engine, image_size: tuple[int, int]) -> BandResult:
    """Run the whole scene through the network at once, at the size that it wants."""
    (band,), device = engine.plan.bands, torch.device(engine.network.settings.device)
    chip, wanted = read_band(engine.reader, engine.plan, band, engine.clip)
    image = resize_chip(chip, image_size)
    try:
        if isinstance(engine.network, Network):
            (found,) = engine.network.probabilities(
                [uploaded(image.pixels, device)], [uploaded(image.valid, device)]
            )
        else:
            found = torch.from_numpy(engine.network.probabilities([image.pixels], [image.valid])[0])
        means = resize_planes(found, engine.plan.shape)
    except torch.OutOfMemoryError:
        raise GeosegError(
            f"{device.type}: out of memory with the whole scene of {engine.plan.shape[0]} x "
            f"{engine.plan.shape[1]} px; pass --device cpu, or cut the scene with --bounds"
        ) from None
    decide = Decision(engine.task, engine.channels, engine.thresholds, device)
    return _fetched(engine, _decided(engine, decide, band, means, uploaded(wanted, device)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coming:
    """A decided band, maybe still on its way from the device; `sent` ends with whether it is not a number."""

    band: Band
    sent: list[Tensor]
    there: torch.cuda.Event | None
    probabilities: Tensor | None


def _decided(engine: Engine, decide: Decision, band: Band, probabilities: Tensor, valid: Tensor) -> _Coming:
    """Decide rows, and send them off without waiting for them."""
    *decided, odd = decide(probabilities, valid)
    if engine.storage is not None:
        decided.append(decide.stored(probabilities, valid, engine.storage))
    return _Coming(
        band=band,
        sent=[each.to("cpu", non_blocking=True) for each in (*decided, odd)],
        there=torch.cuda.current_stream().record_event() if valid.device.type == "cuda" else None,
        # Its own: the stitcher needs these rows for the next band.
        probabilities=probabilities.clone() if engine.keep_probabilities else None,
    )


def _fetched(engine: Engine, coming: _Coming) -> BandResult:
    """Wait for the rows of a band."""
    if coming.there is not None:
        coming.there.synchronize()
    codes, confidence, *stored, odd = coming.sent
    if bool(odd):
        raise error_of_odd(engine, coming.band)
    return BandResult(
        band=coming.band,
        codes=codes.numpy(),
        confidence=confidence.numpy(),
        probabilities=coming.probabilities,
        stored=stored[0].numpy() if stored else None,
    )
