"""Make a map: plan it, compute the cells that are missing, put them together, and write the products.

Law: the polygons are the old complete file or the new one at every instant, and so is every cell; after a kill
anywhere, or with more scenes, the same command computes only the cells that are missing or that the scenes touch.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from geoseg.engine.settings import Settings
from geoseg.errors import REPLACE, OptionError, OutputExistsError, Text, plural
from geoseg.inference.fingerprint import work_fingerprint
from geoseg.inference.machine import choose_settings
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import tiling_of
from geoseg.inference.worker_models import sendable
from geoseg.mapping.cell import CellWork
from geoseg.mapping.listing import Listing, read_list
from geoseg.mapping.parts import ENDING, CellAbout, clear_unfinished, read_about
from geoseg.mapping.plan import Cell, MapPlan, Wishes, plan_map
from geoseg.mapping.preferences import Resampling
from geoseg.mapping.products import Polygons, area_rows, area_table, mosaics
from geoseg.mapping.spread import Spread, compute_here, compute_on
from geoseg.mapping.task import MAP_ENDING, CellTask
from geoseg.models.card import Card
from geoseg.models.model import Model
from geoseg.progress import OnProgress
from geoseg.raster.classmap import class_map_sidecars
from geoseg.raster.legend_file import legend_to_json
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.output import Claim, claim, clear_leftovers, scratch_folder, sidecar_path
from geoseg.storage.run_record import RunRecord
from geoseg.vectorfiles.formats import check_crs, check_vector_name

log = logging.getLogger("geoseg")

_CELLS, _AREAS, _HEADERS = ".cells", ".areas.csv", "headers.json"
_LAYER_FILE = "landcover.gpkg"
_TOGETHER = 64
"""Tiles for which a batch is chosen on a GPU; cells have more or less."""


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


def output_of_map(output: str | PathLike[str]) -> Path:
    """Return the file of the polygons: as named, or in the folder that was named."""
    text = os.fspath(output)
    path = Path(text)
    if text.endswith(("/", os.sep)) or path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return path / _LAYER_FILE
    check_vector_name(path)
    return path


def make_map(order: MapOrder, told: OnProgress | None = None) -> MapRecord:
    """Make a map; see `geoseg.map`."""
    sent = sendable(order.model)
    model = sent.load()
    card = order.options.relabelled(model.card)
    _refuse(card)
    tiling = tiling_of(card, order.options)
    model.check_tile_size(tiling.size)
    wishes = order.wishes(card)
    folder = order.output.absolute().with_name(order.output.stem + _CELLS)
    about = work_fingerprint(
        card, order.model if isinstance(order.model, Model) else Path(order.model), tiling, order.options
    )
    about |= {"prefer": wishes.prefer, "resample": order.resampling}
    threads = order.spread.threads(about["threads"])
    about["threads"] = threads or about["threads"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    kept_headers = folder / _HEADERS
    if order.fresh:
        _clear(folder, set())
    listing = read_list(order.scenes, card, order.options, kept_headers)
    _say_refused(listing)
    plan = plan_map(listing.scenes, wishes, about)
    check_crs(order.output, plan.crs)
    identity = about | {
        "map": hashlib.sha256("".join(cell.key for cell in plan.cells).encode()).hexdigest(),
        "polygons": order.output.suffix.lower(),
    }
    before = RunRecord.read(order.output)
    same = before is not None and before.fingerprint == identity
    if before is not None and same and not order.fresh and _complete(order, before):
        done = replace(before, before=True)
        return MapRecord(run=done, failed=listing.refused, idle=(), cells=len(plan.cells), computed=0)
    overwrite = order.overwrite or same
    with claim(order.output, overwrite=overwrite, resumable=True, fresh=order.fresh) as claimed:
        journal = Journal(claimed.scratch, about)
        ours = overwrite or journal.last("products") is not None
        if order.output.exists() and not ours:
            raise OutputExistsError(f"{order.output}: already exists", REPLACE)
        folder.mkdir(exist_ok=True)
        listing.headers.keep(kept_headers)
        clear_unfinished(folder)
        settings = _settings(journal, order, model, (tiling.size, tiling.size), threads)
        work = CellWork(
            model=sent,
            card=card,
            settings=settings,
            tiling=tiling,
            options=order.options,
            zones=plan.zones,
            prefer=wishes.prefer,
            resampling=order.resampling,
        )
        making = _Making(order=order, listing=listing, plan=plan, work=work, folder=folder, told=told)
        making.compute()
        journal.append({"products": True})
        return making.write(claimed, identity)


def _refuse(card: Card) -> None:
    """Refuse models whose results are not one class per pixel of one map."""
    if card.task == "multilabel":
        raise OptionError(
            f"the model {card.name} gives several classes to a pixel, and a map of many scenes has one; "
            "run geoseg segment, which writes a layer for each class"
        )
    if card.image_size is not None:
        raise OptionError(
            f"the model {card.name} sees whole images, resized to {card.image_size[0]} x {card.image_size[1]} px, and "
            "a map is computed cell by cell; run geoseg segment, which takes one image after the other"
        )
    if any(card.region_sizes):
        log.warning(
            "regions that the model calls too small stay in a map: a cell does not know how far they reach"
        )


def _settings(
    journal: Journal, order: MapOrder, model: Model, shape: tuple[int, int], threads: int | None
) -> Settings:
    """Return how the model runs: as an unfinished run did, or as is best here."""
    begun = journal.last("settings")
    if begun is not None:
        return Settings.from_json(begun["settings"])
    chosen = choose_settings(model, order.options, (_TOGETHER, 1), shape, for_workers=order.spread.elsewhere)
    if threads is not None:
        chosen = replace(chosen, threads=threads)
    journal.append({"settings": chosen.to_json()})
    return chosen


def _say_refused(listing: Listing) -> None:
    for _, reason in listing.refused:
        log.error("%s; passed over", reason)


def _complete(order: MapOrder, before: RunRecord) -> bool:
    """Tell whether an earlier run of the same map has left nothing to do."""
    if not order.output.is_file() or before.warnings or (scratch_folder(order.output) / JOURNAL).exists():
        return False
    clear_leftovers(order.output)
    return True


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove the files of cells except some, by their names without ending."""
    for part in folder.glob(f"*{ENDING}"):
        if part.stem not in kept and read_about(part) is not None:
            part.unlink(missing_ok=True)
            part.with_suffix(MAP_ENDING).unlink(missing_ok=True)


@dataclass(kw_only=True)
class _Making:
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

    def compute(self) -> None:
        """Compute the cells that are missing."""
        missing = []
        for task in self.tasks():
            about = task.finished()
            if about is None:
                missing.append(task)
            else:
                self.found[task.name] = about
        total = len(self.plan.cells)

        def done(task: CellTask, about: CellAbout) -> None:
            self.found[task.name] = about
            self.computed += 1
            for stage, seconds in about.seconds.items():
                self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
            if self.told is not None:
                self.told(len(self.found), total, "map")

        started = time.perf_counter()
        if missing:
            with self.order.spread.opened(self.work.settings.threads) as client:
                if client is None:
                    compute_here(self.work, missing, done)
                else:
                    self.lost = compute_on(client, self.work, missing, done)
        self.wall = time.perf_counter() - started

    def write(self, claimed: Claim, identity: dict[str, Any]) -> MapRecord:
        """Write the products."""
        begun = time.perf_counter()
        tasks = [task for task in self.tasks() if task.name in self.found]
        filled = tuple(task for task in tasks if self.found[task.name].classes)
        legend = self.work.card.classes
        polygons = Polygons(
            plan=self.plan,
            tasks=filled,
            scenes=self.listing.scenes,
            legend=legend,
            metadata=self._metadata(),
            workers=self.work.settings.threads,
        )
        finished = claimed.prepare()
        counts = polygons.write(finished, _cells_told(self.told, len(filled)))
        base = self.order.output.absolute()
        rows = area_rows(self.plan, [(task, self.found[task.name]) for task in tasks], legend)
        texts = mosaics(self.plan, filled, legend, base.parent)
        for name, text in texts.items():
            middle = f".{name}" if len(self.plan.zones) > 1 else ""
            path = base.with_name(f"{base.stem}{middle}.vrt")
            write_bytes(path, text.encode())
            write_bytes(sidecar_path(path, ".qml"), class_map_sidecars(legend)[".qml"].encode())
        write_bytes(base.with_name(base.stem + _AREAS), area_table(rows).encode())
        claimed.commit(finished)
        _clear(self.folder, {task.name for task in tasks})
        self.seconds["polygons"] = time.perf_counter() - begun
        return self._record(identity, rows, counts)

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
            notes=self._notes(idle),
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

    def _notes(self, idle: Sequence[str]) -> list[Text]:
        notes: list[Text] = []
        if idle:
            shown = ", ".join(idle[:3]) + (", …" if len(idle) > 3 else "")
            notes.append(f"{plural(len(idle), 'scene')} own no pixel, because others cover theirs: {shown}")
        if len(self.plan.zones) > 1:
            names = ", ".join(zone.name for zone in self.plan.zones)
            notes.append(
                f"{plural(len(self.plan.zones), 'pixel grid')} ({names}); polygons are in {_crs_words(self.plan.crs)}"
            )
        return notes


def _crs_words(crs: str | None) -> str:
    from geoseg.grid.grid import crs_name

    return crs_name(crs) or "no CRS"


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
