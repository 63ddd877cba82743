"""Graphs whose layers multiply integers of 8 bits."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.errors import ModelError, OptionError

if TYPE_CHECKING:
    import openvino

Images = Sequence[npt.NDArray[np.float32]]
"""Each (1, band, row, col), as a graph takes them."""

Compute = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""A graph: from an image (1, band, row, col) to logits (1, channel, row, col)."""

_LAYERS = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
)
"""Operations that have weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How good a graph in int8 must be.

    Parameters
    ----------
    score : callable
        Called with a graph and the places of some images: how good its answers to them are, more is better.
    places : tuple of int
        The images that have a score, alone as well as together.
    max_drop : float
        How much lower than in fp32 the score of all of these may be.
    """

    score: Callable[[Compute, Sequence[int]], float]
    places: tuple[int, ...]
    max_drop: float


class GraphBytes(NamedTuple):
    """A graph as a file that OpenVINO reads: nothing in it is ever run but OpenVINO's own operations.

    Parameters
    ----------
    operations : bytes
        Its operations, as XML; or all of it, as ONNX.
    weights : bytes
        Its numbers; empty of ONNX.
    """

    operations: bytes
    weights: bytes

    @classmethod
    def of(cls, graph: openvino.Model) -> GraphBytes:
        """Store a graph."""
        from geoseg.engine.openvino_runtime import openvino

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.xml"
            openvino.save_model(graph, path, compress_to_fp16=False)
            return cls(path.read_bytes(), path.with_suffix(".bin").read_bytes())

    @property
    def sha256(self) -> str:
        """Digest of both parts."""
        return hashlib.sha256(self.operations + self.weights).hexdigest()

    def graph(self) -> openvino.Model:
        """Read the graph.

        Raises
        ------
        ModelError
            If OpenVINO cannot read it.
        """
        from geoseg.engine.openvino_runtime import core, openvino

        weights = openvino.Tensor(np.frombuffer(self.weights, dtype=np.uint8))
        try:
            return core().read_model(model=self.operations, weights=weights)
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
            raise ModelError(f"its graph cannot be read: {reason[:200]}") from error


def check_int8(device: str) -> None:
    """Refuse a device that does not compute in int8, before any work is done.

    Raises
    ------
    OptionError
    """
    if device != "cpu":
        raise OptionError(
            f"precision int8 is for the CPU, found {device}; pass --device cpu, or choose bf16 or fp16"
        )


def check_installed() -> None:
    """Refuse to go on without the package that measures ranges.

    Raises
    ------
    OptionError
    """
    if importlib.util.find_spec("nncf") is None:
        raise OptionError("int8 needs the package nncf, which is not installed: pip install nncf")


def quantized(graph: openvino.Model, images: Images, demand: Demand | None = None) -> openvino.Model:
    """Return a graph that computes in int8, with ranges measured on images.

    Weights have a step for each of their output channels, tensors between layers one step and zero point. Weights use
    7 of their 8 bits: then sums of two products fit 16 bits, on CPUs without instructions for more, too.

    Parameters
    ----------
    graph : openvino.Model
        As `converted` returns it; it is left as it is.
    images : sequence of ndarray of float32, each (1, band, row, col)
        As the network gets them.
    demand : Demand, optional
        Where the score drops by more, layers go back to fp32, those first whose return raises it most. Each is tried
        by itself, and that takes as many runs of the images as there are layers, and some more.

    Raises
    ------
    OptionError
        If the network has nothing that can be computed so.
    """
    os.environ.setdefault("NNCF_CI", "1")  # it reports every use to its makers over the internet else
    with _quiet():
        from geoseg.engine.openvino_runtime import with_signal_stack_kept

        stop = threading.Event()
        try:
            return with_signal_stack_kept(lambda: _made_by_nncf(graph, images, demand, stop), stop)
        except Exception as error:  # of a graph that it does not know, whatever it likes
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise OptionError(
                f"the network cannot be computed in int8: {reason[:200]}; choose another precision"
            ) from error


def _made_by_nncf(
    graph: openvino.Model, images: Images, demand: Demand | None, stop: threading.Event
) -> openvino.Model:
    import nncf

    how: dict[str, Any] = {"subset_size": len(images)}
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    images = _UntilStopped(images, stop)
    if demand is None:
        return nncf.quantize(graph.clone(), nncf.Dataset(images), advanced_parameters=advanced, **how)
    return nncf.quantize_with_accuracy_control(
        graph.clone(),
        nncf.Dataset(images),
        nncf.Dataset(_UntilStopped(demand.places, stop)),
        lambda compiled, places: (demand.score(lambda image: compiled(image)[0], list(places)), None),
        max_drop=demand.max_drop,
        advanced_quantization_parameters=advanced,
        **how,
    )


class _UntilStopped(Sequence[Any]):
    """Items that are given until an event is set."""

    def __init__(self, items: Sequence[Any], stop: threading.Event) -> None:
        self._items, self._stop = items, stop

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        if self._stop.is_set():
            raise InterruptedError
        return self._items[place]


def fp32_layers(graph: openvino.Model) -> int:
    """Count the layers with weights that a quantized graph computes in fp32."""
    layers = (op for op in graph.get_ordered_ops() if op.get_type_name() in _LAYERS)
    return sum(_has_fp32_weights(layer) for layer in layers)


def _has_fp32_weights(layer: Any) -> bool:
    """Whether the weights of a layer are neither stored in 8 bits nor rounded to them; False where it has none."""
    node = layer.input_value(1).get_node()
    while node.get_input_size():
        if node.get_type_name() == "FakeQuantize":
            return False
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and int(node.get_element_type().bitwidth) > 8


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what NNCF, and torch while NNCF imports it, say of themselves off the terminal."""
    loggers = [logging.getLogger(name) for name in ("nncf", "torch.utils.cpp_extension")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
