"""Pictures through the engine: read ahead in threads, predicted in large batches, written in threads."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.clock import Clock
from geoseg.engine.cutting import Cutting, Picture, read_picture
from geoseg.engine.decision import Decision
from geoseg.engine.folded import folded
from geoseg.engine.memory import fitted_to_memory
from geoseg.engine.network import Network
from geoseg.engine.not_a_number import not_a_number
from geoseg.engine.pictures import PictureEngine, Predicted
from geoseg.engine.settings import Settings
from geoseg.errors import GeosegError, SceneError
from geoseg.grid.window import Window
from geoseg.inference.options import Progress
from geoseg.inference.picture_terms import Sink, Tally, Work
from geoseg.inference.precision import as_asked, network_for, precision_for, with_runtime
from geoseg.models.match import Match, match
from geoseg.models.model import Model
from geoseg.raster.cache import limited_cache
from geoseg.raster.held import held
from geoseg.raster.scene import Scene

log = logging.getLogger("geoseg")

_THREADS = max(2, min(8, os.cpu_count() or 2))
_CACHE_MEGABYTES = 64
"""Every picture is decoded once and whole."""
_FEW = 64
"""So many pictures are opened beforehand to count their tiles; more fill every batch that is chosen for them."""
_NUMBER = re.compile(r"[\d.,]*\d")
"""Notes that differ only in numbers are one."""
_UNWRITTEN = 2
"""Batches that wait to be written."""


def run_pictures(work: Work, sink: Sink, progress: Progress | None) -> Tally:
    """Predict what a sink has to do.

    A picture that cannot be read or does not fit the model is named, and the others are done.

    Raises
    ------
    GeosegError
        For what concerns them all.
    """
    model = work.load()
    begun = sink.settings
    settings = Settings.from_json(begun) if begun else _choose_settings(work, model, sink.todo)
    if not begun:
        sink.journal.append({"settings": settings.to_json()})
    shape = work.card.image_size or (work.cutting.tiling.size,) * 2
    if settings.runtime == "torch":  # folded once, for pictures of every scaling
        model = Model(model.card, folded(model.network), int8=model.int8)
    engine = PictureEngine(
        network_for=lambda scaling: network_for(model, settings, shape, scaling),
        channels=len(work.card.channels),
        cutting=work.cutting,
        settings=settings,
        clock=Clock(settings.device) if work.options.profile else Clock(),
    )
    tally = Tally(settings=settings, shrunk=engine.shrunk)
    started = time.perf_counter()
    with limited_cache(_CACHE_MEGABYTES):
        _Run(work, sink, tally, engine.clock, progress).run(engine)
    tally.seconds = time.perf_counter() - started
    tally.profile = engine.clock.profile(tally.seconds)
    return tally


def _choose_settings(work: Work, model: Model, pictures: Mapping[str, Path]) -> Settings:
    """Resolve ``auto``, and spread the pictures evenly over batches that are filled and fit the memory."""
    options, count = work.options, len(pictures)
    if work.cutting.image_size is None and count <= max(options.batch_size or 0, _FEW):
        count = sum(_tiles(path, work.cutting) for path in pictures.values())
    precision = precision_for(options, model)
    settings = Settings.choose(options.device, precision, options.batch_size, (max(count, 1), 1))
    batches = -(-max(count, 1) // settings.batch_size)
    batch_size = -(-max(count, 1) // batches)
    settings = as_asked(replace(settings, batch_size=batch_size), options, work.card)
    bands = len(work.card.bands)
    shape = work.card.image_size or (work.cutting.tiling.size,) * 2
    plain = (1.0,) * bands, (0.0,) * bands
    settings = with_runtime(settings, model, shape)
    if settings.runtime == "openvino":  # computes tile by tile, whatever the batch
        return settings

    def trial(tiles: int) -> None:
        how = replace(settings, batch_size=tiles, compile=False)
        network = Network(model.network, *plain, how, task=work.card.task)
        network.probabilities([torch.zeros((bands, *shape))], [torch.ones(shape, dtype=torch.bool)])

    return fitted_to_memory(settings, trial)


def _tiles(path: Path, cutting: Cutting) -> int:
    try:
        return cutting.count(Scene.open(path).grid.shape)
    except SceneError:  # said when its turn comes
        return 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Decided:
    """Codes of pictures of one shape, maybe still on their way from the device."""

    pictures: Sequence[Picture]
    codes: Tensor
    odd: Tensor
    there: torch.cuda.Event | None

    def fetched(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Wait for them; (picture, ...) and (picture,)."""
        if self.there is not None:
            self.there.synchronize()
        return self.codes.numpy(), self.odd.numpy()


def _decide(sink: Sink, decision: Decision, predicted: Sequence[Predicted]) -> list[_Decided]:
    """Decide pictures on the device, those of one shape together, and do not wait."""
    shapes: dict[tuple[int, ...], list[tuple[Picture, Tensor, Tensor]]] = {}
    for each in predicted:
        planes, valid = sink.planes(each)
        shapes.setdefault(tuple(planes.shape), []).append((each.picture, planes, valid))
    found = []
    for together in shapes.values():
        codes, odd = decision.codes(
            torch.stack([planes for _, planes, _ in together]),
            torch.stack([valid for _, _, valid in together]),
        )
        codes, odd = codes.to("cpu", non_blocking=True), odd.to("cpu", non_blocking=True)
        there = torch.cuda.current_stream().record_event() if codes.is_pinned() else None
        found.append(_Decided(pictures=[each[0] for each in together], codes=codes, odd=odd, there=there))
    return found


class _Run:
    """The loop, and what its parts share."""

    def __init__(self, work: Work, sink: Sink, tally: Tally, clock: Clock, progress: Progress | None) -> None:
        self._work, self._sink, self._tally, self._progress = work, sink, tally, progress
        self._clock = clock
        self._said: set[str] = set()
        self._writing: deque[list[tuple[str, Future[Any]]]] = deque()

    def run(self, engine: PictureEngine) -> None:
        """Feed the engine; a batch is fetched while the device works on the next, and written after that."""
        card = self._work.card
        device = torch.device(engine.settings.device)
        decision = Decision(card.task, card.channels, card.thresholds, device)
        conclude = partial(_decide, self._sink, decision)
        with (
            ThreadPoolExecutor(_THREADS, thread_name_prefix="geoseg-read") as reading,
            ThreadPoolExecutor(_THREADS, thread_name_prefix="geoseg-write") as writing,
            closing(self._pictures(reading)) as pictures,
            closing(engine.run(pictures, conclude)) as results,
        ):
            try:
                self._follow(results, writing)
            except BaseException:
                # What was handed to the threads they finish anyway: it shall not be done again.
                with suppress(GeosegError):
                    self._settle(0)
                raise

    def _follow(self, results: Iterable[list[_Decided]], writing: ThreadPoolExecutor) -> None:
        """Hand over what the engine yields, one batch behind it."""
        shrunk = self._tally.shrunk
        noted, pending = 0, list[_Decided]()
        for decided in results:
            for each in pending:
                self._hand_over(each, writing)
            pending = decided
            if len(shrunk) > noted:
                self._sink.journal.append({"shrunk": shrunk[noted:]})
                noted = len(shrunk)
        for each in pending:
            self._hand_over(each, writing)
        self._settle(0)

    def _pictures(self, pool: ThreadPoolExecutor) -> Generator[Picture, None, None]:
        """Yield the pictures that can be read, in their order."""
        for name, coming in _ahead(pool, self._timed_read, self._sink.todo.items(), 4 * _THREADS):
            try:
                picture, notes = coming.result()
            except GeosegError as error:
                self._fail(name, str(error))
                continue
            for note in notes:
                if (kind := _NUMBER.sub("#", note)) not in self._said:
                    self._said.add(kind)
                    log.warning("%s: %s (said once for all pictures)", name, note)
            if picture.damaged:
                self._tally.damaged.append(name)
            yield picture

    def _timed_read(self, name: str, path: Path) -> tuple[Picture, tuple[str, ...]]:
        with self._clock.stage("read"):
            return self._read(name, path)

    def _timed_make(self, picture: Picture, codes: npt.NDArray[np.uint8]) -> Any:
        with self._clock.stage("write"):
            return self._sink.make(picture, codes)

    def _why(self, name: str) -> str:
        """Say why there is no number for a picture, which is read once more for that."""
        found = self._open(name, self._sink.todo[name])
        height, width = found.source.grid.shape
        whole = Window(row=0, col=0, height=height, width=width)
        return not_a_number(found.source, whole, self._tally.settings.precision)

    def _read(self, name: str, path: Path) -> tuple[Picture, tuple[str, ...]]:
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
        return match(held(scene), self._work.card, options.bands, force=options.force)

    def _fail(self, name: str, reason: str) -> None:
        log.error("%s", reason)
        self._tally.failed.append((name, reason))
        self._sink.fail(name, reason)
        self._report()

    def _hand_over(self, decided: _Decided, pool: ThreadPoolExecutor) -> None:
        """Let threads make of codes what is kept; not too far behind the engine."""
        codes, odd = decided.fetched()
        jobs = []
        for picture, each, broken in zip(decided.pictures, codes, odd, strict=True):
            if broken:
                self._fail(picture.name, f"{picture.name}: the network's output {self._why(picture.name)}")
                continue
            self._tally.pixels += picture.valid.size
            jobs.append((picture.name, pool.submit(self._timed_make, picture, each)))
        self._writing.append(jobs)
        self._settle(_UNWRITTEN)

    def _settle(self, most: int) -> None:
        """Wait until at most so many batches are unwritten."""
        while len(self._writing) > most:
            made = {name: job.result() for name, job in self._writing.popleft()}
            if made:
                self._sink.keep(made)
                self._tally.done += made
                self._report()

    def _report(self) -> None:
        if self._progress is not None:
            finished = len(self._tally.done) + len(self._tally.failed)
            self._progress(finished, len(self._sink.todo), "predict")


def _ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[str, Path], tuple[Picture, tuple[str, ...]]],
    items: Iterable[tuple[str, Path]],
    depth: int,
) -> Iterator[tuple[str, Future[tuple[Picture, tuple[str, ...]]]]]:
    """Yield what threads read, in order, while they read on."""
    rest = iter(items)
    coming = deque((item[0], pool.submit(read, *item)) for item in islice(rest, depth))
    try:
        while coming:
            yield coming.popleft()
            coming.extend((item[0], pool.submit(read, *item)) for item in islice(rest, 1))
    finally:
        for _, each in coming:
            each.cancel()
