"""The pretrained weights that a model's training began with: their source, licence and expected input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NOT_KNOWN: Final = "not known"
COLORS: Final = ("red", "green", "blue")
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Standard deviations of ImageNet's red, green and blue, for values from 0 to 1."""

Words = Annotated[str, StringConstraints(max_length=1000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Beginning(BaseModel):
    """The pretrained weights that a training began with, as the card records them.

    Attributes
    ----------
    weights
        As requested: ``packaged``, ``imagenet``, a name from torchgeo, or a file name.
    of
        The part that they are for: the ``encoder`` alone, or the whole ``network``.
    source
        Who published them, or the address that they were fetched from; empty for a file.
    licence
        ``not known`` if no licence is stated.
    sha256
        Digest of the file, or of the weights in a model file. Empty for weights that were fetched by name.
    folded
        Whether batch normalisation is folded into the convolutions before it, as in a network that was
        exported; only its bias is left. The network gives the same results, but batch statistics would change them.
    mean, std
        Normalisation that they expect of red, green and blue: ``(x - mean) / std`` of values from 0 to 1. None if it
        is not stated.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    weights: Words
    of: Literal["encoder", "network"] = "encoder"
    source: Words = ""
    licence: Words = NOT_KNOWN
    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    folded: bool = False
    mean: tuple[Number, Number, Number] | None = None
    std: tuple[Positive, Positive, Positive] | None = None

    def __str__(self) -> str:
        """Describe the weights in one line."""
        words = f"{self.of} weights {self.weights}"
        from_where = f" ({self.source})" if self.source else ""
        return f"{words}{from_where}, licence: {self.licence}"

    def normalisation(
        self,
        colors: Sequence[str | None],
        white: float | None,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and std by which a model with these weights normalises its bands.

        If the bands are exactly red, green and blue, in any order, they are normalised as the weights expect,
        provided that the value of white is known. Other bands are centred at their own mean, and get the standard
        deviation that ImageNet's colours have in the input of these weights.

        Parameters
        ----------
        colors : sequence of str or None
            Colour of each band: ``red``, ``green``, ``blue`` or something else.
        white : float or None
            The stored value that is 1 on the weights' scale from 0 to 1: 255 for bytes. None if it is not known.
        mean, std : sequence of float
            Mean and standard deviation of each band, measured or assumed.

        Returns
        -------
        mean, std : tuple of float
        """
        if self.mean is None or self.std is None:
            return tuple(mean), tuple(std)
        if white is not None and sorted(map(str, colors)) == sorted(COLORS):
            at = [COLORS.index(str(color)) for color in colors]
            return tuple(self.mean[i] * white for i in at), tuple(self.std[i] * white for i in at)
        factor = sum(self.std) / sum(IMAGENET_STD)
        return tuple(mean), tuple(deviation * factor for deviation in std)
