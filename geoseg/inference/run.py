"""One job computed into a scratch folder beside its output, from the start or from where it was killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.engine.bands import BandResult, Engine
from geoseg.engine.clock import Clock
from geoseg.engine.compiled import check_compiler
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.rows import RowReader
from geoseg.engine.search import with_fastest_batch
from geoseg.engine.settings import Settings
from geoseg.engine.storage import Storage
from geoseg.errors import OptionError, OutputExistsError
from geoseg.grid.window import Window
from geoseg.inference.bandstore import BandStore
from geoseg.inference.fingerprint import fingerprint_of as fingerprint_of
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.options import Progress
from geoseg.inference.prepare import Job
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.cache import limited_cache
from geoseg.storage.journal import Journal
from geoseg.storage.output import Claim, claim
from geoseg.storage.space import check_space

_BYTES_PER_PIXEL = 5
"""Scratch bands (codes and confidence), their joined copy and the products: an upper bound, compressed or not."""
_MOST_READERS = 8
_WORTH_SAYING = 0.5  # s
_BYTES_PER_PROBABILITY: Mapping[Storage, int] = {"uint8": 4, "float16": 12}
"""Likewise; scratch bands are as they say, their joined copy and the product with its overviews float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to become of a job.

    Parameters
    ----------
    outputs : tuple of Path
        The main output, which owns the scratch folder and the journal, then further products.
    identity : dict
        What the products depend on beside the pixels (layer names, further paths), as plain JSON values.
    storage : str, optional
        How probabilities are stored, where they are wanted.
    overwrite, fresh : bool
        As in `claim`.
    """

    outputs: tuple[Path, ...]
    identity: dict[str, Any]
    storage: Storage | None = None
    overwrite: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished computation whose products are still to be written.

    Parameters
    ----------
    job : Job
    claims : tuple of Claim
        The output's, then one for each further product, in the order they were asked for.
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
        As from `Clock.profile`.
    """

    job: Job
    claims: tuple[Claim, ...]
    store: BandStore
    fingerprint: dict[str, Any]
    settings: Settings
    shrunk: list[tuple[int, int]]
    seconds: float
    computed: int
    preparing: dict[str, float]
    profile: dict[str, float] | None


@contextmanager
def computed(job: Job, asked: Asked, progress: Progress | None) -> Iterator[Run]:
    """Claim the outputs, compute what is missing, and hold everything while products are written.

    Law: the scratch folder of the first output outlives a kill; the same call then goes on behind the last
    whole band and yields what an uninterrupted run would have.

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
    with ExitStack() as stack:
        claimed = stack.enter_context(
            claim(main, overwrite=asked.overwrite, resumable=True, fresh=asked.fresh)
        )
        fingerprint = fingerprint_of(job) | asked.identity
        journal = Journal(claimed.scratch, fingerprint)
        # Products of this very run that a kill left renamed are its own to replace; what was put there before
        # it began to write them is not.
        ours = asked.overwrite or journal.last("products") is not None
        if main.exists() and not ours:
            raise OutputExistsError(f"{main}: already exists; pass --overwrite to replace it")
        claims = [stack.enter_context(claim(path, overwrite=ours)) for path in others]
        if not job.options.force:
            check_space(main.parent, job.grid.height * job.grid.width * _bytes_per_pixel(job, asked.storage))
        engine, preparing = _prepared(job, journal)
        engine.storage = asked.storage
        plan = engine.plan
        store = BandStore(claimed.scratch, plan, journal, job.layers, asked.storage)
        for entry in journal.entries:
            engine.shrunk += [tuple(entry["shrunk"])] if "shrunk" in entry else []
        settings, first, started = engine.network.settings, store.done, time.perf_counter()
        with limited_cache(_cache_megabytes(job)):
            _fill(engine, store, journal, progress)
        seconds = time.perf_counter() - started
        journal.append({"products": True})
        yield Run(
            job=job,
            claims=(claimed, *claims),
            store=store,
            fingerprint=fingerprint,
            settings=settings,
            shrunk=engine.shrunk,
            seconds=seconds,
            computed=sum(len(band.rows) for band in plan.bands[first:]) * plan.shape[1],
            preparing=preparing,
            profile=engine.clock.profile(seconds),
        )


def _bytes_per_pixel(job: Job, storage: Storage | None) -> int:
    """Return how much of the disk a pixel takes at most."""
    plain = (job.layers or 1) * _BYTES_PER_PIXEL
    if storage is None:
        return plain
    return plain + _BYTES_PER_PROBABILITY[storage] * len(job.card.classes.classes)


def _prepared(job: Job, journal: Journal) -> tuple[Engine, dict[str, float]]:
    """Put everything together, with the settings that an unfinished run began with; time what takes long."""
    begun = journal.last("settings")
    model = load_checked(job)
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    if begun:
        settings = Settings.from_json(begun["settings"])
    else:
        settings = choose_settings(job, model)
        journal.append({"settings": settings.to_json()})
        if time.perf_counter() - started > _WORTH_SAYING:
            seconds["batch size"] = time.perf_counter() - started
    engine = build_engine(job, model, settings, plan_of(job, settings))
    if settings.compile:
        started = time.perf_counter()
        engine.network.try_out(len(job.card.bands), job.card.image_size or (job.tiling.size,) * 2)
        seconds["compile"] = time.perf_counter() - started
    return engine, seconds


def _check_names(job: Job, outputs: Sequence[Path]) -> None:
    """Refuse to write a product over the scene or over another product."""
    scene = None if isinstance(job.source, ArraySource | LazyScene) else Path(job.source.path).resolve()
    seen = {scene: "the scene"}
    for path in outputs:
        if path.resolve() in seen:
            raise OptionError(f"{path}: is also the name of {seen[path.resolve()]}; choose another")
        seen[path.resolve()] = "another output"


def _fill(engine: Engine, store: BandStore, journal: Journal, progress: Progress | None) -> None:
    """Compute the missing bands; one thread stores a band while the device works on the next."""
    bands = engine.plan.bands
    reported, shrunk = 0, len(engine.shrunk)
    writing: Future[None] | None = None
    # Closed, not left to the garbage collector: an error in this loop ends the reading, too.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="geoseg-write") as pool,
        closing(engine.run(store.done)) as results,
    ):
        for result in results:
            if writing is not None:
                writing.result()
            for band, size in engine.shrunk[shrunk:]:
                journal.append({"shrunk": [band, size]})
            shrunk = len(engine.shrunk)
            damaged = engine.reader.damaged[reported:]
            reported += len(damaged)
            writing = pool.submit(_store, engine.clock, store, result, damaged)
            if progress is not None:
                progress(result.band.rows.stop, bands[-1].rows.stop, "predict")
        if writing is not None:
            writing.result()


def _store(clock: Clock, store: BandStore, result: BandResult, damaged: Sequence[Window]) -> None:
    with clock.stage("write"):
        store.put(result, damaged)


def compute_in_memory(job: Job, progress: Progress | None) -> tuple[list[BandResult], Engine]:
    """All bands of a job, top to bottom, and the engine that made them."""
    model = load_checked(job)
    settings = choose_settings(job, model)
    engine = build_engine(job, model, settings, plan_of(job, settings))
    results = []
    with limited_cache(_cache_megabytes(job)), closing(engine.run()) as coming:
        for result in coming:
            results.append(result)
            if progress is not None:
                progress(result.band.rows.stop, job.grid.height, "predict")
    return results, engine


def _cache_megabytes(job: Job) -> int:
    """Block cache that holds two rows of blocks, so that a row shared by two bands is decoded once."""
    source = job.source
    row = source.block_shape[0] * job.grid.width * source.dtype.itemsize * (source.count + 1)
    return max(64, min(2 * row // 2**20 + 1, 512))


def load_checked(job: Job) -> Model:
    """Load the model of a job and refuse a tile or image that it cannot take."""
    model = job.load_model()
    for edge in job.card.image_size or (job.tiling.size,):
        model.check_tile_size(edge)
    return model


def plan_of(job: Job, settings: Settings) -> Plan:
    """Plan of a job: bands of tiles, or the scene as one."""
    if job.card.image_size is not None:
        return Plan.whole(job.grid.shape)
    return Plan.of(job.grid.shape, job.tiling, settings.batch_size)


def choose_settings(job: Job, model: Model) -> Settings:
    """Resolve ``auto`` for a job on this machine, on a short trial where the scene is worth one."""
    options, whole = job.options, job.card.image_size is not None
    rows, cols = ([0], [0]) if whole else tile_starts(job.grid.shape, job.tiling)
    tiles = len(rows), len(cols)
    settings = replace(
        Settings.choose(options.device, options.precision, options.batch_size, tiles),
        tta=options.tta,
        compile=options.compile,
    )
    if settings.compile:
        check_compiler(settings.device)
    if options.batch_size is not None or whole:
        return settings
    size, bands = job.tiling.size, len(job.card.bands)

    def trial(batch: int) -> Callable[[], None]:
        # Not compiled: that would take longer than what it tells is worth.
        network = build_network(job, model, replace(settings, batch_size=batch, compile=False))
        return lambda: network.try_out(bands, (size, size))

    return with_fastest_batch(settings, tiles, trial)


def build_network(job: Job, model: Model, settings: Settings) -> Network:
    """Return the network of a job on its device."""
    card, match = job.card, job.match
    return Network(model.network, match.gain, match.bias, settings, card.temperature or 1.0, card.task)


def _readers(settings: Settings) -> int:
    """How many threads decode: on the CPU one, for the network has the others."""
    return 1 if settings.device == "cpu" else min(_MOST_READERS, os.cpu_count() or 1)


def build_engine(job: Job, model: Model, settings: Settings, plan: Plan) -> Engine:
    """Put network, reader and plan together."""
    clip = None
    if job.options.clip is not None:
        from geoseg.inference.clip import ClipArea

        clip = ClipArea(job.options.clip, job.grid)
    card, network = job.card, build_network(job, model, settings)
    if job.options.profile:
        network.clock = Clock(network.device)
    return Engine(
        network=network,
        plan=plan,
        reader=RowReader(
            job.source, plan, tolerant=job.options.on_error == "nodata", threads=_readers(settings)
        ),
        channels=card.channels,
        thresholds=card.thresholds,
        clip=clip,
        image_size=card.image_size,
    )
