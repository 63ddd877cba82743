"""The network where a person names none: one that learns from few labels, on a CPU, without the internet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from geoseg.models.weight_names import NONE, PACKAGED, PACKAGED_ENCODER

_LIGHT: Final = {"decoder_channels": [128, 64, 32, 16, 16]}
"""Half of the channels that segmentation-models-pytorch gives a U-Net's decoder, where most of the time would go."""
_OWN_ENCODER: Final = {"unet2015": "published"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenNetwork:
    """What a person says of a network; `settled` fills in the rest.

    Parameters
    ----------
    architecture : str
    encoder : str, optional
    encoder_weights : str, optional
        ``none`` asks for random ones.
    decoder_options : mapping, optional
    started : bool
        Whether all weights come from elsewhere.
    """

    architecture: str = "Unet"
    encoder: str | None = None
    encoder_weights: str | None = None
    decoder_options: Mapping[str, Any] = field(default_factory=dict)
    started: bool = False

    def settled(self) -> ChosenNetwork:
        """Return it with an encoder, its weights and options.

        Laws: what was named stays. Where no encoder is named, nothing is fetched. A settled choice stays as it is.
        """
        weights = None if self.encoder_weights == NONE else self.encoder_weights
        if self.encoder is not None:
            return self._with(self.encoder, weights, self.decoder_options)
        if own := _OWN_ENCODER.get(self.architecture.lower()):
            return self._with(own, weights, self.decoder_options)
        if self.encoder_weights is None and not self.started:
            weights = PACKAGED
        light = self.architecture.lower() == "unet" and not self.decoder_options
        return self._with(PACKAGED_ENCODER, weights, _LIGHT if light else self.decoder_options)

    def _with(self, encoder: str, weights: str | None, options: Mapping[str, Any]) -> ChosenNetwork:
        return ChosenNetwork(
            architecture=self.architecture,
            encoder=encoder,
            encoder_weights=weights,
            decoder_options=dict(options),
            started=self.started,
        )
