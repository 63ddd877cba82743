"""Networks compiled by torch for one input shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geoseg.errors import Message, OptionError

if TYPE_CHECKING:
    from torch import Tensor, nn


def check_compiler(device: str) -> None:
    """Raise OptionError for a device on which torch does not compile networks.

    Raises
    ------
    OptionError
    """
    if device != "cuda":
        because = ": there the network is compiled anyhow" if device == "cpu" else ""
        raise OptionError(
            Message("{compile} is for cuda, found {}", device, compile=True), f"leave it out{because}"
        )


def compiled(module: nn.Module) -> nn.Module:
    """Return a network that torch compiles at the first batch of each shape, with its weights at that time.

    On CUDA the launches of a batch are recorded once and replayed (CUDA graphs).
    """
    import torch

    class Compiled(torch.nn.Module):
        """Module that reports in one line why its network cannot be compiled."""

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
                    f"the network cannot be compiled here: {reason[:200]}",
                    Message("leave {compile} out", compile=True),
                ) from error
            return result

    return Compiled(torch.compile(module, dynamic=False, mode="reduce-overhead"))
