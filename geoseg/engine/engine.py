"""The prediction loop: read a strip of tile rows, run its tiles, stitch, hand over codes and confidence.

Reader, network and the caller's writer overlap: the next strip is read while this one is computed.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.strip_work import Lane, StripResult, StripWork


class Engine(StripWork):
    """A scene, a network and a plan, and the loop over the strips; its parameters are those of `StripWork`."""

    __slots__ = ()

    def run(self, start: int = 0, stop: int | None = None) -> Generator[StripResult, None, None]:
        """Yield the results of the strips from index `start` to before `stop` (default: the last), in order.

        When starting in the middle, strips whose tiles reach into the first wanted row are computed again.
        """
        strips = self.plan.strips
        stop = len(strips) if stop is None else stop
        if start >= stop:
            return
        if self.image_size is not None:
            yield self._run_whole(self.image_size)
            return
        first = self._warm_up(start)
        with (
            closing(self.reader),
            closing(self._lane()) as lane,
            ThreadPoolExecutor(1, thread_name_prefix="geoseg-read") as pool,
        ):
            if first:
                lane.resume(strips[first])
            reading = pool.submit(lane.read, strips[first])
            for strip in strips[first:stop]:
                rows = reading.result()
                if strip.index + 1 < stop:
                    reading = pool.submit(lane.read, strips[strip.index + 1])
                yield from lane.add(strip, rows, wanted=strip.index >= start)
            yield from lane.rest()

    def _run_whole(self, image_size: tuple[int, int]) -> StripResult:
        if isinstance(self.network, OpenVinoNetwork):
            from geoseg.engine import array_strips

            return array_strips.run_whole(self, self.network, image_size)
        from geoseg.engine import torch_strips

        return torch_strips.run_whole(self, self.network, image_size)

    def _lane(self) -> Lane:
        """Return the object that computes the strips: with OpenVINO on arrays, or with torch on tensors."""
        if isinstance(self.network, OpenVinoNetwork):
            from geoseg.engine.array_strips import ArrayStrips

            return ArrayStrips(self, self.network)
        from geoseg.engine.torch_strips import TorchStrips

        return TorchStrips(self, self.network)

    def _warm_up(self, start: int) -> int:
        """Return the index of the first strip whose tiles reach into strip `start`."""
        strips = self.plan.strips
        return next(i for i in range(start + 1) if i == start or strips[i].read_stop > strips[start].start)
