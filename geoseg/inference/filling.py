"""Bands of a run that are missing, computed into its store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from geoseg.engine.bands import BandResult, Engine
from geoseg.engine.clock import Clock
from geoseg.engine.settings import Settings
from geoseg.engine.storage import Storage
from geoseg.grid.window import Window
from geoseg.inference.assemble import build_engine, cache_megabytes, compile_for, plan_of
from geoseg.inference.bandstore import BandStore, Record
from geoseg.inference.prepare import Job
from geoseg.inference.summary import peak_memory_mb
from geoseg.models.model import Model
from geoseg.raster.cache import limited_cache

Told = Callable[[int], None]
"""Called with the rows of each band that has been computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be computed, here or in other processes.

    Parameters
    ----------
    job : Job
    settings : Settings
    storage : str, optional
        How results hold probabilities, where they do.
    folder : Path
        Scratch folder.
    """

    job: Job
    settings: Settings
    storage: Storage | None
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What is known of bands that have been computed.

    Parameters
    ----------
    peak_mb : float
        Largest resident set of the process, MB.
    compiling : float
        Seconds before the first band that the network's compiling took.
    profile : dict of str to float, optional
        As from `Clock.profile`.
    """

    peak_mb: float
    compiling: float
    profile: dict[str, float] | None


def compute(
    work: Work, model: Model, store: BandStore, bands: Sequence[range], record: Record, told: Told
) -> Done:
    """Compute parts of the rows with an engine of this process."""
    job, settings = work.job, work.settings
    engine = build_engine(job, model, settings, plan_of(job, settings))
    engine.storage = work.storage
    started = time.perf_counter()
    compile_for(job, engine)
    begun = time.perf_counter()
    with limited_cache(cache_megabytes(job)):
        for part in bands:
            fill(engine, store, part, record, told)
    profile = engine.clock.profile(time.perf_counter() - begun)
    return Done(peak_mb=peak_memory_mb(), compiling=begun - started, profile=profile)


def fill(engine: Engine, store: BandStore, bands: range, record: Record, told: Told) -> None:
    """Compute bands that follow each other; one thread stores one while the device works on the next.

    Where a batch was made smaller for lack of memory is noted, too, for the report.
    """
    reported, shrunk = 0, len(engine.shrunk)
    writing: Future[None] | None = None
    # Closed, not left to the garbage collector: an error in this loop ends the reading, too.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="geoseg-write") as pool,
        closing(engine.run(bands.start, bands.stop)) as results,
    ):
        for result in results:
            if writing is not None:
                writing.result()
            for band, size in engine.shrunk[shrunk:]:
                record.append({"shrunk": [band, size]})
            shrunk = len(engine.shrunk)
            damaged = engine.reader.damaged[reported:]
            reported += len(damaged)
            writing = pool.submit(_store, engine.clock, store, result, damaged)
            told(len(result.band.rows))
        if writing is not None:
            writing.result()


def _store(clock: Clock, store: BandStore, result: BandResult, damaged: Sequence[Window]) -> None:
    with clock.stage("write"):
        store.put(result, damaged)
