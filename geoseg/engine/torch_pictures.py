"""Run many small images through a torch network: batches are filled across pictures.

A scene has tiles for many batches; a picture of a few hundred pixels has one or two, and a network that takes
whole images has one of each. So tiles of different pictures share a batch, and each picture is put
together again from its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from geoseg.engine.cutting import Picture, Scaling
from geoseg.engine.decision import Decision
from geoseg.engine.network import Network
from geoseg.engine.pictures import PictureResult, PictureTerms
from geoseg.engine.settings import Settings
from geoseg.engine.stitch import Stitcher
from geoseg.engine.torch_resize import resize_planes, resize_valid
from geoseg.engine.upload import uploaded
from geoseg.errors import ON_CPU, GeosegError

_AT_ONCE = 2**26
"""Probabilities decided together: 256 MB."""


@dataclass(slots=True, eq=False)
class _Open:
    """A picture, whose pixels are on the device, some of whose tiles are still to be computed."""

    picture: Picture
    pixels: Tensor
    valid: Tensor
    missing: int
    stitcher: Stitcher | None = None
    found: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.picture.valid.size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Coming:
    """Codes of pictures of one shape, perhaps still being copied from the device; `pictures` by their position."""

    pictures: dict[int, Picture]
    codes: Tensor
    has_nan: Tensor
    there: torch.cuda.Event | None

    def fetched(self) -> dict[int, PictureResult]:
        """Wait for the codes and return the results by position."""
        if self.there is not None:
            self.there.synchronize()
        found = zip(self.pictures.items(), self.codes.numpy(), self.has_nan.tolist(), strict=True)
        return {
            turn: PictureResult(picture=picture, codes=codes, has_nan=has_nan)
            for (turn, picture), codes, has_nan in found
        }


def _fetched(coming: Sequence[_Coming]) -> list[PictureResult]:
    """Wait for pictures of several shapes and return their results in order."""
    found = {turn: result for each in coming for turn, result in each.fetched().items()}
    return [found[turn] for turn in sorted(found)]


@dataclass(slots=True, kw_only=True)
class TorchPictures:
    """Compute pictures with torch; implements `geoseg.engine.pictures.PictureEngine`.

    Parameters
    ----------
    network_for : callable
        Called with (gain, bias); returns the network for pictures of that scaling, with `settings`.
    terms : PictureTerms
        How pictures are cut, decided and shown.
    settings : Settings
        Batches are filled to their batch size; it is halved if the memory is full.
    shrunk : list of int
        Batch sizes after each halving.

    Notes
    -----
    The law of `PictureEngine` holds for networks whose kernels do not round differently for other batch sizes.

    Memory besides the network's own: the pictures of a batch and the one read ahead, the batch's probabilities,
    and the codes of the batch before it, whatever the number of pictures.
    """

    network_for: Callable[[Scaling], Network]
    terms: PictureTerms
    settings: Settings
    shrunk: list[int] = field(default_factory=list)
    _open: deque[_Open] = field(default_factory=deque)
    _queue: deque[tuple[_Open, int]] = field(default_factory=deque)
    _networks: dict[Scaling, Network] = field(default_factory=dict)

    def run(self, pictures: Iterable[Picture]) -> Generator[list[PictureResult], None, None]:
        """Yield the results of the pictures that each batch completed, while the device works on the next batch.

        Raises
        ------
        GeosegError
            If a single tile does not fit in memory.
        """
        pending: list[_Coming] = []
        for coming in self._batches(pictures):
            if pending:
                yield _fetched(pending)
            pending = coming
        if pending:
            yield _fetched(pending)

    def _batches(self, pictures: Iterable[Picture]) -> Generator[list[_Coming], None, None]:
        for picture in pictures:
            if self._queue and self._queue[-1][0].picture.kind != picture.kind:
                while self._queue:
                    yield from self._advance()
            self._add(picture)
            while len(self._queue) >= self.settings.batch_size:
                yield from self._advance()
        while self._queue:
            yield from self._advance()
        for complete in self._completed():
            yield from self._concluded(complete)

    def _add(self, picture: Picture) -> None:
        device = torch.device(self.settings.device)
        with self.terms.clock.stage("upload"):
            pixels, valid = uploaded(picture.chip.pixels, device), uploaded(picture.chip.valid, device)
        opened = _Open(picture.without_pixels(), pixels, valid, missing=len(picture.tiles))
        self._open.append(opened)
        self._queue.extend((opened, i) for i in range(len(picture.tiles)))

    def _advance(self) -> Generator[list[_Coming], None, None]:
        """Run one batch and decide the pictures that it completed."""
        network = self._network(self._queue[0][0].picture)
        batch = [
            (opened, *opened.picture.tiles[i])
            for opened, i in islice(self._queue, min(len(self._queue), self.settings.batch_size))
        ]
        try:
            probabilities = network.probabilities(
                [opened.pixels[(slice(None), *window)] for opened, _, window in batch],
                [opened.valid[window] for opened, _, window in batch],
            )
        except torch.OutOfMemoryError:
            self._shrink()
            return
        with self.terms.clock.stage("stitch"):
            for (opened, tile, _), each in zip(batch, probabilities, strict=True):
                self._take(opened, tile, each)
                self._queue.popleft()
        for complete in self._completed():
            yield from self._concluded(complete)

    def _network(self, picture: Picture) -> Network:
        """Return the network for the scaling of a picture, with the current batch size."""
        scaling = picture.gain, picture.bias
        if scaling not in self._networks:
            self._networks[scaling] = self.network_for(scaling)
        network = self._networks[scaling]
        network.settings, network.clock = self.settings, self.terms.clock
        return network

    def _shrink(self) -> None:
        if self.settings.batch_size == 1:
            raise self.terms.cutting.out_of_memory(self.settings.device) from None
        self.settings = replace(self.settings, batch_size=self.settings.batch_size // 2)
        self.shrunk.append(self.settings.batch_size)
        if self.settings.device == "cuda":
            torch.cuda.empty_cache()

    def _take(self, opened: _Open, tile: tuple[int, int], probabilities: Tensor) -> None:
        """Add the probabilities of a tile to its picture."""
        opened.missing -= 1
        plan = opened.picture.plan
        if self.terms.cutting.count(plan.shape) == 1:
            opened.found = probabilities
            return
        (strip,) = plan.strips
        if opened.stitcher is None:
            opened.stitcher = Stitcher(
                plan.tiling, plan.padded, self._channels, strip.read_stop, probabilities.device
            )
            given = {place for place, _ in opened.picture.tiles}
            for place, _ in plan.tiles(strip):
                if place not in given:
                    opened.stitcher.skip(place)
        opened.stitcher.add(tile, probabilities)
        if not opened.missing:
            opened.found = opened.stitcher.finish(strip.stop)
            opened.stitcher = None

    @property
    def _channels(self) -> int:
        return len(self.terms.deciding.channels)

    def _completed(self) -> Generator[list[_Open], None, None]:
        """Yield groups of completed pictures from the front of the queue, limited in size."""
        limit, size = _AT_ONCE // self._channels, 0
        together: list[_Open] = []
        while self._open and not self._open[0].missing:
            if together and size + self._open[0].size > limit:
                yield together
                together, size = [], 0
            size += self._open[0].size
            together.append(self._open.popleft())
        if together:
            yield together

    def _concluded(self, complete: Sequence[_Open]) -> Generator[list[_Coming], None, None]:
        """Decide pictures, half of them at a time if all do not fit in memory."""
        try:
            with torch.inference_mode(), self.terms.clock.stage("stitch"):
                result = self._decided(complete)
        except torch.OutOfMemoryError:
            if len(complete) == 1:
                raise GeosegError(
                    f"{self.settings.device}: out of memory with {complete[0].picture.name} alone", ON_CPU
                ) from None
        else:
            yield result
            return
        half = len(complete) // 2
        yield from self._concluded(complete[:half])
        yield from self._concluded(complete[half:])

    def _decided(self, complete: Sequence[_Open]) -> list[_Coming]:
        """Decide pictures on the device, those of one shape together, without waiting for it."""
        deciding = self.terms.deciding
        decision = Decision(
            deciding.task, deciding.channels, deciding.thresholds, torch.device(self.settings.device)
        )
        shapes: dict[tuple[int, ...], dict[int, tuple[Tensor, Tensor]]] = {}
        for turn, each in enumerate(complete):
            planes, valid = self._shown(each)
            shapes.setdefault(tuple(planes.shape), {})[turn] = planes, valid
        found = []
        for alike in shapes.values():
            codes, has_nan = decision.codes(
                torch.stack([planes for planes, _ in alike.values()]),
                torch.stack([valid for _, valid in alike.values()]),
            )
            codes, has_nan = codes.to("cpu", non_blocking=True), has_nan.to("cpu", non_blocking=True)
            there = torch.cuda.current_stream().record_event() if codes.is_pinned() else None
            pictures = {turn: complete[turn].picture for turn in alike}
            found.append(_Coming(pictures=pictures, codes=codes, has_nan=has_nan, there=there))
        return found

    def _shown(self, opened: _Open) -> tuple[Tensor, Tensor]:
        """Return probabilities (channel, row, col) and valid (row, col) of the part that is shown."""
        shown, picture = self.terms.shown, opened.picture
        planes, there = self._planes(opened)[(slice(None), *shown.inside)], picture.valid[shown.inside]
        shape = shown.shape(picture)
        if there.all():  # nothing is sent
            return resize_planes(planes, shape), torch.ones(shape, dtype=torch.bool, device=planes.device)
        valid = uploaded(there, planes.device)
        return (planes, valid) if there.shape == shape else resize_valid(planes, valid, shape)

    def _planes(self, opened: _Open) -> Tensor:
        """Return the probabilities of a completed picture on its own grid, undefined where it is not valid.

        They may be a view of a whole batch, so they must not be kept.
        """
        plan, found = opened.picture.plan, opened.found
        if found is None:  # nothing in it is valid
            return torch.zeros((self._channels, *plan.shape), device=self.settings.device)
        if self.terms.cutting.image_size is not None:
            return resize_planes(found, plan.shape)
        return found[(slice(None), *plan.inside(plan.strips[0]))]
