"""What the cells of a map share, and what one becomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.engine.mosaic import Deciding
from geoseg.engine.settings import Settings
from geoseg.errors import Text
from geoseg.grid.tiling import Tiling
from geoseg.inference.block_engine import BlockEngine
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import fitted
from geoseg.inference.worker_models import Kept, ModelFile, ModelInMemory
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.plan import Zone
from geoseg.mapping.preferences import Resampling
from geoseg.models.card import Card
from geoseg.models.match import Match

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

NOBODY = 65_535
"""Origin of a pixel without a scene."""
_MATCHES: Kept[Match] = Kept(4096)
"""Opened scenes, some kB each: a cell asks its scenes twice, and cells side by side share some."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CellWork:
    """Everything that the cells of a map share; sent to each worker once.

    Parameters
    ----------
    model : ModelFile or ModelInMemory
        The model, in the form in which workers receive it.
    card : Card
        Its card, with the requested names and colours.
    settings : Settings
        How it runs, with ``auto`` resolved.
    tiling : Tiling
        Tile size and overlap.
    options : PredictOptions
        How scenes are read.
    zones : tuple of Zone
        Lattices of the map.
    prefer : str
        As in `plan.Wishes`.
    resampling : str
        How the results of scenes on other lattices are brought onto the zone's: the class of the ``nearest`` pixel,
        or probabilities interpolated (``bilinear``), then decided.
    """

    model: ModelFile | ModelInMemory
    card: Card
    settings: Settings
    tiling: Tiling
    options: PredictOptions
    zones: tuple[Zone, ...]
    prefer: str
    resampling: Resampling

    @property
    def deciding(self) -> Deciding:
        """How probabilities become codes."""
        return Deciding(task=self.card.task, channels=self.card.channels, thresholds=self.card.thresholds)

    def matched(self, scene: ListedScene) -> Match:
        """Open a scene, once per process."""
        key = (scene.path, scene.identity, self.card.weights_sha256, repr(self.options))
        return _MATCHES.get(key, lambda: fitted(scene.path, self.model.load(), self.options).match)

    def engine(self, match: Match, *, probabilities: bool) -> BlockEngine:
        """Return the engine for the stored numbers of a scene."""
        return BlockEngine(
            model=self.model,
            card=self.card,
            gain=match.gain,
            bias=match.bias,
            settings=self.settings,
            probabilities=probabilities,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellMap:
    """A computed cell.

    Parameters
    ----------
    codes, confidence : (row, col) uint8
        Class codes, and their probability * 254; 255 is no data.
    origin : (row, col) uint16
        Index of the scene among the cell's candidates; `NOBODY` is no data.
    inside : (row, col) bool
        Pixels that the zone owns; the others are its fringe.
    failed : tuple of (int, str or Message)
        Scenes (by their index in the list) that could not be read here, with the reason.
    seconds : dict of str to float
        Time by stage: finding the owners (``own``), and asking the model (``predict``).
    """

    codes: Bytes
    confidence: Bytes
    origin: npt.NDArray[np.uint16]
    inside: Bools
    failed: tuple[tuple[int, Text], ...]
    seconds: dict[str, float]
