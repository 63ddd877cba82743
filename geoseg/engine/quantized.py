"""Quantize OpenVINO graphs to 8-bit integers."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, ModelError, OptionError

if TYPE_CHECKING:
    import openvino

Images = Sequence[npt.NDArray[np.float32]]
"""Network inputs, each (1, band, row, col)."""

Compute = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""Maps an image (1, band, row, col) to logits (1, channel, row, col)."""

_LAYERS = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
)
"""OpenVINO operations that have weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How good an int8 graph must be.

    Parameters
    ----------
    score : callable
        Called with a graph and indices of images; returns the score of its results on them, higher is better.
    places : tuple of int
        Indices of the images that can be scored, alone or together.
    max_drop : float
        Largest accepted drop of the score over all of these images, compared with fp32.
    """

    score: Callable[[Compute, Sequence[int]], float]
    places: tuple[int, ...]
    max_drop: float


@dataclass(frozen=True)
class GraphBytes:
    """A graph as a file that OpenVINO reads; only OpenVINO's own operations are ever run from it.

    Parameters
    ----------
    operations : bytes
        Operations as XML; or the whole graph as ONNX.
    weights : bytes
        Weights of the operations; empty for ONNX.
    """

    operations: bytes
    weights: bytes

    @classmethod
    def of(cls, graph: openvino.Model) -> GraphBytes:
        """Serialize a graph."""
        from geoseg.engine.openvino_runtime import openvino

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.xml"
            openvino.save_model(graph, path, compress_to_fp16=False)
            return cls(path.read_bytes(), path.with_suffix(".bin").read_bytes())

    @cached_property
    def sha256(self) -> str:
        """SHA-256 digest of both parts."""
        return hashlib.sha256(self.operations + self.weights).hexdigest()

    def graph(self) -> openvino.Model:
        """Read the graph with OpenVINO.

        Raises
        ------
        ModelError
            If OpenVINO cannot read it.
        """
        from geoseg.engine.openvino_runtime import openvino

        return read_graph(self.operations, openvino.Tensor(np.frombuffer(self.weights, dtype=np.uint8)))


def read_graph(model: bytes | Path, weights: openvino.Tensor | None = None) -> openvino.Model:
    """Read a graph with OpenVINO.

    Parameters
    ----------
    model : bytes or Path
        Operations of an OpenVINO IR, or an ONNX file: its bytes or its path.
    weights : Tensor of uint8, shape (byte,), optional
        Weights of an OpenVINO IR.

    Raises
    ------
    ModelError
        If OpenVINO cannot read it.
    """
    from geoseg.engine.openvino_network import first_line_of
    from geoseg.engine.openvino_runtime import core

    try:
        return core().read_model(model) if weights is None else core().read_model(model, weights)
    except RuntimeError as error:
        raise ModelError(f"its graph cannot be read: {first_line_of(error)}") from error


def check_int8(device: str) -> None:
    """Raise OptionError for a device that does not compute in int8.

    Raises
    ------
    OptionError
    """
    if device != "cpu":
        raise OptionError(
            f"precision int8 is for the CPU, found {device}",
            Message("pass {device}, or choose bf16 or fp16", device="cpu"),
        )


def check_installed() -> None:
    """Raise OptionError if the package nncf, which measures value ranges, is not installed.

    Raises
    ------
    OptionError
    """
    if importlib.util.find_spec("nncf") is None:
        raise OptionError("int8 needs the package nncf, which is not installed: pip install nncf")


def quantized(graph: openvino.Model, images: Images, demand: Demand | None = None) -> openvino.Model:
    """Return a graph that computes in int8, with value ranges measured on images.

    Weights have one step per output channel, tensors between layers one step and zero point. Weights use
    7 of their 8 bits, so that sums of two products fit in 16 bits, also on CPUs without wider instructions.

    Parameters
    ----------
    graph : openvino.Model
        As `converted` returns it; it is not changed.
    images : sequence of ndarray of float32, each (1, band, row, col)
        Network inputs.
    demand : Demand, optional
        If the score drops by more, layers go back to fp32, those first that raise it most. Each is tried
        by itself, which takes at least as many runs over the images as there are layers.

    Raises
    ------
    OptionError
        If no layer of the network can be computed in int8.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else NNCF sends telemetry over the internet
    with _quiet():
        from geoseg.engine.openvino_runtime import with_signal_stack_kept

        stop = Event()
        try:
            return with_signal_stack_kept(lambda: _made_by_nncf(graph, images, demand, stop), stop)
        except Exception as error:  # NNCF raises errors of any type for graphs that it does not know
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise OptionError(
                f"the network cannot be computed in int8: {reason[:200]}; choose another precision"
            ) from error


def _made_by_nncf(
    graph: openvino.Model, images: Images, demand: Demand | None, stop: Event
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
    """A sequence that raises InterruptedError once an event is set."""

    def __init__(self, items: Sequence[Any], stop: Event) -> None:
        self._items, self._stop = items, stop

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        if self._stop.is_set():
            raise InterruptedError
        return self._items[place]


def fp32_layers(graph: openvino.Model) -> int:
    """Count the layers with weights that a quantized graph still computes in fp32."""
    layers = (op for op in graph.get_ordered_ops() if op.get_type_name() in _LAYERS)
    return sum(_has_fp32_weights(layer) for layer in layers)


def _has_fp32_weights(layer: Any) -> bool:
    """Return whether a layer's weights are neither stored in 8 bits nor rounded to them; False if it has none."""
    node = layer.input_value(1).get_node()
    while node.get_input_size():
        if node.get_type_name() == "FakeQuantize":
            return False
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and int(node.get_element_type().bitwidth) > 8


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output and warnings of NNCF, and of torch while NNCF imports it."""
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
