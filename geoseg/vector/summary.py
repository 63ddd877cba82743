"""What a vectorization gave: polygons and areas per class, and what would help against specks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.errors import OptionError
from geoseg.grid.legend import Legend
from geoseg.raster.labels import listed
from geoseg.vector.features import Features
from geoseg.vector.proof import Proof
from geoseg.vector.stream import complete_legend

SPECK = 4
"""A region of at most so many pixels is a speck: finer than land cover can be mapped at this resolution."""

_MANY_CLASSES = 256
_MANY_POLYGONS = 100


@dataclass(slots=True)
class _Row:
    polygons: int = 0
    pixels: int = 0
    area_m2: float = 0.0


def chosen_codes(classes: Sequence[str | int], legend: Legend | None) -> frozenset[int] | None:
    """Codes of classes that are named, or given by their codes; None where none is.

    Parameters
    ----------
    classes : sequence of str or int
    legend : Legend or None
        Of the map; without one only codes can be given.

    Raises
    ------
    OptionError
        If a class is not there.
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


class Tally:
    """Counts features while they stream by.

    Parameters
    ----------
    legend_of : callable
        Called with the codes that occur: the map's legend, or None.
    kept : set of int, optional
        Codes of the only classes whose features come.

    Attributes
    ----------
    proofs : list of Proof
        What is known of the features, layer by layer.
    distorted : int or None
        What `write_polygons` returned.
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
    def of(cls, features: Features) -> Tally:
        """Count features that are there."""
        tally = cls(lambda _: features.legend)
        for _ in tally.watch([features]):
            pass
        return tally

    def watch(self, parts: Iterable[Features]) -> Iterator[Features]:
        """Let features pass and count them."""
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
        """Codes of the features."""
        return frozenset(self._rows)

    @property
    def legend(self) -> Legend:
        """Classes of all codes that have been seen, and those of the map's own legend."""
        codes = sorted(self._rows)
        return complete_legend(self._legend_of(codes), sorted({*codes, *self._second}))

    @property
    def style(self) -> Legend:
        """Classes that the features may be of."""
        legend = self.legend
        if self._kept is None:
            return legend
        codes = {*legend.codes, *self._kept}
        return Legend(
            classes=tuple(c for c in complete_legend(legend, codes).classes if c.code in self._kept)
        )

    @property
    def polygons(self) -> int:
        """Features that have been seen."""
        return sum(row.polygons for row in self._rows.values())

    @property
    def pixels(self) -> int:
        """Pixels of all features."""
        return sum(row.pixels for row in self._rows.values())

    def class_rows(self) -> list[dict[str, Any]]:
        """One row per class that occurs: code, name, pixels, area_m2 (None where unknown), polygons."""
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

    def hints(self, calmer: str = "") -> list[str]:
        """Lines for a person: how many polygons came out, and what would help where that is a worry.

        Parameters
        ----------
        calmer : str
            What would make the map itself calmer, where a model made it just now.
        """
        lines = ["1 polygon" if self.polygons == 1 else f"{self.polygons:,} polygons"]
        if not self.polygons and self._kept is None:
            lines.append("no polygon: every pixel is no data, so the layer is empty")
        if self._kept is not None and (absent := self._kept - set(self._rows)):
            lines.append(f"no polygon of {', '.join(c.name for c in self.style.classes if c.code in absent)}")
        if not self._placed:
            lines.append("no CRS: coordinates are as in the raster, areas on the ground are unknown")
        if len(self._rows) > _MANY_CLASSES:
            lines.append(
                f"{len(self._rows):,} classes: is it a class map? Numbers that measure something, such as heights, "
                "are to be put into classes first"
            )
        elif self.speck_share > 0.5 and self.polygons >= _MANY_POLYGONS:
            calm = f"{calmer} calms the map, and " if calmer else ""
            lines.append(
                f"{self.speck_share:.0%} of the polygons are specks of {SPECK} pixels or fewer; {calm}"
                f"--min-area {SPECK + 1}px merges them into their neighbours"
            )
        return lines
