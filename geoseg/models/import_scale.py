"""Normalisation of imported networks: how stored values became network input in the program that trained them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from geoseg.errors import Message, OptionError, Text
from geoseg.models.card import Card
from geoseg.models.input_scale import InputScale
from geoseg.models.model import Model
from geoseg.models.origins import Origin

_IMAGENET: Final = {"red": (0.485, 0.229), "green": (0.456, 0.224), "blue": (0.406, 0.225)}
"""Mean and std of ImageNet's bands, for values from 0 to 1."""
_OWN_STATISTICS: Final = ("inception", "xception", "tu-")


def set_normalisation(model: Model, origin: Origin, given: InputScale) -> Message:
    """Set the normalisation in the card and return one line on its source.

    Parameters
    ----------
    model : Model
        The model, whose card is changed.
    origin : Origin
        Who wrote the weights, and how that program feeds its networks.
    given : InputScale
        What somebody said, which comes first.

    Raises
    ------
    OptionError
        If `given` does not match the number of bands, or the value range.
    """
    card = model.card
    count = len(card.bands)
    scale, mean, std = given.for_bands(count)
    words: Text = "as given"
    if given == InputScale():
        words = Message("assumed, since the file does not contain it ({scale}, {mean} and {std} correct it)")
        if origin.encoder_weights and (found := _pretrained_statistics(model, origin.encoder_weights)):
            mean, std = found
            weights = origin.encoder_weights
            words = Message("assumed to be that of encoder weights {} ({mean} and {std} correct it)", weights)
    if scale is None and origin.habit is not None:
        scale = [origin.habit.scale] * count
        words = origin.habit.words
    if scale is None and given.mean is not None and max(map(abs, mean)) > 1:
        raise OptionError(
            Message("{mean} lies outside of 0 to 1, to which the value range is scaled", mean=f"{mean[0]:g}"),
            Message("pass {scale} where it is in stored numbers", scale=1),
        )
    fields: dict[str, Any] = {"mean": mean, "std": std, "units": "stored"}
    if scale is not None:
        fields |= {"scale": scale, "offset": [0.0] * count}
    model.card = card.changed(**fields)
    low, high = card.value_range
    numbers = f"{card.dtype} from {low:g} to {high:g}, {_formula(model.card)}"
    return Message("normalisation {}: {}", words, numbers)


def _pretrained_statistics(model: Model, encoder_weights: str) -> tuple[list[float], list[float]] | None:
    """Return ImageNet's mean and std; None for other weights or bands, or encoders with their own statistics."""
    names = [name.lower() for name in model.card.band_names]
    if encoder_weights != "imagenet" or set(names) - set(_IMAGENET):
        return None
    if model.card.encoder.startswith(_OWN_STATISTICS):
        return None
    mean, std = zip(*(_IMAGENET[name] for name in names), strict=True)
    return list(mean), list(std)


def _formula(card: Card) -> str:
    parts = [f"{key} {_numbers(getattr(card, key))}" for key in ("scale", "offset", "mean", "std")]
    return f"input = (x * scale + offset - mean) / std with {', '.join(parts)}"


def _numbers(values: Sequence[float]) -> str:
    return f"{values[0]:.6g}" if len(set(values)) == 1 else ",".join(f"{v:.6g}" for v in values)
