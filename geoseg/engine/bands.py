"""The loop: read a band, run its tiles, stitch, hand over codes and confidence.

Reader, device and the caller's writer overlap: the next band is read while the device works, and a finished
band is fetched from it when the work on the next one stands in its queue.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.clock import Clock
from geoseg.engine.decision import Decision
from geoseg.engine.network import Network
from geoseg.engine.plan import Band, Plan
from geoseg.engine.resized import resize_chip, resize_planes
from geoseg.engine.rows import RowReader
from geoseg.engine.stitch import Stitcher
from geoseg.engine.storage import Storage
from geoseg.errors import GeosegError
from geoseg.raster.scene import Chip

Clip = Callable[[int, int], npt.NDArray[np.bool_]]
"""Called with (first row, last row + 1): (rows, width) bool, True where a result is wanted."""


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
    stored : ndarray of uint8 or float16, shape (class, rows, cols), optional
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
        What results carry them as for files: ``uint8`` or ``float16``.
    image_size : tuple of int, optional
        (rows, cols) that the whole scene is resized to before the network sees it, in place of tiles; its
        probabilities are resized back before anything is decided. The plan is `Plan.whole`.
    shrunk : list of (band index, batch size)
        Batches made smaller for lack of memory.

    Notes
    -----
    Peak memory beside the network's own is at most ``W * ((8*C + 16*L)*d + 3*(d + h)*(B*b + 1))`` bytes, a batch
    of inputs and probabilities, ``12 * batch * S**2 * (B + C)``, and GDAL's cache of blocks
    (`limited_cache`), for C channels, L layers of codes (C of a multilabel task, else 1), B bands of b bytes,
    tiles of S px, W columns (the scene's and ``2 * margin``, at least S), ``d = (r - 1) * stride + S`` open
    rows for r tile rows a band, and h rows of blocks read ahead. Finishing a band moves the open rows, reading
    joins the kept rows and the fresh ones: hence twice and three times; deciding makes indices and shares of
    finished rows. The scene's height is not in it, but where `image_size` makes the network see the scene
    whole.
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
                    # Not kept in a name, or these rows would live on while the next band is worked on.
                    if band.index < start:
                        stitcher.finish(band.stop)
                        continue
                    found, coming = (
                        coming,
                        self._decide(decide, band, rows.wanted, stitcher.finish(band.stop)),
                    )
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
                [_upload(image.pixels, device)], [_upload(image.valid, device)]
            )
            means = resize_planes(found[0], self.plan.shape)
        except torch.OutOfMemoryError:
            raise GeosegError(
                f"{device.type}: out of memory with the whole scene of {self.plan.shape[0]} x "
                f"{self.plan.shape[1]} px; pass --device cpu, or cut the scene with --bounds"
            ) from None
        decide = Decision(self.network.task, self.channels, self.thresholds, device)
        return self._fetched(self._decide(decide, band, _upload(wanted, device), means))

    @property
    def clock(self) -> Clock:
        """Where the time goes: the network's."""
        return self.network.clock

    def _warm_up(self, start: int) -> int:
        """Index of the first band whose tiles reach into band `start`."""
        bands = self.plan.bands
        return next(i for i in range(start + 1) if i == start or bands[i].read_stop > bands[start].start)

    def _read(self, band: Band) -> _Rows:
        """Read a band of the plan, and have it ready where the device can fetch it by itself."""
        with self.clock.stage("read"):
            chip, wanted = read_band(self.reader, self.plan, band, self.clip)
            device = self.network.device
            return _Rows(
                pixels=_staged(chip.pixels, device),
                valid=_staged(chip.valid, device),
                wanted=_staged(wanted, device),
                tiles=[
                    _Tile(place, window, bool(wanted[window].any()), bool(chip.valid[window].all()))
                    for place, window in self.plan.tiles(band)
                ],
            )

    def _add_tiles(self, stitcher: Stitcher, band: Band, rows: _Rows) -> None:
        """Run the tiles of a band through the network, in row-major order, those without a result left out."""
        tiles = [tile for tile in rows.tiles if tile.needed]
        for tile in rows.tiles:
            if not tile.needed:
                stitcher.skip(tile.place)
        if not tiles:
            return
        with self.clock.stage("upload"):
            pixels, valid = (_sent(each, self.network.device) for each in (rows.pixels, rows.valid))
        done = 0
        while done < len(tiles):
            batch = tiles[done : done + self.network.settings.batch_size]
            try:
                probabilities = self.network.probabilities(
                    [pixels[(slice(None), *tile.window)] for tile in batch],
                    [None if tile.whole else valid[tile.window] for tile in batch],
                )
            except torch.OutOfMemoryError:
                self._shrink(band)
                continue
            with self.clock.stage("stitch"):
                for tile, each in zip(batch, probabilities, strict=True):
                    stitcher.add(tile.place, each)
            done += len(batch)

    def _shrink(self, band: Band) -> None:
        settings = self.network.settings
        if settings.batch_size == 1:
            size = self.plan.tiling.size
            raise GeosegError(
                f"{settings.device}: out of memory with a single tile of {size} px; pass a smaller --tile-size"
            ) from None
        self.network.settings = replace(settings, batch_size=settings.batch_size // 2)
        self.shrunk.append((band.index, self.network.settings.batch_size))
        if settings.device == "cuda":
            torch.cuda.empty_cache()

    def _decide(self, decide: Decision, band: Band, wanted: Tensor, means: Tensor) -> _Coming:
        """Decide the rows that a band finishes, and send them off without waiting for them."""
        inside, device = self.plan.inside(band), self.network.device
        probabilities, valid = means[(slice(None), *inside)], _sent(wanted, device)[inside]
        *decided, odd = decide(probabilities, valid)
        if self.storage is not None:
            decided.append(decide.stored(probabilities, valid, self.storage))
        sent = [each.to("cpu", non_blocking=True) for each in (*decided, odd)]
        return _Coming(
            band=band,
            sent=sent,
            there=torch.cuda.current_stream().record_event() if device.type == "cuda" else None,
            probabilities=probabilities if self.keep_probabilities else None,
        )

    def _fetched(self, coming: _Coming) -> BandResult:
        """Wait for the rows of a band."""
        if coming.there is not None:
            coming.there.synchronize()
        codes, confidence, *stored, odd = coming.sent
        band = coming.band
        if bool(odd):
            raise GeosegError(
                f"the network's output in rows {band.rows.start} to {band.rows.stop - 1} is not a number at "
                f"precision {self.network.settings.precision}; pass --precision fp32, or mend the model"
            )
        return BandResult(
            band=band,
            codes=codes.numpy(),
            confidence=confidence.numpy(),
            probabilities=coming.probabilities,
            stored=stored[0].numpy() if stored else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """A band on this side of the device: stored numbers, valid, where results are wanted, and its tiles."""

    pixels: Tensor
    valid: Tensor
    wanted: Tensor
    tiles: list[_Tile]


class _Tile(NamedTuple):
    """A tile's (row, col) in the tiling, where it lies in the band, whether a result is wanted in it, and
    whether all of its pixels are valid.
    """

    place: tuple[int, int]
    window: tuple[slice, slice]
    needed: bool
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coming:
    """A decided band, maybe still on its way from the device; `sent` ends with whether it is not a number."""

    band: Band
    sent: list[Tensor]
    there: torch.cuda.Event | None
    probabilities: Tensor | None


def read_band(
    reader: RowReader, plan: Plan, band: Band, clip: Clip | None = None
) -> tuple[Chip, npt.NDArray[np.bool_]]:
    """Read a band with its margin, and say which of its pixels become results.

    Pixels that are valid but not wanted (the margin, what `clip` leaves out) are context for the others.
    """
    margin = plan.margin
    chip = reader.read(band.start - margin, band.read_stop - margin)
    first, stop = max(band.start - margin, 0), min(band.read_stop - margin, plan.shape[0])
    columns = slice(margin, margin + plan.shape[1])
    inside = (slice(first - band.start + margin, stop - band.start + margin), columns)
    wanted = np.zeros_like(chip.valid)
    wanted[inside] = chip.valid[inside]
    if clip is not None:
        wanted[inside] &= clip(first, stop)
    return chip, wanted


def _upload(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Move an array to the device in its own dtype; on the CPU it is shared, not copied."""
    return _sent(_staged(array, device), device)


def _staged(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array in its own dtype where the device can copy it from while others work."""
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    if not native.flags.writeable:
        native = native.copy()
    tensor = torch.from_numpy(native)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Move what is staged to the device, behind what it has to do; on the CPU it stays where it is."""
    return tensor.to(device, non_blocking=True)
