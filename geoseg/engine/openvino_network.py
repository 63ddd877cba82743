"""Networks computed by OpenVINO on the CPU: stored pixel values in, probabilities out, without torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.clock import Clock
from geoseg.engine.network_input import Pixel, Scaling, contiguous, normalise
from geoseg.engine.settings import Settings
from geoseg.engine.symmetries import SYMMETRIES, Symmetry
from geoseg.errors import Message, ModelError
from geoseg.grid.legend import Task

if TYPE_CHECKING:
    import openvino

Shares = npt.NDArray[np.float32]

_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""OpenVINO's names for the precision between layers; the layers of an int8 graph carry their own types."""
MOST_TOGETHER = 4
"""Largest number of tiles computed at the same time: each takes the memory of all layers."""
_PLACES = ("Exception from ", "Check '", "FrontEnd API failed", "Model wasn't fully converted", "Summary:")
"""Beginnings of the lines in which OpenVINO names places in its own code."""
_EVERYWHERE = np.zeros((0, 0), bool)


class CompiledGraph:
    """A graph compiled for this machine that maps a tile to probabilities; threads may share it.

    Tiles are computed one by one, several in parallel, so that the result of one does not depend on the others.

    Parameters
    ----------
    graph : openvino.Model
        Takes (1, band, row, col) float32 and gives logits (1, channel, row, col) float32.
    precision : str
        ``fp32``, ``bf16``, or ``int8`` for a quantized graph.
    threads : int
        CPU threads; they are shared equally by the tiles computed in parallel, at most `MOST_TOGETHER`.
    task : str
        As in `geoseg.engine.network.Network`.
    temperature : float, or tuple of float
        Divides the logits: one number, or one for each channel.
    """

    def __init__(
        self,
        graph: openvino.Model,
        precision: str,
        threads: int,
        task: Task = "multiclass",
        temperature: float | tuple[float, ...] = 1.0,
    ) -> None:
        self.task, self.together = task, min(threads, MOST_TOGETHER)
        self._compiled = _compiled(_with_shares(graph, task, temperature), precision, threads, self.together)
        self.shape = tuple(int(edge) for edge in self._compiled.input(0).shape[1:])
        self._idle: list[openvino.InferRequest] = []
        self._lock = threading.Lock()

    @contextmanager
    def requests(self) -> Iterator[list[openvino.InferRequest]]:
        """Lend one inference request more than are computed in parallel, for the length of the ``with`` block."""
        count = self.together + 1
        with self._lock:
            lent, self._idle = self._idle[:count], self._idle[count:]
        lent += [self._compiled.create_infer_request() for _ in range(count - len(lent))]
        try:
            yield list(lent)
        finally:
            for request in lent:
                request.wait()  # after an error elsewhere: no request may run on unused
            with self._lock:
                self._idle += lent


class Stream(Protocol):
    """Tiles on their way through a network; results come out in the order in which tiles were sent."""

    @property
    def full(self) -> bool:
        """Whether a result has to be taken before another tile can be sent."""

    def send(
        self, pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, place: tuple[int, int]
    ) -> None:
        """Send the tile whose first pixel is at `place` in pixels (band, row, col) of any real type."""

    def take(self) -> Shares:
        """Wait for the oldest tile and return its probabilities (channel, row, col), valid until the next call."""


class OpenVinoNetwork:
    """A segmentation network that takes the stored pixel values of a scene, computed by OpenVINO.

    Parameters
    ----------
    compiled : CompiledGraph
        The compiled graph, which several networks may share.
    gain, bias : sequence of float
        Per band; network input = stored * gain + bias.
    settings : Settings
        Precision, threads and test-time augmentation.

    Attributes
    ----------
    clock : Clock
        Measures the stages; off by default. The network's time is the time spent waiting for it.
    """

    def __init__(
        self, compiled: CompiledGraph, gain: Sequence[float], bias: Sequence[float], settings: Settings
    ) -> None:
        self.settings, self.clock, self.task = settings, Clock(), compiled.task
        self._compiled = compiled
        self._scaling = tuple(zip(map(float, gain), map(float, bias), strict=True))

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        """Return a context in which tiles can be sent and results taken."""
        with self._compiled.requests() as requests:
            looks = SYMMETRIES if self.settings.tta else SYMMETRIES[:1]
            yield _Stream(requests, self._scaling, looks, self.clock)

    def probabilities(
        self, chips: Sequence[npt.NDArray[Any]], valid: Sequence[npt.NDArray[np.bool_] | None]
    ) -> list[Shares]:
        """Return the probabilities of several chips.

        Parameters
        ----------
        chips : sequence of ndarray, each (band, row, col)
            Stored pixel values, any real dtype.
        valid : sequence of ndarray of bool, each (row, col), or None where all pixels are valid
            Valid pixels of each chip; the others become 0 in the network's input.

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
    """Inference requests used in turn; with test-time augmentation the mean of several views of each tile."""

    def __init__(
        self,
        requests: list[Any],
        scaling: tuple[tuple[float, float], ...],
        looks: Sequence[Symmetry],
        clock: Clock,
    ) -> None:
        self._free, self._looks, self._clock = requests, looks, clock
        self._scaling = [Scaling(*each) for each in scaling]
        self._sent: deque[tuple[Any, Symmetry, bool]] = deque()
        """Running requests, the symmetry of each, and whether all values of its input are finite."""
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
        known, begin = _EVERYWHERE if valid is None else valid, Pixel(*place)
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
                        finite &= normalise(plane, known, begin, scaling, target[band]) == 0
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
        """Wait for the oldest view and add its probabilities to those of the same tile."""
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
        if not finite:  # OpenVINO treats NaN as 0 in some layers and would return a normal result
            shares[...] = np.nan
        return shares

    def _release(self) -> None:
        """Take back the request whose result was handed out last."""
        if self._held is not None:
            self._free.append(self._held)
            self._held = None


def logits_of(graph: openvino.Model, images: Sequence[Shares], precision: str = "fp32") -> list[Shares]:
    """Compute the logits of images with a graph, one after the other.

    Parameters
    ----------
    graph : openvino.Model
        Maps (1, band, row, col) to logits (1, channel, row, col).
    images : sequence of ndarray of float32, each (1, band, row, col)
        Network inputs.
    precision : str
        ``fp32``, ``bf16``, or ``int8`` for a quantized graph.

    Returns
    -------
    list of ndarray of float32, each (1, channel, row, col)
    """
    request = _compiled(graph, precision, 1, 1).create_infer_request()
    return [np.array(request.infer([image])[0]) for image in images]


def reshaped(graph: openvino.Model, shape: tuple[int, int]) -> openvino.Model:
    """Return the graph for images of another height and width; unchanged if they are the same.

    Raises
    ------
    ModelError
        If the graph accepts only images of its own shape.
    """
    one, bands, *edges = graph.input(0).shape
    if tuple(edges) == shape:
        return graph
    try:
        graph.reshape([one, bands, *shape])
    except RuntimeError as error:
        raise ModelError(
            f"the int8 graph is for tiles of {edges[0]} x {edges[1]} px, expected {shape[0]} x {shape[1]}",
            Message("measure it with that {tile_size}"),
        ) from error
    return graph


def _with_shares(graph: openvino.Model, task: Task, temperature: float | tuple[float, ...]) -> openvino.Model:
    """Return a graph that outputs probabilities instead of logits."""
    from geoseg.engine.openvino_runtime import openvino

    graph, opset13 = graph.clone(), openvino.opset13
    found = graph.get_results()[0].input_value(0)
    if temperature != 1:
        divisor = np.asarray(temperature, dtype=np.float32)
        if divisor.ndim:
            divisor = divisor.reshape(1, -1, 1, 1)
        found = opset13.divide(found, opset13.constant(divisor)).output(0)
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
            # Pinning would put all processes of a machine on its first cores.
            "ENABLE_CPU_PINNING": False,
        },
    )


def first_line_of(error: BaseException) -> str:
    """Return the first informative line of an OpenVINO error, at most 200 characters."""
    lines = [line.strip("- ") for line in str(error).splitlines() if line.strip()]
    said = (line for line in lines if not line.startswith(_PLACES))
    return next(said, lines[0] if lines else type(error).__name__)[:200]
