"""The default network: it learns from few labels, on a CPU, without internet access."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from geoseg.models.network_plan import PIXEL_CHANNELS
from geoseg.models.weight_names import NONE, PACKAGED, PACKAGED_ENCODER

_LIGHT: Final = {"decoder_channels": [128, 64, 32, 16, 16]}
"""Half the channels of the default U-Net decoder of segmentation-models-pytorch, which takes most of the time."""
_COARSE_M: Final = 5.0
_PIXELS: Final = {PIXEL_CHANNELS: 32}
"""Where pixels are 5 m or larger, what a single one's bands say tells classes apart: of places never trained on (HLS,
30 m) built land is found with such a path and not without. On aerial images of roofs it does not help."""
ARCHITECTURE: Final = "Unet"
"""Architecture where none is named."""
_OWN_ENCODER: Final = {"unet2015": "published"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenNetwork:
    """The user's choices for a network; `settled` fills in the rest.

    Parameters
    ----------
    architecture : str
        Name of the architecture in segmentation-models-pytorch.
    encoder : str, optional
        Name of the encoder.
    encoder_weights : str, optional
        Pretrained weights of the encoder; ``none`` means random weights.
    decoder_options : mapping, optional
        More arguments of the architecture.
    started : bool
        Whether all weights come from another model.
    gsd_m : float, optional
        Ground sample distance of the images, m per px.
    """

    architecture: str = ARCHITECTURE
    encoder: str | None = None
    encoder_weights: str | None = None
    decoder_options: Mapping[str, Any] = field(default_factory=dict)
    started: bool = False
    gsd_m: float | None = None

    def settled(self) -> ChosenNetwork:
        """Return the choice with an encoder, its weights and options filled in.

        Laws: the user's choices are kept. If no encoder is named, nothing is downloaded. A settled choice does
        not change.
        """
        weights = None if self.encoder_weights == NONE else self.encoder_weights
        if self.encoder is not None:
            return self._with(self.encoder, weights, self.decoder_options)
        if own := _OWN_ENCODER.get(self.architecture.lower()):
            return self._with(own, weights, self.decoder_options)
        if self.encoder_weights is None and not self.started:
            weights = PACKAGED
        if self.architecture.lower() != "unet" or self.decoder_options:
            return self._with(PACKAGED_ENCODER, weights, self.decoder_options)
        coarse = self.gsd_m is not None and self.gsd_m >= _COARSE_M
        return self._with(PACKAGED_ENCODER, weights, {**_LIGHT, **(_PIXELS if coarse else {})})

    def _with(self, encoder: str, weights: str | None, options: Mapping[str, Any]) -> ChosenNetwork:
        return ChosenNetwork(
            architecture=self.architecture,
            encoder=encoder,
            encoder_weights=weights,
            decoder_options=dict(options),
            started=self.started,
            gsd_m=self.gsd_m,
        )
