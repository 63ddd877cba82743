"""What computes the network of a model, as the options of a run want it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork, reshaped
from geoseg.engine.quantized import check_int8
from geoseg.engine.settings import Settings
from geoseg.errors import ModelError
from geoseg.inference.options import PredictOptions
from geoseg.inference.worker_models import Kept
from geoseg.models.card import Card
from geoseg.models.graphs import graph_key, graph_of
from geoseg.models.model import Model, weights_sha256
from geoseg.models.wrapped import Wrapped

if TYPE_CHECKING:
    import openvino
    from torch import nn

    from geoseg.engine.network import Network

log = logging.getLogger("geoseg")

_COMPILED: Kept[CompiledGraph] = Kept(2)
_REMEDY = "measure it with `geoseg model quantize MODEL SCENE... -o OUT.safetensors`"


def as_asked(settings: Settings, options: PredictOptions, card: Card) -> Settings:
    """Return settings with what else the options ask for.

    Raises
    ------
    OptionError, ModelError
        If this machine, or the model, cannot do that.
    """
    if settings.precision == "int8":
        if card.quantization is None:
            raise ModelError(f"the model {card.name} does not hold what int8 needs; {_REMEDY}")
        check_int8(settings.device)
    if options.compile:
        from geoseg.engine.compiled import check_compiler

        check_compiler(settings.device)
    return replace(settings, tta=options.tta, compile=options.compile)


def with_runtime(settings: Settings, model: Model, shape: tuple[int, int]) -> Settings:
    """Return settings that say what computes the network: OpenVINO on the CPU, where it can.

    Parameters
    ----------
    settings : Settings
    model : Model
    shape : tuple of int
        (rows, cols) of the tiles.

    Raises
    ------
    ModelError
        If what int8 needs was measured with other weights, or cannot be computed in tiles of this shape.
    """
    # A network of one's own may do with a tile what a trace of it does not show.
    if settings.device != "cpu" or settings.precision == "fp16" or not traceable(model.network):
        return settings
    if settings.tta and shape[0] != shape[1]:  # a graph is for images of one shape, and these are turned
        return settings
    try:
        _compiled(model, settings, shape)
    except ModelError as error:
        if settings.precision == "int8":
            raise
        log.info("%s; torch does, slower", error)
        return settings
    return replace(settings, runtime="openvino")


_KNOWN = frozenset(("torch", "segmentation_models_pytorch", "timm", "torchvision", "geoseg"))
"""Packages whose layers do with every tile what they do with one."""


def traceable(network: nn.Module) -> bool:
    """Whether a trace shows all of a network: a layer of one's own may do something else with other numbers."""
    return not isinstance(network, Wrapped) and all(
        type(layer).__module__.partition(".")[0] in _KNOWN for layer in network.modules()
    )


def network_for(
    model: Model, settings: Settings, shape: tuple[int, int], scaling: tuple[Sequence[float], Sequence[float]]
) -> Network | OpenVinoNetwork:
    """Return the network of a model, ready for what a scene stores.

    Parameters
    ----------
    model : Model
    settings : Settings
    shape : tuple of int
        (rows, cols) of the tiles.
    scaling : (gain, bias)
        Per band; network input = stored * gain + bias.

    Raises
    ------
    ModelError
        As `with_runtime`.
    """
    if settings.runtime == "openvino":
        return OpenVinoNetwork(_compiled(model, settings, shape), *scaling, settings)
    from geoseg.engine.network import Network

    card = model.card
    return Network(model.network, *scaling, settings, card.temperature or 1.0, card.task)


def _compiled(model: Model, settings: Settings, shape: tuple[int, int]) -> CompiledGraph:
    """Return the compiled network, once for all scenes that follow each other."""
    quantized = model.int8.sha256 if settings.precision == "int8" and model.int8 is not None else ""
    graph = _int8_graph if settings.precision == "int8" else graph_of
    how = settings.precision, settings.threads, model.card.task, model.card.temperature or 1.0
    return _COMPILED.get(
        (graph_key(model, shape), quantized, *how), lambda: CompiledGraph(graph(model, shape), *how)
    )


def _int8_graph(model: Model, shape: tuple[int, int]) -> openvino.Model:
    """Return the graph of a model that computes in int8."""
    found, name = model.card.quantization, model.card.name
    if found is None or model.int8 is None or found.graph_sha256 != model.int8.sha256:
        raise ModelError(f"the model {name} does not hold what int8 needs; {_REMEDY}")
    if found.weights_sha256 != weights_sha256(model.network.state_dict()):
        raise ModelError(f"what the model {name} holds for int8 is of other weights; {_REMEDY}")
    return reshaped(model.int8.graph(), shape)
