"""What the codes of a class map mean."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from geoseg.errors import LegendError

NODATA = 255
"""Code of no data in every class map geoseg writes; never a class."""

Task = Literal["multiclass", "binary", "multilabel"]
"""What is said of a pixel: one class of several; whether it is of the one class (codes 1 and 0); or, of each
class, whether it is there: a layer a class."""

THRESHOLD = 0.5
"""A binary or multilabel class is there where its probability is above this, unless the card says another."""


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
        """Read ``water,forest=#228B22,...``: codes 1..n in the order given, colours made up where missing."""
        classes = []
        for code, part in enumerate(text.split(","), start=1):
            name, _, color = part.partition("=")
            classes.append(
                LegendClass(
                    code=code, name=name.strip(), color=color.strip().lower() or made_up_color(code - 1)
                )
            )
        return cls(classes=tuple(classes))

    @classmethod
    def made_up(cls, codes: Iterable[int], names: Mapping[int, str] | None = None) -> Legend:
        """Legend for codes of which nothing (or only some names) is known."""
        known = names or {}
        return cls(
            classes=tuple(
                LegendClass(code=code, name=known.get(code, f"class {code}"), color=made_up_color(i))
                for i, code in enumerate(sorted(set(codes)))
            )
        )

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

    def require_bytes(self) -> None:
        """Raise LegendError unless every code fits a class map (0 to 254)."""
        wrong = [c.code for c in self.classes if not 0 <= c.code < NODATA]
        if wrong:
            raise LegendError(
                f"class codes {', '.join(map(str, wrong))} do not fit a class map, expected 0 to 254"
            )


BACKGROUND = LegendClass(code=0, name="background", color="#f0f0f0")
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
        return Legend(classes=(BACKGROUND, LegendClass(code=1, name=only.name, color=only.color)))
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


def made_up_color(index: int) -> str:
    """Return the index-th of an endless series of well separated colours (golden-angle hues)."""
    hue = (0.58 + index * 0.6180339887498949) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.45, 0.6, 0.35)[index % 3], 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
