"""Bands of a run that are missing, computed into its store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from geoseg.engine.bands import BandResult, Engine
from geoseg.engine.clock import Clock
from geoseg.grid.window import Window
from geoseg.inference.bandstore import BandStore, Record

Told = Callable[[int], None]
"""Called with the rows of each band that has been computed."""


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
