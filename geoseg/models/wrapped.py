"""A network from anywhere as one of geoseg's: tried out once, what it answers brought to logits of the right shape."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.errors import ModelError, OptionError
from geoseg.grid.legend import Legend, Task, binary_legend
from geoseg.models.one_line import first_line

_KEYS = ("logits", "out")
"""Where transformers and torchvision put what others return by itself."""


class Wrapped(nn.Module):
    """A module whose class geoseg does not know.

    Parameters
    ----------
    module : Module
        Maps float32 (n, band, row, col) to logits (n, channel, row, col), by itself or as ``logits`` or ``out`` of
        a mapping or an object. Where rows and columns are fewer they are brought back, bilinearly.
    bands, channels : int
    """

    def __init__(self, module: nn.Module, bands: int, channels: int) -> None:
        super().__init__()
        self.module, self.bands, self.channels = module, bands, channels

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the image's own rows and columns."""
        logits = _logits(self.module(image))
        if logits.shape[-2:] == image.shape[-2:]:
            return logits
        return functional.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)

    def try_out(self, size: int) -> None:
        """Run one tile without content.

        Raises
        ------
        OptionError
            If the module refuses it, or answers with something else than the logits of its classes.
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
            one = "; for one channel that says whether a class is there pass task='binary'"
            raise OptionError(
                f"{name} answers an input of shape {shape} with shape {tuple(found.shape)}, expected "
                f"(1, {self.channels}, row, col): a channel for each class{one if found.shape[1:2] == (1,) else ''}"
            )

    @property
    def digest(self) -> str:
        """Checksum of what the module is made of beside its weights, as far as Python can tell."""
        said = [repr(self.module)]
        for kind in {type(each) for each in self.module.modules()}:
            try:
                said.append(inspect.getsource(kind))
            except (OSError, TypeError):  # typed into a console
                said.append(f"{kind.__module__}.{kind.__qualname__}")
        return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()


def _logits(answer: Any) -> Tensor:
    """Find the logits in what a module returned."""
    for key in _KEYS:
        if isinstance(answer, Mapping) and key in answer:
            answer = answer[key]
        elif not isinstance(answer, Tensor | Mapping) and hasattr(answer, key):
            answer = getattr(answer, key)
    if not isinstance(answer, Tensor):
        raise ModelError(
            f"the module returns a {type(answer).__name__}, expected a tensor of logits (batch, channel, row, col), by "
            "itself or as logits or out of what it returns"
        )
    return answer


def legend_of_channels(classes: Legend | str | Sequence[str], task: Task) -> Legend:
    """Classes in the order of a module's channels, those of a binary task with the codes 0 and 1."""
    if isinstance(classes, Legend):
        legend = classes
    else:
        legend = Legend.parse(classes if isinstance(classes, str) else ",".join(classes))
    legend.require_bytes()
    if task != "binary":
        return legend
    if legend.codes == (1, 2):
        legend = Legend(classes=tuple(replace(c, code=c.code - 1) for c in legend.classes))
    return binary_legend(legend)


def dtype_of(low: float, high: float) -> str:
    """Type that numbers of a range are probably stored in."""
    if not (low == 0 and high > 1 and high.is_integer()):
        return "float32"
    return "uint8" if high <= 255 else "uint16" if high <= 65535 else "float32"
