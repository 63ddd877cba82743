"""What a vectorization gave: polygons and areas per class, and what would help against specks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg.grid.legend import Legend
from geoseg.vector.features import Features
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


class Tally:
    """Counts features while they stream by.

    Parameters
    ----------
    legend_of : callable
        Called with the codes that occur: the map's legend, or None.
    """

    def __init__(self, legend_of: Callable[[Iterable[int]], Legend | None]) -> None:
        self._legend_of = legend_of
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
    def legend(self) -> Legend:
        """Classes of all codes that have been seen, and those of the map's own legend."""
        codes = sorted(self._rows)
        return complete_legend(self._legend_of(codes), sorted({*codes, *self._second}))

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

    def hints(self, *, predicted: bool = True) -> list[str]:
        """Lines for a person: how many polygons came out, and what would help where that is a worry.

        Parameters
        ----------
        predicted : bool
            Whether a model made the map just now; else it is a map from anywhere.
        """
        lines = ["1 polygon" if self.polygons == 1 else f"{self.polygons:,} polygons"]
        if not self.polygons:
            lines.append("no polygon: every pixel is no data, so the layer is empty")
        if not self._placed:
            lines.append("no CRS: coordinates are as in the raster, areas on the ground are unknown")
        if len(self._rows) > _MANY_CLASSES:
            lines.append(
                f"{len(self._rows):,} classes: is it a class map? Numbers that measure something, such as heights, "
                "are to be put into classes first"
            )
        elif self.speck_share > 0.5 and self.polygons >= _MANY_POLYGONS:
            calm = "a larger --overlap or a better model calms the map, and " if predicted else ""
            lines.append(
                f"{self.speck_share:.0%} of the polygons are specks of {SPECK} pixels or fewer; {calm}"
                f"geoseg vectorize --min-area {SPECK + 1}px merges them into their neighbours"
            )
        return lines
