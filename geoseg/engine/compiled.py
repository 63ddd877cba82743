"""Networks compiled for one shape of input."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import OptionError

_COMPILERS = ("g++", "clang++", "c++")


def check_compiler(device: str, option: str = "--compile") -> None:
    """Refuse what cannot compile a network, before any work is done.

    Parameters
    ----------
    device : str
    option : str
        What asks for it.

    Raises
    ------
    OptionError
    """
    if device == "mps":
        raise OptionError(f"{option} is for cpu and cuda, found mps; leave it out")
    if device == "cpu" and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *_COMPILERS)))):
        raise OptionError(
            f"{option} needs a C++ compiler on the CPU, and none of {', '.join(_COMPILERS)} is on PATH; "
            "install one or leave it out"
        )


def compiled(module: nn.Module, device: torch.device, remedy: str = "leave --compile out") -> nn.Module:
    """Return a network that is compiled at the first batch of each shape, with the weights that it has then.

    On CUDA the launches of a batch are recorded once and replayed (CUDA graphs). Where that cannot be done the
    `remedy` is said.
    """
    if device.type == "cuda":
        inner = torch.compile(module, dynamic=False, mode="reduce-overhead")
        return _Compiled(inner, remedy, freezing=False)
    return _Compiled(torch.compile(module, dynamic=False), remedy, freezing=True)


class _Compiled(nn.Module):
    """Says in one line why a network cannot be compiled.

    Constant weights (`freezing`) let the compiler lay them out for the processor once, and put activations and sums
    into the convolutions before them. With graphs on CUDA there is nothing left to gain by it.
    """

    def __init__(self, inner: Any, remedy: str, *, freezing: bool) -> None:
        super().__init__()
        self._inner, self._remedy, self._freezing = inner, remedy, freezing

    def forward(self, inputs: Tensor) -> Tensor:
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor import config

        try:
            # Not an option of `torch.compile`: what traces the network looks at the configuration before the
            # options count, and the weights would be inputs.
            with config.patch(freezing=self._freezing):
                result: Tensor = self._inner(inputs)
        except TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise OptionError(
                f"the network cannot be compiled here: {reason[:200]}; {self._remedy}"
            ) from error
        return result
