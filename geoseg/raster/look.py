"""Quick inspection of a scene before long work: undeclared no data, effect of no-data rules, alpha band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, Text, plural
from geoseg.raster.declared import Values
from geoseg.raster.sample import sample, share_words
from geoseg.raster.source import Source
from geoseg.raster.undeclared import Suspect, Watch, zero_block
from geoseg.raster.validity import NoData, counts_together, equal, holds, nodata_words, number_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Result of `look_at`.

    Parameters
    ----------
    suspects : tuple of Suspect
        Values that look like no data but count as data.
    notes : tuple of str
        Notes for the user, one line each.
    """

    suspects: tuple[Suspect, ...] = ()
    notes: tuple[Text, ...] = ()

    def unlike_data(self, pixels: npt.NDArray[Any], no_data: NoData) -> npt.NDArray[np.bool_]:
        """Return which pixels (row, col) have a suspect value."""
        found = np.zeros(pixels.shape[1:], dtype=bool)
        for suspect in self.suspects:
            held = [equal(pixels[i], suspect.value, no_data.dtypes[i]) for i in suspect.bands]
            where = [each for each in held if each is not None]
            if where:
                found |= (np.logical_and if suspect.block else np.logical_or).reduce(where)
        return found


def look_at(source: Source) -> Look:
    """Inspect sample blocks of a scene for undeclared no data and for the effect of the no-data rules.

    Parameters
    ----------
    source : Source
        Scene with the bands to read chosen.
    """
    look, no_data = sample(source), source.no_data
    watch = Watch(no_data)
    watch.add(look.pixels, look.valid)
    notes: list[Text] = [] if not watch.partly else partly_notes(no_data, look.amount(watch.partly))
    if no_data.said and not any(no_data.values):
        return Look(notes=tuple(notes))  # the user stated that there is none
    suspects = undeclared(watch.suspects(), no_data)
    block = None if no_data.said else zero_block(look)
    suspects = (*suspects, *([block] if block else []))
    if suspects:
        what = " and ".join(f"{look.amount(s.pixels)} {holding(s)}" for s in suspects)
        remedy = Remedy.of(suspects, source)
        notes.append(
            Message(
                "{} and count as data; pass {}, or {} if they are data", what, remedy.declared, remedy.as_data
            )
        )
    return Look(suspects=suspects, notes=tuple(notes))


def undeclared(suspects: Sequence[Suspect], no_data: NoData) -> tuple[Suspect, ...]:
    """Drop the suspects that are declared in all bands that have them: `partly_notes` reports those."""
    return tuple(s for s in suspects if not all(s.value in no_data.values[place] for place in s.bands))


def holding(suspect: Suspect) -> str:
    """Describe the suspect pixels in words that follow their number."""
    if suspect.block:
        return "at the border are 0" + (" in all bands" if len(suspect.bands) > 1 else "")
    return f"hold {number_words(suspect.value)}"


def partly_notes(no_data: NoData, amount: str) -> list[Text]:
    """Describe how many pixels depend on the no-data rule, unless the user chose one."""
    if no_data.rule is not None:
        return []
    if no_data.together:
        values = "/".join(map(number_words, no_data.values[0]))
        found = f"{values} is no data where all bands have it"
        partly = f"{amount} that have it in some bands only count as data"
        return [Message("{}: {}; {nodata_rule} makes them no data", found, partly, nodata_rule="any")]
    found = f"{amount} are no data because some of their bands are, and others are not"
    return [Message("{}; {nodata_rule} makes them data", found, nodata_rule="all")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """Options that declare suspects as no data, or as data.

    Parameters
    ----------
    nodata, data : str
        Values of the option ``nodata`` with the suspects, and without.
    any_band : bool
        Whether the rule must be ``any`` for the suspects to take effect.
    """

    nodata: str
    data: str
    any_band: bool

    @classmethod
    def of(cls, suspects: Sequence[Suspect], source: Source) -> Remedy:
        """Combine the suspects with the no-data values that a source already declares."""
        no_data, count = source.no_data, len(source.descriptions)
        plain = [
            tuple(v for v in values if holds(d, v))
            for values, d in zip(no_data.values, no_data.dtypes, strict=True)
        ]
        more = [
            (*values, *(s.value for s in suspects if place in s.bands and s.value not in values))
            for place, values in enumerate(plain)
        ]
        if len(set(plain)) == 1:
            new = tuple(s.value for s in suspects if s.value not in plain[0])
            more = [(*plain[0], *new)] * len(plain)
        apart = any(suspect.apart for suspect in suspects) and counts_together(more, no_data.rule)
        return cls(
            nodata=_listed(more, source.bands, count),
            data=_listed(plain, source.bands, count),
            any_band=apart,
        )

    @property
    def declared(self) -> Message:
        """Keywords that declare the suspects."""
        template = "{nodata} and {nodata_rule}" if self.any_band else "{nodata}"
        return Message(template, nodata=self.nodata, nodata_rule="any")

    @property
    def rule_too(self) -> str:
        """Words for what a configuration must set besides ``nodata``."""
        return " and data.nodata_rule to any" if self.any_band else ""

    @property
    def as_data(self) -> Message:
        """Keyword that declares the suspects as data."""
        return Message("{nodata}", nodata=self.data)


def _listed(values: Sequence[Values], bands: Sequence[int], count: int) -> str:
    """Format no-data values of all bands of a scene as the option takes them."""
    if len(set(values)) == 1:
        return nodata_words(values)
    entries: list[Values] = [()] * count
    for number, each in zip(bands, values, strict=True):
        entries[number - 1] = each
    return ",".join(nodata_words([entry]) for entry in entries)


_MANY_VALUES: Final = 16
"""Number of distinct alpha values above which a note is given; a mask has one, soft edges add a few."""


def alpha_of(source: Source) -> tuple[int | None, Text | None]:
    """Decide which band is the validity band, with a note if that is not obvious.

    A band tagged alpha in which most pixels are partly transparent is taken for data: TIFF writers tag the fourth
    band of any image as alpha.

    Parameters
    ----------
    source : Source
        Scene whose `validity_band` follows from its tags.

    Returns
    -------
    int or None
        Number from 1 of the validity band.
    str, Message or None
        Note for the user.
    """
    number = source.validity_band
    if number is None or source.said.alpha is not None:
        return number, None
    plane = sample(source.select([number], validity_band=None)).pixels[0]
    values, counts = np.unique(plane[plane > 0], return_counts=True)
    if len(values) <= _MANY_VALUES:
        return number, None
    between = 1 - counts.max() / counts.sum()
    taken = f"{plural(len(values), 'value')} from {values[0]:g} to {values[-1]:g}"
    found = f"band {number} is tagged alpha and takes {taken}"
    if between > 0.5:
        taken = "it is taken for data and leaves no pixel out"
        valid = Message("{alpha} if it says which pixels are valid", alpha=number)
        return None, Message("{}: {}; pass {}, {alpha} if not", found, taken, valid, alpha="none")
    out = share_words(float((plane <= 0).mean()))
    taken = f"pixels where it is above 0 are valid ({out} are not)"
    data = Message("{alpha} if it is data", alpha="none")
    return number, Message("{}: {}; pass {}, {alpha} if not", found, taken, data, alpha=number)
