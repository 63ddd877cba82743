"""Resample batches: every pixel is looked up once, at the place that its frame gives.

A frame is a (2, 3) matrix: ``frame @ (row, col, 1)`` is the place in the source for a pixel of the result, both
in px from the chip's centre.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from geoseg.datasets.dataset import IGNORED

Frames = npt.NDArray[np.float64]

SMALLEST_SHARE: Final = 0.25
"""Minimum weight of the nearest of four pixels."""

_QUARTER_TURN: Final = np.array([[0.0, 1.0], [-1.0, 0.0]])
_FLIP: Final = np.diag([1.0, -1.0])


def symmetry(element: int) -> npt.NDArray[np.float64]:
    """Return the (2, 2) matrix of `geoseg.learning.augment.turn`."""
    turned = np.linalg.matrix_power(_QUARTER_TURN, element % 4)
    return turned @ _FLIP if element >= 4 else turned


def rotation(degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the (N, 2, 2) matrices of rotations, counter-clockwise as seen on the chip."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.stack([np.stack([cos, sin], axis=-1), np.stack([-sin, cos], axis=-1)], axis=-2)


def shifted(frames: Frames, shifts: npt.NDArray[np.float64]) -> Frames:
    """Return a frame for each band, shifted individually.

    Parameters
    ----------
    frames : float64, (N, 2, 3)
        Frame of each sample.
    shifts : float64, (N, band, 2)
        Shift in rows and columns, px of the result.

    Returns
    -------
    float64, (N, band, 2, 3)
    """
    own = np.repeat(frames[:, None], shifts.shape[1], axis=1)
    own[..., 2] += np.einsum("nij,nbj->nbi", frames[..., :2], shifts)
    return own


def look_up(mask: Tensor, valid: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
    """Resample mask and validity by the nearest pixel; outside the source nothing is labelled or valid.

    Parameters
    ----------
    mask : Tensor, (N, row, col) or (N, class, row, col) int64
        Labels.
    valid : Tensor, (N, row, col) bool
        Valid pixels.
    frames : float64, (N, 2, 3)
        Frame of each sample.
    """
    height, width = valid.shape[-2:]
    rows, cols = (
        (place + edge / 2).floor_().long()
        for place, edge in zip(_places(frames, valid), (height, width), strict=True)
    )
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    index = (rows.clamp_(0, height - 1) * width + cols.clamp_(0, width - 1)).flatten(1).unsqueeze(1)
    layers = mask.reshape(len(mask), -1, height * width)
    labels = layers.gather(2, index.expand_as(layers)).view(mask.shape)
    found = valid.reshape(len(valid), 1, -1).gather(2, index).view(valid.shape) & inside
    return labels.masked_fill(~(inside if mask.ndim == 3 else inside.unsqueeze(1)), IGNORED), found


def interpolate(image: Tensor, valid: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
    """Resample images bilinearly from their valid pixels only.

    A pixel of the result lies between four pixels of the image. Its value is the mean of those of the four that are
    valid, with the weights of bilinear interpolation; pixels without data have no part in it.

    Parameters
    ----------
    image : Tensor, (N, band, row, col) float32
        0 where not valid.
    valid : Tensor, (N, row, col) bool
        Valid pixels.
    frames : float64, (N, band, 2, 3), or (N, 1, 2, 3) for all bands
        Affine transformation of each image: from places in the result to places in the image, both seen from its
        centre, px.

    Returns
    -------
    image : Tensor, (N, band, row, col) float32
        To be used only where `share` is at least `SMALLEST_SHARE`, as it is wherever `look_up` finds a valid pixel.
    share : Tensor, (N, band or 1, row, col) float32
        Part of the four weights that valid pixels have, 0 to 1.
    """
    count, bands, height, width = image.shape
    known = valid.unsqueeze(1).to(image.dtype)
    # -1 and 1 are the edges of the source.
    rows, cols = _places(frames * np.array([[2 / height], [2 / width]]), valid)
    grid = torch.stack([cols, rows], dim=-1)
    if frames.shape[1] == 1:
        parts, grid = torch.cat([image, known], dim=1), grid.squeeze(1)
    else:
        parts = torch.stack([image, known.expand_as(image)], dim=2).flatten(0, 1)
        grid = grid.flatten(0, 1)
    parts = functional.grid_sample(parts, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    parts = parts.view(count, -1, parts.shape[1], height, width)
    share = parts[:, :, -1]
    weighted = parts[:, :, :-1].reshape(count, bands, height, width)
    return weighted / share.clamp_min(SMALLEST_SHARE), share


def _places(frames: Frames, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and columns (..., row, col) float32 that the pixels come from, relative to the centre.

    Computed elementwise, so that it is the same on every device and for every precision of matrix products.
    """
    height, width = like.shape[-2:]
    parts = torch.as_tensor(frames.astype(np.float32), device=like.device)[..., None, None]
    row = (torch.arange(height, device=like.device) - (height - 1) / 2).unsqueeze(1)
    col = torch.arange(width, device=like.device) - (width - 1) / 2
    by_row, by_col, moved = (parts[..., i, :, :] for i in range(3))
    rows, cols = (
        (by_row[..., i, :, :] * row + moved[..., i, :, :]) + by_col[..., i, :, :] * col for i in (0, 1)
    )
    return rows, cols
