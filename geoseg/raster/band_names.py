"""Meaning of band names such as red, B04, SR_B4, "Band 4 - Red" or "red (665 nm)".

A word says what a band shows. A number does so only together with the satellite: B4 is red on Sentinel-2 and on
Landsat 8 and 9, and near infrared on Landsat 4 to 7. So names are interpreted for each of these satellites, and
bands are found if all possible interpretations agree. Common names are those of STAC's ``eo``
extension; numbers are those of ESA's and USGS's handbooks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Final

_SENTINEL_2: Final = "Sentinel-2"
_LANDSAT_8: Final = "Landsat 8 and 9"
_LANDSAT_7: Final = "Landsat 4 to 7"
_MODIS: Final = "MODIS"
_OLI: Final = (
    "coastal", "blue", "green", "red", "nir", "swir16", "swir22", "pan", "cirrus", "lwir11", "lwir12"
)  # fmt: skip
_MSI: Final = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "cirrus",
    "swir16", "swir22",
)  # fmt: skip
_NUMBERED: Final[Mapping[str, Mapping[str, str]]] = {
    _SENTINEL_2: dict(zip([*"12345678", "8a", "9", "10", "11", "12"], _MSI, strict=True)),
    _LANDSAT_8: {str(i): name for i, name in enumerate(_OLI, start=1)},
    _LANDSAT_7: dict(
        zip("12345678", ("blue", "green", "red", "nir", "swir16", "lwir", "swir22", "pan"), strict=True)
    ),
    _MODIS: dict(zip("123467", ("red", "nir", "blue", "green", "swir16", "swir22"), strict=True)),
}
"""Common names of each satellite's bands by their numbers."""
_WORDS: Final = {
    "coastal": r"coastal( aerosols?| blue)?|aerosols?|ultra ?blue",
    "blue": r"blue",
    "green": r"green",
    "yellow": r"yellow",
    "red": r"red",
    "rededge": r"(veg(etation)? )?red ?edge",
    "rededge1": r"(veg(etation)? )?red ?edge ?(0?1|0?71|705)|vre ?1|re ?1",
    "rededge2": r"(veg(etation)? )?red ?edge ?(0?2|0?75|740)|vre ?2|re ?2",
    "rededge3": r"(veg(etation)? )?red ?edge ?(0?3|0?78|783)|vre ?3|re ?3",
    "nir": r"nir ?1?|(near ?)?infra ?red|nir broad|broad nir",
    "nir08": r"nir ?0?8|nir ?a|nir ?narrow|narrow nir|narrow near infra ?red",
    "nir09": r"nir ?0?9|water ?vapou?r",
    "nir2": r"nir ?2",
    "cirrus": r"cirrus",
    "swir16": r"swir ?(1|16|1600|1610)|short ?wave infra ?red ?1",
    "swir22": r"swir ?(2|22|2200|2190)|short ?wave infra ?red ?2",
    "swir": r"swir|short ?wave infra ?red",
    "pan": r"pan(chromatic)?",
    "lwir": r"lwir|tir|thermal( infra ?red)?",
    "lwir11": r"lwir ?11|tirs? ?1|thermal infra ?red 1",
    "lwir12": r"lwir ?12|tirs? ?2|thermal infra ?red 2",
}
_FILLERS: Final = (
    r"bands?|channel|reflectance|surface|toa|boa|sr|st|light|visible|central|cent(re|er)|wavelength|sentinel ?2?|msi"
    r"|landsat( ?[4-9])?|oli|tirs?|etm|tm|hls|s2[a-d]?|msil[12][ac]|l[12][ac]?|t\d\d[a-z]{3}|\d{8}t\d{6}|\d+ ?m"
    r"|l[coetm]\d\d l\d[a-z]{2} \d{6} \d{8} \d{8} \d\d (t1|t2|rt)"
)
"""Words and codes beside a name or number that do not change its meaning."""
_WAVELENGTH: Final = (
    r"\d+(\.\d+)?( ?[-–] ?\d+(\.\d+)?)? ?(nm|nanomet(er|re)s?|[µμu]m|micro(n|met(er|re))s?)\b"
)
_NUMBER: Final = r"(?:^| )(?:(sr|st|sur refl) )?(?:band|b) ?(\d{1,2}a?)(?= |$)"
_LETTERS: Final = {"r": "red", "g": "green", "b": "blue", "n": "nir"}
_ALIKE: Final = {"nir": "nir08", "nir08": "nir"}
"""Bands that replace each other if one is missing, with a note."""
_HINTS: Final = (
    (r"landsat[ _-]?[4-7](?!\d)|(?<![a-z])l[etm]0?[4-7](?![a-z0-9])", (_LANDSAT_7,)),
    (r"landsat[ _-]?[89](?!\d)|(?<![a-z])l[cot]0?[89](?![a-z0-9])|hls\.l30", (_LANDSAT_8,)),
    (r"landsat", (_LANDSAT_8, _LANDSAT_7)),
    (r"sentinel[ _-]?2|(?<![a-z])s2[a-d]?_|(?<![a-z])t\d\d[a-z]{3}_\d{8}t|hls\.s30", (_SENTINEL_2,)),
)
"""Patterns in names of files and folders that tell the satellite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Interpretation of a band's name.

    Parameters
    ----------
    word : str or None
        Common name, if the name spells it out.
    number : str or None
        Band number such as ``8a``, if the name has nothing else.
    padded : bool
        Whether the number has a leading zero.
    family : str
        ``sr``, ``st`` or ``sur refl`` if that precedes the number.
    """

    word: str | None = None
    number: str | None = None
    padded: bool = False
    family: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Result of a search for bands.

    Parameters
    ----------
    numbers : tuple of int or None
        Band numbers from 1, in the requested order; None if they cannot be determined.
    note : str
        Assumptions that were made, for a message; empty if none.
    doubt : str
        Why matching names are ambiguous; empty if no name matches.
    """

    numbers: tuple[int, ...] | None = None
    note: str = ""
    doubt: str = ""


@lru_cache(maxsize=4096)
def read_name(name: str) -> Reading:
    """Interpret a band's name; a name with any unknown part has no meaning."""
    text = unicodedata.normalize("NFKC", name).lower()
    text = re.sub(_WAVELENGTH, " ", text.replace("_", " "))
    text = " ".join(re.sub(r"\W+", " ", text).split())
    found = list(re.finditer(_NUMBER, text))
    if len(found) > 1:
        return Reading()
    number = found[0] if found else None
    rest = text if number is None else text[: number.start()] + " " + text[number.end() :]
    word = _word(" ".join(rest.split()))
    if word is not None:
        return Reading(word=word)
    if number is None or re.fullmatch(rf"(({_FILLERS})( |$))*", " ".join(rest.split())) is None:
        return Reading()
    digits = number[2]
    return Reading(number=digits.lstrip("0"), padded=digits.startswith("0"), family=number[1] or "")


def wavelength_of(name: str) -> float | None:
    """Return the wavelength in a band's name in nm (the middle of a range), or None."""
    text = unicodedata.normalize("NFKC", name).lower()
    found = list(re.finditer(_WAVELENGTH, text))
    if len(found) != 1:
        return None
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", found[0][0])]
    middle = sum(numbers) / len(numbers)
    return middle if found[0][4][0] == "n" else middle * 1000


def _word(text: str) -> str | None:
    """Return the common name that a text spells, with or without filler words around it."""
    if text in _LETTERS:
        return _LETTERS[text]
    for name, pattern in _WORDS.items():
        if re.fullmatch(rf"(({_FILLERS}) )*({pattern})( ({_FILLERS}))*", text):
            return name
    return None


def meanings(names: Sequence[str | None]) -> tuple[frozenset[str], ...]:
    """Return the common names that the name of each band may stand for; empty if it stands for none."""
    read = [[_meaning(name, satellite) for satellite in _satellites(names)] for name in names]
    return tuple(frozenset(common for common in each if common) for each in read)


def only_counted(names: Sequence[str | None], path: str = "") -> bool:
    """Tell whether names are mere positions: Band 1, Band 2, Band 3."""
    for place, name in enumerate(names, start=1):
        text = "" if name is None else " ".join(re.split(r"[\W_]+", name.lower())).strip()
        match = re.fullmatch(r"(band|layer|channel|b|)( ?)(\d+)", text)
        if name is None or match is None or match[3] != str(place) or (match[1] == "b" and _hint(path)):
            return False
    return bool(names)


def find_bands(wanted: Sequence[str], names: Sequence[str | None], path: str = "") -> Found:
    """Find bands by name.

    Law: bands with exactly the requested names, ignoring case, are always found; others only if all interpretations
    of the names that contain all requested bands agree.

    Parameters
    ----------
    wanted : sequence of str
        Names to look for.
    names : sequence of str or None
        Names of the file's bands.
    path : str
        Path of the file, which may tell the satellite.
    """
    called = [_called(name, names) for name in wanted]
    if all(len(places) == 1 for places in called):
        return Found(numbers=tuple(places[0] for places in called))
    twice = [name for name, places in zip(wanted, called, strict=True) if len(places) > 1]
    if twice:
        return Found(doubt=f"several of its bands are called {twice[0]}")
    if only_counted(names, path):
        return Found()
    readings: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    possible = _satellites(names, path)
    for ours in possible:
        meant = [_meaning(name, ours) for name in names]
        for theirs in _satellites(wanted):
            numbers = _numbers([_meaning(name, theirs) for name in wanted], called, meant)
            if numbers is not None:
                readings.setdefault(numbers, []).append((ours, theirs))
    if not readings:
        return Found()
    unlike = {_SENTINEL_2, _LANDSAT_8} & set(possible) - {ours for by in readings.values() for ours, _ in by}
    if len(readings) == 1 and unlike:
        found = _listed([names[n - 1] for n in next(iter(readings))])
        return Found(
            doubt=f"{found} may be numbered as on {next(iter(readings.values()))[0][0]} or as on {unlike.pop()}"
        )
    if len(readings) > 1:
        each = [
            f"{_listed([names[n - 1] for n in found])} as on {by[0][0]}" for found, by in readings.items()
        ]
        return Found(doubt=f"{_listed(wanted)} may be {' or '.join(each)}")
    numbers, satellites = next(iter(readings.items()))
    return Found(numbers=numbers, note=_note(wanted, [names[n - 1] for n in numbers], satellites))


def _called(name: str, names: Sequence[str | None]) -> list[int]:
    """Return the numbers of the bands with a name: exactly, else ignoring case."""
    places = [i for i, other in enumerate(names, start=1) if other == name]
    low = name.strip().lower()
    return places or [i for i, other in enumerate(names, start=1) if other and other.strip().lower() == low]


def _satellites(names: Sequence[str | None], path: str = "") -> list[str]:
    """Return the satellites whose numbering the names may follow."""
    numbered = [reading for name in names if name and (reading := read_name(name)).number is not None]
    if not numbered:
        return [""]
    hinted = _hint(path)
    possible = [
        satellite
        for satellite, bands in _NUMBERED.items()
        if (not hinted or satellite in hinted)
        and all(r.number in bands and _may_say(r, satellite, hinted) for r in numbered)
    ]
    return possible or [""]


def _may_say(reading: Reading, satellite: str, hinted: Sequence[str]) -> bool:
    """Tell whether a satellite's products write band numbers in this form."""
    if satellite == _MODIS or reading.family == "sur refl":
        return satellite == _MODIS and reading.family == "sur refl"
    if satellite == _SENTINEL_2:
        return not reading.family
    if reading.family:
        return (satellite, reading.number) != (_LANDSAT_7, "6") or reading.family == "st"
    return bool(hinted) or not (reading.padded or reading.number == "8")


def _hint(path: str) -> tuple[str, ...]:
    """Return the satellites that the file name or else the folder name indicates."""
    places = PurePath(path.lower()).parts[-2:]
    for text in reversed(places):
        for pattern, satellites in _HINTS:
            if re.search(pattern, text):
                return satellites
    return ()


def _meaning(name: str | None, satellite: str) -> str | None:
    if name is None:
        return None
    reading = read_name(name)
    if reading.number is None:
        return reading.word
    return _NUMBERED.get(satellite, {}).get(reading.number)


def _numbers(
    wanted: Sequence[str | None], called: Sequence[Sequence[int]], meant: Sequence[str | None]
) -> tuple[int, ...] | None:
    """Return the number of each band by its name, else by its meaning; None unless each is found once."""
    numbers = []
    for common, places in zip(wanted, called, strict=True):
        found = list(places) or _showing(common, meant) or _showing(_ALIKE.get(common or ""), meant)
        if len(found) != 1:
            return None
        numbers.append(found[0])
    return tuple(numbers) if len(set(numbers)) == len(numbers) else None


def _showing(common: str | None, meant: Sequence[str | None]) -> list[int]:
    return [] if common is None else [i for i, other in enumerate(meant, start=1) if other == common]


def _note(wanted: Sequence[str], found: Sequence[str | None], satellites: Sequence[tuple[str, str]]) -> str:
    """Describe which bands were taken for which, unless only the spelling differs."""
    pairs = list(zip(wanted, found, strict=True))
    if all(_meaning(w, "") == _meaning(f, "") or w.lower() == str(f).lower() for w, f in pairs):
        return ""
    numbering = sorted({name for name in dict.fromkeys(sum(satellites, ())) if name})
    by = f", by the numbers of {' and '.join(numbering)}" if numbering else ""
    verb = "is" if len(found) == 1 else "are"
    return f"{_listed(found)} {verb} used as {_listed(wanted)}{by}"


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(str(name) for name in names)
