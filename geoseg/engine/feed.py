"""Rows of a band, from the source to the device, in their own dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geoseg.engine.plan import Band, Plan
from geoseg.engine.rows import RowReader
from geoseg.raster.scene import Chip

Clip = Callable[[int, int], npt.NDArray[np.bool_]]
"""Called with (first row, last row + 1): (rows, width) bool, True where a result is wanted."""


class Tile(NamedTuple):
    """A tile of a band.

    Parameters
    ----------
    place : tuple of int
        Its (row, col) in the tiling.
    window : tuple of slice
        Its rows and columns in the band, px.
    needed : bool
        Whether a result is wanted in it.
    whole : bool
        Whether all of its pixels are valid.
    """

    place: tuple[int, int]
    window: tuple[slice, slice]
    needed: bool
    whole: bool


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
        tiles=[
            Tile(place, window, bool(wanted[window].any()), bool(chip.valid[window].all()))
            for place, window in plan.tiles(band)
        ],
    )


def read_band(
    reader: RowReader, plan: Plan, band: Band, clip: Clip | None = None
) -> tuple[Chip, npt.NDArray[np.bool_]]:
    """Read a band with its margin, and say which of its pixels become results.

    Pixels that are valid but not wanted (the margin, what `clip` leaves out) are context for the others.

    Returns
    -------
    chip : Chip
        Pixels (band, row, col) in the source's dtype.
    wanted : ndarray of bool, shape (row, col)
    """
    margin = plan.margin
    chip = reader.read(band.start - margin, band.read_stop - margin)
    first, stop = max(band.start - margin, 0), min(band.read_stop - margin, plan.shape[0])
    columns = slice(margin, margin + plan.shape[1])
    inside = (slice(first - band.start + margin, stop - band.start + margin), columns)
    wanted = np.zeros_like(chip.valid)
    wanted[inside] = chip.valid[inside]
    if clip is not None:
        wanted[inside] &= clip(first, stop)
    return chip, wanted


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
