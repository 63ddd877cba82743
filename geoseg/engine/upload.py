"""Copy the rows of a strip to the device in their own data type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.feed import Clip, Tile, marked, read_strip
from geoseg.engine.plan import Plan, TileStrip
from geoseg.engine.rows import RowReader


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Pixels of one strip in host memory.

    Parameters
    ----------
    pixels : Tensor, shape (band, row, col)
        Stored values in the source's data type.
    valid, wanted : Tensor of bool, shape (row, col)
        Valid pixels, and pixels for which a result is wanted.
    tiles : list of Tile
        Tiles of the strip in row-major order.
    """

    pixels: Tensor
    valid: Tensor
    wanted: Tensor
    tiles: list[Tile]


def read_rows(
    reader: RowReader, plan: Plan, strip: TileStrip, clip: Clip | None, device: torch.device
) -> Rows:
    """Read a strip as `read_strip` does, into memory that the device can copy from."""
    chip, wanted = read_strip(reader, plan, strip, clip)
    return Rows(
        pixels=staged(chip.pixels, device),
        valid=staged(chip.valid, device),
        wanted=staged(wanted, device),
        tiles=marked(plan, strip, chip, wanted),
    )


def uploaded(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy an array to the device in its own dtype; on the CPU memory is shared instead."""
    return sent(staged(array, device), device)


def staged(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array as a tensor in its own dtype, in pinned memory if the device is a GPU."""
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    if not native.flags.writeable:
        native = native.copy()
    tensor = torch.from_numpy(native)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a staged tensor to the device asynchronously; on the CPU return it unchanged."""
    return tensor.to(device, non_blocking=True)
