"""Networks of torch as graphs that OpenVINO computes."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from geoseg.engine.folded import folded
from geoseg.engine.openvino_network import first_line_of, logits_of
from geoseg.errors import ModelError, OptionError

if TYPE_CHECKING:
    import openvino

_ALIKE = 1e-3
"""Most that a converted network may differ from the original on noise, relative to the largest logit."""
_OPERATIONS = 17
"""Version of ONNX's operations: what torch translates to is complete in it, and programs have read it since 2022."""
_MOST = 2 * 10**9
"""Bytes of weights in one ONNX file, which Protocol Buffers limit."""


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
        Takes (1, band, row, col) float32 and gives (1, channel, row, col) float32.

    Raises
    ------
    ModelError
        If OpenVINO cannot express it.
    """
    try:
        graph = _traced(network, (1, *shape))
        image = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.inference_mode():
            expected = network(image).numpy()
        found = logits_of(graph, [image.numpy()])[0]
        off = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not off < _ALIKE:
            raise ModelError(f"OpenVINO computes something else of the network: it is off by {off:.1%}")
        return graph
    except ModelError:
        raise
    # Its frontend raises whatever the operation it met is refused with.
    except Exception as error:
        raise ModelError(f"OpenVINO cannot compute the network: {first_line_of(error)}") from error


def check_onnx() -> None:
    """Refuse to go on without the package that torch writes ONNX with.

    Raises
    ------
    OptionError
    """
    if importlib.util.find_spec("onnx") is None:
        raise OptionError(
            "to write .onnx needs the package onnx, which is not installed: pip install onnx; .xml needs none"
        )


def as_onnx(network: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """Return an ONNX file of a network for one image of a shape, its weights in it.

    Parameters
    ----------
    network, shape
        As `converted` takes them.

    Returns
    -------
    bytes
        ``image``, (1, band, row, col) float32, becomes ``logits``, (1, channel, row, col) float32.

    Raises
    ------
    OptionError
        If the package onnx is not installed.
    ModelError
        If torch cannot express the network so.
    """
    check_onnx()
    if sum(tensor.nbytes for tensor in network.state_dict().values()) > _MOST:
        raise ModelError(
            "an ONNX file has 2 GB at most, and the network's weights have more; export it as .xml"
        )
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            torch.inference_mode(mode=False),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")  # of constants in the trace, which is for one shape
            file = Path(folder) / "network.onnx"
            # By its trace, as OpenVINO's graph is made: torch's newer way needs onnxscript besides.
            torch.onnx.export(
                folded(network),
                (torch.zeros((1, *shape)),),
                file,
                dynamo=False,
                opset_version=_OPERATIONS,
                input_names=["image"],
                output_names=["logits"],
            )
            return file.read_bytes()
    except Exception as error:  # of an operation that it does not know, whatever it likes
        raise ModelError(
            f"torch cannot express the network as ONNX: {first_line_of(error)}; export it as .xml"
        ) from error


def _traced(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """Trace a network with an image of a shape, and translate the trace."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.passes import ConstantFolding, Manager

    with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        warnings.simplefilter("ignore")  # of constants in the trace, which is for one shape
        # Not by `openvino.convert_model`: that reports every conversion to its makers over the internet, and has
        # torch check the trace, which imports half of torch.
        traced = torch.jit.trace(folded(network), torch.zeros(shape), check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # which the frontend does not keep alive
        graph = frontend.convert(frontend.load(decoder))
        graph.reshape(list(shape))
    # Weights of depthwise layers are reshaped in the trace: as they are, no tool finds them to make integers of them.
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    return graph
