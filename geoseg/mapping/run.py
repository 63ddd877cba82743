"""Make a map: plan it, compute the cells that are missing, put them together, and write the products.

Law: the polygons are the old complete file or the new one at every instant, and so is every cell; after a kill
anywhere, or with more scenes, the same command computes only the cells that are missing or that the scenes touch.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from os import PathLike
from pathlib import Path

from geoseg.engine.settings import Settings
from geoseg.errors import REPLACE, OptionError, OutputExistsError
from geoseg.inference.fingerprint import work_fingerprint
from geoseg.inference.machine import choose_settings
from geoseg.inference.prepare import tiling_of
from geoseg.inference.worker_models import sendable
from geoseg.mapping.cell_work import CellWork
from geoseg.mapping.listing import Listing, read_list
from geoseg.mapping.making import Making, clear_cells, refuse_beside
from geoseg.mapping.order import MapOrder, MapRecord
from geoseg.mapping.parts import clear_unfinished
from geoseg.mapping.planning import plan_map
from geoseg.models.card import Card
from geoseg.models.model import Model
from geoseg.progress import OnProgress
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.output import claim, clear_leftovers, scratch_folder
from geoseg.storage.run_record import RunRecord
from geoseg.vectorfiles.formats import check_crs, check_vector_name

log = logging.getLogger("geoseg")

_CELLS, _HEADERS = ".cells", "headers.json"
_LAYER_FILE = "landcover.gpkg"
_TOGETHER = 64
"""Tiles for which a batch is chosen on a GPU; cells have more or less."""


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
        clear_cells(folder, ())
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
        if not (order.output.exists() or order.overwrite or journal.last("products")):
            refuse_beside(order.output, plan, left=folder.exists())
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
        making = Making(order=order, listing=listing, plan=plan, work=work, folder=folder, told=told)
        return making.make(claimed, journal, identity)


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
