"""Whether a scene is what a model was trained on, found out before the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import MismatchError, OptionError, SceneError
from geoseg.grid.ground import pixel_size_m
from geoseg.grid.window import Window
from geoseg.models.card import Card
from geoseg.raster.source import Source

_GSD_TOLERANCE = 0.2
_SAMPLE = 256  # px
_SAMPLED = 64
"""Rows and columns of the sample that are looked at: quantiles of more cost more than decoding a small image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A scene as a model wants it.

    Parameters
    ----------
    source : Source
        Reads the card's bands, in the card's order.
    gain, bias : tuple of float
        Per band: network input = stored * gain + bias.
    notes : tuple of str
        What the person should know, one line each.
    """

    source: Source
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    notes: tuple[str, ...]


def match(
    source: Source,
    card: Card,
    bands: Sequence[int | str] | None = None,
    *,
    force: bool = False,
    sampled: bool = True,
) -> Match:
    """Choose the bands of a scene that a card asks for and check that they can be meant.

    Parameters
    ----------
    source : Source
    card : Card
    bands : sequence of int or str, optional
        The scene's bands (1-based numbers or names) that are the card's, in the card's order.
    force : bool
        Turn refusals that a person may know better about (dtype, range, names) into notes.
    sampled : bool
        Whether pixels may be read, to compare them with the card's range.

    Raises
    ------
    MismatchError
        With what was found, what the card expects and the remedy.
    """
    choice = choose_bands(source, card, bands)
    chosen, notes = choice.source, list(choice.notes)
    doubts = [*choice.doubts, *_dtype_doubts(chosen, card)]
    if sampled and not doubts:
        _check_range(chosen, card, doubts, notes)
    if doubts and not force:
        raise MismatchError(f"{_name(source)}: {doubts[0]}, or --force if you know better")
    notes += [f"{doubt} (forced)" for doubt in doubts]
    _check_gsd(chosen, card, notes)
    gain, bias = card.normalisation(*_own_scaling(chosen))
    return Match(source=chosen, gain=gain, bias=bias, notes=tuple(notes))


def _name(source: Source) -> str:
    return str(getattr(source, "path", "the array"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The bands of a source that a card asks for.

    Parameters
    ----------
    source : Source
        Reads these bands, in the card's order.
    doubts, notes : tuple of str
        What a person may know better about, and what the person should know; one line each.
    """

    source: Source
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_bands(
    source: Source,
    card: Card,
    bands: Sequence[int | str] | None = None,
    *,
    remedy: str = "say which are meant with --bands {numbers}",
) -> Choice:
    """Select the card's bands; a band that the card wants is never validity.

    Parameters
    ----------
    source : Source
    card : Card
    bands : sequence of int or str, optional
        The scene's bands (1-based numbers or names) that are the card's, in the card's order.
    remedy : str
        How the caller's users say so; ``{numbers}`` is an example.

    Raises
    ------
    MismatchError, OptionError
        If it cannot be told which bands are meant, or one is not there.
    """
    names = [band.name for band in card.bands]
    wanted = f"the model expects {len(names)} ({', '.join(names)})"
    descriptions, alpha = source.descriptions, source.alpha_band
    if bands is not None:
        if len(bands) != len(names):
            raise OptionError(f"--bands names {len(bands)} bands, {wanted}")
        chosen = source.select(bands, validity_band=None)
        if alpha is not None and alpha not in chosen.bands:
            chosen = source.select(bands, validity_band=alpha)
        return Choice(source=chosen)
    by_name = {text.strip().lower(): number for number, text in enumerate(descriptions, start=1) if text}
    if all(name.lower() in by_name for name in names):
        numbers = [by_name[name.lower()] for name in names]
        return Choice(source=source.select(numbers, validity_band=None if alpha in numbers else alpha))
    spare = alpha is not None and len(descriptions) == len(names) + 1
    if len(descriptions) != len(names) and not spare:
        described = f" ({', '.join(text or '?' for text in descriptions)})" if any(descriptions) else ""
        example = ",".join(str(i + 1) for i in range(len(names)))
        raise MismatchError(
            f"{_name(source)}: has {len(descriptions)} bands{described}, {wanted}; "
            f"{remedy.replace('{numbers}', example)}"
        )
    numbers = [n for n in range(1, len(descriptions) + 1) if not (spare and n == alpha)]
    chosen = source.select(numbers, validity_band=alpha if spare else None)
    if all(descriptions[n - 1] for n in numbers):
        found = ", ".join(str(descriptions[n - 1]) for n in numbers)
        example = ",".join(map(str, numbers))
        doubt = f"its bands are {found}, {wanted}; {remedy.replace('{numbers}', example)}"
        return Choice(source=chosen, doubts=(doubt,))
    note = f"bands carry no names: {', '.join(map(str, numbers))} are taken for {', '.join(names)}"
    return Choice(source=chosen, notes=(note,))


def _dtype_doubts(source: Source, card: Card) -> list[str]:
    """Return the doubt about the stored type; a file that carries its own scale speaks in physical units."""
    found, expected = source.dtype, np.dtype(card.dtype)
    same = found == expected or (found.kind == "f" and expected.kind == "f")
    if same or source.scale is not None or source.offset is not None:
        return []
    low, high = card.value_range
    return [
        f"is {found}, the model expects {expected} from {low:g} to {high:g}; convert the scene with gdal_translate"
    ]


def _check_range(source: Source, card: Card, doubts: list[str], notes: list[str]) -> None:
    """Compare a sample from the scene's middle with the card's value range."""
    sample = _sample(source)
    if sample.size == 0:
        return
    scale, offset = _own_scaling(source)
    low, high = card.value_range
    # In the card's stored units, so that a file with its own scale is compared with like.
    physical = sample * (scale or card.scale) + (offset or card.offset)
    values = (physical - card.offset) / card.scale
    middle = float(np.median(values))
    if not low <= middle <= high:
        doubts.append(
            f"its middle value is {middle:g}, the model expects {low:g} to {high:g}; rescale the scene to that range"
        )
    elif float(np.percentile(values, 99)) < low + 0.02 * (high - low):
        notes.append(
            f"99 % of the values lie below {low + 0.02 * (high - low):g} where the model expects "
            f"{low:g} to {high:g}: is the scene scaled as the training scenes were?"
        )


def _sample(source: Source) -> npt.NDArray[np.float64]:
    """Return the valid pixels of a window in the middle, shape (pixel, band); none where it cannot be read.

    What a damaged block does is for the run to decide (``--on-error``).
    """
    height, width = source.grid.shape
    window = Window(
        row=max(0, (height - _SAMPLE) // 2),
        col=max(0, (width - _SAMPLE) // 2),
        height=min(height, _SAMPLE),
        width=min(width, _SAMPLE),
    )
    try:
        chip = source.read(window)
    except SceneError:
        return np.empty((0, source.count))
    rows, cols = (slice(None, None, max(1, edge // _SAMPLED)) for edge in chip.valid.shape)
    return chip.pixels[:, rows, cols][:, chip.valid[rows, cols]].T.astype(np.float64)


def _check_gsd(source: Source, card: Card, notes: list[str]) -> None:
    """Note a ground sample distance more than 20 % away from the card's."""
    found = pixel_size_m(source.grid) if card.gsd_m else None
    if card.gsd_m and found and abs(found / card.gsd_m - 1) > _GSD_TOLERANCE:
        notes.append(
            f"pixels are {found:.3g} m, the model was trained on {card.gsd_m:.3g} m: expect a worse map, or resample "
            f"with gdalwarp -tr"
        )


def _own_scaling(source: Source) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Scale and offset per band of a file that carries either; both None where the card's count."""
    if source.scale is None and source.offset is None:
        return None, None
    return source.scale or (1.0,) * source.count, source.offset or (0.0,) * source.count
