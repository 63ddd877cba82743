"""Summary of a vectorization: polygons and areas per class, and advice against specks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.errors import Message, OptionError, Text, plural
from geoseg.grid.legend import Legend
from geoseg.polygons.features import Features
from geoseg.polygons.proof import Proof
from geoseg.polygons.stream import complete_legend
from geoseg.storage.printable import listed

SPECK = 4
"""Most pixels of a region that counts as a speck, finer than land cover can be mapped at the resolution."""

_MANY_CLASSES = 256
_MANY_POLYGONS = 100


@dataclass(slots=True)
class _Row:
    polygons: int = 0
    pixels: int = 0
    area_m2: float = 0.0


def chosen_codes(classes: Sequence[str | int], legend: Legend | None) -> frozenset[int] | None:
    """Return the codes of classes given by name or code; None if none is given.

    Parameters
    ----------
    classes : sequence of str or int
        Names or codes.
    legend : Legend or None
        Legend of the map; without one only codes can be given.

    Raises
    ------
    OptionError
        If a class does not exist.
    """
    if not classes:
        return None
    names = {} if legend is None else {c.name.strip(): c.code for c in legend.classes}
    found = set()
    for each in classes:
        text = str(each).strip()
        code = names.get(text)
        if code is None and text.lstrip("-").isdecimal() and (legend is None or int(text) in legend.codes):
            code = int(text)
        if code is None:
            known = (
                listed(f"{c.name} ({c.code})" for c in legend.classes)
                if legend
                else "a code, for it has no legend"
            )
            raise OptionError(f"the map has no class {text!r}, expected {known}")
        found.add(code)
    return frozenset(found)


class ClassTotals:
    """Counts of features per class, collected while the features are written.

    Parameters
    ----------
    legend_of : callable
        Takes the codes that occur and returns the map's legend, or None.
    kept : set of int, optional
        Codes of the only classes whose features are counted.

    Attributes
    ----------
    proofs : list of Proof
        Measurements of the features, layer by layer.
    distorted : int or None
        Result of `write_polygons`.
    """

    def __init__(
        self,
        legend_of: Callable[[Iterable[int]], Legend | None],
        kept: frozenset[int] | None = None,
    ) -> None:
        self._legend_of = legend_of
        self._kept = kept
        self.proofs: list[Proof] = []
        self.distorted: int | None = None
        self._rows: dict[int, _Row] = {}
        self._second: set[int] = set()
        self._placed = True
        self.specks = 0

    @classmethod
    def of(cls, features: Features) -> ClassTotals:
        """Count features in memory."""
        totals = cls(lambda _: features.legend)
        for _ in totals.watch([features]):
            pass
        return totals

    def watch(self, parts: Iterable[Features]) -> Iterator[Features]:
        """Yield features unchanged while counting them."""
        for part in parts:
            self._placed = part.crs is not None
            codes, place = np.unique(part.class_code, return_inverse=True)
            numbers = [
                np.bincount(place),
                *(np.bincount(place, each) for each in (part.pixels, part.area_m2)),
            ]
            for code, polygons, pixels, area in zip(codes.tolist(), *numbers, strict=True):
                row = self._rows.setdefault(code, _Row())
                row.polygons, row.pixels = row.polygons + int(polygons), row.pixels + int(pixels)
                row.area_m2 += float(area)
            if part.second_code is not None:
                self._second.update(np.unique(part.second_code).tolist())
            self.specks += int((part.pixels <= SPECK).sum())
            yield part

    @property
    def codes(self) -> frozenset[int]:
        """Codes of the features seen."""
        return frozenset(self._rows)

    @property
    def legend(self) -> Legend:
        """Legend of all codes seen, and of the map's own legend."""
        codes = sorted(self._rows)
        return complete_legend(self._legend_of(codes), sorted({*codes, *self._second}))

    @property
    def style(self) -> Legend:
        """Legend of the classes that features can have, for the style."""
        legend = self.legend
        if self._kept is None:
            return legend
        codes = {*legend.codes, *self._kept}
        return Legend(
            classes=tuple(c for c in complete_legend(legend, codes).classes if c.code in self._kept)
        )

    @property
    def polygons(self) -> int:
        """Number of features seen."""
        return sum(row.polygons for row in self._rows.values())

    @property
    def pixels(self) -> int:
        """Number of pixels of all features."""
        return sum(row.pixels for row in self._rows.values())

    def class_rows(self) -> list[dict[str, Any]]:
        """Return one row per class that occurs: code, name, pixels, area_m2 (None if unknown), polygons."""
        return [
            {
                "code": c.code,
                "name": c.name,
                "pixels": self._rows[c.code].pixels,
                "area_m2": None if np.isnan(self._rows[c.code].area_m2) else self._rows[c.code].area_m2,
                "polygons": self._rows[c.code].polygons,
            }
            for c in self.legend.classes
            if c.code in self._rows
        ]

    @property
    def speck_share(self) -> float:
        """Share of the polygons that are specks, 0 to 1."""
        return self.specks / self.polygons if self.polygons else 0.0

    def hints(self, calmer: Text = "") -> list[Text]:
        """Return lines for the terminal: the number of polygons, and advice if there are problems.

        Parameters
        ----------
        calmer : str or Message
            Advice that would make the map itself smoother, if a model has just made it.
        """
        lines: list[Text] = [plural(self.polygons, "polygon")]
        if not self.polygons and self._kept is None:
            lines.append("no polygon: every pixel is no data, so the layer is empty")
        if self._kept is not None and (absent := self._kept - set(self._rows)):
            lines.append(f"no polygon of {', '.join(c.name for c in self.style.classes if c.code in absent)}")
        if not self._placed:
            lines.append("no CRS: coordinates are as in the raster, areas on the ground are unknown")
        if len(self._rows) > _MANY_CLASSES:
            lines.append(
                f"{plural(len(self._rows), 'class')}: is it a class map? Measurements, such as heights, must be "
                "classified first"
            )
        elif self.speck_share > 0.5 and self.polygons >= _MANY_POLYGONS:
            specks = f"{self.speck_share:.0%} of the polygons are specks of {SPECK} pixels or fewer"
            merged = Message("{min_area} merges them into their neighbours", min_area=f"{SPECK + 1}px")
            calm = Message("{} calms the map, and {}", calmer, merged)
            lines.append(Message("{}; {}", specks, calm if str(calmer) else merged))
        return lines
