"""Export a model's network as a graph, for every tile size that the graph is valid for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OptionError
from geoseg.models.card import Card, WeightPrecision
from geoseg.models.exported import About, ExportPrecision, check_export_name, is_onnx, write_exported
from geoseg.models.graphs import GraphSource, graph_of, int8_graph_of

if TYPE_CHECKING:
    import openvino

_ALIKE = 1e-3
"""Largest accepted difference between the graph (also at another shape) and the network on noise, relative to
the largest logit."""
_STRIDE = 32
"""Px by which encoders divide edges: many networks take any edge, but their traces only multiples of it."""


class Exportable(GraphSource, Protocol):
    """What is needed of a `Model` to export it."""

    @property
    def traceable(self) -> bool:
        """Whether a trace shows all that the network does."""

    @property
    def stored_digest(self) -> str:
        """Digest by which the card of a model file names its weights."""

    @property
    def stride_multiple(self) -> int:
        """Px of which the edges of the network's input must be multiples."""

    def check_tile_size(self, size: int) -> None:
        """Raise OptionError for a tile size that the network cannot take."""


def export(
    model: Exportable,
    path: Path,
    *,
    tile_size: int | None,
    precision: ExportPrecision,
    weights: WeightPrecision,
    overwrite: bool,
) -> Card:
    """Write the graph of a model's network with its card; see `Model.export`."""
    check_export_name(path, precision, weights)
    if model.exported is not None:
        model.exported.build()
    if not model.traceable:
        raise ModelError(
            f"{path}: a network of your own cannot be exported: a traced graph may not show all that its code does"
        )
    digest = model.stored_digest
    card, whole = model.card, model.card.image_size
    if whole is not None and tile_size is not None:
        raise OptionError(
            f"the model {card.name} takes whole images, resized to {whole[0]} x {whole[1]} px, not tiles; leave "
            "the tile size out"
        )
    size = card.tile.size if tile_size is None else tile_size
    shape = whole or (size, size)
    for edge in set(shape):
        model.check_tile_size(edge)
    onnx = _onnx_of(model, shape) if is_onnx(path) else None
    graph = graph_of(model, shape) if onnx is None else onnx.graph()
    multiple = _multiple(model, graph, shape)
    if precision == "int8":
        graph = int8_graph_of(model, shape)
    written = card.changed(
        weights_sha256=digest,
        quantization=card.quantization if precision == "int8" else None,
        tile={"size": size, "overlap": min(card.tile.overlap, size // 2)},
    )
    about = About(precision=precision, shape=shape, multiple=multiple, weights=weights)
    write_exported(path, graph if onnx is None else onnx.operations, written, about, overwrite=overwrite)
    return written


def _onnx_of(model: Exportable, shape: tuple[int, int]) -> GraphBytes:
    """Return a model's network as an ONNX file, checked against the network with OpenVINO."""
    from geoseg.engine.conversion import as_onnx

    found = GraphBytes(as_onnx(model.network, (len(model.card.bands), *shape)), b"")
    if not _agree(model, found.graph(), shape):
        raise ModelError(
            f"the ONNX file of the model {model.card.name} would give other results than the model; export it as .xml"
        )
    return found


def _multiple(model: Exportable, graph: openvino.Model, shape: tuple[int, int]) -> int | None:
    """Return the px of which edges must be multiples for the graph to agree with the network; None for one shape
    only.

    A graph is traced with images of one shape, which may be fixed in its constants: so it is tried with another
    shape.
    """
    steps = model.stride_multiple, math.lcm(model.stride_multiple, _STRIDE)
    return next((step for step in steps if _agree(model, graph, _other(shape, step))), None)


def _other(shape: tuple[int, int], step: int) -> tuple[int, int]:
    """Return another shape of multiples of `step`, which is not square."""
    rows, cols = (-(-edge // step) * step for edge in shape)
    return rows + step, cols + 2 * step


def _agree(model: Exportable, graph: openvino.Model, shape: tuple[int, int]) -> bool:
    """Return whether a graph gives the network's results for noise of a shape."""
    import torch

    from geoseg.engine.openvino_network import logits_of, reshaped

    try:
        resized = reshaped(graph.clone(), shape)
    except ModelError:
        return False
    image = np.random.default_rng(0).uniform(-1, 1, (1, len(model.card.bands), *shape)).astype(np.float32)
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(image)).numpy()
    if list(resized.output(0).shape) != list(expected.shape):
        return False
    (found,) = logits_of(resized, [image])
    return bool(np.abs(found - expected).max() < _ALIKE * np.abs(expected).max())
