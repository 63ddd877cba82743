"""What light and lens do to a batch; labels stay, and an invalid pixel stays 0 and out of its neighbours."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = npt.NDArray[np.float64]

_SMALLEST_BLUR: Final = 1e-3
"""Standard deviation, px, that leaves every pixel to itself; 0 cannot be divided by."""


def planes(numbers: Numbers, like: Tensor) -> Tensor:
    """(N, ...) numbers, with axes of 1 behind, beside an image (N, band, row, col)."""
    tensor = torch.as_tensor(numbers, dtype=like.dtype, device=like.device)
    return tensor.reshape(*numbers.shape, *[1] * (like.ndim - numbers.ndim))


def bend(image: Tensor, power: Numbers) -> Tensor:
    """Bend the scale of values around 0: ``sign(x) * ((1 + |x|) ** power - 1) / power``.

    Laws: increasing; odd, so that 0 stays 0; of slope 1 at 0, so that small differences stay as they are;
    power 1 changes nothing but by rounding, larger ones stretch what is far from 0, smaller ones press it.

    Parameters
    ----------
    image : Tensor, (N, band, row, col) float32
    power : float64, (N,)
        Above 0.
    """
    powers = planes(power, image)
    return image.abs().log1p_().mul_(powers).expm1_().div_(powers).copysign_(image)


def blur(image: Tensor, valid: Tensor, deviation: Numbers, largest: float) -> Tensor:
    """Mean of the valid pixels around, weighted by a Gaussian.

    Parameters
    ----------
    image : Tensor, (N, band, row, col) float32
        0 where not valid.
    valid : Tensor, (N, row, col) bool
    deviation : float64, (N,)
        Standard deviation, px.
    largest : float
        Of `deviation`; the Gaussian is cut off at 3 times as much.
    """
    from kornia.filters import gaussian_blur2d

    known = valid.unsqueeze(1).to(image.dtype)
    size = 2 * math.ceil(3 * largest) + 1
    sigma = torch.as_tensor(np.maximum(deviation, _SMALLEST_BLUR), dtype=image.dtype, device=image.device)
    both = gaussian_blur2d(
        torch.cat([image, known], dim=1),
        (size, size),
        sigma.unsqueeze(1).expand(-1, 2),
        border_type="constant",
    )
    # A valid pixel has at least the weight of itself, which is above this in every kernel of sensible size.
    return both[:, :-1] / both[:, -1:].clamp_min(1e-12) * known


def noise(shape: tuple[int, ...], keys: npt.NDArray[np.uint32], device: torch.device) -> Tensor:
    """Return normal numbers (mean 0, standard deviation 1), any of them without drawing those before.

    Law: a number is a function of its sample's key and its place in the sample; on every device the same but
    for the rounding of the last step.

    Parameters
    ----------
    shape : tuple of int
        (N, ...), below 2**31 numbers a sample.
    keys : uint32, (N, 2)
    device : device

    Returns
    -------
    Tensor, float32
    """
    first, second = (
        torch.as_tensor(keys[:, i].view(np.int32), device=device).view(-1, *[1] * (len(shape) - 1))
        for i in (0, 1)
    )
    places = torch.arange(math.prod(shape[1:]), dtype=torch.int32, device=device).view(1, *shape[1:])
    # 24 of the bits are as many as float32 tells apart; the half keeps the inverse away from infinity.
    uniform = ((_mix(_mix(places + first) ^ second) >> 8).float().add_(0.5)).div_(2**23)
    return uniform.erfinv_().mul_(math.sqrt(2))


def _mix(bits: Tensor) -> Tensor:
    """Stir int32 bits in place so that each depends on all (the last step of MurmurHash3, products mod 2**32)."""
    for step, factor in ((16, 0x85EBCA6B - 2**32), (13, 0xC2B2AE35 - 2**32)):
        bits.bitwise_xor_((bits >> step).bitwise_and_(2 ** (32 - step) - 1)).mul_(factor)
    return bits.bitwise_xor_((bits >> 16).bitwise_and_(2**16 - 1))


def hide(image: Tensor, corners: npt.NDArray[np.int64]) -> Tensor:
    """Set a rectangle of each sample to 0.

    Parameters
    ----------
    image : Tensor, (N, band, row, col)
    corners : int64, (N, 4)
        First row, first column, end row, end column.
    """
    top, left, bottom, right = torch.as_tensor(corners, device=image.device).T[..., None]
    row, col = (torch.arange(edge, device=image.device) for edge in image.shape[-2:])
    hidden = ((row >= top) & (row < bottom)).unsqueeze(2) & ((col >= left) & (col < right)).unsqueeze(1)
    return image.masked_fill(hidden.unsqueeze(1), 0)
