"""What a network is made of, according to its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from geoseg.models.card import Card

PIXEL_CHANNELS: Final = "decoder_pixel_channels"
"""The decoder option that geoseg has for every architecture: features of a path for single pixels (`PixelPath`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """Names of architecture and encoder as in smp, numbers of bands and channels, and decoder options.

    `Unet2015` is not in smp; its encoder is called ``published``.
    """

    architecture: str
    encoder: str
    bands: int
    channels: int
    options: Mapping[str, Any]

    @classmethod
    def of(cls, card: Card) -> NetworkPlan:
        """Return the plan of the network that a card describes."""
        return cls(
            architecture=card.architecture,
            encoder=card.encoder,
            bands=len(card.bands),
            channels=len(card.channels),
            options=card.decoder_options,
        )
