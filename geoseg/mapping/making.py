"""A map in the making: the cells that are missing, the products, and the record of the run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Container, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import Text, plural
from geoseg.grid.grid import crs_name
from geoseg.mapping.cell_work import CellWork
from geoseg.mapping.listing import Listing
from geoseg.mapping.order import MapOrder, MapRecord
from geoseg.mapping.parts import ENDING, CellAbout, clear_unfinished, read_about
from geoseg.mapping.plan import Cell, MapPlan
from geoseg.mapping.products import Polygons, area_rows, area_table, mosaics
from geoseg.mapping.spread import compute_here, compute_on, polygons_on
from geoseg.mapping.task import MAP_ENDING, CellTask
from geoseg.progress import OnProgress
from geoseg.raster.classmap import class_map_sidecars
from geoseg.raster.legend_file import legend_to_json
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import Journal
from geoseg.storage.output import Claim
from geoseg.storage.run_record import RunRecord
from geoseg.storage.sidecars import is_style_of_ours, refuse_those_there, sidecar_path

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger("geoseg")

_AREAS = ".areas.csv"


def clear_cells(folder: Path, kept: Container[str]) -> None:
    """Remove the files of cells except some, by their names without ending."""
    for part in folder.glob(f"*{ENDING}"):
        if part.stem not in kept and read_about(part) is not None:
            part.unlink(missing_ok=True)
            part.with_suffix(MAP_ENDING).unlink(missing_ok=True)


def refuse_beside(output: Path, plan: MapPlan, *, left: bool) -> None:
    """Refuse a map that would replace mosaics, styles or a table of areas beside it that no map has left.

    Parameters
    ----------
    output : Path
        The polygons, which are not there.
    plan : MapPlan
        Its zones, each of which has a mosaic.
    left : bool
        Whether a map of this name was made here before: its cells are there. A style that has been changed since is
        refused all the same.

    Raises
    ------
    OutputExistsError
        Naming them.
    """
    base = output.absolute()
    vrts = [_mosaic(base, plan, zone.name) for zone in plan.zones]
    styles = [sidecar_path(path, ".qml") for path in vrts]
    there = [path for path in (*vrts, base.with_name(base.stem + _AREAS), *styles) if os.path.lexists(path)]
    refuse_those_there(
        output, [path for path in there if not left or (path in styles and not is_style_of_ours(path))]
    )


def _mosaic(base: Path, plan: MapPlan, zone: str) -> Path:
    """Return the name of the mosaic of a zone."""
    middle = f".{zone}" if len(plan.zones) > 1 else ""
    return base.with_name(f"{base.stem}{middle}.vrt")


@dataclass(kw_only=True)
class Making:
    """A map in the making."""

    order: MapOrder
    listing: Listing
    plan: MapPlan
    work: CellWork
    folder: Path
    told: OnProgress | None
    found: dict[str, CellAbout] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    computed: int = 0
    wall: float = 0.0

    def tasks(self) -> list[CellTask]:
        """Return what is to be done, cell by cell."""
        return [self._task(cell) for cell in self.plan.cells]

    def _task(self, cell: Cell) -> CellTask:
        return CellTask(
            cell=cell,
            scenes={each.scene: self.listing.scenes[each.scene] for each in cell.candidates},
            name=self.plan.name(cell),
            folder=self.folder,
        )

    def make(self, claimed: Claim, journal: Journal, identity: dict[str, Any]) -> MapRecord:
        """Compute the cells that are missing, and write the products; `identity` is for the record of the run."""
        missing = self._missing()
        threads = self.work.settings.threads
        finished = claimed.prepare()
        with self.order.spread.opened(threads) if missing else nullcontext() as client:
            started = time.perf_counter()
            self._compute(missing, client)
            self.wall = time.perf_counter() - started
            counts = self._write_polygons(finished, client)
            self.seconds["polygons"] = time.perf_counter() - started - self.wall
        rows = self._write_beside()
        journal.append({"products": True})
        claimed.commit(finished)
        clear_cells(self.folder, self.found.keys())
        clear_unfinished(self.folder)  # of workers that were killed in this run
        return self._record(identity, rows, counts)

    def _missing(self) -> list[CellTask]:
        """Return the cells that no earlier run has finished."""
        missing = []
        for task in self.tasks():
            about = task.finished()
            if about is None:
                missing.append(task)
            else:
                self.found[task.name] = about
        return missing

    def _compute(self, missing: Sequence[CellTask], client: Client | None) -> None:
        total = len(self.plan.cells)

        def done(task: CellTask, about: CellAbout) -> None:
            self.found[task.name] = about
            self.computed += 1
            for stage, seconds in about.seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
            if self.told is not None:
                self.told(len(self.found), total, "map")

        if client is None:
            compute_here(self.work, missing, done)
        else:
            self.lost = compute_on(client, self.work, missing, done)

    def _filled(self) -> tuple[CellTask, ...]:
        """Return the cells that have pixels."""
        return tuple(
            task for task in self.tasks() if task.name in self.found and self.found[task.name].classes
        )

    def _write_polygons(self, path: Path, client: Client | None) -> dict[int, int]:
        """Write the polygons, as a task of the cluster if there is one; return how many there are of each class."""
        polygons = Polygons(
            plan=self.plan,
            tasks=self._filled(),
            scenes=self.listing.scenes,
            legend=self.work.card.classes,
            metadata=self._metadata(),
            workers=self.work.settings.threads,
        )
        if client is not None:
            return polygons_on(client, polygons, path)
        return polygons.write(path, _cells_told(self.told, len(polygons.tasks)))

    def _write_beside(self) -> list[dict[str, Any]]:
        """Write the mosaics and the table of areas; return its rows."""
        legend, base = self.work.card.classes, self.order.output.absolute()
        tasks = self._filled()
        for name, text in mosaics(self.plan, tasks, legend, base.parent).items():
            path = _mosaic(base, self.plan, name)
            write_bytes(path, text.encode())
            write_bytes(sidecar_path(path, ".qml"), class_map_sidecars(legend)[".qml"].encode())
        rows = area_rows(self.plan, [(task, self.found[task.name]) for task in tasks], legend)
        write_bytes(base.with_name(base.stem + _AREAS), area_table(rows).encode())
        return rows

    def _metadata(self) -> dict[str, str]:
        card = self.work.card
        return {
            "GEOSEG_MODEL": card.name,
            "GEOSEG_MODEL_SHA256": card.weights_sha256 or "",
            "GEOSEG_PREFER": self.work.prefer,
            "GEOSEG_LEGEND": legend_to_json(card.classes),
        }

    def _record(
        self, identity: dict[str, Any], rows: Sequence[dict[str, Any]], counts: dict[int, int]
    ) -> MapRecord:
        owned: set[str] = set()
        failed: dict[str, Text] = dict(self.listing.refused)
        for about in self.found.values():
            owned |= about.owned.keys()
            for path, reason in about.failed.items():
                failed.setdefault(path, reason)
        refused = dict(self.listing.refused)
        for path, cause in failed.items():
            if path not in refused:
                log.error("%s; its pixels come from other scenes or stay empty", cause)
        failed |= self.lost
        idle = tuple(
            scene.name
            for scene in self.listing.scenes
            if scene.path not in owned and scene.path not in failed
        )
        classes = [
            {
                "code": row["class_code"],
                "name": row["class_name"],
                "pixels": row["pixels"],
                "area_m2": row["area_m2"],
                "polygons": counts.get(row["class_code"], 0),
            }
            for row in rows
            if row["zone"] == "all"
        ]
        pixels = sum(row["pixels"] for row in classes)
        run = RunRecord(
            output=self.order.output,
            fingerprint=identity,
            classes=classes,
            valid_pixels=pixels,
            seconds={"cells": self.wall, **self._stages(), "polygons": self.seconds["polygons"]},
            megapixels_per_second=pixels / 1e6 / max(self.wall, 1e-9) if self.computed else 0.0,
            damaged=[],
            notes=self._notes(idle, pixels),
            warnings=[str(cause) for path, cause in failed.items() if path not in refused],
            settings=self.work.settings.to_json(),
            profile=None,
        )
        run.save()
        return MapRecord(
            run=run,
            failed=tuple(failed.items()),
            idle=idle,
            cells=len(self.plan.cells),
            computed=self.computed,
        )

    def _stages(self) -> dict[str, float]:
        """Return the time of each stage of the cells, summed over all workers, if it was asked for."""
        if not self.order.options.profile:
            return {}
        return {f"cells: {stage}": self.seconds.get(stage, 0.0) for stage in ("own", "predict", "write")}

    def _resampled(self) -> int:
        """Return the number of pixels that come from scenes on other lattices."""
        total = 0
        for task in self._filled():
            owned = self.found[task.name].owned
            others = (task.scenes[each.scene].path for each in task.cell.candidates if each.window is None)
            total += sum(owned.get(path, 0) for path in others)
        return total

    def _notes(self, idle: Sequence[str], pixels: int) -> list[Text]:
        notes: list[Text] = []
        if resampled := self._resampled():
            how = (
                "classes of the nearest pixels"
                if self.work.resampling == "nearest"
                else "interpolated probabilities"
            )
            notes.append(
                f"{resampled / pixels:.1%} of the pixels were brought onto another pixel grid, as {how}"
            )
        if idle:
            shown = ", ".join(idle[:3]) + (", …" if len(idle) > 3 else "")
            owns = "scene owns" if len(idle) == 1 else "scenes own"
            why = "because others cover theirs"
            if self.plan.zones[0].common:
                why += " or they lie beside the grid"
            notes.append(f"{len(idle):,} {owns} no pixel, {why}: {shown}")
        if len(self.plan.zones) > 1:
            names = ", ".join(zone.name for zone in self.plan.zones)
            notes.append(
                f"{plural(len(self.plan.zones), 'pixel grid')} ({names}); polygons are in {crs_name(self.plan.crs)}"
            )
        return notes


def _cells_told(told: OnProgress | None, total: int) -> Callable[[int], object] | None:
    """Return a function that adds up cells whose polygons are drawn."""
    if told is None:
        return None
    done = 0

    def count(cells: int) -> None:
        nonlocal done
        done += cells
        told(done, total, "polygons")

    return count
