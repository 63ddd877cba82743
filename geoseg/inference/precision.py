"""The network of a model, as the options of a run want it computed."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from geoseg.engine.compiled import check_compiler
from geoseg.engine.quantized import Quantized, check_int8
from geoseg.engine.settings import Settings
from geoseg.errors import ModelError
from geoseg.inference.options import PredictOptions
from geoseg.inference.worker_models import Kept
from geoseg.models.card import Card
from geoseg.models.model import Model, weights_sha256

_COMPILED: Kept[Quantized] = Kept(1)
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


def network_for(model: Model, settings: Settings) -> nn.Module:
    """Return the model's network, or in int8 what was made of it for that, once for all models of equal weights.

    Raises
    ------
    ModelError
        If what int8 needs was measured with other weights.
    """
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
