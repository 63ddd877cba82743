"""Networks that OpenVINO computes on the CPU: tiles of stored numbers in, probabilities out, without torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.clock import Clock
from geoseg.engine.settings import Settings
from geoseg.engine.symmetries import SYMMETRIES, Symmetry
from geoseg.engine.tile_kernels import normalise
from geoseg.errors import ModelError
from geoseg.grid.legend import Task

if TYPE_CHECKING:
    import openvino

Shares = npt.NDArray[np.float32]

_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""What OpenVINO calls the numbers between the layers; the layers of an int8 graph say themselves what they take."""
MOST_TOGETHER = 4
"""Tiles that are computed at the same time: each takes the memory of all its layers."""
_EVERYWHERE = np.zeros((0, 0), bool)


class CompiledGraph:
    """A graph made ready for this machine, which answers a tile with probabilities; threads may share it.

    Tiles are computed one by one, several at the same time, so that the answer to one depends on nothing but it.

    Parameters
    ----------
    graph : openvino.Model
        Takes (1, band, row, col) float32 and gives logits (1, channel, row, col) float32.
    precision : str
        ``fp32``, ``bf16``, or ``int8`` of a quantized graph.
    threads : int
        CPU threads; as many tiles are computed at the same time, `MOST_TOGETHER` at most, by equal parts of them.
    task : str
        As in `geoseg.engine.network.Network`.
    temperature : float
        Divides the logits.
    """

    def __init__(
        self,
        graph: openvino.Model,
        precision: str,
        threads: int,
        task: Task = "multiclass",
        temperature: float = 1.0,
    ) -> None:
        self.task, self.together = task, min(threads, MOST_TOGETHER)
        self._compiled = _compiled(_with_shares(graph, task, temperature), precision, threads, self.together)
        self.shape = tuple(int(edge) for edge in self._compiled.input(0).shape[1:])
        self._idle: list[openvino.InferRequest] = []
        self._lock = threading.Lock()

    @contextmanager
    def requests(self) -> Iterator[list[openvino.InferRequest]]:
        """Lend one request more than are computed at the same time; a thread has its own meanwhile."""
        count = self.together + 1
        with self._lock:
            lent, self._idle = self._idle[:count], self._idle[count:]
        lent += [self._compiled.create_infer_request() for _ in range(count - len(lent))]
        try:
            yield list(lent)
        finally:
            for request in lent:
                request.wait()  # of an error elsewhere: nothing is computed for nobody
            with self._lock:
                self._idle += lent


class Stream(Protocol):
    """Tiles on their way through a network, which come out in the order in which they were sent."""

    @property
    def full(self) -> bool:
        """Whether a tile has to be taken before another one is sent."""

    def send(
        self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, place: tuple[int, int]
    ) -> None:
        """Send a tile: where its first pixel is in pixels (band, row, col) of any real type, and what is valid."""

    def take(self) -> Shares:
        """Wait for the oldest tile; its probabilities (channel, row, col) hold until the next call of any kind."""


class OpenVinoNetwork:
    """A segmentation network that takes a scene's stored numbers, computed by OpenVINO.

    Parameters
    ----------
    compiled : CompiledGraph
    gain, bias : sequence of float
        Per band; network input = stored * gain + bias.
    settings : Settings

    Attributes
    ----------
    clock : Clock
        Off, unless it is replaced. What the network takes is the time that was waited for it.
    """

    def __init__(
        self, compiled: CompiledGraph, gain: Sequence[float], bias: Sequence[float], settings: Settings
    ) -> None:
        self.settings, self.clock, self.task = settings, Clock(), compiled.task
        self._compiled = compiled
        self._scaling = tuple(zip(map(float, gain), map(float, bias), strict=True))

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """Compute tiles as long as the block lasts."""
        with self._compiled.requests() as requests:
            looks = SYMMETRIES if self.settings.tta else SYMMETRIES[:1]
            yield _Stream(requests, self._scaling, looks, self.clock)

    def probabilities(
        self, chips: Sequence[npt.NDArray[Any]], valid: Sequence[npt.NDArray[np.bool_] | None]
    ) -> list[Shares]:
        """Probabilities of chips.

        Parameters
        ----------
        chips : sequence of ndarray, each (band, row, col)
            Stored numbers, any real dtype.
        valid : sequence of ndarray of bool, each (row, col), or None where all pixels are valid

        Returns
        -------
        list of ndarray of float32, each (channel, row, col)
        """
        found: list[Shares] = []
        with self.stream() as stream:
            for chip, known in zip(chips, valid, strict=True):
                if stream.full:
                    found.append(stream.take().copy())
                stream.send(contiguous(chip), None if known is None else np.ascontiguousarray(known), (0, 0))
            while len(found) < len(chips):
                found.append(stream.take().copy())
        return found


class _Stream:
    """Requests in a ring; with several looks at a tile their mean, see `geoseg.engine.symmetries.averaged`."""

    def __init__(
        self,
        requests: list[Any],
        scaling: tuple[tuple[float, float], ...],
        looks: Sequence[Symmetry],
        clock: Clock,
    ) -> None:
        self._free, self._scaling, self._looks, self._clock = requests, scaling, looks, clock
        self._sent: deque[tuple[Any, Symmetry, bool]] = deque()
        """Requests, where they see the tile from, and whether all its numbers can be computed with."""
        self._held: Any = None
        self._means: deque[Shares] = deque()
        self._sum: Shares | None = None

    @property
    def full(self) -> bool:
        self._release()
        return not self._free or bool(self._means)

    def send(
        self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, place: tuple[int, int]
    ) -> None:
        self._release()
        known = _EVERYWHERE if valid is None else valid
        turned: Shares | None = None
        finite = True
        for look in self._looks:
            if not self._free:
                self._add_oldest()
            request = self._free.pop()
            with self._clock.stage("upload"):
                target = request.get_input_tensor(0).data[0]
                if turned is None:
                    for band, (plane, scaling) in enumerate(zip(pixels, self._scaling, strict=True)):
                        finite &= normalise(plane, known, place, scaling, target[band]) == 0
                    if len(self._looks) > 1:
                        turned = target.copy()
                else:
                    target[...] = look(turned)
            request.start_async()
            self._sent.append((request, look, finite))

    def take(self) -> Shares:
        self._release()
        if len(self._looks) > 1:
            while not self._means:
                self._add_oldest()
            return self._means.popleft()
        self._held, _, finite = self._sent.popleft()
        return self._answer(self._held, finite=finite)

    def _add_oldest(self) -> None:
        """Wait for the oldest look, and add what it saw to those of the same tile."""
        request, look, finite = self._sent.popleft()
        seen = look.back(self._answer(request, finite=finite))
        if self._sum is None:
            self._sum = np.array(seen, order="C")
        else:
            self._sum += seen
        self._free.append(request)
        if look is self._looks[-1]:
            self._sum *= np.float32(1 / len(self._looks))
            self._means.append(self._sum)
            self._sum = None

    def _answer(self, request: Any, *, finite: bool) -> Shares:
        with self._clock.stage("model"):
            request.wait()
        shares: Shares = request.get_output_tensor(0).data[0]
        if (
            not finite
        ):  # OpenVINO takes what is not a number for 0 in some layers, and would answer as if nothing were
            shares[...] = np.nan
        return shares

    def _release(self) -> None:
        """Take back the request whose answer was handed out."""
        if self._held is not None:
            self._free.append(self._held)
            self._held = None


def contiguous(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pixels (band, row, col) as kernels take them: each band without gaps, in this machine's byte order."""
    dtype = pixels.dtype.newbyteorder("=") if pixels.dtype != np.float16 else np.dtype(np.float32)
    if pixels.dtype != dtype or not all(plane.flags.c_contiguous and plane.flags.aligned for plane in pixels):
        return np.ascontiguousarray(pixels, dtype=dtype)
    return pixels


def logits_of(graph: openvino.Model, images: Sequence[Shares], precision: str = "fp32") -> list[Shares]:
    """Compute what a graph says of images, one after the other.

    Parameters
    ----------
    graph : openvino.Model
    images : sequence of ndarray of float32, each (1, band, row, col)
    precision : str

    Returns
    -------
    list of ndarray of float32, each (1, channel, row, col)
    """
    request = _compiled(graph, precision, 1, 1).create_infer_request()
    return [np.array(request.infer([image])[0]) for image in images]


def reshaped(graph: openvino.Model, shape: tuple[int, int]) -> openvino.Model:
    """Return a graph for images of other rows and columns; where they are the same, itself.

    Raises
    ------
    ModelError
        If it is for images of its shape only.
    """
    one, bands, *edges = graph.input(0).shape
    if tuple(edges) == shape:
        return graph
    try:
        graph.reshape([one, bands, *shape])
    except RuntimeError as error:
        raise ModelError(
            f"the int8 graph is for tiles of {edges[0]} x {edges[1]} px, expected {shape[0]} x {shape[1]}; measure it "
            "with that --tile-size"
        ) from error
    return graph


def _with_shares(graph: openvino.Model, task: Task, temperature: float) -> openvino.Model:
    """Return a graph that goes on from logits to probabilities."""
    from geoseg.engine.openvino_runtime import openvino

    graph, opset13 = graph.clone(), openvino.opset13
    found = graph.get_results()[0].input_value(0)
    if temperature != 1:
        found = opset13.divide(found, opset13.constant(np.float32(temperature))).output(0)
    node = opset13.softmax(found, 1) if task == "multiclass" else opset13.sigmoid(found)
    return openvino.Model([opset13.result(node)], graph.get_parameters())


def _compiled(graph: openvino.Model, precision: str, threads: int, together: int) -> openvino.CompiledModel:
    from geoseg.engine.openvino_runtime import core

    return core().compile_model(
        graph,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": together,
            # Several processes on one machine would all be pinned to its first cores.
            "ENABLE_CPU_PINNING": False,
        },
    )


def first_line_of(error: BaseException) -> str:
    """Return the first words of what OpenVINO says, short enough for one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


def computes_bf16() -> bool:
    """Whether the CPU has instructions for bfloat16."""
    from geoseg.engine.openvino_runtime import core

    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
