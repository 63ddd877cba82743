"""The loop: read a band, run its tiles, stitch, hand over codes and confidence.

Reader, device and the caller's writer overlap: the next band is read while the device works, and a finished
band is fetched from it when the work on the next one stands in its queue.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.clock import Clock
from geoseg.engine.decision import Decision
from geoseg.engine.feed import Clip, Rows, Tile, read_band, read_rows, sent, uploaded
from geoseg.engine.network import Network
from geoseg.engine.not_a_number import not_a_number
from geoseg.engine.plan import Band, Plan
from geoseg.engine.resized import resize_chip, resize_planes
from geoseg.engine.rows import RowReader
from geoseg.engine.stitch import Stitcher
from geoseg.engine.storage import Storage
from geoseg.errors import GeosegError
from geoseg.grid.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class BandResult:
    """Final rows of one band.

    Parameters
    ----------
    band : Band
    codes : ndarray of uint8, shape (rows, cols)
        Legend codes, 255 no data. Of a multilabel task (layer, rows, cols): 1 where the class is, 0 where it
        is not; classes in ascending order of their codes.
    confidence : ndarray of uint8, of the same shape
        Probability of what is written times 254, 255 no data.
    probabilities : Tensor of float32, shape (channel, rows, cols), optional
        Stitched probabilities in the network's order, on its device; undefined where codes are no data.
    stored : ndarray of uint8, float16 or float32, shape (class, rows, cols), optional
        Probabilities as files hold them, see `Decision.stored`.
    """

    band: Band
    codes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    probabilities: Tensor | None = None
    stored: npt.NDArray[Any] | None = None


@dataclass(slots=True, kw_only=True)
class Engine:
    """One scene, one network, one plan.

    Parameters
    ----------
    network : Network
    plan : Plan
    reader : RowReader
    channels : sequence of int
        Legend code of each network channel.
    thresholds : sequence of float, optional
        As `Decision` takes them.
    clip : callable, optional
    keep_probabilities : bool
        Whether results carry them.
    storage : str, optional
        What results carry them as for files: a `Storage`.
    image_size : tuple of int, optional
        (rows, cols) that the whole scene is resized to before the network sees it, in place of tiles; its
        probabilities are resized back before anything is decided. The plan is `Plan.whole`.
    shrunk : list of (band index, batch size)
        Batches made smaller for lack of memory.

    Notes
    -----
    Memory beside the network's own is at most ``W * ((4*C + 8*L + 4*C*s)*d + 3*(d + h)*(B*b + 2))`` bytes, a
    batch of inputs and probabilities, ``4 * batch * S**2 * (B + C)``, and GDAL's cache of blocks
    (`limited_cache`), for C channels, L layers of codes (C of a multilabel task, else 1), probabilities stored
    in s bytes (0 where they are not), B bands of b bytes, tiles of S px, W columns (the scene's and
    ``2 * margin``, at least S), ``d = (r - 1) * stride + S`` open rows for r tile rows a band, and h rows of
    blocks read ahead. Reading joins the kept rows and the fresh ones, hence three times; codes and confidence
    are two bytes of a band that is put together from strips, one that comes, and one that is handed over.
    Results with `keep_probabilities` are ``4*C*d*W`` bytes each beside it. The scene's height is not in it, but
    where `image_size` makes the network see the scene whole. These are arrays in use; the C library's heap
    holds on to freed ones beside them.
    """

    network: Network
    plan: Plan
    reader: RowReader
    channels: Sequence[int]
    thresholds: Sequence[float] | None = None
    clip: Clip | None = None
    keep_probabilities: bool = False
    storage: Storage | None = None
    image_size: tuple[int, int] | None = None
    shrunk: list[tuple[int, int]] = field(default_factory=list)

    def run(self, start: int = 0, stop: int | None = None) -> Generator[BandResult, None, None]:
        """Yield the bands of the plan from index `start` to before `stop`, or to the last one, in order.

        To go on in the middle, bands whose tiles reach into the first wanted row are computed again.
        """
        plan, device = self.plan, self.network.device
        stop = len(plan.bands) if stop is None else stop
        if start >= stop:
            return
        if self.image_size is not None:
            yield self._run_whole(self.image_size)
            return
        depth = max(band.read_stop - band.start for band in plan.bands)
        stitcher = Stitcher(plan.tiling, plan.padded, len(self.channels), depth, device)
        decide = Decision(self.network.task, self.channels, self.thresholds, device)
        first = self._warm_up(start)
        if first:
            stitcher.resume(plan.bands[first].start, plan.bands[first].tile_rows.start)
        coming: _Coming | None = None
        with closing(self.reader), ThreadPoolExecutor(1, thread_name_prefix="geoseg-read") as pool:
            reading = pool.submit(self._read, plan.bands[first])
            for band in plan.bands[first:stop]:
                rows = reading.result()
                if band.index + 1 < stop:
                    reading = pool.submit(self._read, plan.bands[band.index + 1])
                self._add_tiles(stitcher, band, rows)
                with self.clock.stage("stitch"):
                    means = stitcher.finish(band.stop)
                    if band.index < start:
                        continue
                    found, coming = coming, self._decide(decide, band, rows.wanted, means)
                if found is not None:
                    yield self._fetched(found)
        if coming is not None:
            yield self._fetched(coming)

    def _run_whole(self, image_size: tuple[int, int]) -> BandResult:
        """Run the whole scene through the network at once, at the size that it wants."""
        (band,), device = self.plan.bands, self.network.device
        chip, wanted = read_band(self.reader, self.plan, band, self.clip)
        image = resize_chip(chip, image_size)
        try:
            found = self.network.probabilities(
                [uploaded(image.pixels, device)], [uploaded(image.valid, device)]
            )
            means = resize_planes(found[0], self.plan.shape)
        except torch.OutOfMemoryError:
            raise GeosegError(
                f"{device.type}: out of memory with the whole scene of {self.plan.shape[0]} x "
                f"{self.plan.shape[1]} px; pass --device cpu, or cut the scene with --bounds"
            ) from None
        decide = Decision(self.network.task, self.channels, self.thresholds, device)
        return self._fetched(self._decide(decide, band, uploaded(wanted, device), means))

    @property
    def clock(self) -> Clock:
        """Where the time goes: the network's."""
        return self.network.clock

    def _warm_up(self, start: int) -> int:
        """Index of the first band whose tiles reach into band `start`."""
        bands = self.plan.bands
        return next(i for i in range(start + 1) if i == start or bands[i].read_stop > bands[start].start)

    def _read(self, band: Band) -> Rows:
        """Read a band of the plan, and have it ready where the device can fetch it by itself."""
        with self.clock.stage("read"):
            return read_rows(self.reader, self.plan, band, self.clip, self.network.device)

    def _add_tiles(self, stitcher: Stitcher, band: Band, rows: Rows) -> None:
        """Run the tiles of a band through the network, in row-major order, those without a result left out."""
        tiles = [tile for tile in rows.tiles if tile.needed]
        for tile in rows.tiles:
            if not tile.needed:
                stitcher.skip(tile.place)
        if not tiles:
            return
        with self.clock.stage("upload"):
            pixels, valid = (sent(each, self.network.device) for each in (rows.pixels, rows.valid))
        done = 0
        while done < len(tiles):
            batch = tiles[done : done + self.network.settings.batch_size]
            if self._add_batch(stitcher, batch, pixels, valid):
                done += len(batch)
            else:
                self._shrink(band)

    def _add_batch(self, stitcher: Stitcher, batch: Sequence[Tile], pixels: Tensor, valid: Tensor) -> bool:
        """Run a batch of tiles through the network and stitch it, unless the device's memory is too small for it.

        What the network said is gone before the next batch is run.
        """
        try:
            probabilities = self.network.probabilities(
                [pixels[(slice(None), *tile.window)] for tile in batch],
                [None if tile.whole else valid[tile.window] for tile in batch],
            )
        except torch.OutOfMemoryError:
            return False
        with self.clock.stage("stitch"):
            for tile, each in zip(batch, probabilities, strict=True):
                stitcher.add(tile.place, each)
        return True

    def _shrink(self, band: Band) -> None:
        settings = self.network.settings
        if settings.batch_size == 1:
            size = self.plan.tiling.size
            raise GeosegError(
                f"{settings.device}: out of memory with a single tile of {size} px; pass a smaller --tile-size"
            )
        self.network.settings = replace(settings, batch_size=settings.batch_size // 2)
        self.shrunk.append((band.index, self.network.settings.batch_size))
        if settings.device == "cuda":
            torch.cuda.empty_cache()

    def _decide(self, decide: Decision, band: Band, wanted: Tensor, means: Tensor) -> _Coming:
        """Decide the rows that a band finishes, and send them off without waiting for them."""
        inside, device = self.plan.inside(band), self.network.device
        probabilities, valid = means[(slice(None), *inside)], sent(wanted, device)[inside]
        *decided, odd = decide(probabilities, valid)
        if self.storage is not None:
            decided.append(decide.stored(probabilities, valid, self.storage))
        coming = [each.to("cpu", non_blocking=True) for each in (*decided, odd)]
        return _Coming(
            band=band,
            sent=coming,
            there=torch.cuda.current_stream().record_event() if device.type == "cuda" else None,
            # Its own: the stitcher needs these rows for the next band.
            probabilities=probabilities.clone() if self.keep_probabilities else None,
        )

    def _fetched(self, coming: _Coming) -> BandResult:
        """Wait for the rows of a band."""
        if coming.there is not None:
            coming.there.synchronize()
        codes, confidence, *stored, odd = coming.sent
        band = coming.band
        if bool(odd):
            size, (height, width) = self.plan.tiling.size, self.plan.shape
            first, stop = max(0, band.rows.start - size), min(height, band.rows.stop + size)
            seen = Window(row=first, col=0, height=stop - first, width=width)
            why = not_a_number(self.reader.source, seen, self.network.settings.precision)
            raise GeosegError(f"the network's output in rows {band.rows.start} to {band.rows.stop - 1} {why}")
        return BandResult(
            band=band,
            codes=codes.numpy(),
            confidence=confidence.numpy(),
            probabilities=coming.probabilities,
            stored=stored[0].numpy() if stored else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coming:
    """A decided band, maybe still on its way from the device; `sent` ends with whether it is not a number."""

    band: Band
    sent: list[Tensor]
    there: torch.cuda.Event | None
    probabilities: Tensor | None
