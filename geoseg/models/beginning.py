"""What the training of a model began with: pretrained weights, where they came from and what input they know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NOT_KNOWN: Final = "not known"
COLORS: Final = ("red", "green", "blue")
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Standard deviations of ImageNet's red, green and blue, of values from 0 to 1."""

Words = Annotated[str, StringConstraints(max_length=1000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Beginning(BaseModel):
    """The weights that a training began with, as the card names them.

    Attributes
    ----------
    weights
        As they were asked for: ``packaged``, ``imagenet``, a name of torchgeo's, or the name of a file.
    of
        What they are the weights of: the ``encoder`` alone, or the whole ``network``.
    source
        Who published them, in words, or the address that they were fetched from; empty of a file.
    licence
        ``not known`` where nothing says it.
    sha256
        Of the file; of a model file, of its weights. Empty of what was fetched by its name.
    mean, std
        What they expect of red, green and blue: ``(x - mean) / std`` of values from 0 to 1. None where nothing
        says it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    weights: Words
    of: Literal["encoder", "network"] = "encoder"
    source: Words = ""
    licence: Words = NOT_KNOWN
    sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    mean: tuple[Number, Number, Number] | None = None
    std: tuple[Positive, Positive, Positive] | None = None

    def __str__(self) -> str:
        """Name them in a line."""
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
        """Mean and standard deviation by which a model of these weights normalises its bands.

        Red, green and blue, in any order and alone, are fed as the weights ask for, where it is known which number
        is white. Other bands are centred at their own mean, and their spread becomes that which ImageNet's colours
        have when they are fed to these weights.

        Parameters
        ----------
        colors : sequence of str or None
            What each band shows: ``red``, ``green``, ``blue`` or something else.
        white : float or None
            The number that is 1 on the weights' scale from 0 to 1: 255 of bytes. None where nothing says it.
        mean, std : sequence of float
            Of each band, measured or assumed.

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
