"""Check before a run whether a scene matches what a model was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, MismatchError, OptionError, SceneError, Text, plural
from geoseg.grid.ground import pixel_size_m
from geoseg.grid.window import Window
from geoseg.models import remedies
from geoseg.models.card import Card
from geoseg.models.scaling import Scaling, scaling_under, tags_of
from geoseg.raster.band_names import find_bands, meanings, only_counted
from geoseg.raster.look import Look, alpha_of, look_at
from geoseg.raster.source import Source

_GSD_TOLERANCE = 0.2
_SAMPLE = 256  # px
_SAMPLED = 64
"""Rows and columns of the sample that are used: quantiles of more cost more than decoding a small image."""

_SAY_BANDS: Final = Message("choose them with {bands}, by name or number, in this order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A scene, as a model needs it.

    Parameters
    ----------
    source : Source
        Reads the card's bands, in the card's order.
    gain, bias : tuple of float
        Per band: network input = stored * gain + bias.
    notes : tuple of str
        Notes for the user, one line each.
    """

    source: Source
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    notes: tuple[Text, ...]


def match(
    source: Source,
    card: Card,
    bands: Sequence[int | str] | None = None,
    *,
    force: bool = False,
    sampled: bool = True,
    looked: bool = True,
) -> Match:
    """Choose the bands of a scene that a card asks for, and check that the scene matches the card.

    Parameters
    ----------
    source : Source
        The scene.
    card : Card
        The model's card.
    bands : sequence of int or str, optional
        The scene's bands (1-based numbers or names) that are the card's, in the card's order.
    force : bool
        Whether doubts that the user may overrule (dtype, range, names) become notes instead of errors.
    sampled : bool
        Whether pixels may be read to compare them with the card's range.
    looked : bool
        Whether more pixels may be read to find undeclared no-data values.

    Raises
    ------
    MismatchError
        If the scene does not match; says what was found, what the card expects, and the remedy.
    """
    choice = choose_bands(source, card, bands)
    chosen, notes = choice.source, list[Text]([*choice.notes, *choice.said])
    tags = tags_of(chosen)
    doubts: list[Text] = [*choice.doubts, *_dtype_doubts(chosen, card, tags)]
    look = look_at(chosen) if sampled and looked and (force or not doubts) else Look()
    notes += look.notes
    if sampled and not doubts:
        _check_range(chosen, card, look, doubts, notes)
    if tags is not None and not card.has_units:
        notes.append(f"its tags ({tags}) are ignored: the model expects values as they are stored")
    elif tags is not None and any(tags.bands):
        notes += _partly_tagged(card, tags, chosen)
    if doubts and not force:
        forcing = Message("pass {force} to continue anyway", force=True)
        raise MismatchError(Message("{}: {}, or {}", _name(source), doubts[0], forcing))
    notes += [Message("{} (forced)", doubt) for doubt in doubts]
    _check_gsd(chosen, card, notes)
    scaling = scaling_under(card, chosen)
    gain, bias = card.normalisation(scaling.scale, scaling.offset)
    return Match(source=chosen, gain=gain, bias=bias, notes=tuple(notes))


def _partly_tagged(card: Card, tags: Scaling, source: Source) -> list[str]:
    """Note which bands lack scale and offset tags that others have, except where the model expects none either."""
    own = Scaling(scale=card.scale, offset=card.offset).bands
    bands = zip(card.band_names, tags.bands, own, strict=True)
    untagged = [name for name, tagged, expected in bands if expected and not tagged]
    if not untagged:
        return []
    return [
        f"its tags ({tags}) are applied, and bands without tags ({', '.join(untagged)}) are scaled as the model "
        f"expects; if that is wrong, tag all of its bands or none {remedies.tagged(source)}"
    ]


def _name(source: Source) -> str:
    return str(getattr(source, "path", "the array"))


class AskedBands(Protocol):
    """What asks for bands by name, such as a card."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in the order in which they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The bands of a source that a card asks for.

    Parameters
    ----------
    source : Source
        Reads these bands, in the card's order.
    doubts, notes : tuple of str
        Doubts that the user may overrule, and notes for the user; one line each.
    said : tuple of str
        Notes for the user about a band tagged alpha.
    """

    source: Source
    doubts: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()
    said: tuple[Text, ...] = ()


def choose_bands(
    source: Source,
    card: AskedBands,
    bands: Sequence[int | str] | None = None,
    *,
    remedy: Text = _SAY_BANDS,
) -> Choice:
    """Select the card's bands; a band that the card asks for is never used as validity.

    Parameters
    ----------
    source : Source
        The scene.
    card : AskedBands
        The model's card, or what else asks for bands.
    bands : sequence of int or str, optional
        The scene's bands (1-based numbers or names) that are the card's, in the card's order.
    remedy : str or Message
        How the caller's users choose bands. It names no band numbers: these would be guesses that users copy.

    Raises
    ------
    MismatchError, OptionError
        If it is not clear which bands are meant, or one does not exist.
    """
    names = card.band_names
    wanted = f"the model expects {len(names)} ({', '.join(names)})"
    descriptions, alpha = source.descriptions, source.alpha_band
    if bands is not None:
        if len(bands) != len(names):
            raise OptionError(
                Message("{bands} names {}, {}", plural(len(bands), "band"), wanted, bands=tuple(bands))
            )
        return _with_validity(source, Choice(source=source.select(bands, validity_band=None)))
    found = find_bands(names, descriptions, source.path)
    if found.numbers is not None:
        chosen = source.select(found.numbers, validity_band=None)
        return _with_validity(source, Choice(source=chosen, notes=(found.note,) if found.note else ()))
    spare = alpha is not None and len(descriptions) == len(names) + 1
    if len(descriptions) != len(names) and not spare:
        described = f" ({', '.join(text or '?' for text in descriptions)})" if any(descriptions) else ""
        doubt = f", {found.doubt}" if found.doubt else ""
        raise MismatchError(
            f"{_name(source)}: has {plural(len(descriptions), 'band')}{described}, {wanted}{doubt}", remedy
        )
    numbers = [n for n in range(1, len(descriptions) + 1) if not (spare and n == alpha)]
    chosen = source.select(numbers, validity_band=None)
    unsaid = not found.doubt and source.said.alpha is None
    if unsaid and source.validity_band in numbers and alpha_of(source)[0] is not None:
        called = names[numbers.index(source.validity_band)]
        tagged = f"band {source.validity_band} is tagged alpha and looks like it"
        kept = Message("pass {alpha} if it is {}", called, alpha="none")
        taken = f"and the model would use it as {called}"
        return Choice(source=chosen, doubts=(Message("{}, {}; {}, or {}", tagged, taken, remedy, kept),))
    return _with_validity(source, _in_order(chosen, names, found.doubt, remedy))


def _in_order(chosen: Source, names: Sequence[str], doubt: str, remedy: Text) -> Choice:
    """Take bands in their order in the scene, unless something about them contradicts it."""
    found = ", ".join(name or "?" for name in chosen.names)
    wanted = f"the model expects {len(names)} ({', '.join(names)})"
    if doubt:
        return Choice(source=chosen, doubts=(Message("{}, {}; {}", doubt, wanted, remedy),))
    told = not only_counted(chosen.names, chosen.path)
    if told and all(chosen.names):
        return Choice(source=chosen, doubts=(Message("its bands are {}, {}; {}", found, wanted, remedy),))
    colors = tuple(chosen.colors[i - 1] for i in chosen.bands)
    called = chosen.names if told else (None,) * chosen.count
    says = [next(iter(each)) if len(each) == 1 else None for each in meanings(called)]
    meant = meanings((None,) * len(names) if only_counted(names) else names)
    for evidence, whose in ((says, "some of its bands are named"), (colors, "its colour tags say")):
        if any(shown and can and shown not in can for shown, can in zip(evidence, meant, strict=True)):
            order = ", ".join(e or "?" for e in evidence)
            taken = f"and the model would use its bands in the order {', '.join(names)}"
            return Choice(source=chosen, doubts=(Message("{} {}, {}; {}", whose, order, taken, remedy),))
    note = f"its bands have no names: {', '.join(map(str, chosen.bands))} are used as {', '.join(names)}"
    if told and any(chosen.names):
        note = f"not all of its bands have names: {found} are used as {', '.join(names)}"
    return Choice(source=chosen, notes=(note,))


def _with_validity(source: Source, choice: Choice) -> Choice:
    """Add the scene's validity band to the chosen bands, unless it is one of them."""
    chosen = choice.source
    if source.validity_band in chosen.bands:
        if source.said.alpha is not None:
            chosen.select(
                chosen.bands, validity_band=source.validity_band
            )  # raises the error that it cannot be both
        return choice
    number, note = alpha_of(source)
    said = (note,) if note else ()
    return dataclasses.replace(choice, source=chosen.select(chosen.bands, validity_band=number), said=said)


def _dtype_doubts(source: Source, card: Card, tags: Scaling | None) -> list[Text]:
    """Return the doubt about the stored data type; with tags and a card with units, any type will do."""
    found, expected = source.dtype, np.dtype(card.dtype)
    same = found == expected or (found.kind == "f" and expected.kind == "f")
    if same or (tags is not None and card.has_units):
        return []
    low, high = card.value_range
    wanted = f"the model expects {expected} from {low:g} to {high:g}"
    if tags is None:
        return [Message("{}; {}", f"is {found}, {wanted}", remedies.converted(source, expected))]
    if not any(tags.bands):
        return [
            f"is {found}, with scale and offset applied, {wanted} as stored; open it with mask_and_scale=False"
        ]
    remedy = remedies.unscaled(source) if expected.kind == "f" else remedies.converted(source, expected)
    return [Message("{}; {}", f"is {found} and tagged with {tags}, {wanted} and no tags", remedy)]


def _check_range(source: Source, card: Card, look: Look, doubts: list[Text], notes: list[Text]) -> None:
    """Compare a sample from the scene's middle with the card's value range, both in the card's stored values."""
    sample = _sample(source, look)
    if sample.size == 0:
        return
    low, high = card.value_range
    own = Scaling(scale=card.scale, offset=card.offset)
    values = own.stored(scaling_under(card, source).units(sample))
    middle = float(np.median(values))
    if not low <= middle <= high:
        doubts.append(_range_doubt(source, card, sample, middle))
    elif float(np.percentile(values, 99)) < low + 0.02 * (high - low):
        tags = tags_of(source)
        cause = "" if tags is None or not card.has_units else f" and tagged with {tags} rightly"
        notes.append(
            f"99 % of the values lie below {low + 0.02 * (high - low):g} where the model expects "
            f"{low:g} to {high:g}: is the scene scaled as the training scenes were{cause}?"
        )


def _range_doubt(source: Source, card: Card, sample: npt.NDArray[np.float64], middle: float) -> str:
    """Describe how a scene's values differ from the card's range, and whether its tags are the cause."""
    low, high = card.value_range
    tags = tags_of(source)
    if tags is None or not any(tags.bands):
        found = f"the median of its values is {middle:g}, the model expects {low:g} to {high:g}"
        return f"{found}; rescale the scene to that range"
    stored, tagged = float(np.median(sample)), float(np.median(tags.units(sample)))
    if card.has_units:
        own = Scaling(scale=card.scale, offset=card.offset)
        ends = own.units(np.array([[low, high]] * len(card.bands)))
        return (
            f"the median of its values is {stored:g}, which its tags ({tags}) make {tagged:g}, the model expects "
            f"{ends.min():g} to {ends.max():g}; if the tags are wrong, correct them {remedies.tagged(source)}"
        )
    remedy = "rescale the scene to that range"
    if low <= tagged <= high and np.dtype(card.dtype).kind == "f":
        remedy = remedies.unscaled(source)
    return (
        f"the median of its values is {stored:g} as stored ({tagged:g} by its tags: {tags}), the model expects "
        f"stored values from {low:g} to {high:g}; {remedy}"
    )


def _sample(source: Source, look: Look) -> npt.NDArray[np.float64]:
    """Return the valid pixels of a window in the middle, shape (band, pixel); none if it cannot be read.

    Undeclared no-data values are excluded, since they are not data.

    The run decides how to treat a damaged block (`on_error`).
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
        return np.empty((source.count, 0))
    rows, cols = (slice(None, None, max(1, edge // _SAMPLED)) for edge in chip.valid.shape)
    pixels = chip.pixels[:, rows, cols]
    valid = chip.valid[rows, cols] & ~look.unlike_data(pixels, source.no_data)
    return pixels[:, valid].astype(np.float64)


def _check_gsd(source: Source, card: Card, notes: list[Text]) -> None:
    """Add a note if the ground sample distance differs by more than 20 % from the card's."""
    found = pixel_size_m(source.grid) if card.gsd_m else None
    if card.gsd_m and found and abs(found / card.gsd_m - 1) > _GSD_TOLERANCE:
        notes.append(
            f"pixels are {found:.3g} m, the model was trained on {card.gsd_m:.3g} m: the map may be worse; to avoid "
            f"that, resample the scene {remedies.resampled(source)}"
        )
