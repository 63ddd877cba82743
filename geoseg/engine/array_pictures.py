"""Run many small images through an OpenVINO network: their tiles share one stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.engine.cutting import Picture, Scaling
from geoseg.engine.mosaic import Finished, Mosaic, decided
from geoseg.engine.network_input import contiguous
from geoseg.engine.openvino_network import OpenVinoNetwork, Shares, Stream
from geoseg.engine.pictures import PictureResult, PictureTerms, Shown
from geoseg.engine.resize import resize_planes, resize_valid

_TILES: Final = 8
_BYTES: Final = 2**26
"""Bytes of results handed out together: the consumer waits for the disk once per group."""


@dataclass(slots=True, eq=False)
class _Open:
    """A picture, without its pixels, some of whose tiles are still being computed."""

    picture: Picture
    wanted: npt.NDArray[np.bool_]
    mosaic: Mosaic | None
    missing: int
    result: PictureResult | None = None


@dataclass(slots=True, kw_only=True)
class ArrayPictures:
    """Compute pictures with OpenVINO, without torch; implements `geoseg.engine.pictures.PictureEngine`.

    The stream of tiles stays full across pictures: while the tiles of the next one are sent, the last ones of
    this one are stitched. It is drained where the next pictures have another scaling.

    Parameters
    ----------
    network_for : callable
        Called with (gain, bias); returns the network for pictures of that scaling.
    terms : PictureTerms
        How pictures are cut, decided and shown.

    Notes
    -----
    Memory besides the network's own: the codes of pictures that are handed out together, and, for those that have
    tiles in the stream, their pixels and probabilities; it does not depend on the number of pictures.
    """

    network_for: Callable[[Scaling], OpenVinoNetwork]
    terms: PictureTerms
    _open: deque[_Open] = field(default_factory=deque)
    _flying: deque[tuple[_Open, tuple[int, int], tuple[int, int]]] = field(default_factory=deque)

    def run(self, pictures: Iterable[Picture]) -> Generator[list[PictureResult], None, None]:
        """Yield the results of the pictures in order, several at a time."""
        together: list[PictureResult] = []
        tiles = size = 0
        with closing(self._results(pictures)) as results:
            for result in results:
                together.append(result)
                tiles, size = tiles + max(len(result.picture.tiles), 1), size + result.codes.nbytes
                if tiles >= _TILES or size >= _BYTES:
                    yield together
                    together, tiles, size = [], 0, 0
        if together:
            yield together

    def _results(self, pictures: Iterable[Picture]) -> Generator[PictureResult, None, None]:
        for scaling, alike in groupby(pictures, key=lambda picture: (picture.gain, picture.bias)):
            network = self.network_for(scaling)
            network.clock = self.terms.clock
            with network.stream() as stream:
                for picture in alike:
                    yield from self._send(stream, picture)
                while self._flying:
                    yield from self._take_oldest(stream)

    def _send(self, stream: Stream, picture: Picture) -> Generator[PictureResult, None, None]:
        """Send the tiles of a picture and yield the pictures that are finished meanwhile."""
        pixels, valid = contiguous(picture.chip.pixels), np.ascontiguousarray(picture.chip.valid)
        with self.terms.clock.stage("stitch"):
            opened = self._opened(picture)
        self._open.append(opened)
        for place, window in picture.tiles:
            while stream.full:
                yield from self._take_oldest(stream)
            at = window[0].start, window[1].start
            stream.send(pixels, None if valid[window].all() else valid, at)
            self._flying.append((opened, place, at))
        yield from self._finished()

    def _opened(self, picture: Picture) -> _Open:
        plan, (strip,) = picture.plan, picture.plan.strips
        kept = picture.without_pixels()
        if not picture.tiles:  # nothing in it is valid
            return _Open(kept, picture.valid, None, 0, _result(kept, self._nothing(kept)))
        if self.terms.cutting.image_size is not None:
            return _Open(kept, picture.valid, None, 1)
        wanted = np.zeros_like(picture.chip.valid, order="C")
        wanted[plan.inside(strip)] = picture.valid
        keep = self.terms.shown != Shown()
        mosaic = Mosaic(plan.tiling, plan.padded, self.terms.deciding, strip.read_stop, keep=keep)
        given = {place for place, _ in picture.tiles}
        for place, _ in plan.tiles(strip):
            if place not in given:
                mosaic.skip(place)
        return _Open(kept, wanted, mosaic, len(given))

    def _take_oldest(self, stream: Stream) -> Generator[PictureResult, None, None]:
        """Wait for the oldest tile in flight and put it in its place."""
        opened, place, at = self._flying.popleft()
        shares = stream.take()
        with self.terms.clock.stage("stitch"):
            opened.missing -= 1
            if opened.mosaic is None:
                plan = opened.picture.plan
                found = self._decided(resize_planes(shares, plan.shape), opened.picture)
                opened.result = _result(opened.picture, found)
            else:
                opened.mosaic.add(place, shares, opened.wanted, at)
                if not opened.missing:
                    opened.result = _result(opened.picture, self._put_together(opened.mosaic, opened.picture))
                    opened.mosaic = None
        yield from self._finished()

    def _finished(self) -> Generator[PictureResult, None, None]:
        """Yield the finished pictures at the front of the queue, in order."""
        while self._open and (result := self._open[0].result) is not None:
            self._open.popleft()
            yield result

    def _put_together(self, mosaic: Mosaic, picture: Picture) -> Finished:
        plan, (strip,) = picture.plan, picture.plan.strips
        found = mosaic.finish(strip.stop, *plan.inside(strip))
        return found if found.shares is None else self._decided(found.shares, picture)

    def _decided(self, shares: Shares, picture: Picture) -> Finished:
        """Decide the part of a picture that is shown, at the size at which it is shown."""
        shown = self.terms.shown
        part, valid = contiguous(shares[(slice(None), *shown.inside)]), picture.valid[shown.inside]
        if valid.shape != shown.shape(picture):
            part, valid = resize_valid(part, valid, shown.shape(picture))
        return decided(part, valid, self.terms.deciding)

    def _nothing(self, picture: Picture) -> Finished:
        """Return the result of a picture without valid pixels."""
        shape = self.terms.shown.shape(picture)
        shares = np.zeros((len(self.terms.deciding.channels), *shape), np.float32)
        return decided(shares, np.zeros(shape, bool), self.terms.deciding)


def _result(picture: Picture, found: Finished) -> PictureResult:
    return PictureResult(picture=picture, codes=found.codes, has_nan=found.has_nan)
