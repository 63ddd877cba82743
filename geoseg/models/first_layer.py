"""The first layer of an encoder that was trained on three colours, for a model of any bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch

from geoseg.errors import ModelError
from geoseg.models.beginning import COLORS
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.raster.band_names import meanings, wavelength_of

_NANOMETRES: Final = {"blue": (450, 510), "green": (510, 600), "red": (620, 690)}
"""Wavelengths of the common names, as STAC's ``eo`` extension bounds them."""


def colors_of(bands: Sequence[str]) -> tuple[str | None, ...]:
    """Say of each band whether it is red, green or blue, by its name or else by a wavelength in it; None of others."""
    found: list[str | None] = []
    for name, says in zip(bands, meanings(bands), strict=True):
        meant = next(iter(says)) if len(says) == 1 else None
        wavelength = None if meant is not None else wavelength_of(name)
        if wavelength is not None:
            meant = next((c for c, (low, high) in _NANOMETRES.items() if low <= wavelength <= high), None)
        found.append(meant if meant in COLORS else None)
    return tuple(found)


def spread(
    filters: torch.Tensor, order: Sequence[str], colors: Sequence[str | None], groups: int = 1
) -> torch.Tensor:
    """Make filters for three colours filters for any bands.

    A band that is red, green or blue takes the filters of that colour, another one their mean. All are multiplied by
    3 / bands, as timm (``adapt_input_conv``) and segmentation-models-pytorch (``patch_first_conv``) do it, so that as
    many bands of equal values have the response that three had.

    Laws: of exactly red, green and blue, in any order, the response is the original's, bit for bit but for the order
    of the sum. Where all bands have equal values, and all three colours or none is among them, it is the original's.

    Parameters
    ----------
    filters : Tensor, (out, 3 * groups, rows, cols)
    order : sequence of str
        Colours that the filters are for.
    colors : sequence of str or None
        What each band of the model shows (`colors_of`).
    groups : int
        Copies of the input that stand side by side: encoders that fold space into depth have several.

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
    """Find the kernels that see the image.

    Parameters
    ----------
    encoder : Module
        Of the network of the plan.
    plan : NetworkPlan

    Returns
    -------
    mapping of str to int
        By their names in the encoder, how many channels each has for a band: those whose second dimension grows with
        the bands. Of encoders that cannot have one band more, the first convolution of as many channels as bands.
    """
    own = encoder.state_dict()
    try:
        made: Any = build(replace(plan, bands=plan.bands + 1))
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
