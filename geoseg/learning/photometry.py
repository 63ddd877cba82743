"""Photometric changes of a batch; labels do not change, and invalid pixels stay 0 and out of their neighbours."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Numbers = npt.NDArray[np.float64]

_SMALLEST_BLUR: Final = 1e-3
"""Standard deviation in px that leaves every pixel unchanged; avoids a division by 0."""


def planes(numbers: Numbers, like: Tensor) -> Tensor:
    """Return numbers (N, ...) with trailing axes of length 1, for broadcasting with an image (N, band, row,
    col).
    """
    tensor = torch.as_tensor(numbers, dtype=like.dtype, device=like.device)
    return tensor.reshape(*numbers.shape, *[1] * (like.ndim - numbers.ndim))


def bend(image: Tensor, power: Numbers) -> Tensor:
    """Apply a power law around 0: ``sign(x) * ((1 + |x|) ** power - 1) / power``.

    Laws: increasing; odd, so that 0 stays 0; of slope 1 at 0, so that small differences are kept;
    power 1 changes nothing except rounding, larger powers stretch values far from 0, smaller ones compress them.

    Parameters
    ----------
    image : Tensor, (N, band, row, col) float32
        Normalised images.
    power : float64, (N,)
        Power of each sample, above 0.
    """
    powers = planes(power, image)
    return image.abs().log1p_().mul_(powers).expm1_().div_(powers).copysign_(image)


def blur(image: Tensor, valid: Tensor, deviation: Numbers, largest: float) -> Tensor:
    """Return the mean of the valid pixels around each pixel, weighted by a Gaussian.

    Parameters
    ----------
    image : Tensor, (N, band, row, col) float32
        0 where not valid.
    valid : Tensor, (N, row, col) bool
        Valid pixels.
    deviation : float64, (N,)
        Standard deviation, px.
    largest : float
        Upper bound of `deviation`; the Gaussian is cut off at 3 times this.
    """
    known = valid.unsqueeze(1).to(image.dtype)
    kernels = _gaussians(np.maximum(deviation, _SMALLEST_BLUR), math.ceil(3 * largest), image)
    both = _convolved(torch.cat([image, known], dim=1), kernels)
    # A valid pixel has at least its own weight, which is larger than this for any sensible kernel.
    return both[:, :-1] / both[:, -1:].clamp_min(1e-12) * known


def _gaussians(deviation: Numbers, radius: int, like: Tensor) -> Tensor:
    """Return for each sample the weights of a Gaussian at distances -radius to radius, which sum to 1: (N, 2r+1)."""
    distance = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-(distance**2) / (2 * planes(deviation, distance.unsqueeze(0)) ** 2))
    return weights / weights.sum(-1, keepdim=True)


def _convolved(image: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every band of each sample with its kernel, along the columns and then along the rows; 0 outside."""
    samples, bands, *edges = image.shape
    radius = kernels.shape[1] // 2
    each = kernels.repeat_interleave(bands, 0).unsqueeze(1)  # one group of the convolution for each plane
    rows = functional.conv2d(
        image.reshape(1, -1, *edges), each.unsqueeze(2), padding=(0, radius), groups=len(each)
    )
    both = functional.conv2d(rows, each.unsqueeze(3), padding=(radius, 0), groups=len(each))
    return both.reshape(samples, bands, *edges)


def noise(shape: tuple[int, ...], keys: npt.NDArray[np.uint32], device: torch.device) -> Tensor:
    """Return standard normal numbers, each computed independently of the others.

    Law: a number depends only on its sample's key and its position in the sample; it is the same on every device
    except for rounding in the last step.

    Parameters
    ----------
    shape : tuple of int
        (N, ...), below 2**31 numbers a sample.
    keys : uint32, (N, 2)
        Key of each sample.
    device : device
        Device of the result.

    Returns
    -------
    Tensor, float32
    """
    first, second = (
        torch.as_tensor(keys[:, i].view(np.int32), device=device).view(-1, *[1] * (len(shape) - 1))
        for i in (0, 1)
    )
    places = torch.arange(math.prod(shape[1:]), dtype=torch.int32, device=device).view(1, *shape[1:])
    # float32 resolves 24 bits; adding one half keeps the inverse error function finite.
    uniform = ((_mix(_mix(places + first) ^ second) >> 8).float().add_(0.5)).div_(2**23)
    return uniform.erfinv_().mul_(math.sqrt(2))


def _mix(bits: Tensor) -> Tensor:
    """Mix int32 bits in place so that each depends on all (the last step of MurmurHash3, products mod 2**32)."""
    for step, factor in ((16, 0x85EBCA6B - 2**32), (13, 0xC2B2AE35 - 2**32)):
        bits.bitwise_xor_((bits >> step).bitwise_and_(2 ** (32 - step) - 1)).mul_(factor)
    return bits.bitwise_xor_((bits >> 16).bitwise_and_(2**16 - 1))


def hide(image: Tensor, corners: npt.NDArray[np.int64]) -> Tensor:
    """Set a rectangle of each sample to 0.

    Parameters
    ----------
    image : Tensor, (N, band, row, col)
        Normalised images.
    corners : int64, (N, 4)
        First row, first column, end row, end column.
    """
    top, left, bottom, right = torch.as_tensor(corners, device=image.device).T[..., None]
    row, col = (torch.arange(edge, device=image.device) for edge in image.shape[-2:])
    hidden = ((row >= top) & (row < bottom)).unsqueeze(2) & ((col >= left) & (col < right)).unsqueeze(1)
    return image.masked_fill(hidden.unsqueeze(1), 0)
