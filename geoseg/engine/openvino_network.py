"""Networks that OpenVINO computes on the CPU."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.engine.folded import folded
from geoseg.errors import ModelError

if TYPE_CHECKING:
    import openvino

_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16"}
"""What OpenVINO calls the numbers between the layers; the layers of an int8 graph say themselves what they take."""
MOST_TOGETHER = 4
"""Images that are computed at the same time: each takes the memory of all its layers, and batches are not larger."""
_ALIKE = 1e-3
"""Most that a converted network may differ from the original on noise, relative to the largest logit."""


class OpenVinoNetwork(nn.Module):
    """A network that OpenVINO computes: (n, band, row, col) float32 to logits (n, channel, row, col) float32.

    Images are computed one by one, several at the same time, so that the answer to an image depends on nothing but
    the image. Threads may share it.

    Parameters
    ----------
    graph : openvino.Model
        As `converted` returns it.
    precision : str
        ``fp32``, ``bf16``, or ``int8`` of a quantized graph.
    threads : int
        CPU threads; as many images are computed at the same time, `MOST_TOGETHER` at most, by equal parts of them.
    """

    def __init__(self, graph: openvino.Model, precision: str, threads: int) -> None:
        super().__init__()
        self._compiled = _core().compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": min(threads, MOST_TOGETHER),
                # Several processes on one machine would all be pinned to its first cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._shape = tuple(int(edge) for edge in self._compiled.output(0).shape)
        self._idle: list[openvino.InferRequest] = []
        self._lock = threading.Lock()
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits."""
        images = inputs.detach().permute(0, 2, 3, 1).contiguous().numpy()
        logits = np.empty((len(images), *self._shape[1:]), dtype=np.float32)
        self._run(images, logits)
        return torch.from_numpy(logits)

    def _run(self, images: Any, logits: Any) -> None:
        from openvino import Tensor as Shared

        with self._requests(len(images)) as requests:
            for index, request in enumerate(requests):
                request.set_input_tensor(Shared(images[index : index + 1], shared_memory=True))
                request.set_output_tensor(Shared(logits[index : index + 1], shared_memory=True))
                request.start_async()
            for request in requests:
                request.wait()

    @contextmanager
    def _requests(self, count: int) -> Iterator[Sequence[openvino.InferRequest]]:
        """Lend requests, each of which computes one image; a thread has its own meanwhile."""
        with self._lock:
            lent, self._idle = self._idle[:count], self._idle[count:]
        lent += [self._compiled.create_infer_request() for _ in range(count - len(lent))]
        try:
            yield lent
        finally:
            with self._lock:
                self._idle += lent


def converted(network: nn.Module, shape: tuple[int, int, int]) -> openvino.Model:
    """Return the graph of a network for one image of a shape.

    Parameters
    ----------
    network : nn.Module
        Maps (n, band, row, col) to logits (n, channel, row, col); in evaluation mode on the CPU, in float32.
    shape : tuple of int
        (band, row, col) of the images.

    Returns
    -------
    openvino.Model
        Takes (1, row, col, band) float32 and gives (1, channel, row, col) float32.

    Raises
    ------
    ModelError
        If OpenVINO cannot express it.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.preprocess import PrePostProcessor

    example = torch.zeros((1, *shape))
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
            warnings.simplefilter("ignore")  # of constants in the trace, which is for one shape
            # Not by `openvino.convert_model`: that reports every conversion to its makers over the internet, and has
            # torch check the trace, which imports half of torch.
            traced = torch.jit.trace(folded(network), example, check_trace=False)  # type: ignore[no-untyped-call]
            frontend = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(traced)  # which the frontend does not keep alive
            graph = frontend.convert(frontend.load(decoder))
            graph.reshape(list(example.shape))
        steps = PrePostProcessor(graph)
        steps.input().tensor().set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        graph = steps.build()
        found = OpenVinoNetwork(graph, "fp32", 1)
        image = torch.rand(example.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.inference_mode():
            off = float((found(image) - network(image)).abs().max() / network(image).abs().max())
        if not off < _ALIKE:
            raise ModelError(f"OpenVINO computes something else of the network: it is off by {off:.1%}")
        return graph
    except ModelError:
        raise
    # Its frontend raises whatever the operation it met is refused with.
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"OpenVINO cannot compute the network: {reason[:200]}") from error


def reshaped(graph: openvino.Model, shape: tuple[int, int]) -> openvino.Model:
    """Return a graph for images of other rows and columns; where they are the same, itself.

    Raises
    ------
    ModelError
        If it is for images of its shape only.
    """
    one, *edges, bands = graph.input(0).shape
    if tuple(edges) == shape:
        return graph
    try:
        graph.reshape([one, *shape, bands])
    except RuntimeError as error:
        raise ModelError(
            f"the int8 graph is for tiles of {edges[0]} x {edges[1]} px, expected {shape[0]} x {shape[1]}; measure it "
            "with that --tile-size"
        ) from error
    return graph


@cache
def _core() -> openvino.Core:
    import openvino

    return openvino.Core()


def computes_bf16() -> bool:
    """Whether the CPU has instructions for bfloat16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
