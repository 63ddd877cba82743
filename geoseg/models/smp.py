"""Import and use segmentation-models-pytorch without loading torch's compiler.

smp imports torchvision, and torchvision imports ``torch._dynamo`` for one function that it calls when a compiled
network aligns regions of interest, and for one that keeps a function from being compiled. That is a quarter of the
start-up time of a prediction. So a stand-in takes the compiler's place while smp is imported; code that needs
more of it gets the real compiler.

smp also builds timm's encoders a second time without storage, to learn their channels, and torch loads the
compiler to draw random weights for such tensors (`Building` prevents it).
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from geoseg.storage.stand_in import StandIn, standing_in

_COMPILER, _WANTED = "torch._dynamo", "is_compile_supported"


def _without_compiler() -> AbstractContextManager[None]:
    """Let modules import torch's compiler without loading it."""
    if _COMPILER in sys.modules:
        return nullcontext()
    package, utils = StandIn(_COMPILER), StandIn(f"{_COMPILER}.utils")
    package.__path__ = []

    def is_compile_supported(device: str) -> Any:
        return getattr(importlib.import_module(f"{_COMPILER}.utils"), _WANTED)(device)

    def disable(function: Any, recursive: bool = True, **reason: Any) -> Any:  # noqa: FBT001, FBT002
        @functools.wraps(function)
        def uncompiled(*given: Any, **named: Any) -> Any:
            disabled = torch.compiler.disable(function, recursive, **reason)  # type: ignore[no-untyped-call]
            return disabled(*given, **named)

        return uncompiled

    setattr(utils, _WANTED, is_compile_supported)
    package.disable = disable  # type: ignore[attr-defined]
    return standing_in(package, utils)


class Building(TorchFunctionMode):
    """Watches the creation of tensors: those without storage are not initialised, and too many bytes are
    refused.

    Parameters
    ----------
    most : int or None
        Maximum total size in bytes.

    Raises
    ------
    MemoryError
        Before a tensor is allocated that would exceed the limit.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most, self._taken = most, 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, unless it would initialise a tensor without storage."""
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == torch.nn.init.__name__:
            tensor = kwargs.get("tensor", args[0] if args else None)
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        if function is torch.empty and str(kwargs.get("device")) != "meta":
            self._take(args, kwargs)
        return function(*args, **kwargs)

    def _take(self, args: Any, kwargs: Any) -> None:
        """Count the bytes of a new tensor; layers allocate an empty tensor and then fill it."""
        shape = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
        self._taken += 4 * math.prod(shape)
        if self._most is not None and self._taken > self._most:
            raise MemoryError(
                f"its weights need more than {self._taken / 1e9:,.1f} GB, and {self._most / 1e9:,.1f} GB of "
                "memory are free"
            )


with _without_compiler():
    import segmentation_models_pytorch as smp

__all__ = ["Building", "smp"]
