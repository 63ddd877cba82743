"""The network of a model, as the options of a run want it computed."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace

from torch import nn

from geoseg.engine.compiled import check_compiler
from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.quantized import Quantized, check_int8
from geoseg.engine.settings import Settings
from geoseg.errors import ModelError
from geoseg.inference.options import PredictOptions
from geoseg.inference.worker_models import Kept
from geoseg.models.card import Card
from geoseg.models.graphs import graph_key, graph_of
from geoseg.models.model import Model, weights_sha256
from geoseg.models.wrapped import Wrapped

log = logging.getLogger("geoseg")

_COMPILED: Kept[Quantized] = Kept(1)
_OPENVINO: Kept[OpenVinoNetwork] = Kept(2)
_REMEDY = "measure it with `geoseg model quantize MODEL SCENE... -o OUT.safetensors`"


def as_asked(settings: Settings, options: PredictOptions, card: Card) -> Settings:
    """Return settings with what else the options ask for; a network in int8 is always compiled.

    Raises
    ------
    OptionError, ModelError
        If this machine, or the model, cannot do that.
    """
    if settings.precision == "int8":
        if card.quantization is None:
            raise ModelError(f"the model {card.name} does not hold what int8 needs; {_REMEDY}")
        check_int8(settings.device)
        return replace(settings, tta=options.tta, compile=True)
    if options.compile:
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
    """
    if settings.device != "cpu" or settings.precision not in ("fp32", "bf16") or settings.compile:
        return settings
    if not _known(model.network):
        return settings
    try:
        _openvino(model, settings, shape)
    except ModelError as error:
        log.info("%s; torch does, slower", error)
        return settings
    return replace(settings, runtime="openvino")


_KNOWN = frozenset(("torch", "segmentation_models_pytorch", "timm", "torchvision", "geoseg"))
"""Packages whose layers do with every tile what they do with one."""


def _known(network: nn.Module) -> bool:
    """Whether a trace shows all of a network: a layer of one's own may do something else with other numbers."""
    return not isinstance(network, Wrapped) and all(
        type(layer).__module__.partition(".")[0] in _KNOWN for layer in network.modules()
    )


def _openvino(model: Model, settings: Settings, shape: tuple[int, int]) -> OpenVinoNetwork:
    """Return the compiled network, once for all scenes that follow each other."""
    key = graph_key(model, shape), settings.precision, settings.threads
    return _OPENVINO.get(key, lambda: OpenVinoNetwork(graph_of(model, shape), *key[1:]))


def network_for(model: Model, settings: Settings, shape: tuple[int, int]) -> nn.Module:
    """Return what computes a model's network; in int8 once for all models of equal weights.

    Parameters
    ----------
    model : Model
    settings : Settings
    shape : tuple of int
        (rows, cols) of the tiles.

    Raises
    ------
    ModelError
        If what int8 needs was measured with other weights.
    """
    if settings.runtime == "openvino":
        return _openvino(model, settings, shape)
    if settings.precision != "int8":
        return model.network
    found = model.card.quantization
    if found is None or found.weights_sha256 != weights_sha256(model.network.state_dict()):
        raise ModelError(f"what the model {model.card.name} holds for int8 is of other weights; {_REMEDY}")
    # Compiling takes longer than many a scene: scenes that follow each other share what was compiled.
    # Its weights are a copy: those of the model may be changed before another shape of input comes.
    return _COMPILED.get(
        found.model_dump_json(), lambda: Quantized(copy.deepcopy(model.network), found.ranges)
    )
