"""Use a network from any source: it is tried out once, and its results are converted to logits of the right
shape.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.errors import ModelError, OptionError
from geoseg.models.one_line import first_line

_KEYS = ("logits", "out")
"""Attributes of the result in which transformers and torchvision return the logits."""


class Wrapped(nn.Module):
    """A module whose class geoseg does not know.

    Parameters
    ----------
    module : Module
        Maps float32 (n, band, row, col) to logits (n, channel, row, col), by itself or as ``logits`` or ``out`` of
        a mapping or an object. Logits with fewer rows and columns are resized bilinearly.
    bands, channels : int
        Numbers of input bands and output channels.
    """

    def __init__(self, module: nn.Module, bands: int, channels: int) -> None:
        super().__init__()
        self.module, self.bands, self.channels = module, bands, channels

    def forward(self, image: Tensor) -> Tensor:
        """Return logits with the rows and columns of the image."""
        logits = _logits(self.module(image))
        if logits.shape[-2:] == image.shape[-2:]:
            return logits
        return functional.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)

    def try_out(self, size: int) -> None:
        """Run one tile of zeros.

        Raises
        ------
        OptionError
            If the module fails on it, or returns something other than the logits of its classes.
        """
        name, shape = type(self.module).__name__, (1, self.bands, size, size)
        device = next((each.device for each in self.module.parameters()), torch.device("cpu"))
        self.eval()
        try:
            with torch.inference_mode():
                found = _logits(self.module(torch.zeros(shape, device=device)))
        except (ModelError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a module may raise whatever it likes
            raise OptionError(
                f"{name} refuses an input of shape {shape} (batch, band, row, col): {first_line(error)}; expected a "
                "module for that many bands, and a tile_size that it takes"
            ) from error
        if found.ndim != 4 or found.shape[:2] != (1, self.channels):
            one = "; for a single channel with one class pass task='binary'"
            raise OptionError(
                f"{name} answers an input of shape {shape} with shape {tuple(found.shape)}, expected "
                f"(1, {self.channels}, row, col): a channel for each class{one if found.shape[1:2] == (1,) else ''}"
            )

    @property
    def digest(self) -> str:
        """Checksum of the module's code, as far as Python can find it, besides its weights."""
        said = [repr(self.module)]
        for kind in {type(each) for each in self.module.modules()}:
            try:
                said.append(inspect.getsource(kind))
            except (OSError, TypeError):  # typed into a console
                said.append(f"{kind.__module__}.{kind.__qualname__}")
        return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()


def _logits(answer: Any) -> Tensor:
    """Find the logits in the result of a module."""
    for key in _KEYS:
        if isinstance(answer, Mapping) and key in answer:
            answer = answer[key]
        elif not isinstance(answer, Tensor | Mapping) and hasattr(answer, key):
            answer = getattr(answer, key)
    if not isinstance(answer, Tensor):
        raise ModelError(
            f"the module returns a {type(answer).__name__}, expected a tensor of logits (batch, channel, row, "
            "col), by "
            "itself or as logits or out of what it returns"
        )
    return answer


def dtype_of(low: float, high: float) -> str:
    """Return the data type in which values of a range are probably stored."""
    if not (low == 0 and high > 1 and high.is_integer()):
        return "float32"
    return "uint8" if high <= 255 else "uint16" if high <= 65535 else "float32"
