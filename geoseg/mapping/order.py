"""A map that somebody orders, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from geoseg.errors import Text
from geoseg.inference.options import PredictOptions
from geoseg.mapping.plan import Wishes
from geoseg.mapping.preferences import Resampling
from geoseg.mapping.spread import Spread
from geoseg.models.card import Card
from geoseg.models.model import Model
from geoseg.storage.run_record import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOrder:
    """A map that somebody wants.

    Parameters
    ----------
    scenes : sequence of str or path
        The scenes.
    model : path or Model
        The model.
    output : Path
        File of its polygons.
    options : PredictOptions
        How scenes are read and predicted.
    wishes : callable
        Takes the model's card and returns the `Wishes`.
    resampling : str
        As in `CellWork`.
    spread : Spread
        Where cells are computed.
    overwrite, fresh : bool
        As in `geoseg.storage.output.claim`.
    """

    scenes: Sequence[str | PathLike[str]]
    model: Path | str | Model
    output: Path
    options: PredictOptions
    wishes: Callable[[Card], Wishes]
    resampling: Resampling
    spread: Spread
    overwrite: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRecord:
    """A finished map.

    Parameters
    ----------
    run : RunRecord
        What was computed, as for a scene.
    failed : tuple of (str, str or Message)
        Scenes that were passed over, and cells that were given up, with the reason.
    idle : tuple of str
        Scenes that own no pixel, because others cover theirs.
    cells, computed : int
        Cells of the map, and those that this run computed.
    """

    run: RunRecord
    failed: tuple[tuple[str, Text], ...]
    idle: tuple[str, ...]
    cells: int
    computed: int

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, or 3 if scenes were passed over."""
        return 3 if self.failed else 0
