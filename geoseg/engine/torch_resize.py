"""Resize tensors on their device, as `geoseg.engine.resize` resizes arrays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.engine.resize import nearest


def resize_planes(planes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize planes (plane, row, col) bilinearly over pixels seen as areas; antialiased where it shrinks."""
    if planes.shape[1:] == shape:
        return planes
    if shape[1] == 1 < shape[0]:
        # torch repeats the first row where the result is one column wide.
        return resize_planes(planes.transpose(1, 2), (1, shape[0])).transpose(1, 2)
    return functional.interpolate(
        planes.unsqueeze(0), size=shape, mode="bilinear", align_corners=False, antialias=True
    ).squeeze(0)


def resize_valid(planes: Tensor, valid: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize planes and their validity; see `geoseg.engine.resize.resize_valid`.

    Parameters
    ----------
    planes : Tensor of float32, shape (plane, row, col)
        The old planes; set to 0 in place where not valid.
    valid : Tensor of bool, shape (row, col)
        Valid pixels of all planes.
    shape : tuple of int
        (rows, cols).

    Returns
    -------
    tuple of two Tensors
        Resized planes and validity.
    """
    planes.masked_fill_(~valid, 0.0)
    weight = valid.to(torch.float32).unsqueeze(0)
    rows, cols = (
        torch.from_numpy(nearest(*edges)).to(valid.device) for edges in zip(valid.shape, shape, strict=True)
    )
    there = valid[rows][:, cols]
    # The weights of means that reach beyond valid pixels do not sum to 1.
    planes = resize_planes(planes, shape) / resize_planes(weight, shape).clamp_min(
        torch.finfo(torch.float32).tiny
    )
    return planes.masked_fill_(~there, 0.0), there
