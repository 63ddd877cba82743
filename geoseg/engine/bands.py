"""The loop: read a band, run its tiles, stitch, hand over codes and confidence.

Reader, device and the caller's writer overlap: the next band is read while the device works, and finished
bands leave through a queue of one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.decision import Decision
from geoseg.engine.network import Network
from geoseg.engine.plan import Band, Plan
from geoseg.engine.resized import resize_chip, resize_planes
from geoseg.engine.rows import RowReader
from geoseg.engine.stitch import Stitcher
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
    """

    band: Band
    codes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    probabilities: Tensor | None = None


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
    image_size : tuple of int, optional
        (rows, cols) that the whole scene is resized to before the network sees it, in place of tiles; its
        probabilities are resized back before anything is decided. The plan is `Plan.whole`.
    shrunk : list of (band index, batch size)
        Batches made smaller for lack of memory.

    Notes
    -----
    Peak memory beside the network's own is at most ``W * (8*C*d + 3*(d + h)*(B*b + 1))`` bytes and a batch of
    inputs and probabilities, ``12 * batch * S**2 * (B + C)``, for C channels, B bands of b bytes, tiles of
    S px, W columns (the scene's and ``2 * margin``, at least S), ``d = (r - 1) * stride + S`` open rows for r
    tile rows a band, and h rows of blocks read ahead. Finishing a band moves the open rows, reading joins the
    kept rows and the fresh ones: hence twice and three times. The scene's height is not in it, but where
    `image_size` makes the network see the scene whole.
    """

    network: Network
    plan: Plan
    reader: RowReader
    channels: Sequence[int]
    thresholds: Sequence[float] | None = None
    clip: Clip | None = None
    keep_probabilities: bool = False
    image_size: tuple[int, int] | None = None
    shrunk: list[tuple[int, int]] = field(default_factory=list)

    def run(self, start: int = 0) -> Generator[BandResult, None, None]:
        """Yield the bands of the plan from index `start` on, in order.

        To go on in the middle, bands whose tiles reach into the first wanted row are computed again.
        """
        plan, device = self.plan, self.network.device
        if start == len(plan.bands):
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
        with ThreadPoolExecutor(1, thread_name_prefix="geoseg-read") as pool:
            coming = pool.submit(self._read, plan.bands[first])
            for band in plan.bands[first:]:
                chip, wanted = coming.result()
                if band.index + 1 < len(plan.bands):
                    coming = pool.submit(self._read, plan.bands[band.index + 1])
                self._add_tiles(stitcher, band, chip, wanted)
                # Not kept in a name, or these rows would live on while the next band is worked on.
                if band.index >= start:
                    yield self._result(band, wanted, stitcher.finish(band.stop), decide)
                else:
                    stitcher.finish(band.stop)

    def _run_whole(self, image_size: tuple[int, int]) -> BandResult:
        """Run the whole scene through the network at once, at the size that it wants."""
        (band,), device = self.plan.bands, self.network.device
        chip, wanted = self._read(band)
        image = resize_chip(chip, image_size)
        decide = Decision(self.network.task, self.channels, self.thresholds, device)
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
        return self._result(band, wanted, means, decide)

    def _warm_up(self, start: int) -> int:
        """Index of the first band whose tiles reach into band `start`."""
        bands = self.plan.bands
        return next(i for i in range(start + 1) if i == start or bands[i].read_stop > bands[start].start)

    def _read(self, band: Band) -> tuple[Chip, npt.NDArray[np.bool_]]:
        """Read a band of the plan."""
        return read_band(self.reader, self.plan, band, self.clip)

    def _add_tiles(self, stitcher: Stitcher, band: Band, chip: Chip, wanted: npt.NDArray[np.bool_]) -> None:
        """Run the tiles of a band through the network, in row-major order, those without a result left out."""
        tiles = []
        for tile, window in self.plan.tiles(band):
            if wanted[window].any():
                tiles.append((tile, window))
            else:
                stitcher.skip(tile)
        if not tiles:
            return
        pixels, valid = _upload(chip.pixels, self.network.device), _upload(chip.valid, self.network.device)
        done = 0
        while done < len(tiles):
            batch = tiles[done : done + self.network.settings.batch_size]
            try:
                probabilities = self.network.probabilities(
                    [pixels[(slice(None), *window)] for _, window in batch],
                    [valid[window] for _, window in batch],
                )
            except torch.OutOfMemoryError:
                self._shrink(band)
                continue
            for (tile, _), each in zip(batch, probabilities, strict=True):
                stitcher.add(tile, each)
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

    def _result(
        self, band: Band, wanted: npt.NDArray[np.bool_], means: Tensor, decide: Decision
    ) -> BandResult:
        inside = self.plan.inside(band)
        probabilities = means[(slice(None), *inside)]
        decided = decide(probabilities, _upload(wanted[inside], means.device))
        if decided is None:
            raise GeosegError(
                f"the network's output in rows {band.rows.start} to {band.rows.stop - 1} is not a number at "
                f"precision {self.network.settings.precision}; pass --precision fp32, or mend the model"
            )
        codes, confidence = (each.cpu().numpy() for each in decided)
        return BandResult(
            band=band,
            codes=codes,
            confidence=confidence,
            probabilities=probabilities if self.keep_probabilities else None,
        )


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
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    if not native.flags.writeable:
        native = native.copy()
    return torch.from_numpy(native).to(device)
