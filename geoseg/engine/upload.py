"""Rows of a band on their way to the device, in their own dtype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.feed import Clip, Tile, marked, read_band
from geoseg.engine.plan import Band, Plan
from geoseg.engine.rows import RowReader


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """A band on this side of the device.

    Parameters
    ----------
    pixels : Tensor, shape (band, row, col)
        Stored numbers in the source's dtype.
    valid, wanted : Tensor of bool, shape (row, col)
        Where they are data, and where a result is wanted.
    tiles : list of Tile
        In row-major order.
    """

    pixels: Tensor
    valid: Tensor
    wanted: Tensor
    tiles: list[Tile]


def read_rows(reader: RowReader, plan: Plan, band: Band, clip: Clip | None, device: torch.device) -> Rows:
    """Read a band as `read_band` does, and have it ready where the device can fetch it by itself."""
    chip, wanted = read_band(reader, plan, band, clip)
    return Rows(
        pixels=staged(chip.pixels, device),
        valid=staged(chip.valid, device),
        wanted=staged(wanted, device),
        tiles=marked(plan, band, chip, wanted),
    )


def uploaded(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Move an array to the device in its own dtype; on the CPU it is shared, not copied."""
    return sent(staged(array, device), device)


def staged(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array in its own dtype where the device can copy it from while others work."""
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    if not native.flags.writeable:
        native = native.copy()
    tensor = torch.from_numpy(native)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Move what is staged to the device, behind what it has to do; on the CPU it stays where it is."""
    return tensor.to(device, non_blocking=True)
