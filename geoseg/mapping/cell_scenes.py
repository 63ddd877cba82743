"""The scenes of one cell: where each lies in it, what of it is valid there, and what the model says of a part."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import GeosegError, NotANumberError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.inference.block_plan import Axis
from geoseg.mapping.cell_work import Bools, CellWork
from geoseg.mapping.footprints import transformer
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.plan import FRINGE, Candidate, Cell
from geoseg.mapping.resampling import Places, pixel_centres
from geoseg.models.match import Match
from geoseg.raster.scene import Scene

Floats = npt.NDArray[np.float32]


class SceneFailedError(Exception):
    """A scene that cannot be used in a cell."""

    def __init__(self, scene: int, error: GeosegError) -> None:
        self.scene, self.reason = scene, error.message
        super().__init__(str(error))


@dataclass(kw_only=True, eq=False)
class CellScenes:
    """The scenes of a cell that are thought to be readable.

    Parameters
    ----------
    work : CellWork
        What all cells share.
    cell : Cell
        The cell.
    scenes : dict of int to ListedScene
        Its scenes, by their index in the list.
    candidates : tuple of Candidate
        Those that may own pixels; methods take the place of one among them.
    """

    work: CellWork
    cell: Cell
    scenes: dict[int, ListedScene]
    candidates: tuple[Candidate, ...]
    _places: dict[int, Places] = field(init=False, default_factory=dict)

    @cached_property
    def grid(self) -> Grid:
        """Grid of the cell."""
        return self.work.zones[self.cell.zone].lattice.grid(self.cell.window)

    @cached_property
    def _owned(self) -> tuple[Bools, Bools]:
        """Pixels that the zone owns, and these with a fringe around them."""
        shape, territory = self.cell.window.shape, self.cell.territory
        if territory is None:
            whole = np.ones(shape, bool)
            return whole, whole
        from scipy.ndimage import binary_dilation

        wider = Window(row=-FRINGE, col=-FRINGE, height=shape[0] + 2 * FRINGE, width=shape[1] + 2 * FRINGE)
        x, y = pixel_centres(self.grid.cropped(wider), territory.crs)
        inside = territory.owners_at(x.ravel(), y.ravel()).reshape(x.shape) == self.cell.zone
        drawn = binary_dilation(inside, np.ones((3, 3)), iterations=FRINGE)
        own = slice(FRINGE, -FRINGE), slice(FRINGE, -FRINGE)
        return inside[own], drawn[own]

    @property
    def inside(self) -> Bools:
        """Pixels that the zone owns."""
        return self._owned[0]

    @property
    def wanted(self) -> Bools:
        """Pixels that are computed."""
        return self._owned[1]

    @property
    def exact_first(self) -> bool:
        """Whether scenes on the zone's own pixels come before others: unless the whole map has one given grid."""
        return not self.work.zones[self.cell.zone].common

    def exact(self, place: int) -> bool:
        """Return whether a scene lies on the zone's own pixels."""
        return self.candidates[place].window is not None

    def part(self, place: int) -> tuple[slice, slice]:
        """Return the part of the cell that a scene may have pixels of: each of thousands of small ones has little."""
        candidate = self.candidates[place]
        if candidate.window is None:
            return slice(None), slice(None)
        overlap = self.overlap(candidate)
        return (slice(0), slice(0)) if overlap is None else overlap[0].slices

    def wanted_in(self, place: int) -> Bools:
        """Return which pixels are computed in the part of a scene."""
        return self.wanted[self.part(place)]

    def centre(self, candidate: Candidate) -> tuple[float, float]:
        """Return the centre of a scene in px of the cell."""
        if candidate.window is not None:
            place = candidate.window.shifted(-self.cell.window.row, -self.cell.window.col)
            return place.row + place.height / 2, place.col + place.width / 2
        scene = self.scenes[candidate.scene].grid
        x, y = scene.transform @ (scene.width / 2, scene.height / 2)
        if scene.crs is not None and self.grid.crs is not None:
            x, y = transformer(scene.crs, self.grid.crs).transform(x, y)
        col, row = ~self.grid.transform @ (x, y)
        return float(row), float(col)

    def overlap(self, candidate: Candidate) -> tuple[Window, Window] | None:
        """Return the pixels that a scene shares with the cell: in the cell, and in the scene."""
        assert candidate.window is not None
        both = candidate.window.intersection(self.cell.window)
        if both is None:
            return None
        return (
            both.shifted(-self.cell.window.row, -self.cell.window.col),
            both.shifted(-candidate.window.row, -candidate.window.col),
        )

    def _match(self, place: int) -> Match:
        scene = self.scenes[self.candidates[place].scene]
        try:
            return self.work.matched(scene)
        except GeosegError as error:
            raise SceneFailedError(self.candidates[place].scene, error) from error

    def _read(self, place: int, window: Window) -> tuple[npt.NDArray[Any], Bools]:
        """Read a window of a scene that lies inside it."""
        match = self._match(place)
        try:
            chip = match.source.read(window)
        except GeosegError as error:
            raise SceneFailedError(self.candidates[place].scene, error) from error
        return chip.pixels, chip.valid

    def valid(self, place: int) -> Bools:
        """Return where in its part of the cell a scene has valid data."""
        candidate = self.candidates[place]
        source = self._match(place).source
        known = isinstance(source, Scene) and source.always_valid
        found = np.full_like(self.wanted_in(place), known and candidate.window is not None)
        if candidate.window is not None:
            overlap = self.overlap(candidate)
            return found if overlap is None or known else self._read(place, overlap[1])[1]
        places = self.placed(place)
        wanted = places.inside & self.wanted
        if known:
            return wanted
        if wanted.any():
            window = places.window(wanted, 0)
            rows, cols = places.nearest(wanted)
            found[wanted] = self._read(place, window)[1][rows - window.row, cols - window.col]
        return found

    def placed(self, place: int) -> Places:
        """Return where the cell's pixels lie on a scene of another lattice."""
        if place not in self._places:
            self._places[place] = Places.of(self.grid, self.scenes[self.candidates[place].scene].grid)
        return self._places[place]

    def classified(
        self, place: int, window: Window, wanted: Bools, *, probabilities: bool = False
    ) -> tuple[npt.NDArray[np.uint8], Floats | None]:
        """Predict a window of a scene with the tiles of the whole scene."""
        match, tiling = self._match(place), self.work.tiling
        height, width = match.source.grid.shape
        axes = (
            Axis(length=height, tiling=tiling, chunks=(window.row, window.height, height - window.row_stop)),
            Axis(length=width, tiling=tiling, chunks=(window.col, window.width, width - window.col_stop)),
        )
        spans = axes[0].span(1), axes[1].span(1)
        rows, cols = (span.needed for span in spans)
        needed = Window(
            row=rows.start, col=cols.start, height=rows.stop - rows.start, width=cols.stop - cols.start
        )
        chip = self._read(place, needed)
        engine = self.work.engine(match, probabilities=probabilities)
        try:
            return engine.classify(axes, spans, chip, wanted)
        except NotANumberError as error:
            raise SceneFailedError(self.candidates[place].scene, error) from error
