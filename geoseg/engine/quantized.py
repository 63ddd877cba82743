"""Graphs whose layers multiply integers of 8 bits."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.errors import ModelError, OptionError

if TYPE_CHECKING:
    import openvino

Images = Sequence[npt.NDArray[np.float32]]
"""Each (1, band, row, col), as a graph takes them."""


class GraphBytes(NamedTuple):
    """A graph as OpenVINO stores it: nothing in it is ever run but OpenVINO's own operations.

    Parameters
    ----------
    xml : bytes
        Its operations.
    weights : bytes
        Its numbers.
    """

    xml: bytes
    weights: bytes

    @classmethod
    def of(cls, graph: openvino.Model) -> GraphBytes:
        """Store a graph."""
        import openvino

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.xml"
            openvino.save_model(graph, path, compress_to_fp16=False)
            return cls(path.read_bytes(), path.with_suffix(".bin").read_bytes())

    @property
    def sha256(self) -> str:
        """Digest of both parts."""
        return hashlib.sha256(self.xml + self.weights).hexdigest()

    def graph(self) -> openvino.Model:
        """Read the graph.

        Raises
        ------
        ModelError
            If OpenVINO cannot read it.
        """
        import openvino

        weights = openvino.Tensor(np.frombuffer(self.weights, dtype=np.uint8))
        try:
            return openvino.Core().read_model(model=self.xml, weights=weights)
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
            raise ModelError(f"its int8 graph cannot be read: {reason[:200]}") from error


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


def quantized(graph: openvino.Model, images: Images) -> openvino.Model:
    """Return a graph that computes in int8, with ranges measured on images.

    Weights have a step for each of their output channels, tensors between layers one step and zero point. Weights use
    7 of their 8 bits: then sums of two products fit 16 bits, on CPUs without instructions for more, too.

    Parameters
    ----------
    graph : openvino.Model
        As `converted` returns it; it is left as it is.
    images : sequence of ndarray of float32, each (1, band, row, col)
        As the network gets them.

    Raises
    ------
    OptionError
        If the network has nothing that can be computed so.
    """
    os.environ.setdefault("NNCF_CI", "1")  # it reports every use to its makers over the internet else
    with _quiet():
        import nncf

        try:
            found = nncf.quantize(
                graph.clone(),
                nncf.Dataset(images),
                subset_size=len(images),
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
        except Exception as error:  # of a graph that it does not know, whatever it likes
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise OptionError(
                f"the network cannot be computed in int8: {reason[:200]}; choose another precision"
            ) from error
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the bars and the logger of NNCF off the terminal."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
