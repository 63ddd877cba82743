"""Compute one cell and write it: what a process does with a cell, here or on a cluster."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA
from geoseg.mapping.cell import compute_cell
from geoseg.mapping.cell_work import CellMap, CellWork
from geoseg.mapping.listing import ListedScene
from geoseg.mapping.parts import ENDING, ROWS, CellAbout, about_cell, read_about, write_part
from geoseg.mapping.plan import Cell
from geoseg.raster.cache import limited_cache
from geoseg.raster.classmap import write_cog
from geoseg.storage import durable

_CACHE = 128  # MB of decoded blocks, for scenes that several windows of a cell read
MAP_ENDING = ".tif"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTask:
    """A cell, and what a process needs to compute and write it besides the work that all cells share.

    Parameters
    ----------
    cell : Cell
        The cell.
    scenes : dict of int to ListedScene
        Its scenes, by their index in the list.
    name : str
        Name of its files.
    folder : Path
        Folder of its files, which every worker finds under this path.
    """

    cell: Cell
    scenes: dict[int, ListedScene]
    name: str
    folder: Path

    @property
    def part(self) -> Path:
        """File with everything that is known of the cell."""
        return self.folder / (self.name + ENDING)

    @property
    def map(self) -> Path:
        """GeoTIFF of its classes."""
        return self.folder / (self.name + MAP_ENDING)

    def finished(self) -> CellAbout | None:
        """Return what an earlier run has found, if nothing that it depends on has changed since."""
        about = read_about(self.part)
        if about is None or about.key != self.cell.key or about.failed:
            return None
        return about if self.map.exists() or not about.classes else None


def computed(work: CellWork, task: CellTask) -> CellMap:
    """Compute a cell."""
    with limited_cache(_CACHE):
        return compute_cell(work, task.cell, task.scenes)


def stored(work: CellWork, task: CellTask, found: CellMap) -> CellAbout:
    """Write a computed cell: its class map first, then the file whose presence says that both are complete."""
    started = time.perf_counter()
    grid = work.zones[task.cell.zone].lattice.grid(task.cell.window)
    paths = [task.scenes[each.scene].path for each in task.cell.candidates]
    failed = {task.scenes[scene].path: reason for scene, reason in found.failed}
    about = about_cell(task.cell.key, found, grid, paths, failed)
    if (
        task.finished() is None
    ):  # else another worker has just written the same bytes, which may be read already
        task.part.unlink(missing_ok=True)
    if about.classes:
        _write_map(work, task, found, grid)
    else:
        task.map.unlink(missing_ok=True)
    write_part(task.part, found, about)
    return replace(about, seconds={**about.seconds, "write": time.perf_counter() - started})


def run_task(work: CellWork, task: CellTask) -> CellAbout:
    """Compute a cell and write it."""
    return stored(work, task, computed(work, task))


def _write_map(work: CellWork, task: CellTask, found: CellMap, grid: Grid) -> None:
    """Write the classes of the pixels that the zone owns as a COG with its legend."""
    legend = work.card.classes
    unfinished = task.map.with_name(f"{task.name}.{uuid.uuid4().hex}.unfinished")
    codes = np.where(found.inside, found.codes, np.uint8(NODATA))
    try:
        write_cog(
            unfinished,
            (codes[row : row + ROWS] for row in range(0, grid.height, ROWS)),
            grid,
            legend=legend,
            description="land cover",
            tags={"GEOSEG_MODEL": work.card.name, "GEOSEG_MODEL_SHA256": work.card.weights_sha256 or ""},
        )
        durable.replace(unfinished, task.map)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
