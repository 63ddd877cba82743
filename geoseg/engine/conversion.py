"""Convert torch networks to graphs that OpenVINO computes."""

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
"""Largest accepted difference between the converted network and the original on noise, relative to the largest
logit."""
_OPERATIONS = 17
"""Version of ONNX's operator set: complete for what torch exports, and readable by programs since 2022."""
_MOST = 2 * 10**9
"""Largest total size in bytes of the weights in one ONNX file, a limit of Protocol Buffers."""


def converted(network: nn.Module, shape: tuple[int, int, int]) -> openvino.Model:
    """Convert a torch network to an OpenVINO graph for images of one shape.

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
        If OpenVINO cannot express the network, or computes something else.
    """
    try:
        graph = _traced(network, (1, *shape))
        image = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.inference_mode():
            expected = network(image).numpy()
        found = logits_of(graph, [image.numpy()])[0]
        off = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not off < _ALIKE:
            raise ModelError(
                f"the network converted to OpenVINO gives other results: its logits are off by {off:.1%}"
            )
        return graph
    except ModelError:
        raise
    # OpenVINO's frontend raises errors of any type for operations that it does not support.
    except Exception as error:
        raise ModelError(f"OpenVINO cannot compute the network: {first_line_of(error)}") from error


def check_onnx() -> None:
    """Raise OptionError if the package onnx, which torch needs to write ONNX files, is not installed.

    Raises
    ------
    OptionError
    """
    if importlib.util.find_spec("onnx") is None:
        raise OptionError(
            "to write .onnx needs the package onnx, which is not installed: pip install onnx; .xml needs none"
        )


def as_onnx(network: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """Return the bytes of an ONNX file with the network and its weights, for images of one shape.

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
            # By tracing, as for OpenVINO's graph: torch's newer exporter needs the package onnxscript, too.
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
    except Exception as error:  # torch raises errors of any type for operations that it does not know
        raise ModelError(
            f"torch cannot express the network as ONNX: {first_line_of(error)}; export it as .xml"
        ) from error


def _traced(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """Trace a network on an image of one shape and translate the trace to an OpenVINO graph."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.passes import ConstantFolding, Manager

    with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        warnings.simplefilter("ignore")  # of constants in the trace, which is for one shape
        # Not by `openvino.convert_model`: it sends telemetry about every conversion over the internet, and has
        # torch check the trace, which imports half of torch.
        traced = torch.jit.trace(folded(network), torch.zeros(shape), check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # which the frontend does not keep alive
        graph = frontend.convert(frontend.load(decoder))
        graph.reshape(list(shape))
    # The trace reshapes the weights of depthwise layers; unfolded, quantization tools would not find them.
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)
    return graph
