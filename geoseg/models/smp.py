"""segmentation-models-pytorch, imported and used without torch's compiler.

smp imports torchvision, and torchvision imports ``torch._dynamo`` for one function that it calls where a compiled
network aligns regions of interest; timm, for one that keeps a function from being compiled. That is a quarter of the
time in which a prediction starts. So the compiler is stood in for while smp is imported; what asks for more of it
gets the real one.

smp also builds encoders of timm once more without storage, to learn their channels, and torch loads the compiler to
draw the random weights that such tensors do not have (`Building`).
"""

from __future__ import annotations

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

    def disable(function: Any, recursive: bool = True, **reason: Any) -> Any:  # noqa: ARG001, FBT001, FBT002
        # torch's own way to say so without loading it.
        return torch._disable_dynamo(function, recursive)  # type: ignore[attr-defined]

    setattr(utils, _WANTED, is_compile_supported)
    package.disable = disable  # type: ignore[attr-defined]
    return standing_in(package, utils)


class Building(TorchFunctionMode):
    """Watches tensors come to be: those without storage are not initialised, and too many are refused.

    Parameters
    ----------
    most : int or None
        Bytes that all of them together may have.

    Raises
    ------
    MemoryError
        Before the tensor that would be too much is allocated.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most, self._taken = most, 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, or not."""
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == torch.nn.init.__name__:
            tensor = kwargs.get("tensor", args[0] if args else None)
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        if function is torch.empty and str(kwargs.get("device")) != "meta":
            self._take(args, kwargs)
        return function(*args, **kwargs)

    def _take(self, args: Any, kwargs: Any) -> None:
        """Count what a layer asks for; all of them ask for an empty tensor and fill it then."""
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
