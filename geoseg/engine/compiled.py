"""Networks compiled for one shape of input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor, nn


def check_compiler(device: str) -> None:
    """Refuse a device whose networks torch does not compile, before any work is done.

    Raises
    ------
    OptionError
    """
    if device != "cuda":
        because = ": there the network is compiled anyhow" if device == "cpu" else ""
        raise OptionError(f"--compile is for cuda, found {device}; leave it out{because}")


def compiled(module: nn.Module) -> nn.Module:
    """Return a network that is compiled at the first batch of each shape, with the weights that it has then.

    On CUDA the launches of a batch are recorded once and replayed (CUDA graphs).
    """
    import torch

    class Compiled(torch.nn.Module):
        """Says in one line why a network cannot be compiled."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self._inner = inner

        def forward(self, inputs: Tensor) -> Tensor:
            from torch._dynamo.exc import TorchDynamoException

            try:
                result: Tensor = self._inner(inputs)
            except TorchDynamoException as error:
                reason = next(
                    (line for line in str(error).splitlines() if line.strip()), type(error).__name__
                )
                raise OptionError(
                    f"the network cannot be compiled here: {reason[:200]}; leave --compile out"
                ) from error
            return result

    return Compiled(torch.compile(module, dynamic=False, mode="reduce-overhead"))
