"""Pretrained encoders of segmentation-models-pytorch and timm, downloaded once into their hub's cache.

Both read safetensors, or torch files with ``weights_only``; no code in them is run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple

import torch

from geoseg.errors import ModelError
from geoseg.models.beginning import NOT_KNOWN
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.one_line import first_line
from geoseg.models.smp import smp
from geoseg.models.weight_names import IMAGENET

_PATIENCE: Final = 5.0  # s to wait for the hub's answer


class Published(NamedTuple):
    """An encoder's weights as the hub has them, for three bands in the order of `colors`."""

    tensors: Mapping[str, torch.Tensor]
    colors: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    licence: str


def published_names(encoder: str) -> tuple[str, ...]:
    """Return the names of the published weights of an encoder; timm's are part of the encoder's name."""
    import timm

    if encoder.startswith("tu-"):
        return (IMAGENET,) if timm.models.is_model_pretrained(encoder.removeprefix("tu-")) else ()
    return tuple(smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", ()))


def published_weights(plan: NetworkPlan, name: str) -> Published:
    """Fetch the weights of an encoder, or take them from the cache.

    Raises
    ------
    ModelError
        If they are not in the cache and the hub does not answer within seconds.
    """
    with _reachable_or_cached() as silence:
        try:
            network: Any = build(replace(plan, bands=3), published=name)
            asked = smp.encoders.get_preprocessing_params(plan.encoder, name)
        except (ModelError, OSError, ValueError, KeyError) as error:
            why = (
                f"they are not in the cache and the hub does not answer: {silence}"
                if silence
                else first_line(error)
            )
            raise ModelError(
                f"encoder weights {name!r} of {plan.encoder} could not be fetched ({why}); check the network, or take "
                "weights that need none: 'packaged', or a file"
            ) from error
    top = float(max(asked.get("input_range") or (0, 1)))
    bgr = asked.get("input_space") == "BGR"
    source, licence = _origin(plan.encoder, name)
    return Published(
        tensors=network.encoder.state_dict(),
        colors=("blue", "green", "red") if bgr else ("red", "green", "blue"),
        mean=_of_colors(asked["mean"], top, bgr=bgr),
        std=_of_colors(asked["std"], top, bgr=bgr),
        source=source,
        licence=licence,
    )


def _of_colors(numbers: list[float], top: float, *, bgr: bool) -> tuple[float, float, float]:
    """Return the values of red, green and blue on the scale from 0 to 1."""
    red, green, blue = (number / top for number in (reversed(numbers) if bgr else numbers))
    return red, green, blue


def _origin(encoder: str, name: str) -> tuple[str, str]:
    """Return the address and the licence, if stated, of published weights."""
    import timm

    if not encoder.startswith("tu-"):
        return str(smp.encoders.encoders[encoder]["pretrained_settings"][name]["repo_id"]), NOT_KNOWN
    found = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
    if found is None:
        return "timm", NOT_KNOWN
    return f"timm {found.architecture}.{found.tag}", str(found.license or NOT_KNOWN)


@contextmanager
def _reachable_or_cached() -> Iterator[str]:
    """Yield why the hub does not answer, or ""; if it does not, use only its cache, since it would retry for a
    minute.
    """
    import huggingface_hub
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    level, offline = logger.level, constants.HF_HUB_OFFLINE
    silence = "HF_HUB_OFFLINE is set" if offline else ""
    if not offline:
        try:
            huggingface_hub.get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
        # Each HTTP library has its own exceptions, and the library depends on the version.
        except Exception as error:
            silence = first_line(error)
    logger.setLevel(logging.CRITICAL)  # the error message says in one line what the hub logs in many
    constants.HF_HUB_OFFLINE = offline or bool(silence)
    try:
        yield silence
    finally:
        constants.HF_HUB_OFFLINE = offline
        logger.setLevel(level)
