"""What the codes of a class map mean."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from geoseg.errors import LegendError
from geoseg.grid.colors import distinct_colors
from geoseg.grid.lexicon import conventional_colors

NODATA = 255
"""Code of no data in every class map geoseg writes; never a class."""

Task = Literal["multiclass", "binary", "multilabel"]
"""What is said of a pixel: one class of several; whether it is of the one class (codes 1 and 0); or, of each
class, whether it is there: a layer a class."""

THRESHOLD = 0.5
"""A binary or multilabel class is there where its probability is above this, unless the card says another."""


_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What the XML of styles and names of categories cannot hold, or a terminal would obey."""
_ENDS = "".join(map(chr, (*range(33), *range(127, 161), 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F,
                          0x3000, 0xFEFF)))  # fmt: skip
"""Blanks, line ends, control characters and what has no width."""


def trimmed(name: str) -> str:
    """Return a name without the blanks, line ends and control characters that files of others have at its ends."""
    return name.strip(_ENDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendClass:
    """One class: code, name and colour (``#rrggbb``)."""

    code: int
    name: str
    color: str

    def __post_init__(self) -> None:
        """Refuse an unusable code, name or colour."""
        if not self.name.strip():
            raise LegendError(f"class {self.code} has an empty name")
        if unwritable := _UNWRITABLE.search(self.name):
            raise LegendError(
                f"the name of class {self.code} holds the control character {unwritable[0]!a}, expected letters, "
                "marks and blanks"
            )
        if not re.fullmatch(r"#[0-9a-f]{6}", self.color):
            raise LegendError(f"colour of class {self.name!r} is {self.color!r}, expected #rrggbb")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """Classes in ascending order of their codes, which differ; names differ too.

    Foreign class maps may use any integer codes; what geoseg writes keeps to 0 to 254 (`require_bytes`).
    """

    classes: tuple[LegendClass, ...]

    def __post_init__(self) -> None:
        """Refuse an empty legend and repeated codes or names."""
        if not self.classes:
            raise LegendError("the legend has no class, expected at least one")
        codes = [c.code for c in self.classes]
        if len(set(codes)) != len(codes):
            raise LegendError(f"the legend repeats a code: {', '.join(map(str, codes))}")
        names = [c.name for c in self.classes]
        if len(set(names)) != len(names):
            raise LegendError(f"the legend repeats a name: {', '.join(names)}")
        if codes != sorted(codes):
            object.__setattr__(self, "classes", tuple(sorted(self.classes, key=lambda c: c.code)))

    @classmethod
    def parse(cls, text: str) -> Legend:
        """Read ``water,forest=#228B22,"grass, wet"``: codes 1..n in the order given, colours found where missing.

        What stands between double quotes may hold commas.
        """
        try:
            parts = next(csv.reader([text], skipinitialspace=True), [""])
        except csv.Error as error:
            raise LegendError(
                f"{text[:80]!r} is no list of classes, expected names between commas, on one line"
            ) from error
        classes = []
        for code, part in enumerate(parts, start=1):
            name, _, color = part.rpartition("=") if "=" in part else (part, "", "")
            classes.append((code, trimmed(name), color.strip().lower() or None))
        return cls.of(classes)

    @classmethod
    def of(cls, classes: Iterable[tuple[int, str, str | None]]) -> Legend:
        """Make a legend of codes, names and colours (``#rrggbb``), which are found where they are None.

        A class gets the colour that maps show such land in, by its name (`conventional_colors`), otherwise one of
        a palette for colour-blind people; no two classes look alike, but for colours that were given so.

        Raises
        ------
        LegendError
            If a name or a colour cannot be used, or codes or names repeat.
        """
        ordered = sorted(classes, key=lambda c: c[0])
        for code, name, color in ordered:
            LegendClass(code=code, name=name, color=color or "#000000")
        names, given = [name for _, name, _ in ordered], [color for _, _, color in ordered]
        colors = given if all(given) else distinct_colors(conventional_colors(names), given)
        return cls(
            classes=tuple(
                LegendClass(code=code, name=name, color=str(color))
                for (code, name, _), color in zip(ordered, colors, strict=True)
            )
        )

    @classmethod
    def made_up(cls, codes: Iterable[int], names: Mapping[int, str] | None = None) -> Legend:
        """Legend for codes of which nothing (or only some names) is known."""
        known = names or {}
        return cls.of((code, known.get(code, f"class {code}"), None) for code in set(codes))

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes, ascending."""
        return tuple(c.code for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the codes."""
        return tuple(c.name for c in self.classes)

    def __getitem__(self, code: int) -> LegendClass:
        """Return the class of a code."""
        for c in self.classes:
            if c.code == code:
                return c
        raise KeyError(code)

    def over(self, own: Legend | None) -> Legend:
        """Return these classes, and those of another legend whose codes this one does not name.

        A class of the other legend whose name is taken gets its code behind it.

        Parameters
        ----------
        own : Legend or None
            What is known without this legend.
        """
        taken, more = set(self.names), []
        for c in () if own is None else own.classes:
            if c.code not in self.codes:
                name = c.name
                while name in taken:
                    name += f" ({c.code})"
                taken.add(name)
                more.append(LegendClass(code=c.code, name=name, color=c.color))
        return Legend(classes=(*self.classes, *more))

    def strange_to(self, codes: Iterable[int]) -> str | None:
        """Say that the legend names none of some codes; None where it names one, or there are none."""
        found = tuple(sorted(codes))
        if not found or set(found) & set(self.codes):
            return None
        return f"the legend names codes {_listed(self.codes)}, expected some of {_listed(found)}"

    def relabelled(self, other: Legend) -> Legend:
        """Return the same codes with the names and colours that another legend gives them, where it does.

        Raises
        ------
        LegendError
            If it names none of the codes.
        """
        if strange := other.strange_to(self.codes):
            raise LegendError(strange)
        known = other.over(self)
        return Legend(classes=tuple(known[code] for code in self.codes))

    def require_bytes(self) -> None:
        """Raise LegendError unless every code fits a class map (0 to 254)."""
        wrong = [c.code for c in self.classes if not 0 <= c.code < NODATA]
        if wrong:
            raise LegendError(
                f"class codes {', '.join(map(str, wrong))} do not fit a class map, expected 0 to 254"
            )


def _listed(codes: tuple[int, ...]) -> str:
    return ", ".join(map(str, codes[:12])) + (", ..." if len(codes) > 12 else "")


BACKGROUND = "background"
"""What a binary task calls the pixels that are not of its class, where nobody named them."""


def binary_legend(legend: Legend) -> Legend:
    """Return the legend of a binary task: codes 0 and 1, or one class, which becomes code 1 over `BACKGROUND`.

    Raises
    ------
    LegendError
        If it has other classes.
    """
    if legend.codes == (0, 1):
        return legend
    if len(legend.classes) == 1 and legend.codes != (0,):
        only = legend.classes[0]
        return Legend.of([(0, BACKGROUND, None), (1, only.name, only.color)])
    raise LegendError(
        f"a binary task has one class, or codes 0 and 1, found codes {', '.join(map(str, legend.codes))}"
    )


BUILT_IN: Mapping[str, Legend] = {
    "deepglobe": Legend(
        classes=tuple(
            LegendClass(code=code, name=name, color=color)
            for code, name, color in (
                (0, "unknown", "#000000"),
                (1, "urban", "#00ffff"),
                (2, "agriculture", "#ffff00"),
                (3, "rangeland", "#ff00ff"),
                (4, "forest", "#00ff00"),
                (5, "water", "#0000ff"),
                (6, "barren", "#ffffff"),
            )
        )
    )
}
"""Legends of well-known data sets, by name: the DeepGlobe land cover challenge (Demir et al. 2018)."""
