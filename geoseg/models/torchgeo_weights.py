"""Weights published by torchgeo, downloaded once into torch's cache."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any, Final

import torch

from geoseg.errors import ModelError
from geoseg.models.beginning import NOT_KNOWN
from geoseg.models.one_line import first_line

_PATIENCE: Final = 15.0  # s to wait for an answer


def weights_of_torchgeo(name: str) -> Any:
    """Find torchgeo's weights by name; nothing is downloaded.

    Raises
    ------
    ModelError
    """
    from torchgeo.models import get_weight

    try:
        return get_weight(name)
    except ValueError as error:
        raise ModelError(
            f"weights {name!r} are not known to torchgeo, expected a name such as "
            "ResNet50_Weights.SENTINEL2_ALL_MOCO"
        ) from error


def licence_of(weights: Any) -> str:
    """Return the licence that torchgeo states for the weights."""
    return str(weights.meta.get("license") or NOT_KNOWN)


def fetched(weights: Any, name: str) -> Mapping[str, torch.Tensor]:
    """Download weights, or take them from the cache; the checksum is verified and no code in them is run.

    Raises
    ------
    ModelError
    """
    try:
        # torch announces a download on stderr, where an error has to be one line.
        with _patience(), redirect_stderr(io.StringIO()):
            found: Mapping[str, torch.Tensor] = weights.get_state_dict(
                progress=False, check_hash=True, weights_only=True, map_location="cpu"
            )
    # An unreachable server, a damaged file and one that holds code raise errors of many types.
    except Exception as error:
        raise ModelError(
            f"weights {name} could not be fetched or read ({first_line(error)}); check the network, or take weights "
            "that need none: 'packaged', or a file"
        ) from error
    return found


@contextmanager
def _patience() -> Iterator[None]:
    """Set a timeout for silent servers; torch itself would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def advice(weights: Any, name: str) -> Iterator[str]:
    """Yield the bands and normalisation that torchgeo trained the weights with, one line each."""
    if wanted := weights.meta.get("bands"):
        yield f"weights {name} expect the bands {', '.join(wanted)} in this order"
    for mean, std in _normalisations(weights):
        yield f"weights {name} were trained on (x - mean) / std with mean {mean} and std {std}"


def _normalisations(weights: Any) -> Iterator[tuple[str, str]]:
    transforms = getattr(weights, "transforms", None)
    if isinstance(transforms, torch.nn.Module):
        for step in transforms.modules():
            mean, std = getattr(step, "mean", None), getattr(step, "std", None)
            if mean is not None and std is not None:
                yield _numbers(mean), _numbers(std)


def _numbers(values: Any) -> str:
    return ",".join(f"{value:g}" for value in torch.as_tensor(values, dtype=torch.float64).flatten().tolist())
