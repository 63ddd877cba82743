"""One block of a scene, from its pixels and those around it to codes and confidence."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.engine.bands import Engine
from geoseg.engine.devices import choose_device, cpu_threads
from geoseg.engine.plan import Plan
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.grid.window import Window
from geoseg.inference.block_plan import Axis, Span
from geoseg.inference.precision import network_for
from geoseg.inference.stored_bands import Reading
from geoseg.inference.worker_models import Kept, ModelFile, ModelInMemory
from geoseg.models.card import Card
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.chip import Chip

if TYPE_CHECKING:
    from geoseg.engine.network import Network
    from geoseg.engine.openvino_network import OpenVinoNetwork

Chunks = Sequence[Sequence[npt.NDArray[Any]]]
"""The chunks that a block needs, rows of them: each (..., band, row, col)."""

Shares = npt.NDArray[np.float32]

_NETWORKS: Kept[Network | OpenVinoNetwork] = Kept(2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrounded(ArraySource):
    """Pixels of a part of a scene and around it: what sticks out of the part is not reflected, it is there.

    Parameters
    ----------
    around : int
        Width of what lies around, px.
    """

    around: int = 0

    def read(self, window: Window) -> Chip:
        """Return a copy of a window that is placed as the part alone would have it."""
        # ArraySource by name: slots make a second class, which a bare super() does not know.
        return ArraySource.read(self, window.shifted(self.around, self.around))


@dataclass(frozen=True, kw_only=True)
class BlockWork:
    """Everything that the blocks of one prediction share; what a worker is sent, beside pixels.

    Parameters
    ----------
    model : ModelFile or ModelInMemory
    card : Card
    gain, bias : tuple of float
        As `Network` takes them.
    settings : Settings
        What ``auto`` chose, for all workers.
    rows, cols : Axis
    reading : Reading
    probabilities : bool
        Whether those of all classes are wanted, too.
    """

    model: ModelFile | ModelInMemory
    card: Card
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    settings: Settings
    rows: Axis
    cols: Axis
    reading: Reading
    probabilities: bool = False

    @property
    def layers(self) -> int | None:
        """Layers of the result of a multilabel task, None of the others."""
        return len(self.card.channels) if self.card.task == "multilabel" else None

    def compute(self, row: int, col: int, chunks: Chunks) -> tuple[npt.NDArray[np.uint8], Shares | None]:
        """Classify a block.

        Law: wherever a scene is cut into blocks, they are what the engine gives of the whole scene, bit by bit
        where the network's answer to a tile does not depend on the others in its batch.

        Parameters
        ----------
        row, col : int
            Which block.
        chunks : rows of ndarray, each (1, band, row, col) or (band, row, col)
            Those of `Axis.sources`.

        Returns
        -------
        ndarray of uint8, shape (2, row, col), of a multilabel task (2, layer, row, col)
            Codes and confidence * 254, 255 no data; with an axis of length 1 behind the first where the chunks
            have one.
        ndarray of float32, shape (class, row, col), or None
            Probabilities, NaN no data; with an axis of length 1 before the first likewise.
        """
        spans = self.rows.span(row), self.cols.span(col)
        pixels, valid = self.reading.restored(_joined(chunks, spans, (self.rows, self.cols)))
        shape = tuple(span.block.stop - span.block.start for span in spans)
        inside = tuple(slice(s.block.start - s.needed.start, s.block.stop - s.needed.start) for s in spans)
        if valid[inside].any():
            found, shares = self._run(spans, pixels, valid)
        else:
            found = np.full((2, *((self.layers,) if self.layers else ()), *shape), NODATA, dtype=np.uint8)
            shares = None
            if self.probabilities:
                shares = np.full((len(self.card.classes.classes), *shape), np.nan, dtype=np.float32)
        if chunks[0][0].ndim == 4:
            return found[:, None], None if shares is None else shares[None]
        return found, shares

    def _run(
        self, spans: tuple[Span, Span], pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.uint8], Shares | None]:
        margin = self.rows.margin
        places = np.ix_(self.rows.shown(spans[0]), self.cols.shown(spans[1]))
        edges = tuple(span.length for span in spans)
        source = Surrounded(
            pixels=np.stack([plane[places] for plane in pixels]),
            known_valid=valid[places],
            grid=Grid(height=edges[0], width=edges[1], transform=Affine.identity()),
            descriptions=(None,) * len(pixels),
            bands=tuple(range(1, len(pixels) + 1)),
            around=margin,
        )
        height, width = (edge - 2 * margin for edge in edges)
        plan = Plan.of((height, width), self.rows.tiling, self.settings.together)
        # The engine's part of the scene begins where the first tiles begin.
        rows, cols = (
            slice(span.block.start - span.start - margin, span.block.stop - span.start - margin)
            for span in spans
        )

        def block(first: int, stop: int) -> npt.NDArray[np.bool_]:
            inside = np.zeros((stop - first, width), dtype=bool)
            inside[max(rows.start - first, 0) : max(rows.stop - first, 0), cols] = True
            return inside

        engine = Engine(
            network=self._network(),
            plan=plan,
            reader=RowReader(source, plan, tolerant=False),
            channels=self.card.channels,
            thresholds=self.card.thresholds,
            clip=block,
            storage="float32" if self.probabilities else None,
        )
        with _turns(self.settings.device), closing(engine.run()) as results:
            bands = [(np.stack([result.codes, result.confidence]), result.stored) for result in results]
        found = np.concatenate([both for both, _ in bands], axis=-2)[..., rows, cols]
        if not self.probabilities:
            return found, None
        shares = [stored for _, stored in bands if stored is not None]
        return found, np.concatenate(shares, axis=-2)[..., rows, cols]

    def _network(self) -> Network | OpenVinoNetwork:
        """Return the network of this process, put on its device the first time."""

        def make() -> Network | OpenVinoNetwork:
            choose_device(self.settings.device)  # where the call was made it may be there, and here not
            shape = self.rows.tiling.size, self.cols.tiling.size
            return network_for(self.model.load(), self.settings, shape, (self.gain, self.bias))

        return _NETWORKS.get((self.model.key, self.gain, self.bias, self.settings), make)


def _joined(chunks: Chunks, spans: tuple[Span, Span], axes: tuple[Axis, Axis]) -> npt.NDArray[Any]:
    """Put together what a block needs of the chunks that hold it, (band, row, col)."""
    rows, cols = ([axis.edges[i] for i in axis.sources(span)] for axis, span in zip(axes, spans, strict=True))
    above, left = spans[0].needed.start, spans[1].needed.start
    parts = []
    for row, line in zip(rows, chunks, strict=True):
        inside = slice(max(above - row, 0), spans[0].needed.stop - row)
        parts.append(
            np.concatenate(
                [
                    np.asarray(chunk).reshape(chunk.shape[-3:])[
                        :, inside, max(left - col, 0) : spans[1].needed.stop - col
                    ]
                    for col, chunk in zip(cols, line, strict=True)
                ],
                axis=2,
            )
        )
    return np.concatenate(parts, axis=1)


@cache
def _turns(device: str) -> threading.Semaphore:
    """How many blocks a process computes at once: as many as the threads of a network leave room for."""
    if device != "cpu":
        return threading.Semaphore(1)
    return threading.Semaphore(max(1, (os.cpu_count() or 1) // cpu_threads()))


def compute_block(work: BlockWork, row: int, col: int, chunks: Chunks) -> Any:
    """Compute a block, what a task of a dask graph calls: codes and confidence, or these and probabilities."""
    found, shares = work.compute(row, col, chunks)
    return found if shares is None else (found, shares)
