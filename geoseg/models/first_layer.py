"""Adapt the first layer of an encoder that was trained on three colours to any bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch

from geoseg.errors import ModelError
from geoseg.models.beginning import COLORS
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.unet2015 import ENCODER
from geoseg.raster.band_names import find_bands, meanings, wavelength_of

_NANOMETRES: Final = {"blue": (450, 510), "green": (510, 600), "red": (620, 690)}
"""Wavelength ranges of the colours, as in STAC's ``eo`` extension."""


def colors_of(bands: Sequence[str]) -> tuple[str | None, ...]:
    """Return the colour (red, green or blue) of each band, from its name or a wavelength in it; None for others."""
    found: list[str | None] = []
    for name, says in zip(bands, meanings(bands), strict=True):
        meant = next(iter(says)) if len(says) == 1 else None
        wavelength = None if meant is not None else wavelength_of(name)
        if wavelength is not None:
            meant = next((c for c, (low, high) in _NANOMETRES.items() if low <= wavelength <= high), None)
        found.append(meant if meant in COLORS else None)
    return tuple(found)


def bands_in(bands: Sequence[str], known: Sequence[str]) -> tuple[int | None, ...]:
    """Find bands among those that weights know, by name or else by the meaning of the name.

    Returns
    -------
    tuple of int or None
        For each band its index in `known`; None if there is no such band, or several may match.
    """
    called = {name.lower() for name in known}
    found: list[int | None] = []
    for name, says in zip(bands, meanings(bands), strict=True):
        wanted = name if name.lower() in called else next(iter(says)) if len(says) == 1 else None
        numbers = None if wanted is None else find_bands([wanted], known).numbers
        found.append(None if numbers is None else numbers[0] - 1)
    return tuple(found)


def spread(
    filters: torch.Tensor, order: Sequence[str], colors: Sequence[str | None], groups: int = 1
) -> torch.Tensor:
    """Turn filters for three colours, or other bands, into filters for any bands.

    A red, green or blue band takes the filters of that colour, any other band their mean. All are multiplied by
    3 / bands, as in timm (``adapt_input_conv``) and segmentation-models-pytorch (``patch_first_conv``), so that
    any number of bands with equal values gives the same response as three.

    Laws: for exactly red, green and blue, in any order, the response is the original one, except for the order
    of the sum. If all bands have equal values, and all three colours or none are among them, it is the original one.

    Parameters
    ----------
    filters : Tensor, (out, 3 * groups, rows, cols)
        Weights of the first convolution.
    order : sequence of str
        Colours of the filters' input, in order.
    colors : sequence of str or None
        Colour of each band of the model (`colors_of`).
    groups : int
        Copies of the input side by side: encoders that fold space into depth have several.

    Returns
    -------
    Tensor, (out, bands * groups, rows, cols)
    """
    shape = filters.shape
    apart = filters.reshape(shape[0], groups, len(order), *shape[2:])
    mean = apart.mean(dim=2)
    bands = [mean if color is None else apart[:, :, order.index(color)] for color in colors]
    if all(color is not None for color in colors) and len(set(colors)) == len(order) == len(colors):
        made = torch.stack(bands, dim=2)
    else:
        made = torch.stack(bands, dim=2) * (len(order) / len(bands))
    return made.reshape(shape[0], groups * len(bands), *shape[2:])


def input_layers(encoder: torch.nn.Module, plan: NetworkPlan) -> Mapping[str, int]:
    """Find the kernels that take the image as input.

    Parameters
    ----------
    encoder : Module
        Encoder of the planned network.
    plan : NetworkPlan
        What the network is made of.

    Returns
    -------
    mapping of str to int
        Number of input channels per band, by the kernel's name in the encoder: kernels whose second dimension
        grows with the bands. For encoders that cannot have one more band, the first convolution with as many
        channels as bands.
    """
    own = encoder.state_dict()
    try:
        # Only the options of the encoder: those of a decoder are tried out, which takes a second. The published
        # U-Net has no others.
        whole = plan.encoder == ENCODER
        own_options = {
            key: value for key, value in plan.options.items() if whole or key.startswith("encoder_")
        }
        made: Any = build(replace(plan, bands=plan.bands + 1, options=own_options))
    except ModelError:
        found = (
            name
            for name, layer in encoder.named_modules()
            if isinstance(layer, torch.nn.Conv2d) and layer.in_channels == plan.bands
        )
        first = next(found, None)
        return {} if first is None else {f"{first}.weight": 1}
    more = made.encoder.state_dict()
    return {
        name: more[name].shape[1] - tensor.shape[1]
        for name, tensor in own.items()
        if tensor.ndim == 4 and more[name].shape[1] > tensor.shape[1]
    }
