"""Predict a job: compute strips of rows into a scratch folder beside its output, or in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.engine.clock import Clock
from geoseg.engine.devices import check_devices, choose_device
from geoseg.engine.engine import Engine
from geoseg.engine.settings import Settings
from geoseg.engine.small_regions import strips_without_small
from geoseg.engine.strip_work import StripResult
from geoseg.errors import REPLACE, OptionError, OutputExistsError
from geoseg.grid.window import Window
from geoseg.inference.earlier import Earlier
from geoseg.inference.fingerprint import fingerprint_of
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.inference.machine import build_engine, compile_for, load_checked, settings_of
from geoseg.inference.prepare import Job
from geoseg.inference.several import Told, parts, side_by_side
from geoseg.inference.strip_store import Record, StripStore
from geoseg.models.model import Model
from geoseg.progress import OnProgress
from geoseg.raster.band_encoding import Storage
from geoseg.raster.cache import limited_cache
from geoseg.storage.journal import Journal
from geoseg.storage.output import Claim, claim, clear_leftovers, scratch_folder
from geoseg.storage.process_memory import peak_memory_mb
from geoseg.storage.run_record import RunRecord
from geoseg.storage.space import check_space

_BYTES_PER_PIXEL = 5
"""Upper bound for the scratch strips (codes and confidence), their joined copy and the products."""
_WORTH_SAYING = 0.5  # s
_BYTES_PER_PROBABILITY: Mapping[Storage, int] = {"uint8": 4, "float16": 12}
"""Upper bound likewise: scratch strips in that type, their joined copy and the product with overviews in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished computation whose products are still to be written.

    Parameters
    ----------
    job : Job
        The job with its settings.
    claims : mapping of Path to Claim
        Claims of the products to write: all requested ones except those that the same command finished
        in an earlier run.
    earlier : RunRecord, optional
        Record of an earlier run of the same command, if its main product is not written again.
    store : StripStore
        The strips, from top to bottom.
    fingerprint : dict
        Everything that the result depends on.
    shrunk : list of (strip, batch size)
        Strips at which the batch was made smaller for lack of memory.
    seconds : float
        Time from the loaded model to the last strip.
    computed : int
        Pixels that this run computed; fewer than the scene's after a resume.
    preparing : dict of str to float
        Seconds spent on preparation before: on the search for a batch size and on compiling.
    profile : dict of str to float, optional
        Seconds per stage, see `Clock.profile`; the mean over several processes.
    processes : list of float
        Peak resident memory of each process, MB, if several computed.
    """

    job: Job
    claims: Mapping[Path, Claim]
    earlier: RunRecord | None
    store: StripStore
    fingerprint: dict[str, Any]
    shrunk: list[tuple[int, int]]
    seconds: float
    computed: int
    preparing: dict[str, float]
    profile: dict[str, float] | None
    processes: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Measurements of strips that a process has computed.

    Parameters
    ----------
    peak_mb : float
        Peak resident memory of the process, MB.
    compiling : float
        Seconds before the first strip that the network's compiling took.
    profile : dict of str to float, optional
        Seconds per stage, see `Clock.profile`.
    """

    peak_mb: float
    compiling: float
    profile: dict[str, float] | None


@contextmanager
def predicted(job: Job, progress: OnProgress | None) -> Iterator[Run]:
    """Claim the outputs, compute what is missing, and hold the claims while products are written.

    Laws: the scratch folder of the first output outlives a kill; the same call then continues after the last
    complete strip and yields what an uninterrupted run would have. For a finished run it makes only the missing
    products.

    Parameters
    ----------
    job : Job
        The job with its outputs.
    progress : callable, optional
        Called with (rows done, rows in all, name of the step).

    Raises
    ------
    GeosegError
        If anything is wrong; before the long work starts if possible.
    """
    main, *others = job.outputs
    _check_names(job)
    if isinstance(job.source, LazyScene) and not isinstance(job.source, LoadedScene):
        job.options.refuse_devices("a lazy array is computed in this process")
    with ExitStack() as stack:
        fingerprint = fingerprint_of(job) | job.identity
        anew = job.overwrite or job.fresh or getattr(job.model, "wrapped", False)
        earlier = None if anew else Earlier.of(job, fingerprint)
        kept = earlier.there if earlier is not None else frozenset()
        claimed = stack.enter_context(
            claim(main, overwrite=job.overwrite or main in kept, resumable=True, fresh=job.fresh)
        )
        journal = Journal(claimed.scratch, fingerprint)
        # Products that this run had already renamed before a kill may be replaced; files that were there before
        # it began to write may not.
        ours = job.overwrite or journal.last("products") is not None
        if main.exists() and main not in kept and not ours:
            raise OutputExistsError(f"{main}: already exists", REPLACE)
        claims = {} if main in kept else {main: claimed}
        for path in others:
            if path in kept:
                clear_leftovers(path)
            else:
                claims[path] = stack.enter_context(claim(path, overwrite=ours))
        if not job.options.force:
            check_space(main.parent, job.grid.height * job.grid.width * _bytes_per_pixel(job))
        model, job, preparing = _prepared(job, journal)
        plan = job.plan
        store = StripStore(claimed.scratch, plan, journal, job.layers, job.storage, job.card.region_sizes)
        shares = [store.missing(part) for part in parts(len(plan.strips), job.options.devices)]
        missing = [share for share in shares if share]
        rows = sum(len(plan.strips[index].rows) for share in missing for index in share)
        told = _progress(progress, plan.shape[0] - rows, plan.shape[0])
        started = time.perf_counter()
        if len(missing) > 1:
            done = side_by_side(partial(_compute_share, job), missing, job.chosen, journal, told)
        else:
            done = [_compute(job, model, store, missing, journal, told)]
        compiling = max(each.compiling for each in done) if job.chosen.compile else 0.0
        if job.chosen.compile:
            preparing["compile"] = compiling
        seconds = time.perf_counter() - started - compiling
        journal.append({"products": True})
        yield Run(
            job=job,
            claims=claims,
            earlier=earlier.report if earlier is not None and main in kept else None,
            store=store,
            fingerprint=fingerprint,
            shrunk=[tuple(entry["shrunk"]) for entry in journal.entries if "shrunk" in entry],
            seconds=seconds,
            computed=rows * plan.shape[1],
            preparing=preparing,
            profile=_mean_profile(done),
            processes=[each.peak_mb for each in done] if len(done) > 1 else [],
        )


def _progress(progress: OnProgress | None, done: int, total: int) -> Told:
    """Return a function that adds up rows and calls `progress`."""

    def told(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total, "predict")

    return told


def _bytes_per_pixel(job: Job) -> int:
    """Return an upper bound of the disk space per pixel, in bytes."""
    plain = (job.layers or 1) * _BYTES_PER_PIXEL
    if job.storage is None:
        return plain
    return plain + _BYTES_PER_PROBABILITY[job.storage] * len(job.card.classes.classes)


def _prepared(job: Job, journal: Journal) -> tuple[Model, Job, dict[str, float]]:
    """Load the model, choose the job's settings or take those of an unfinished run, and time the long steps."""
    check_devices(choose_device(job.options.device), job.options.devices)
    begun = journal.last("settings")
    model = load_checked(job)
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    if begun:
        return model, replace(job, settings=Settings.from_json(begun["settings"])), seconds
    settings = settings_of(job, model)
    journal.append({"settings": settings.to_json()})
    if time.perf_counter() - started > _WORTH_SAYING:
        # OpenVINO's network is compiled here, and no batch size is searched.
        what = "compile" if settings.runtime == "openvino" else "batch size"
        seconds[what] = time.perf_counter() - started
    return model, replace(job, settings=settings), seconds


def _check_names(job: Job) -> None:
    """Raise OptionError if a product would replace the scene or another product."""
    seen = {path.resolve(): "the scene" for path in job.files}
    for path in job.outputs:
        if path.resolve() in seen:
            raise OptionError(f"{path}: is also the name of {seen[path.resolve()]}; choose another")
        seen[path.resolve()] = "another output"


def _compute(
    job: Job, model: Model, store: StripStore, strips: Sequence[range], record: Record, told: Told
) -> Done:
    """Compute ranges of strips with an engine of this process."""
    engine = build_engine(job, model)
    started = time.perf_counter()
    compile_for(job, engine)
    begun = time.perf_counter()
    with limited_cache(job.cache_megabytes):
        for part in strips:
            fill(engine, store, part, record, told)
    profile = engine.clock.profile(time.perf_counter() - begun)
    return Done(peak_mb=peak_memory_mb(), compiling=begun - started, profile=profile)


def _compute_share(job: Job, strips: range, record: Record, told: Told) -> Done:
    """Compute a range of strips in one of several processes."""
    store = StripStore(scratch_folder(job.outputs[0]), job.plan, record, job.layers, job.storage)
    return _compute(job, load_checked(job), store, [strips], record, told)


def _mean_profile(processes: Sequence[Done]) -> dict[str, float] | None:
    """Return the mean seconds per stage over the processes."""
    found = [done.profile for done in processes if done.profile is not None]
    return {key: sum(each[key] for each in found) / len(found) for key in found[0]} if found else None


def fill(engine: Engine, store: StripStore, strips: range, record: Record, told: Told) -> None:
    """Compute consecutive strips; a thread stores each while the device computes the next.

    Batches made smaller for lack of memory are also recorded.
    """
    reported, shrunk = 0, len(engine.shrunk)
    writing: Future[None] | None = None
    # Closed explicitly, so that an error in this loop also ends the reading.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="geoseg-write") as pool,
        closing(engine.run(strips.start, strips.stop)) as results,
    ):
        for result in results:
            if writing is not None:
                writing.result()
            for strip, size in engine.shrunk[shrunk:]:
                record.append({"shrunk": [strip, size]})
            shrunk = len(engine.shrunk)
            damaged = engine.reader.damaged[reported:]
            reported += len(damaged)
            writing = pool.submit(_store, engine.clock, store, result, damaged)
            told(len(result.strip.rows))
        if writing is not None:
            writing.result()


def _store(clock: Clock, store: StripStore, result: StripResult, damaged: Sequence[Window]) -> None:
    with clock.stage("write"):
        store.put(result, damaged)


def predict_in_memory(job: Job, progress: OnProgress | None) -> tuple[list[StripResult], Engine]:
    """Return all strips of a job, with probabilities if it has a `storage`, and the engine."""
    job.options.refuse_devices("several need an output, and this result stays in memory")
    model = load_checked(job)
    engine = build_engine(replace(job, settings=settings_of(job, model)), model)
    compile_for(job, engine)
    results = []
    with limited_cache(job.cache_megabytes), closing(engine.run()) as coming:
        for result in coming:
            results.append(result)
            if progress is not None:
                progress(result.strip.rows.stop, job.grid.height, "predict")
    return _without_small(results, job.card.region_sizes), engine


def _without_small(results: list[StripResult], sizes: Sequence[int]) -> list[StripResult]:
    """Remove regions below the minimum sizes of the card from consecutive results."""
    if not any(sizes):
        return results
    strips = strips_without_small(((each.codes, each.confidence) for each in results), sizes)
    codes, confidence = (np.concatenate(parts, axis=-2) for parts in zip(*strips, strict=True))
    ends = np.cumsum([each.codes.shape[-2] for each in results])[:-1]
    parts = (np.split(whole, ends, axis=-2) for whole in (codes, confidence))
    return [
        replace(each, codes=own, confidence=share) for each, own, share in zip(results, *parts, strict=True)
    ]
