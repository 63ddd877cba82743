"""A look at a scene before long work: what is no data and was not declared, what rules differ on, what alpha is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.raster.declared import Values
from geoseg.raster.sample import sample, share_words
from geoseg.raster.source import Source
from geoseg.raster.undeclared import Suspect, Watch, zero_block
from geoseg.raster.validity import NoData, counts_together, equal, holds, nodata_words, number_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What `look_at` found in a scene.

    Parameters
    ----------
    suspects : tuple of Suspect
        Numbers that look like no data and count as data.
    notes : tuple of str
        What a person should know, one line each.
    """

    suspects: tuple[Suspect, ...] = ()
    notes: tuple[str, ...] = ()

    def unlike_data(self, pixels: npt.NDArray[Any], no_data: NoData) -> npt.NDArray[np.bool_]:
        """Pixels (row, col) of the scene that hold a suspect."""
        found = np.zeros(pixels.shape[1:], dtype=bool)
        for suspect in self.suspects:
            held = [equal(pixels[i], suspect.value, no_data.dtypes[i]) for i in suspect.bands]
            where = [each for each in held if each is not None]
            if where:
                found |= (np.logical_and if suspect.block else np.logical_or).reduce(where)
        return found


def look_at(source: Source) -> Look:
    """Look at some blocks of a scene for what is no data and was not declared, and what the rules differ on.

    Parameters
    ----------
    source : Source
        With the bands that are read.
    """
    look, no_data = sample(source), source.no_data
    watch = Watch(no_data)
    watch.add(look.pixels, look.valid)
    notes = [] if not watch.partly else partly_notes(no_data, look.amount(watch.partly))
    if no_data.said and not any(no_data.values):
        return Look(notes=tuple(notes))  # a person said that there is none
    suspects = undeclared(watch.suspects(), no_data)
    block = None if no_data.said else zero_block(look)
    suspects = (*suspects, *([block] if block else []))
    if suspects:
        what = " and ".join(f"{look.amount(s.pixels)} {holding(s)}" for s in suspects)
        remedy = Remedy.of(suspects, source)
        notes.append(f"{what} and count as data; pass {remedy.flags}, or {remedy.not_flags} if they are data")
    return Look(suspects=suspects, notes=tuple(notes))


def undeclared(suspects: Sequence[Suspect], no_data: NoData) -> tuple[Suspect, ...]:
    """Leave out the suspects that are declared in all bands that hold them: `partly_notes` tells of those."""
    return tuple(s for s in suspects if not all(s.value in no_data.values[place] for place in s.bands))


def holding(suspect: Suspect) -> str:
    """Say what pixels hold, with them as the subject."""
    if suspect.block:
        return "at the border are 0" + (" in all bands" if len(suspect.bands) > 1 else "")
    return f"hold {number_words(suspect.value)}"


def partly_notes(no_data: NoData, amount: str) -> list[str]:
    """Say how many pixels the two rules differ on, unless a person chose one."""
    if no_data.rule is not None:
        return []
    if no_data.together:
        values = "/".join(map(number_words, no_data.values[0]))
        return [
            f"{values} is no data where all bands have it: {amount} that have it in some bands only count as data; "
            "--nodata-rule any makes them no data"
        ]
    return [
        f"{amount} are no data because some of their bands are, and others are not; --nodata-rule all makes them data"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """How a person declares suspects, and how that they are data.

    Parameters
    ----------
    nodata, data : str
        Values for ``nodata``, with the suspects and without.
    any_band : bool
        Whether the rule has to be ``any`` for them to count.
    """

    nodata: str
    data: str
    any_band: bool

    @classmethod
    def of(cls, suspects: Sequence[Suspect], source: Source) -> Remedy:
        """Add the suspects to what a source declares already."""
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
    def flags(self) -> str:
        """On the command line."""
        return f"--nodata {self.nodata}" + (" --nodata-rule any" if self.any_band else "")

    @property
    def rule_too(self) -> str:
        """What a configuration has to say beside, in words."""
        return " and data.nodata_rule to any" if self.any_band else ""

    @property
    def not_flags(self) -> str:
        """On the command line, where they are data."""
        return f"--nodata {self.data}"


def _listed(values: Sequence[Values], bands: Sequence[int], count: int) -> str:
    """No-data values as the option takes them, of all bands of a scene."""
    if len(set(values)) == 1:
        return nodata_words(values)
    entries: list[Values] = [()] * count
    for number, each in zip(bands, values, strict=True):
        entries[number - 1] = each
    return ",".join(nodata_words([entry]) for entry in entries)


_MANY_VALUES: Final = 16
"""So many numbers between nothing and opaque are said; a mask has none, a soft edge a few."""


def alpha_of(source: Source) -> tuple[int | None, str | None]:
    """Decide which band is validity, and say so in a line where that is not plain.

    A band tagged alpha of whose pixels most are between nothing and opaque is an image: writers of TIFF tag the fourth
    band of any picture alpha. It is then no validity.

    Parameters
    ----------
    source : Source
        Its `validity_band` is what its tags say.

    Returns
    -------
    int or None
        Number from 1 of the band.
    str or None
        What a person should know.
    """
    number = source.validity_band
    if number is None or source.said.alpha is not None:
        return number, None
    plane = sample(source.select([number], validity_band=None)).pixels[0]
    values, counts = np.unique(plane[plane > 0], return_counts=True)
    if len(values) <= _MANY_VALUES:
        return number, None
    between = 1 - counts.max() / counts.sum()
    found = (
        f"band {number} is tagged alpha and takes {len(values):,} values from {values[0]:g} to {values[-1]:g}"
    )
    if between > 0.5:
        return None, (
            f"{found}: it is taken for data and leaves no pixel out; pass --alpha {number} if it says which pixels "
            "are valid, --alpha none if not"
        )
    out = share_words(float((plane <= 0).mean()))
    return number, (
        f"{found}: pixels where it is above 0 are valid ({out} are not); pass --alpha none if it is data, "
        f"--alpha {number} if not"
    )
