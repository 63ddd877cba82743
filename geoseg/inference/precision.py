"""What computes the network of a model, as the options of a run want it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork
from geoseg.engine.quantized import check_int8
from geoseg.engine.settings import Settings
from geoseg.errors import ModelError, OptionError
from geoseg.inference.options import PredictOptions
from geoseg.inference.worker_models import Kept
from geoseg.models.card import Card
from geoseg.models.graphs import REMEDY, graph_key, graph_of, int8_graph_of
from geoseg.models.model import Model

if TYPE_CHECKING:
    from geoseg.engine.network import Network

log = logging.getLogger("geoseg")

_COMPILED: Kept[CompiledGraph] = Kept(2)


def precision_for(options: PredictOptions, model: Model) -> str:
    """Return the precision that the options ask for; an exported model in int8 can be computed in nothing else."""
    exported = model.exported
    if options.precision == "auto" and exported is not None and exported.about.precision == "int8":
        return "int8"
    return options.precision


def as_asked(settings: Settings, options: PredictOptions, card: Card) -> Settings:
    """Return settings with what else the options ask for.

    Raises
    ------
    OptionError, ModelError
        If this machine, or the model, cannot do that.
    """
    if settings.precision == "int8":
        if card.quantization is None:
            raise ModelError(f"the model {card.name} does not hold what int8 needs; {REMEDY}")
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
    OptionError
        If an exported model shall see images turned that are not square.
    ModelError
        If what int8 needs was measured with other weights, or cannot be computed in tiles of this shape.
    """
    # A network of one's own may do with a tile what a trace of it does not show.
    if settings.device != "cpu" or settings.precision == "fp16" or not model.traceable:
        return settings
    if settings.tta and shape[0] != shape[1]:  # a graph is for images of one shape, and these are turned
        if model.exported is not None:
            raise OptionError(
                f"{model.exported.path}: sees images of {shape[0]} x {shape[1]} px, which have another shape when they "
                "are turned, and an exported model is not for that; leave tta out, or take the .safetensors that it "
                "was made of"
            )
        return settings
    try:
        _compiled(model, settings, shape)
    except ModelError as error:
        if settings.precision == "int8":
            raise
        log.info("%s; torch does, slower", error)
        return settings
    return replace(settings, runtime="openvino")


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
    graph = int8_graph_of if settings.precision == "int8" else graph_of
    how = settings.precision, settings.threads, model.card.task, model.card.temperature or 1.0
    return _COMPILED.get(
        (graph_key(model, shape), quantized, *how), lambda: CompiledGraph(graph(model, shape), *how)
    )
