"""Legends: the meaning of the codes of a class map."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from geoseg.errors import LegendError
from geoseg.grid.colors import distinct_colors
from geoseg.grid.html import html_table
from geoseg.grid.lexicon import conventional_colors

NODATA = 255
"""Code of no data in every class map that geoseg writes; never a class."""

Task = Literal["multiclass", "binary", "multilabel"]
"""Kind of segmentation: one of several classes per pixel (``multiclass``); one class or not, codes 1 and 0
(``binary``); or each class present or not, in one layer per class (``multilabel``)."""

THRESHOLD = 0.5
"""Probability above which a binary or multilabel class is present, unless the card states another threshold."""


_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML (styles, category names) cannot hold or that control a terminal."""
_ENDS = "".join(map(chr, (*range(33), *range(127, 161), 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F,
                          0x3000, 0xFEFF)))  # fmt: skip
"""Blanks, line ends, control characters and zero-width characters."""


def trimmed(name: str) -> str:
    """Strip blanks, line ends, control and zero-width characters from the ends of a name."""
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
                f"the name of class {self.code} contains the control character {unwritable[0]!a}, expected letters, "
                "digits, punctuation and spaces"
            )
        if not re.fullmatch(r"#[0-9a-f]{6}", self.color):
            raise LegendError(f"colour of class {self.name!r} is {self.color!r}, expected #rrggbb")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """Classes in ascending order of their codes; codes and names are unique.

    Class maps from elsewhere may use any integer codes; those that geoseg writes use 0 to 254 (`require_bytes`).
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

    def _repr_html_(self) -> str:
        """Show the classes in a notebook, a row each with a patch of its colour."""
        return html_table(("code", "", "class"), ((str(c.code), c.color, c.name) for c in self.classes))

    @classmethod
    def parse(cls, text: str) -> Legend:
        """Parse ``water,forest=#228B22,"grass, wet"``: codes are 1..n in this order, missing colours are chosen.

        Text between double quotes may contain commas.

        Examples
        --------
        >>> legend = Legend.parse("water,forest=#228b22")
        >>> [(one.code, one.name) for one in legend.classes]
        [(1, 'water'), (2, 'forest')]
        """
        try:
            parts = next(csv.reader([text], skipinitialspace=True), [""])
        except csv.Error as error:
            raise LegendError(
                f"{text[:80]!r} is not a list of classes, expected names separated by commas, on one line"
            ) from error
        return cls._of_parts(parts)

    @classmethod
    def given(cls, classes: Legend | str | Sequence[str]) -> Legend:
        """Return the legend that a person gives: itself, a text as `parse` reads it, or names in a sequence.

        In a sequence, too, a name may have its colour, as ``forest=#228B22``. The keys of a mapping are no names.

        Raises
        ------
        LegendError
            If it cannot be read.
        """
        if isinstance(classes, Legend):
            return classes
        if isinstance(classes, str):
            return cls.parse(classes)
        kinds = {type(part).__name__ for part in classes if not isinstance(part, str)}
        if kinds or isinstance(classes, Mapping):
            raise LegendError(
                f"classes are a {' of '.join([type(classes).__name__, *sorted(kinds)])}, expected a text as "
                "forest=#228b22,water, a sequence of such texts, or a Legend"
            )
        return cls._of_parts(classes)

    @classmethod
    def _of_parts(cls, parts: Iterable[str]) -> Legend:
        """Read ``name`` or ``name=#rrggbb`` of each class, codes 1..n in the order given."""
        classes = []
        for code, part in enumerate(parts, start=1):
            name, _, color = part.rpartition("=") if "=" in part else (part, "", "")
            classes.append((code, trimmed(name), color.strip().lower() or None))
        return cls.of(classes)

    @classmethod
    def of(cls, classes: Iterable[tuple[int, str, str | None]]) -> Legend:
        """Make a legend from codes, names and colours (``#rrggbb``, or None to have one chosen).

        A class gets the colour that is usual for land cover of its name (`conventional_colors`), otherwise one of a
        colour-blind-safe palette. No two chosen colours look alike.

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
        """Make a legend for codes whose meaning is unknown, or of which only some names are known."""
        known = names or {}
        return cls.of((code, known.get(code, f"class {code}"), None) for code in set(codes))

    @property
    def codes(self) -> tuple[int, ...]:
        """Class codes in ascending order."""
        return tuple(c.code for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of the codes."""
        return tuple(c.name for c in self.classes)

    def __getitem__(self, code: int) -> LegendClass:
        """Return the class with a code."""
        for c in self.classes:
            if c.code == code:
                return c
        raise KeyError(code)

    def over(self, own: Legend | None) -> Legend:
        """Return the classes of this legend, and those of another one whose codes this one lacks.

        A class of the other legend whose name is taken gets its code appended.

        Parameters
        ----------
        own : Legend or None
            Legend to fill the gaps from, such as the file's own.
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
        """Describe a legend that names none of the codes; return None if it names any, or if there are no codes."""
        found = tuple(sorted(codes))
        if not found or set(found) & set(self.codes):
            return None
        return f"the legend names codes {_listed(self.codes)}, expected some of {_listed(found)}"

    def relabelled(self, other: Legend) -> Legend:
        """Return the same codes with the names and colours of another legend, where it has them.

        Raises
        ------
        LegendError
            If the other legend names none of the codes.
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
"""Default name, in a binary task, of the pixels outside the class."""


def binary_legend(legend: Legend) -> Legend:
    """Return the legend of a binary task: codes 0 and 1, or one class as code 1 beside `BACKGROUND`.

    Raises
    ------
    LegendError
        If the legend has other classes.
    """
    if legend.codes == (0, 1):
        return legend
    if len(legend.classes) == 1 and legend.codes != (0,):
        only = legend.classes[0]
        return Legend.of([(0, BACKGROUND, None), (1, only.name, only.color)])
    raise LegendError(
        f"a binary task has one class, or codes 0 and 1, found codes {', '.join(map(str, legend.codes))}"
    )


def legend_of_channels(classes: Legend | str | Sequence[str], task: Task) -> Legend:
    """Return the legend of a network's output channels from classes in their order; see `Legend.given`.

    A binary task gets the codes 0 and 1: of two classes with the codes 1 and 2 the first is the background.

    Raises
    ------
    LegendError
        If the classes cannot be read, have codes above 254, or do not suit the task.
    """
    legend = Legend.given(classes)
    legend.require_bytes()
    if task != "binary":
        return legend
    if legend.codes == (1, 2):
        legend = Legend(classes=tuple(replace(c, code=c.code - 1) for c in legend.classes))
    return binary_legend(legend)


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
