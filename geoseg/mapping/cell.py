"""One cell of a map: which scene owns each of its pixels, and what the model says of them.

Every pixel belongs to one scene: the first, by the preference, that has valid data there. A scene is predicted with
the tiles that it has as a whole, and only those that touch pixels that it owns, so neither the size of the cells nor
where they lie changes what a pixel becomes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.engine.mosaic import Deciding, decided
from geoseg.engine.settings import Settings
from geoseg.errors import GeosegError, NotANumberError, Text
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.inference.block_engine import BlockEngine
from geoseg.inference.block_plan import Axis
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import fitted
from geoseg.inference.worker_models import Kept, ModelFile, ModelInMemory
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.plan import FRINGE, Candidate, Cell, Zone
from geoseg.mapping.preferences import Resampling
from geoseg.mapping.resampling import Places, bilinear, pixel_centres
from geoseg.models.card import Card
from geoseg.models.match import Match
from geoseg.raster.scene import Scene

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

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


def compute_cell(work: CellWork, cell: Cell, scenes: dict[int, ListedScene]) -> CellMap:
    """Compute a cell.

    A scene that cannot be read is left out of the whole cell, and the next one takes its pixels.

    Parameters
    ----------
    work : CellWork
        What all cells share.
    cell : Cell
        The cell.
    scenes : dict of int to ListedScene
        Its scenes, by their index in the list.

    Raises
    ------
    GeosegError
        If something other than a scene is wrong, such as the model.
    """
    work.model.load()  # what is wrong with it is no scene's fault
    failed: dict[int, Text] = {}
    while True:
        left = tuple(each for each in cell.candidates if each.scene not in failed)
        attempt = _Attempt(work=work, cell=cell, scenes=scenes, candidates=left)
        try:
            attempt.run()
        except _SceneFailedError as error:
            failed[error.scene] = error.reason
            continue
        return CellMap(
            codes=attempt.codes,
            confidence=attempt.confidence,
            origin=attempt.origin_in(cell.candidates),
            inside=attempt.inside,
            failed=tuple(failed.items()),
            seconds=attempt.seconds,
        )


class _SceneFailedError(Exception):
    """A scene that cannot be used in a cell."""

    def __init__(self, scene: int, error: GeosegError) -> None:
        self.scene, self.reason = scene, error.message
        super().__init__(str(error))


@dataclass(kw_only=True, eq=False)
class _Attempt:
    """A cell that is being computed from the scenes that are thought to be readable."""

    work: CellWork
    cell: Cell
    scenes: dict[int, ListedScene]
    candidates: tuple[Candidate, ...]
    codes: Bytes = field(init=False)
    confidence: Bytes = field(init=False)
    owner: npt.NDArray[np.uint16] = field(init=False)
    """By pixel, the place of its scene in `candidates`."""
    seconds: dict[str, float] = field(init=False, default_factory=dict)
    _places: dict[int, Places] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.cell.window.shape
        self.codes, self.confidence = np.full((2, *shape), NODATA, np.uint8)
        self.owner = np.full(shape, NOBODY, np.uint16)

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

    def origin_in(self, candidates: tuple[Candidate, ...]) -> npt.NDArray[np.uint16]:
        """Return each pixel's scene by its place in all candidates of the cell."""
        table = np.full(NOBODY + 1, NOBODY, np.uint16)
        places = {each.scene: place for place, each in enumerate(candidates)}
        for place, each in enumerate(self.candidates):
            table[place] = places[each.scene]
        return table[self.owner]

    def run(self) -> None:
        """Find the owners, then ask the model."""
        started = time.perf_counter()
        if self.work.prefer == "confidence":
            self._blend()
        else:
            self._own()
        owned = time.perf_counter()
        self._predict_all()
        self.seconds = {"own": owned - started, "predict": time.perf_counter() - owned}

    def _predict_all(self) -> None:
        """Ask the model about the pixels of each scene."""
        for place in range(len(self.candidates)):
            if self.work.prefer == "confidence" and self.candidates[place].window is not None:
                continue
            mine = self.owner[self._part(place)] == place
            if mine.any():
                self._predict(place, mine)

    def _own(self) -> None:
        """Let every wanted pixel belong to the first candidate, by the preference, that has valid data there."""
        places = range(len(self.candidates))
        if self.work.prefer == "nearest":
            self._own_nearest()
            return
        if self.work.prefer == "clearest":
            clear = {place: int((self._valid(place) & self._wanted_in(place)).sum()) for place in places}
            own_first = self._exact_first
            ranked = sorted(
                places, key=lambda place: (own_first and not self._exact(place), -clear[place], place)
            )
        else:
            ranked = list(places)
        for place in ranked:
            self._own_free(place)

    def _own_free(self, place: int) -> None:
        """Let a scene own what nobody owns yet and it has valid data of."""
        owner = self.owner[self._part(place)]
        free = self._wanted_in(place) & (owner == NOBODY)
        if free.any():
            owner[free & self._valid(place)] = place

    def _part(self, place: int) -> tuple[slice, slice]:
        """Return the part of the cell that a scene may have pixels of: each of thousands of small ones has little."""
        candidate = self.candidates[place]
        if candidate.window is None:
            return slice(None), slice(None)
        overlap = self._overlap(candidate)
        return (slice(0), slice(0)) if overlap is None else overlap[0].slices

    def _wanted_in(self, place: int) -> Bools:
        return self.wanted[self._part(place)]

    def _own_nearest(self) -> None:
        """Let every pixel belong to the scene whose centre is nearest, among those with valid data."""
        rows, cols = (np.arange(edge) + 0.5 for edge in self.cell.window.shape)
        best = np.full(self.cell.window.shape, np.inf)
        own_first = self._exact_first
        for place, each in enumerate(self.candidates):
            row, col = self._centre(each)
            here = self._part(place)
            distance = np.hypot((rows[here[0]] - row)[:, None], (cols[here[1]] - col)[None, :])
            closer = self._valid(place) & self.wanted[here] & (distance < best[here])
            if own_first and each.window is None:
                closer &= (self.owner == NOBODY) | ~self._taken_exactly()
            best[here][closer], self.owner[here][closer] = distance[closer], place

    @property
    def _exact_first(self) -> bool:
        """Whether scenes on the zone's own pixels come before others: unless the whole map has one given grid."""
        return not self.work.zones[self.cell.zone].common

    def _exact(self, place: int) -> bool:
        return self.candidates[place].window is not None

    def _taken_exactly(self) -> Bools:
        exact = np.array([each.window is not None for each in self.candidates] or [False])
        taken: Bools = (self.owner != NOBODY) & exact[np.minimum(self.owner, len(exact) - 1)]
        return taken

    def _centre(self, candidate: Candidate) -> tuple[float, float]:
        """Return the centre of a scene in px of the cell."""
        if candidate.window is not None:
            place = candidate.window.shifted(-self.cell.window.row, -self.cell.window.col)
            return place.row + place.height / 2, place.col + place.width / 2
        from geoseg.mapping.footprints import transformer

        scene = self.scenes[candidate.scene].grid
        x, y = scene.transform @ (scene.width / 2, scene.height / 2)
        if scene.crs is not None and self.grid.crs is not None:
            x, y = transformer(scene.crs, self.grid.crs).transform(x, y)
        col, row = ~self.grid.transform @ (x, y)
        return float(row), float(col)

    def _overlap(self, candidate: Candidate) -> tuple[Window, Window] | None:
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
            raise _SceneFailedError(self.candidates[place].scene, error) from error

    def _read(self, place: int, window: Window) -> tuple[npt.NDArray[Any], Bools]:
        """Read a window of a scene that lies inside it."""
        match = self._match(place)
        try:
            chip = match.source.read(window)
        except GeosegError as error:
            raise _SceneFailedError(self.candidates[place].scene, error) from error
        return chip.pixels, chip.valid

    def _valid(self, place: int) -> Bools:
        """Return where in its part of the cell a scene has valid data."""
        candidate = self.candidates[place]
        source = self._match(place).source
        known = isinstance(source, Scene) and source.always_valid
        found = np.full_like(self._wanted_in(place), known and candidate.window is not None)
        if candidate.window is not None:
            overlap = self._overlap(candidate)
            return found if overlap is None or known else self._read(place, overlap[1])[1]
        places = self._placed(place)
        wanted = places.inside & self.wanted
        if known:
            return wanted
        if wanted.any():
            window = places.window(wanted, 0)
            rows, cols = places.nearest(wanted)
            found[wanted] = self._read(place, window)[1][rows - window.row, cols - window.col]
        return found

    def _placed(self, place: int) -> Places:
        """Return where the cell's pixels lie on a scene of another lattice."""
        if place not in self._places:
            self._places[place] = Places.of(self.grid, self.scenes[self.candidates[place].scene].grid)
        return self._places[place]

    def _predict(self, place: int, mine: Bools) -> None:
        """Fill the pixels that a scene owns in its part of the cell."""
        candidate = self.candidates[place]
        if candidate.window is None:
            self._predict_resampled(place, mine)
            return
        overlap = self._overlap(candidate)
        assert overlap is not None
        box = _box(mine)
        wanted = mine[box.slices]
        found, _ = self._classified(place, box.shifted(overlap[1].row, overlap[1].col), wanted)
        target = box.shifted(overlap[0].row, overlap[0].col).slices
        for product, values in zip((self.codes, self.confidence), found, strict=True):
            product[target] = np.where(wanted, values, product[target])

    def _predict_resampled(self, place: int, mine: Bools) -> None:
        """Fill the pixels that a scene of another lattice owns."""
        places = self._placed(place)
        smooth = self.work.resampling == "bilinear"
        window = places.window(mine, int(smooth))
        rows, cols = places.nearest(mine)
        rows, cols = rows - window.row, cols - window.col
        wanted = np.zeros(window.shape, bool)
        wanted[rows, cols] = True
        if smooth:
            from scipy.ndimage import binary_dilation

            wanted = binary_dilation(wanted, np.ones((3, 3)))
        found, shares = self._classified(place, window, wanted, probabilities=smooth)
        if shares is None:
            self.codes[mine], self.confidence[mine] = found[0][rows, cols], found[1][rows, cols]
            return
        between = bilinear(shares, places.row[mine] - window.row, places.col[mine] - window.col)
        result = self._decided(between[:, :, None])
        self.codes[mine], self.confidence[mine] = result[0][:, 0], result[1][:, 0]

    def _classified(
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
            raise _SceneFailedError(self.candidates[place].scene, error) from error

    def _decided(self, shares: Floats) -> tuple[Bytes, Bytes]:
        """Decide probabilities of the classes of the legend, NaN where there are none."""
        deciding = self.work.deciding
        known = ~np.isnan(shares[0])
        if deciding.task == "binary":
            channels = shares[1:]
        else:
            channels = np.empty_like(shares)
            channels[deciding.order] = shares
        found = decided(np.where(known, channels, 0).astype(np.float32), known, deciding)
        return found.codes, found.confidence

    def _blend(self) -> None:
        """Decide by the mean of the probabilities that all scenes on the zone's pixels give.

        The owner is the scene that is surest of its class. Others come in where none of these has data.
        """
        shape = self.cell.window.shape
        total: Floats | None = None
        count = np.zeros(shape, np.float32)
        best = np.full(shape, -1, np.float32)
        for place, candidate in enumerate(self.candidates):
            if candidate.window is None:
                continue
            overlap = self._overlap(candidate)
            part = self._valid(place) & self._wanted_in(place)
            if overlap is None or not part.any():
                continue
            _, shares = self._classified(place, overlap[1], part, probabilities=True)
            assert shares is not None
            known = part & ~np.isnan(shares[0])
            if total is None:
                total = np.zeros((len(shares), *shape), np.float32)
            here = overlap[0].slices
            total[:, *here] += np.where(known, shares, 0)
            count[here] += known
            sure = np.where(known, shares.max(axis=0), -1)
            surer = sure > best[here]
            best[here] = np.where(surer, sure, best[here])
            self.owner[here] = np.where(surer, np.uint16(place), self.owner[here])
        if total is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                total /= count
            self.codes, self.confidence = self._decided(total)
        for place, candidate in enumerate(self.candidates):
            if candidate.window is None:
                self._own_free(place)


def _box(wanted: Bools) -> Window:
    """Return the bounding box of the wanted pixels."""
    rows, cols = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    row, col = int(rows[0]), int(cols[0])
    return Window(row=row, col=col, height=int(rows[-1]) - row + 1, width=int(cols[-1]) - col + 1)
