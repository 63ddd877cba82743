"""The loop: read a band, run its tiles, stitch, hand over codes and confidence.

Reader, network and the caller's writer overlap: the next band is read while this one is computed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.clock import Clock
from geoseg.engine.feed import Clip
from geoseg.engine.not_a_number import OF_NETWORK, not_a_number
from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.plan import Band, Plan
from geoseg.engine.rows import RowReader
from geoseg.engine.storage import Storage
from geoseg.errors import NotANumberError
from geoseg.grid.legend import Task
from geoseg.grid.window import Window

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.engine.network import Network


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
    network : Network or OpenVinoNetwork
    plan : Plan
    reader : RowReader
    channels : sequence of int
        Legend code of each network channel.
    thresholds : sequence of float, optional
        As `Decision` takes them.
    clip : callable, optional
    keep_probabilities : bool
        Whether results carry them; for networks of torch.
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
    are two bytes of a band that is put together from strips, one that comes, and one that is handed over. What
    OpenVINO computes has bands of one tile row, and no batch but a few tiles.
    Results with `keep_probabilities` are ``4*C*d*W`` bytes each beside it. The scene's height is not in it, but
    where `image_size` makes the network see the scene whole. These are arrays in use; the C library's heap
    holds on to freed ones beside them.
    """

    network: Network | OpenVinoNetwork
    plan: Plan
    reader: RowReader
    channels: Sequence[int]
    thresholds: Sequence[float] | None = None
    clip: Clip | None = None
    keep_probabilities: bool = False
    storage: Storage | None = None
    image_size: tuple[int, int] | None = None
    shrunk: list[tuple[int, int]] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """What the network's channels mean."""
        return self.network.task

    @property
    def clock(self) -> Clock:
        """Where the time goes: the network's."""
        return self.network.clock

    @property
    def depth(self) -> int:
        """Most rows that are open at once."""
        return max(band.read_stop - band.start for band in self.plan.bands)

    def run(self, start: int = 0, stop: int | None = None) -> Generator[BandResult, None, None]:
        """Yield the bands of the plan from index `start` to before `stop`, or to the last one, in order.

        To go on in the middle, bands whose tiles reach into the first wanted row are computed again.
        """
        bands = self.plan.bands
        stop = len(bands) if stop is None else stop
        if start >= stop:
            return
        if self.image_size is not None:
            from geoseg.engine.torch_bands import run_whole

            yield run_whole(self, self.image_size)
            return
        first = self._warm_up(start)
        with (
            closing(self.reader),
            closing(self._lane()) as lane,
            ThreadPoolExecutor(1, thread_name_prefix="geoseg-read") as pool,
        ):
            if first:
                lane.resume(bands[first])
            reading = pool.submit(lane.read, bands[first])
            for band in bands[first:stop]:
                rows = reading.result()
                if band.index + 1 < stop:
                    reading = pool.submit(lane.read, bands[band.index + 1])
                yield from lane.add(band, rows, wanted=band.index >= start)
            yield from lane.rest()

    def _lane(self) -> Lane:
        """Return what computes the bands: arrays with OpenVINO, tensors with torch."""
        if isinstance(self.network, OpenVinoNetwork):
            from geoseg.engine.array_bands import ArrayBands

            return ArrayBands(self, self.network)
        from geoseg.engine.torch_bands import TorchBands

        return TorchBands(self, self.network)

    def _warm_up(self, start: int) -> int:
        """Index of the first band whose tiles reach into band `start`."""
        bands = self.plan.bands
        return next(i for i in range(start + 1) if i == start or bands[i].read_stop > bands[start].start)


class Lane(Protocol):
    """What computes bands, one behind the other."""

    def resume(self, band: Band) -> None:
        """Begin with a band in the middle."""

    def read(self, band: Band) -> Any:
        """Read a band; called by another thread, one band ahead."""

    def add(self, band: Band, rows: Any, *, wanted: bool) -> Generator[BandResult, None, None]:
        """Compute a band that was read, and yield what is finished; where it is not wanted, only for the next one."""

    def rest(self) -> Generator[BandResult, None, None]:
        """Yield what was not finished."""

    def close(self) -> None:
        """Let go of what is held."""


def error_of_odd(engine: Engine, band: Band) -> NotANumberError:
    """Return the error of a band in which the network's output is not a number."""
    size, (height, width) = engine.plan.tiling.size, engine.plan.shape
    first, stop = max(0, band.rows.start - size), min(height, band.rows.stop + size)
    seen = Window(row=first, col=0, height=stop - first, width=width)
    why = not_a_number(engine.reader.source, seen, engine.network.settings.precision)
    message = f"the network's output in rows {band.rows.start} to {band.rows.stop - 1} {why}"
    return NotANumberError(message, of_network=why == OF_NETWORK)
