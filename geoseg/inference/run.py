"""One job computed into a scratch folder beside its output, from the start or from where it was killed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.engine.bands import BandResult, Engine
from geoseg.engine.devices import check_devices, choose_device
from geoseg.engine.settings import Settings
from geoseg.engine.storage import Storage
from geoseg.errors import OptionError, OutputExistsError
from geoseg.inference.asked import Asked, Earlier
from geoseg.inference.assemble import (
    build_engine,
    cache_megabytes,
    choose_settings,
    compile_for,
    load_checked,
    plan_of,
)
from geoseg.inference.bandstore import BandStore
from geoseg.inference.filling import Told, Work, compute
from geoseg.inference.fingerprint import fingerprint_of
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.inference.options import Progress
from geoseg.inference.prepare import Job
from geoseg.inference.several import fill_by_several, mean_profile, parts
from geoseg.inference.summary import Report
from geoseg.models.model import Model
from geoseg.raster.cache import limited_cache
from geoseg.storage.journal import Journal
from geoseg.storage.output import Claim, claim, clear_leftovers
from geoseg.storage.space import check_space

_BYTES_PER_PIXEL = 5
"""Scratch bands (codes and confidence), their joined copy and the products: an upper bound, compressed or not."""
_WORTH_SAYING = 0.5  # s
_BYTES_PER_PROBABILITY: Mapping[Storage, int] = {"uint8": 4, "float16": 12}
"""Likewise; scratch bands are as they say, their joined copy and the product with its overviews float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished computation whose products are still to be written.

    Parameters
    ----------
    job : Job
    claims : mapping of Path to Claim
        Of the products that are to be written: all that were asked for, but those that the same command finished
        when it ran before.
    earlier : Report, optional
        Of the same command when it ran before, where its main product is not to be written again.
    store : BandStore
        The bands, from top to bottom.
    fingerprint : dict
        Everything the result depends on.
    settings : Settings
    shrunk : list of (band, batch size)
        Where the batch was made smaller for lack of memory.
    seconds : float
        From the loaded model to the last band.
    computed : int
        Pixels that this process computed; fewer than the scene's after a resume.
    preparing : dict of str to float
        Seconds before that which the person asked for: of the search for a batch size, of compiling.
    profile : dict of str to float, optional
        As from `Clock.profile`; of several processes their mean.
    processes : list of float
        Where several computed, the largest resident set of each, MB.
    """

    job: Job
    claims: Mapping[Path, Claim]
    earlier: Report | None
    store: BandStore
    fingerprint: dict[str, Any]
    settings: Settings
    shrunk: list[tuple[int, int]]
    seconds: float
    computed: int
    preparing: dict[str, float]
    profile: dict[str, float] | None
    processes: list[float]


@contextmanager
def computed(job: Job, asked: Asked, progress: Progress | None) -> Iterator[Run]:
    """Claim the outputs, compute what is missing, and hold everything while products are written.

    Laws: the scratch folder of the first output outlives a kill; the same call then goes on behind the last
    whole band and yields what an uninterrupted run would have. Of a finished run it makes what is missing of its
    products, and leaves the others alone.

    Parameters
    ----------
    job : Job
    asked : Asked
    progress : callable, optional

    Raises
    ------
    GeosegError
        Before the long work starts where it can be known.
    """
    main, *others = asked.outputs
    _check_names(job, asked.outputs)
    if isinstance(job.source, LazyScene) and not isinstance(job.source, LoadedScene):
        job.options.refuse_devices("a lazy array is computed in this process")
    with ExitStack() as stack:
        fingerprint = fingerprint_of(job) | asked.identity
        anew = asked.overwrite or asked.fresh or getattr(job.model, "wrapped", False)
        earlier = None if anew else Earlier.of(asked, fingerprint)
        kept = earlier.there if earlier is not None else frozenset()
        claimed = stack.enter_context(
            claim(main, overwrite=asked.overwrite or main in kept, resumable=True, fresh=asked.fresh)
        )
        journal = Journal(claimed.scratch, fingerprint)
        # Products of this very run that a kill left renamed are its own to replace; what was put there before
        # it began to write them is not.
        ours = asked.overwrite or journal.last("products") is not None
        if main.exists() and main not in kept and not ours:
            raise OutputExistsError(f"{main}: already exists; pass --overwrite to replace it")
        claims = {} if main in kept else {main: claimed}
        for path in others:
            if path in kept:
                clear_leftovers(path)
            else:
                claims[path] = stack.enter_context(claim(path, overwrite=ours))
        if not job.options.force:
            check_space(main.parent, job.grid.height * job.grid.width * _bytes_per_pixel(job, asked.storage))
        model, settings, preparing = _prepared(job, journal)
        plan = plan_of(job, settings)
        store = BandStore(claimed.scratch, plan, journal, job.layers, asked.storage)
        shares = [store.missing(part) for part in parts(len(plan.bands), job.options.devices)]
        missing = [share for share in shares if share]
        rows = sum(len(plan.bands[index].rows) for share in missing for index in share)
        told = _progress(progress, plan.shape[0] - rows, plan.shape[0])
        started = time.perf_counter()
        work = Work(job=job, settings=settings, storage=asked.storage, folder=claimed.scratch)
        if len(missing) > 1:
            done = fill_by_several(work, missing, journal, told)
        else:
            done = [compute(work, model, store, missing, journal, told)]
        compiling = max(each.compiling for each in done) if settings.compile else 0.0
        if settings.compile:
            preparing["compile"] = compiling
        seconds = time.perf_counter() - started - compiling
        journal.append({"products": True})
        yield Run(
            job=job,
            claims=claims,
            earlier=earlier.report if earlier is not None and main in kept else None,
            store=store,
            fingerprint=fingerprint,
            settings=settings,
            shrunk=[tuple(entry["shrunk"]) for entry in journal.entries if "shrunk" in entry],
            seconds=seconds,
            computed=rows * plan.shape[1],
            preparing=preparing,
            profile=mean_profile(done),
            processes=[each.peak_mb for each in done] if len(done) > 1 else [],
        )


def _progress(progress: Progress | None, done: int, total: int) -> Told:
    """Count rows up for whoever follows the run."""

    def told(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done, total, "predict")

    return told


def _bytes_per_pixel(job: Job, storage: Storage | None) -> int:
    """Return how much of the disk a pixel takes at most."""
    plain = (job.layers or 1) * _BYTES_PER_PIXEL
    if storage is None:
        return plain
    return plain + _BYTES_PER_PROBABILITY[storage] * len(job.card.classes.classes)


def _prepared(job: Job, journal: Journal) -> tuple[Model, Settings, dict[str, float]]:
    """Load the model, and choose settings or take those that an unfinished run began with; time what takes long."""
    check_devices(choose_device(job.options.device), job.options.devices)
    begun = journal.last("settings")
    model = load_checked(job)
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    if begun:
        return model, Settings.from_json(begun["settings"]), seconds
    settings = choose_settings(job, model)
    journal.append({"settings": settings.to_json()})
    if time.perf_counter() - started > _WORTH_SAYING:
        # OpenVINO's network is compiled here, and no batch size is searched.
        what = "compile" if settings.runtime == "openvino" else "batch size"
        seconds[what] = time.perf_counter() - started
    return model, settings, seconds


def _check_names(job: Job, outputs: Sequence[Path]) -> None:
    """Refuse to write a product over the scene or over another product."""
    seen = {path.resolve(): "the scene" for path in job.files}
    for path in outputs:
        if path.resolve() in seen:
            raise OptionError(f"{path}: is also the name of {seen[path.resolve()]}; choose another")
        seen[path.resolve()] = "another output"


def compute_in_memory(
    job: Job, progress: Progress | None, storage: Storage | None = None
) -> tuple[list[BandResult], Engine]:
    """All bands of a job, top to bottom, with probabilities where a `storage` is said, and the engine."""
    job.options.refuse_devices("several need an output, and this result stays in memory")
    model = load_checked(job)
    settings = choose_settings(job, model)
    engine = build_engine(job, model, settings, plan_of(job, settings))
    engine.storage = storage
    compile_for(job, engine)
    results = []
    with limited_cache(cache_megabytes(job)), closing(engine.run()) as coming:
        for result in coming:
            results.append(result)
            if progress is not None:
                progress(result.band.rows.stop, job.grid.height, "predict")
    return results, engine
