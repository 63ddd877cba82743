"""The engine for one block of a scene: its tiles are those of the whole scene that touch the block."""

from __future__ import annotations

import os
import threading
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
from geoseg.grid.window import Window
from geoseg.inference.block_plan import Axis, Span
from geoseg.inference.machine import network_for
from geoseg.inference.worker_models import Kept, ModelFile, ModelInMemory
from geoseg.models.card import Card
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.chip import Chip

if TYPE_CHECKING:
    from geoseg.engine.network import Network
    from geoseg.engine.openvino_network import OpenVinoNetwork

Bools = npt.NDArray[np.bool_]
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
class BlockEngine:
    """A network, ready for blocks of scenes that share a scaling.

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
    probabilities : bool
        Whether the probabilities of all classes are also returned.
    """

    model: ModelFile | ModelInMemory
    card: Card
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    settings: Settings
    probabilities: bool = False

    @property
    def layers(self) -> int | None:
        """Number of layers of a multilabel result, else None."""
        return len(self.card.channels) if self.card.task == "multilabel" else None

    def classify(
        self,
        axes: tuple[Axis, Axis],
        spans: tuple[Span, Span],
        chip: tuple[npt.NDArray[Any], Bools],
        wanted: Bools,
    ) -> tuple[npt.NDArray[np.uint8], Shares | None]:
        """Classify a block; tiles without a wanted pixel are not computed.

        Law: a wanted pixel gets what the engine says of it within the whole scene, bit by bit if the network's result
        for a tile does not depend on the others in its batch.

        Parameters
        ----------
        axes : (Axis, Axis)
            Tiles of the scene along its rows and columns.
        spans : (Span, Span)
            The block along both.
        chip : (pixels, valid)
            (band, row, col) stored numbers and (row, col) validity of the pixels that the spans need.
        wanted : (row, col) bool
            Pixels of the block whose class is asked for; the others become no data.

        Returns
        -------
        ndarray of uint8, shape (2, row, col), of a multilabel task (2, layer, row, col)
            Codes and confidence * 254, 255 no data.
        ndarray of float32, shape (class, row, col), or None
            Probabilities, NaN no data.
        """
        pixels, valid = chip
        tiling = axes[0].tiling
        margin = tiling.margin
        places = np.ix_(axes[0].shown(spans[0]), axes[1].shown(spans[1]))
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
        plan = Plan.of((height, width), tiling, self.settings.together)
        # The engine's part of the scene begins at the first tiles.
        rows, cols = (
            slice(span.block.start - span.start - margin, span.block.stop - span.start - margin)
            for span in spans
        )

        def inside(first: int, stop: int) -> Bools:
            found = np.zeros((stop - first, width), dtype=bool)
            begin, end = max(rows.start, first), min(rows.stop, stop)
            if begin < end:
                found[begin - first : end - first, cols] = wanted[begin - rows.start : end - rows.start]
            return found

        engine = Engine(
            network=self._network((tiling.size, tiling.size)),
            plan=plan,
            reader=RowReader(source, plan, tolerant=False),
            channels=self.card.channels,
            thresholds=self.card.thresholds,
            clip=inside,
            storage="float32" if self.probabilities else None,
        )
        with _turns(self.settings.device), closing(engine.run()) as results:
            strips = [(np.stack([result.codes, result.confidence]), result.stored) for result in results]
        found = np.concatenate([both for both, _ in strips], axis=-2)[..., rows, cols]
        if not self.probabilities:
            return found, None
        shares = [stored for _, stored in strips if stored is not None]
        return found, np.concatenate(shares, axis=-2)[..., rows, cols]

    def _network(self, shape: tuple[int, int]) -> Network | OpenVinoNetwork:
        """Return the network of this process, moved to its device at the first call."""

        def make() -> Network | OpenVinoNetwork:
            choose_device(self.settings.device)  # the device may exist in the client's process but not here
            return network_for(self.model.load(), self.settings, shape, (self.gain, self.bias))

        return _NETWORKS.get((self.model.key, self.gain, self.bias, self.settings, shape), make)


@cache
def _turns(device: str) -> threading.Semaphore:
    """Return a semaphore that limits how many blocks a process computes at once, by the network's threads."""
    if device != "cpu":
        return threading.Semaphore(1)
    return threading.Semaphore(max(1, (os.cpu_count() or 1) // cpu_threads()))
