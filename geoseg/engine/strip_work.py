"""Computation strip by strip: the parts of a run, and the results of a strip."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.clock import Clock
from geoseg.engine.feed import Clip
from geoseg.engine.not_a_number import OF_NETWORK, not_a_number
from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.plan import Plan, TileStrip
from geoseg.engine.rows import RowReader
from geoseg.errors import Message, NotANumberError
from geoseg.grid.legend import Task
from geoseg.grid.window import Window
from geoseg.raster.band_encoding import Storage

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.engine.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class StripResult:
    """Final rows of one strip.

    Parameters
    ----------
    strip : TileStrip
        The strip of tile rows.
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

    strip: TileStrip
    codes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    probabilities: Tensor | None = None
    stored: npt.NDArray[Any] | None = None


@dataclass(slots=True, kw_only=True)
class StripWork:
    """Run one network over one scene.

    Parameters
    ----------
    network : Network or OpenVinoNetwork
        The network, on its device.
    plan : Plan
        Strips and tiles of the scene.
    reader : RowReader
        Reads the scene from top to bottom.
    channels : sequence of int
        Legend code of each network channel.
    thresholds : sequence of float, optional
        Probability above which a class is present, for binary and multilabel tasks; see `Decision`.
    clip : callable, optional
        Tells which pixels become results; all valid ones by default.
    keep_probabilities : bool
        Whether results carry the probabilities as tensors; for networks of torch only.
    storage : str, optional
        Data type in which results carry probabilities for files (a `Storage`); without it they carry none.
    image_size : tuple of int, optional
        (rows, cols) that the whole scene is resized to before the network sees it, instead of being cut into
        tiles; its probabilities are resized back before anything is decided. The plan is `Plan.whole`.
    shrunk : list of (strip index, batch size)
        Strip index and new batch size, whenever a batch was made smaller because the device's memory was
        full.

    Notes
    -----
    Memory besides the network's own is at most ``W * ((4*C + 8*L + 4*C*s)*d + 3*(d + h)*(B*b + 2))`` bytes, a
    batch of inputs and probabilities, ``4 * batch * S**2 * (B + C)``, and GDAL's cache of blocks
    (`limited_cache`), for C channels, L layers of codes (C of a multilabel task, else 1), probabilities stored
    in s bytes (0 where they are not), B bands of b bytes, tiles of S px, W columns (the scene's and
    ``2 * margin``, at least S), ``d = (r - 1) * stride + S`` open rows for r tile rows a strip, and h rows of
    blocks read ahead. Reading joins the kept rows and the fresh ones, hence three times; codes and confidence
    are two bytes of rows that are put together from strips, one that comes, and one that is handed over. What
    OpenVINO computes has strips of one tile row, and no batch but a few tiles.
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
        """Task of the network: multiclass, binary or multilabel."""
        return self.network.task

    @property
    def clock(self) -> Clock:
        """Clock of the network, which measures the time of each stage."""
        return self.network.clock

    @property
    def depth(self) -> int:
        """Largest number of rows that are open at once."""
        return max(strip.read_stop - strip.start for strip in self.plan.strips)


class Lane(Protocol):
    """Computes consecutive strips, one after the other."""

    def resume(self, strip: TileStrip) -> None:
        """Start at a strip in the middle of the scene."""

    def read(self, strip: TileStrip) -> Any:
        """Read a strip; called from another thread, one strip ahead."""

    def add(self, strip: TileStrip, rows: Any, *, wanted: bool) -> Generator[StripResult, None, None]:
        """Compute a strip and yield the finished ones; if not `wanted`, compute it only for the next one's
        overlap.
        """

    def rest(self) -> Generator[StripResult, None, None]:
        """Yield the strips that are still unfinished."""

    def close(self) -> None:
        """Release all resources."""


def error_of_nan(work: StripWork, strip: TileStrip) -> NotANumberError:
    """Return the error for a strip in which the network's output is NaN."""
    size, (height, width) = work.plan.tiling.size, work.plan.shape
    first, stop = max(0, strip.rows.start - size), min(height, strip.rows.stop + size)
    seen = Window(row=first, col=0, height=stop - first, width=width)
    why = not_a_number(work.reader.source, seen, work.network.settings.precision)
    rows = f"{strip.rows.start} to {strip.rows.stop - 1}"
    message = Message("the network's output in rows {} {}", rows, why)
    return NotANumberError(message, of_network=why == OF_NETWORK)
