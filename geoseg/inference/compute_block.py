"""Compute one block of a scene from its pixels and their surroundings."""

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

from geoseg.engine.devices import choose_device, cpu_threads
from geoseg.engine.engine import Engine
from geoseg.engine.plan import Plan
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.grid.window import Window
from geoseg.inference.block_plan import Axis, Span
from geoseg.inference.machine import network_for
from geoseg.inference.worker_models import Kept, ModelFile, ModelInMemory
from geoseg.models.card import Card
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.chip import Chip
from geoseg.raster.xarray_encodings import Decoding

if TYPE_CHECKING:
    from geoseg.engine.network import Network
    from geoseg.engine.openvino_network import OpenVinoNetwork

Chunks = Sequence[Sequence[npt.NDArray[Any]]]
"""Rows of the chunks that a block needs, each chunk (..., band, row, col)."""

Shares = npt.NDArray[np.float32]

_NETWORKS: Kept[Network | OpenVinoNetwork] = Kept(2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrounded(ArraySource):
    """Pixels of a part of a scene with their real surroundings, which replace the reflected margin.

    Parameters
    ----------
    pixels, known_valid, grid, descriptions, bands, validity_band, nodata, said
        As for `ArraySource`; they include the surroundings.
    around : int
        Width of the surroundings, px.
    """

    around: int = 0

    def read(self, window: Window) -> Chip:
        """Return a copy of a window, whose position is relative to the part."""
        # Not super(): dataclass slots create a second class, which a bare super() does not know.
        return ArraySource.read(self, window.shifted(self.around, self.around))


@dataclass(frozen=True, kw_only=True)
class BlockWork:
    """Everything that the blocks of one prediction share; sent to the workers besides pixels.

    Parameters
    ----------
    model : ModelFile or ModelInMemory
        The model, in the form in which workers receive it.
    card : Card
        The model's card, with the requested names and colours.
    gain, bias : tuple of float
        Per band; network input = stored * gain + bias.
    settings : Settings
        Settings for all workers, with ``auto`` resolved.
    rows, cols : Axis
        Tiles and blocks along both axes.
    decoding : Decoding
        How pixels become stored values and validity.
    probabilities : bool
        Whether the probabilities of all classes are also returned.
    """

    model: ModelFile | ModelInMemory
    card: Card
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    settings: Settings
    rows: Axis
    cols: Axis
    decoding: Decoding
    probabilities: bool = False

    @property
    def layers(self) -> int | None:
        """Number of layers of a multilabel result, else None."""
        return len(self.card.channels) if self.card.task == "multilabel" else None

    def compute(self, row: int, col: int, chunks: Chunks) -> tuple[npt.NDArray[np.uint8], Shares | None]:
        """Classify a block.

        Law: however a scene is cut into blocks, they equal the engine's result for the whole scene, bit by bit
        if the network's result for a tile does not depend on the others in its batch.

        Parameters
        ----------
        row, col : int
            Row and column of the block.
        chunks : rows of ndarray, each (1, band, row, col) or (band, row, col)
            Chunks of `Axis.sources`.

        Returns
        -------
        ndarray of uint8, shape (2, row, col), of a multilabel task (2, layer, row, col)
            Codes and confidence * 254, 255 no data; with an axis of length 1 behind the first where the chunks
            have one.
        ndarray of float32, shape (class, row, col), or None
            Probabilities, NaN no data; with an axis of length 1 before the first likewise.
        """
        spans = self.rows.span(row), self.cols.span(col)
        pixels, valid = self.decoding.restored(_joined(chunks, spans, (self.rows, self.cols)))
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
        margin = self.rows.tiling.margin
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
        # The engine's part of the scene begins at the first tiles.
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
            strips = [(np.stack([result.codes, result.confidence]), result.stored) for result in results]
        found = np.concatenate([both for both, _ in strips], axis=-2)[..., rows, cols]
        if not self.probabilities:
            return found, None
        shares = [stored for _, stored in strips if stored is not None]
        return found, np.concatenate(shares, axis=-2)[..., rows, cols]

    def _network(self) -> Network | OpenVinoNetwork:
        """Return the network of this process, moved to its device at the first call."""

        def make() -> Network | OpenVinoNetwork:
            choose_device(self.settings.device)  # the device may exist in the client's process but not here
            shape = self.rows.tiling.size, self.cols.tiling.size
            return network_for(self.model.load(), self.settings, shape, (self.gain, self.bias))

        return _NETWORKS.get((self.model.key, self.gain, self.bias, self.settings), make)


def _joined(chunks: Chunks, spans: tuple[Span, Span], axes: tuple[Axis, Axis]) -> npt.NDArray[Any]:
    """Join the parts of the chunks that a block needs, (band, row, col)."""
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
    """Return a semaphore that limits how many blocks a process computes at once, by the network's threads."""
    if device != "cpu":
        return threading.Semaphore(1)
    return threading.Semaphore(max(1, (os.cpu_count() or 1) // cpu_threads()))


def compute_block(work: BlockWork, row: int, col: int, chunks: Chunks) -> Any:
    """Compute a block as a task of a dask graph: codes and confidence, or these and probabilities."""
    found, shares = work.compute(row, col, chunks)
    return found if shares is None else (found, shares)
