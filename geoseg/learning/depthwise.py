"""Depthwise convolutions of bf16 trainings in float32, where oneDNN's bf16 gradients are many times slower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def depthwise_in_float32(network: nn.Module) -> Iterator[None]:
    """Let a network compute its depthwise convolutions in float32 under autocast, for the length of the ``with`` block.

    On CPUs with bf16 instructions oneDNN computes convolutions in bf16 faster than in float32, but the gradients of
    depthwise ones 3 to 20 times slower (``tests/benchmarks/bench_depthwise.py``): half of all time that a training of
    an EfficientNet took. What goes in and comes out keeps its dtype.

    Parameters
    ----------
    network : Module
        The network, whose layers are as before afterwards.
    """
    changed = [
        (layer, type(layer))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels
    ]
    for layer, kind in changed:
        layer.__class__ = _in_float32(kind)  # type: ignore[arg-type]  # classes can be hashed
    try:
        yield
    finally:
        for layer, kind in changed:
            layer.__class__ = kind


@cache
def _in_float32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """Return a class of convolutions like another one, computed in float32."""

    class InFloat32(kind):  # type: ignore[misc, valid-type]
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                found: Any = super().forward(x.float())
            converted: Tensor = found.to(x.dtype)
            return converted

    return InFloat32
