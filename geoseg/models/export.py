"""What `geoseg model export` does: a model's network as a graph, for every tile size that it can be for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg.engine.quantized import GraphBytes
from geoseg.errors import ModelError, OptionError
from geoseg.models.card import Card, WeightPrecision
from geoseg.models.exported import About, ExportPrecision, check_export_name, is_onnx, write_exported
from geoseg.models.graphs import graph_of, int8_graph_of

if TYPE_CHECKING:
    import openvino

    from geoseg.models.model import Model

_ALIKE = 1e-3
"""Most that a graph, of another shape too, may differ from the network on noise, relative to the largest logit."""
_STRIDE = 32
"""Px, that encoders divide edges by: many a network takes any edge, but its trace only multiples of it."""


def export(
    model: Model,
    path: Path,
    *,
    tile_size: int | None,
    precision: ExportPrecision,
    weights: WeightPrecision,
    overwrite: bool,
) -> Card:
    """Write the graph of a model's network, with its card; see `Model.export`."""
    check_export_name(path, precision, weights)
    if model.exported is not None:
        model.exported.build()
    if not model.traceable:
        raise ModelError(
            f"{path}: a network of your own is not exported: what it does with other numbers a graph does not show"
        )
    digest = model.stored_digest
    card, whole = model.card, model.card.image_size
    if whole is not None and tile_size is not None:
        raise OptionError(
            f"the model {card.name} sees whole images, resized to {whole[0]} x {whole[1]} px, and no tiles; leave "
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


def _onnx_of(model: Model, shape: tuple[int, int]) -> GraphBytes:
    """Return a model's network as an ONNX file, of which OpenVINO says what the network says."""
    from geoseg.engine.conversion import as_onnx

    found = GraphBytes(as_onnx(model.network, (len(model.card.bands), *shape)), b"")
    if not _agree(model, found.graph(), shape):
        raise ModelError(
            f"the ONNX file of the model {model.card.name} would say something else than it; export it as .xml"
        )
    return found


def _multiple(model: Model, graph: openvino.Model, shape: tuple[int, int]) -> int | None:
    """Multiples of px that edges must have for a graph to say of an image what the network says; None for one shape.

    A graph is a trace with images of one shape, and may hold that shape in numbers: so it is tried with another one.
    """
    steps = model.stride_multiple, math.lcm(model.stride_multiple, _STRIDE)
    return next((step for step in steps if _agree(model, graph, _other(shape, step))), None)


def _other(shape: tuple[int, int], step: int) -> tuple[int, int]:
    """Another shape, of multiples of a step, which is no square."""
    rows, cols = (-(-edge // step) * step for edge in shape)
    return rows + step, cols + 2 * step


def _agree(model: Model, graph: openvino.Model, shape: tuple[int, int]) -> bool:
    """Whether a graph says of noise of a shape what the network says."""
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
