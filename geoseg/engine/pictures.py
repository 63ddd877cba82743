"""Many small images through one network: batches are filled across their borders.

A scene has tiles for many batches; a picture of a few hundred pixels has one or two, and a network that sees
images whole has one of each. So the tiles of different pictures share a batch, and each picture is put
together again from its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from geoseg.engine.clock import Clock
from geoseg.engine.cutting import Cutting, Picture
from geoseg.engine.network import Network
from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.resized import resize_planes
from geoseg.engine.settings import Settings
from geoseg.engine.stitch import Stitcher
from geoseg.engine.upload import uploaded
from geoseg.errors import GeosegError
from geoseg.raster.chip import Chip

Result = TypeVar("Result")
Scaling = tuple[tuple[float, ...], tuple[float, ...]]
_AT_ONCE = 2**26
"""Probabilities concluded together: 256 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """A picture and what the network says of it.

    Parameters
    ----------
    picture : Picture
        Without its pixels.
    probabilities : Tensor of float32, shape (channel, row, col)
        On the image's own grid, in the network's order, on the device; undefined where it is not valid. May
        be a part of a whole batch: not to be kept.
    """

    picture: Picture
    probabilities: Tensor

    @property
    def valid(self) -> Tensor:
        """`Picture.valid` on the device; nothing is sent where all of it is."""
        device, valid = self.probabilities.device, self.picture.valid
        if valid.all():
            return torch.ones(valid.shape, dtype=torch.bool, device=device)
        return uploaded(valid, device)


@dataclass(slots=True, eq=False)
class _Open:
    """A picture some of whose tiles are still to come."""

    picture: Picture
    pixels: Tensor
    valid: Tensor
    missing: int
    stitcher: Stitcher | None = None
    found: Tensor | None = None

    @property
    def size(self) -> int:
        """Pixels."""
        return self.picture.valid.size


@dataclass(slots=True, kw_only=True)
class PictureEngine:
    """One network over many pictures.

    Laws: what comes out of a picture is what `Engine` makes of it alone, whatever it shared its batches with,
    where the network's kernels do not change with the batch size; pictures come out in the order they went in.

    Parameters
    ----------
    network_for : callable
        Called with (gain, bias): the network for pictures of that scaling, and of `settings`.
    channels : int
        Of the network.
    cutting : Cutting
    settings : Settings
        Batches are filled to their size; out of memory halves it.
    shrunk : list of int
        Batch sizes that were fallen back to.
    clock : Clock
        Where the time goes; off by default.

    Notes
    -----
    Memory beside the network's own: the pictures of a batch and the one read ahead, and the batch's
    probabilities, whatever the number of pictures.
    """

    network_for: Callable[[Scaling], Network | OpenVinoNetwork]
    channels: int
    cutting: Cutting
    settings: Settings
    shrunk: list[int] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    _open: deque[_Open] = field(default_factory=deque)
    _queue: deque[tuple[_Open, int]] = field(default_factory=deque)
    _networks: dict[Scaling, Network | OpenVinoNetwork] = field(default_factory=dict)

    def run(
        self, pictures: Iterable[Picture], conclude: Callable[[Sequence[Predicted]], Result]
    ) -> Generator[Result, None, None]:
        """Yield what `conclude` makes of the pictures that each batch completed.

        Parameters
        ----------
        pictures : iterable of Picture
        conclude : callable
            May be called with a part of them again where memory ran out.

        Raises
        ------
        GeosegError
            If a single tile is too much for the memory.
        """
        for picture in pictures:
            if self._queue and self._queue[-1][0].picture.kind != picture.kind:
                while self._queue:
                    yield from self._advance(conclude)
            self._add(picture)
            while len(self._queue) >= self.settings.batch_size:
                yield from self._advance(conclude)
        while self._queue:
            yield from self._advance(conclude)
        for complete in self._completed():
            yield from self._concluded(complete, conclude)

    def _add(self, picture: Picture) -> None:
        device = torch.device(self.settings.device)
        with self.clock.stage("upload"):
            pixels, valid = uploaded(picture.chip.pixels, device), uploaded(picture.chip.valid, device)
        # The pixels live on where the network reads them, not a second time on this side.
        kept = replace(
            picture, chip=Chip(pixels=picture.chip.pixels[:, :0, :0], valid=picture.chip.valid[:0, :0])
        )
        opened = _Open(kept, pixels, valid, missing=len(picture.tiles))
        self._open.append(opened)
        self._queue.extend((opened, i) for i in range(len(picture.tiles)))

    def _advance(self, conclude: Callable[[Sequence[Predicted]], Result]) -> Generator[Result, None, None]:
        """Run one batch and conclude the pictures that it completed."""
        network = self._network(self._queue[0][0].picture)
        batch = [
            (opened, *opened.picture.tiles[i])
            for opened, i in islice(self._queue, min(len(self._queue), self.settings.batch_size))
        ]
        pixels = [opened.pixels[(slice(None), *window)] for opened, _, window in batch]
        valid = [opened.valid[window] for opened, _, window in batch]
        try:
            if isinstance(network, OpenVinoNetwork):
                found = network.probabilities(
                    [each.numpy() for each in pixels], [each.numpy() for each in valid]
                )
                probabilities = [torch.from_numpy(each) for each in found]
            else:
                probabilities = network.probabilities(pixels, valid)
        except torch.OutOfMemoryError:
            self._shrink()
            return
        with self.clock.stage("stitch"):
            for (opened, tile, _), each in zip(batch, probabilities, strict=True):
                self._take(opened, tile, each)
                self._queue.popleft()
        for complete in self._completed():
            yield from self._concluded(complete, conclude)

    def _network(self, picture: Picture) -> Network | OpenVinoNetwork:
        """Return the network for the scaling of a picture, with the batch size of now."""
        scaling = picture.gain, picture.bias
        if scaling not in self._networks:
            self._networks[scaling] = self.network_for(scaling)
        network = self._networks[scaling]
        network.settings, network.clock = self.settings, self.clock
        return network

    def _shrink(self) -> None:
        if self.settings.batch_size == 1:
            raise GeosegError(
                f"{self.settings.device}: out of memory with a single {self.cutting.words}"
            ) from None
        self.settings = replace(self.settings, batch_size=self.settings.batch_size // 2)
        self.shrunk.append(self.settings.batch_size)
        if self.settings.device == "cuda":
            torch.cuda.empty_cache()

    def _take(self, opened: _Open, tile: tuple[int, int], probabilities: Tensor) -> None:
        """Put a tile in its place; the only one of its picture is the picture."""
        opened.missing -= 1
        plan = opened.picture.plan
        if self.cutting.count(plan.shape) == 1:
            opened.found = probabilities
            return
        (band,) = plan.bands
        if opened.stitcher is None:
            opened.stitcher = Stitcher(
                plan.tiling, plan.padded, self.channels, band.read_stop, probabilities.device
            )
            given = {place for place, _ in opened.picture.tiles}
            for place, _ in plan.tiles(band):
                if place not in given:
                    opened.stitcher.skip(place)
        opened.stitcher.add(tile, probabilities)
        if not opened.missing:
            opened.found = opened.stitcher.finish(band.stop)
            opened.stitcher = None

    def _completed(self) -> Generator[list[_Open], None, None]:
        """Take the pictures that wait for nothing more, in their order, and not too many together."""
        limit, size = _AT_ONCE // self.channels, 0
        together: list[_Open] = []
        while self._open and not self._open[0].missing:
            if together and size + self._open[0].size > limit:
                yield together
                together, size = [], 0
            size += self._open[0].size
            together.append(self._open.popleft())
        if together:
            yield together

    def _predicted(self, opened: _Open) -> Predicted:
        """Return a completed picture on its own grid."""
        plan, found = opened.picture.plan, opened.found
        if found is None:  # nothing in it is valid
            found = torch.zeros((self.channels, *plan.shape), device=self.settings.device)
        elif self.cutting.image_size is not None:
            found = resize_planes(found, plan.shape)
        else:
            found = found[(slice(None), *plan.inside(plan.bands[0]))]
        return Predicted(picture=opened.picture, probabilities=found)

    def _concluded(
        self, complete: Sequence[_Open], conclude: Callable[[Sequence[Predicted]], Result]
    ) -> Generator[Result, None, None]:
        """Conclude pictures, half of them at a time where all are too many for the memory."""
        try:
            with torch.inference_mode(), self.clock.stage("stitch"):
                result = conclude([self._predicted(opened) for opened in complete])
        except torch.OutOfMemoryError:
            if len(complete) == 1:
                raise GeosegError(
                    f"{self.settings.device}: out of memory with {complete[0].picture.name} alone; pass --device cpu"
                ) from None
        else:
            yield result
            return
        half = len(complete) // 2
        yield from self._concluded(complete[:half], conclude)
        yield from self._concluded(complete[half:], conclude)
