"""What a network is made of, as its card says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoseg.models.card import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What a network is made of: names as smp has them, counts of bands and channels, decoder options.

    `Unet2015` is not smp's; its encoder is called ``published``.
    """

    architecture: str
    encoder: str
    bands: int
    channels: int
    options: Mapping[str, Any]

    @classmethod
    def of(cls, card: Card) -> NetworkPlan:
        """Plan of the network that a card describes."""
        return cls(
            architecture=card.architecture,
            encoder=card.encoder,
            bands=len(card.bands),
            channels=len(card.channels),
            options=card.decoder_options,
        )
