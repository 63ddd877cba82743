"""Networks compiled for one shape of input."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import OptionError

_COMPILERS = ("g++", "clang++", "c++")


def check_compiler(device: str) -> None:
    """Refuse what cannot compile a network, before any work is done.

    Raises
    ------
    OptionError
    """
    if device == "mps":
        raise OptionError("--compile is for cpu and cuda, found mps; leave it out")
    if device == "cpu" and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *_COMPILERS)))):
        raise OptionError(
            f"--compile needs a C++ compiler on the CPU, and none of {', '.join(_COMPILERS)} is on PATH; "
            "install one or leave it out"
        )


def compiled(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a network that is compiled at the first batch of each shape; it shares the module's weights.

    On CUDA the launches of a batch are recorded once and replayed (CUDA graphs).
    """
    # Constant weights let the compiler fold normalisation into the convolutions before it; with graphs on CUDA
    # there is nothing left to gain by it.
    how: dict[str, Any] = (
        {"mode": "reduce-overhead"} if device.type == "cuda" else {"options": {"freezing": True}}
    )
    return _Compiled(torch.compile(module, dynamic=False, **how))


class _Compiled(nn.Module):
    """Says in one line why a network cannot be compiled."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        from torch._dynamo.exc import TorchDynamoException

        try:
            result: Tensor = self._inner(inputs)
        except TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise OptionError(
                f"the network cannot be compiled here: {reason[:200]}; leave --compile out"
            ) from error
        return result
