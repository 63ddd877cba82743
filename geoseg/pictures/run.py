"""Run pictures through the engine: read ahead in threads, predicted together, written in threads."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.engine.clock import Clock
from geoseg.engine.cutting import Cutting, Picture, read_picture
from geoseg.engine.memory import fitted_to_memory
from geoseg.engine.mosaic import Deciding
from geoseg.engine.not_a_number import not_a_number
from geoseg.engine.pictures import PictureEngine, PictureResult, PictureTerms
from geoseg.engine.settings import Settings
from geoseg.errors import GeosegError, Message, SceneError, Text
from geoseg.grid.window import Window
from geoseg.inference.machine import choose_settings, openvino_for, torch_for
from geoseg.models.match import Match, match
from geoseg.models.model import Model
from geoseg.pictures.terms import PictureJob, PictureTotals, Sink
from geoseg.progress import OnProgress
from geoseg.raster.cache import limited_cache
from geoseg.raster.scene import Scene
from geoseg.raster.wrapped_source import HeldSource

log = logging.getLogger("geoseg")

_THREADS = max(2, min(8, os.cpu_count() or 2))
_CACHE_MEGABYTES = 64
"""GDAL's block cache; a small one suffices, since every picture is decoded once and whole."""
_FEW = 64
"""Up to this many pictures are opened in advance to count their tiles; more pictures fill any batch."""
_NUMBER = re.compile(r"[\d.,]*\d")
"""Notes that differ only in numbers count as equal."""
_UNWRITTEN = 2
"""Batches that may wait to be written."""


def run_pictures(work: PictureJob, sink: Sink, progress: OnProgress | None) -> PictureTotals:
    """Predict the pictures that a sink still needs.

    Pictures that cannot be read or do not match the model are reported, and the others are done.

    Raises
    ------
    GeosegError
        If something is wrong that concerns all pictures.
    """
    model = work.load()
    begun = sink.settings
    settings = Settings.from_json(begun) if begun else _settings_of(work, model, sink.todo)
    if not begun:
        sink.journal.append({"settings": settings.to_json()})
    card = work.card
    terms = PictureTerms(
        cutting=work.cutting,
        deciding=Deciding(task=card.task, channels=card.channels, thresholds=card.thresholds),
        shown=sink.shown,
        clock=Clock(settings.device) if work.options.profile else Clock(),
    )
    totals = PictureTotals(settings=settings)
    engine = _engine(model, terms, totals)
    started = time.perf_counter()
    with limited_cache(_CACHE_MEGABYTES):
        _Run(work, sink, totals, terms.clock, progress).run(engine)
    totals.seconds = time.perf_counter() - started
    totals.profile = terms.clock.profile(totals.seconds)
    return totals


def _engine(model: Model, terms: PictureTerms, totals: PictureTotals) -> PictureEngine:
    """Return the engine for the pictures; the totals record smaller batches."""
    settings, shape = totals.settings, _shape(terms.cutting)
    if settings.runtime == "openvino":
        from geoseg.engine.array_pictures import ArrayPictures

        return ArrayPictures(
            network_for=cache(lambda scaling: openvino_for(model, settings, shape, scaling)),
            terms=terms,
        )
    from geoseg.engine.folded import folded
    from geoseg.engine.torch_pictures import TorchPictures

    model = Model(model.card, folded(model.network), int8=model.int8)  # once, for pictures of every scaling
    return TorchPictures(
        network_for=lambda scaling: torch_for(model, settings, scaling),
        terms=terms,
        settings=settings,
        shrunk=totals.shrunk,
    )


def _shape(cutting: Cutting) -> tuple[int, int]:
    """Return (rows, cols) of the network's input."""
    return cutting.image_size or (cutting.tiling.size,) * 2


def _settings_of(work: PictureJob, model: Model, pictures: Mapping[str, Path]) -> Settings:
    """Resolve ``auto``, and spread the pictures evenly over full batches that fit in memory."""
    options, count = work.options, len(pictures)
    if work.cutting.image_size is None and count <= max(options.batch_size or 0, _FEW):
        count = sum(_tiles(path, work.cutting) for path in pictures.values())
    shape = _shape(work.cutting)
    settings = choose_settings(model, options, (max(count, 1), 1), shape)
    batches = -(-max(count, 1) // settings.batch_size)
    settings = replace(settings, batch_size=-(-max(count, 1) // batches))
    if settings.runtime == "openvino":  # computes tile by tile, whatever the batch
        return settings

    def trial(tiles: int) -> None:
        import torch

        bands = len(work.card.bands)
        plain = (1.0,) * bands, (0.0,) * bands
        network = torch_for(model, replace(settings, batch_size=tiles, compile=False), plain)
        network.probabilities([torch.zeros((bands, *shape))], [torch.ones(shape, dtype=torch.bool)])

    return fitted_to_memory(settings, trial)


def _tiles(path: Path, cutting: Cutting) -> int:
    try:
        return cutting.count(Scene.open(path).grid.shape)
    except SceneError:  # reported when the picture is read
        return 1


class _Run:
    """The loop over pictures and its shared state."""

    def __init__(
        self, work: PictureJob, sink: Sink, totals: PictureTotals, clock: Clock, progress: OnProgress | None
    ) -> None:
        self._work, self._sink, self._totals, self._progress = work, sink, totals, progress
        self._clock = clock
        self._said: set[str] = set()
        self._writing: deque[list[tuple[str, Future[Any]]]] = deque()

    def run(self, engine: PictureEngine) -> None:
        """Feed the engine; a batch is written while the next is computed."""
        with (
            ThreadPoolExecutor(_THREADS, thread_name_prefix="geoseg-read") as reading,
            ThreadPoolExecutor(_THREADS, thread_name_prefix="geoseg-write") as writing,
            closing(self._pictures(reading)) as pictures,
            closing(engine.run(pictures)) as results,
        ):
            try:
                self._follow(results, writing)
            except BaseException:
                # The threads finish their work anyway, so it is recorded as done.
                with suppress(GeosegError):
                    self._settle(0)
                raise

    def _follow(self, results: Iterable[list[PictureResult]], writing: ThreadPoolExecutor) -> None:
        """Hand over the engine's results to the writing threads."""
        shrunk, noted = self._totals.shrunk, 0
        for together in results:
            self._hand_over(together, writing)
            if len(shrunk) > noted:
                self._sink.journal.append({"shrunk": shrunk[noted:]})
                noted = len(shrunk)
        self._settle(0)

    def _pictures(self, pool: ThreadPoolExecutor) -> Generator[Picture, None, None]:
        """Yield the pictures that can be read, in order."""
        for name, coming in _ahead(pool, self._timed_read, self._sink.todo.items(), 4 * _THREADS):
            try:
                picture, notes = coming.result()
            except GeosegError as error:
                self._fail(name, error.message)
                continue
            for note in notes:
                if (kind := _NUMBER.sub("#", str(note))) not in self._said:
                    self._said.add(kind)
                    log.warning("%s: %s (logged once for all pictures)", name, note)
            if picture.damaged:
                self._totals.damaged.append(name)
            yield picture

    def _timed_read(self, name: str, path: Path) -> tuple[Picture, tuple[Text, ...]]:
        with self._clock.stage("read"):
            return self._read(name, path)

    def _timed_make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> Any:
        with self._clock.stage("write"):
            return self._sink.make(picture, codes)

    def _why(self, name: str) -> Text:
        """Explain why the output for a picture is NaN; the picture is read again for that."""
        found = self._open(name, self._sink.todo[name])
        height, width = found.source.grid.shape
        whole = Window(row=0, col=0, height=height, width=width)
        return not_a_number(found.source, whole, self._totals.settings.precision)

    def _read(self, name: str, path: Path) -> tuple[Picture, tuple[Text, ...]]:
        """Open, check and read a picture, in a thread."""
        found = self._open(name, path)
        picture = read_picture(
            name,
            found.source,
            (found.gain, found.bias),
            self._work.cutting,
            tolerant=self._work.options.on_error == "nodata",
        )
        return picture, found.notes

    def _open(self, name: str, path: Path) -> Match:
        options = self._work.options
        scene = Scene.open(
            path,
            expand_palette=options.expand_palette,
            allow_remote=options.allow_remote,
            assume_crs=options.assume_crs,
        ).declared(options.declared)
        self._sink.check(name, scene.grid.shape)
        return match(HeldSource(source=scene), self._work.card, options.bands, force=options.force)

    def _fail(self, name: str, reason: Text) -> None:
        log.error("%s", reason)
        self._totals.failed.append((name, str(reason)))
        self._sink.fail(name, str(reason))
        self._report()

    def _hand_over(self, together: Iterable[PictureResult], pool: ThreadPoolExecutor) -> None:
        """Let threads write results, with a limited number of batches in the queue."""
        jobs = []
        for result in together:
            picture = result.picture
            if result.has_nan:
                why = Message("{}: the network's output {}", picture.name, self._why(picture.name))
                self._fail(picture.name, why)
                continue
            self._totals.pixels += picture.valid.size
            jobs.append((picture.name, pool.submit(self._timed_make, picture, result.codes)))
        self._writing.append(jobs)
        self._settle(_UNWRITTEN)

    def _settle(self, most: int) -> None:
        """Wait until at most `most` batches are unwritten."""
        while len(self._writing) > most:
            made = {name: job.result() for name, job in self._writing.popleft()}
            if made:
                self._sink.keep(made)
                self._totals.done += made
                self._report()

    def _report(self) -> None:
        if self._progress is not None:
            finished = len(self._totals.done) + len(self._totals.failed)
            self._progress(finished, len(self._sink.todo), "predict")


def _ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[str, Path], tuple[Picture, tuple[Text, ...]]],
    items: Iterable[tuple[str, Path]],
    depth: int,
) -> Iterator[tuple[str, Future[tuple[Picture, tuple[Text, ...]]]]]:
    """Yield in order what threads read, while they read ahead."""
    rest = iter(items)
    coming = deque((item[0], pool.submit(read, *item)) for item in islice(rest, depth))
    try:
        while coming:
            yield coming.popleft()
            coming.extend((item[0], pool.submit(read, *item)) for item in islice(rest, 1))
    finally:
        for _, each in coming:
            each.cancel()
