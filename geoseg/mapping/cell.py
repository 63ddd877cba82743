"""One cell of a map: which scene owns each of its pixels, and what the model says of them.

Every pixel belongs to one scene: the first, by the preference, that has valid data there. A scene is predicted with
the tiles that it has as a whole, and only those that touch pixels that it owns, so neither the size of the cells nor
where they lie changes what a pixel becomes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from geoseg.engine.mosaic import decided
from geoseg.errors import Text
from geoseg.grid.legend import NODATA
from geoseg.grid.window import Window
from geoseg.mapping.cell_scenes import CellScenes, Floats, SceneFailedError
from geoseg.mapping.cell_work import NOBODY, Bools, Bytes, CellMap, CellWork
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.plan import Candidate, Cell
from geoseg.mapping.resampling import bilinear


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
        attempt = _Attempt(of=CellScenes(work=work, cell=cell, scenes=scenes, candidates=left))
        try:
            attempt.run()
        except SceneFailedError as error:
            failed[error.scene] = error.reason
            continue
        return CellMap(
            codes=attempt.codes,
            confidence=attempt.confidence,
            origin=attempt.origin_in(cell.candidates),
            inside=attempt.of.inside,
            failed=tuple(failed.items()),
            seconds=attempt.seconds,
        )


@dataclass(kw_only=True, eq=False)
class _Attempt:
    """A cell that is being computed from the scenes that are thought to be readable."""

    of: CellScenes
    codes: Bytes = field(init=False)
    confidence: Bytes = field(init=False)
    owner: npt.NDArray[np.uint16] = field(init=False)
    """By pixel, the place of its scene in `candidates`."""
    seconds: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.of.cell.window.shape
        self.codes, self.confidence = np.full((2, *shape), NODATA, np.uint8)
        self.owner = np.full(shape, NOBODY, np.uint16)

    def origin_in(self, candidates: tuple[Candidate, ...]) -> npt.NDArray[np.uint16]:
        """Return each pixel's scene by its place in all candidates of the cell."""
        table = np.full(NOBODY + 1, NOBODY, np.uint16)
        places = {each.scene: place for place, each in enumerate(candidates)}
        for place, each in enumerate(self.of.candidates):
            table[place] = places[each.scene]
        return table[self.owner]

    def run(self) -> None:
        """Find the owners, then ask the model."""
        started = time.perf_counter()
        if self.of.work.prefer == "confidence":
            self._blend()
        else:
            self._own()
        owned = time.perf_counter()
        self._predict_all()
        self.seconds = {"own": owned - started, "predict": time.perf_counter() - owned}

    def _predict_all(self) -> None:
        """Ask the model about the pixels of each scene."""
        for place in range(len(self.of.candidates)):
            if self.of.work.prefer == "confidence" and self.of.candidates[place].window is not None:
                continue
            mine = self.owner[self.of.part(place)] == place
            if mine.any():
                self._predict(place, mine)

    def _own(self) -> None:
        """Let every wanted pixel belong to the first candidate, by the preference, that has valid data there."""
        places = range(len(self.of.candidates))
        if self.of.work.prefer == "nearest":
            self._own_nearest()
            return
        if self.of.work.prefer == "clearest":
            clear = {place: int((self.of.valid(place) & self.of.wanted_in(place)).sum()) for place in places}
            own_first = self.of.exact_first
            ranked = sorted(
                places, key=lambda place: (own_first and not self.of.exact(place), -clear[place], place)
            )
        else:
            ranked = list(places)
        for place in ranked:
            self._own_free(place)

    def _own_free(self, place: int) -> None:
        """Let a scene own what nobody owns yet and it has valid data of."""
        owner = self.owner[self.of.part(place)]
        free = self.of.wanted_in(place) & (owner == NOBODY)
        if free.any():
            owner[free & self.of.valid(place)] = place

    def _own_nearest(self) -> None:
        """Let every pixel belong to the scene whose centre is nearest, among those with valid data."""
        rows, cols = (np.arange(edge) + 0.5 for edge in self.of.cell.window.shape)
        best = np.full(self.of.cell.window.shape, np.inf)
        own_first = self.of.exact_first
        for place, each in enumerate(self.of.candidates):
            row, col = self.of.centre(each)
            here = self.of.part(place)
            distance = np.hypot((rows[here[0]] - row)[:, None], (cols[here[1]] - col)[None, :])
            closer = self.of.valid(place) & self.of.wanted[here] & (distance < best[here])
            if own_first and each.window is None:
                closer &= (self.owner == NOBODY) | ~self._taken_exactly()
            best[here][closer], self.owner[here][closer] = distance[closer], place

    def _taken_exactly(self) -> Bools:
        exact = np.array([each.window is not None for each in self.of.candidates] or [False])
        taken: Bools = (self.owner != NOBODY) & exact[np.minimum(self.owner, len(exact) - 1)]
        return taken

    def _predict(self, place: int, mine: Bools) -> None:
        """Fill the pixels that a scene owns in its part of the cell."""
        candidate = self.of.candidates[place]
        if candidate.window is None:
            self._predict_resampled(place, mine)
            return
        overlap = self.of.overlap(candidate)
        assert overlap is not None
        box = _box(mine)
        wanted = mine[box.slices]
        found, _ = self.of.classified(place, box.shifted(overlap[1].row, overlap[1].col), wanted)
        target = box.shifted(overlap[0].row, overlap[0].col).slices
        for product, values in zip((self.codes, self.confidence), found, strict=True):
            product[target] = np.where(wanted, values, product[target])

    def _predict_resampled(self, place: int, mine: Bools) -> None:
        """Fill the pixels that a scene of another lattice owns."""
        places = self.of.placed(place)
        smooth = self.of.work.resampling == "bilinear"
        window = places.window(mine, int(smooth))
        rows, cols = places.nearest(mine)
        rows, cols = rows - window.row, cols - window.col
        wanted = np.zeros(window.shape, bool)
        wanted[rows, cols] = True
        if smooth:
            from scipy.ndimage import binary_dilation

            wanted = binary_dilation(wanted, np.ones((3, 3)))
        found, shares = self.of.classified(place, window, wanted, probabilities=smooth)
        if shares is None:
            self.codes[mine], self.confidence[mine] = found[0][rows, cols], found[1][rows, cols]
            return
        between = bilinear(shares, places.row[mine] - window.row, places.col[mine] - window.col)
        result = self._decided(between[:, :, None])
        self.codes[mine], self.confidence[mine] = result[0][:, 0], result[1][:, 0]

    def _decided(self, shares: Floats) -> tuple[Bytes, Bytes]:
        """Decide probabilities of the classes of the legend, NaN where there are none."""
        deciding = self.of.work.deciding
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
        shape = self.of.cell.window.shape
        total: Floats | None = None
        count = np.zeros(shape, np.float32)
        best = np.full(shape, -1, np.float32)
        for place, candidate in enumerate(self.of.candidates):
            if candidate.window is None:
                continue
            overlap = self.of.overlap(candidate)
            part = self.of.valid(place) & self.of.wanted_in(place)
            if overlap is None or not part.any():
                continue
            _, shares = self.of.classified(place, overlap[1], part, probabilities=True)
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
        for place, candidate in enumerate(self.of.candidates):
            if candidate.window is None:
                self._own_free(place)


def _box(wanted: Bools) -> Window:
    """Return the bounding box of the wanted pixels."""
    rows, cols = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    row, col = int(rows[0]), int(cols[0])
    return Window(row=row, col=col, height=int(rows[-1]) - row + 1, width=int(cols[-1]) - col + 1)
