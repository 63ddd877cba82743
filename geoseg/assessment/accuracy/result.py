"""The result of an estimate, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.assessment.accuracy.estimators import Estimate, Floats, LabelledSample, Z
from geoseg.assessment.accuracy.record import Record
from geoseg.assessment.accuracy.tables import HECTARE, SQUARE_KM, Table, columns_of, plain
from geoseg.grid.html import html_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccuracyEstimate:
    """Accuracies and areas that were estimated from a labelled sample, with 95 % intervals.

    Intervals are 1.96 standard errors on either side, and are not clipped: one that reaches below 0 or above 1 says
    that the sample is too small for it.

    Parameters
    ----------
    record : Record
        Design of the sample.
    sample : LabelledSample
        Strata and labels that were used.
    notes : tuple of str
        What a reader of the numbers has to know.
    """

    record: Record
    sample: LabelledSample
    notes: tuple[str, ...]

    @property
    def overall(self) -> dict[str, float]:
        """Overall accuracy, the share of the area whose class is right: ``estimate``, ``se``, ``low``, ``high``."""
        found = self.sample.overall()
        values = (found.value, found.se, found.low, found.high)
        return dict(zip(("estimate", "se", "low", "high"), (float(each[0]) for each in values), strict=True))

    @property
    def areas(self) -> pd.DataFrame:
        """A row for each class: its area on the map and on the ground, as a share, in ha and in km², with intervals.

        Columns ``code``, ``name``, ``mapped_share``, ``share`` and, where ground areas are known, ``mapped_ha``,
        ``area_ha`` and ``area_km2``; each estimate with ``_se``, ``_low`` and ``_high``.
        """
        return self.area_table().frame()

    @property
    def accuracies(self) -> pd.DataFrame:
        """A row for each class: ``users`` and ``producers`` accuracy, each with ``_se``, ``_low`` and ``_high``."""
        return self.accuracy_table().frame()

    @property
    def matrix(self) -> pd.DataFrame:
        """Estimated shares of the area, a row for each class of the map and a column for each class on the ground."""
        import pandas as pd

        names = list(self.record.legend.names)
        return pd.DataFrame(self.sample.matrix(), index=names, columns=names)

    @property
    def counts(self) -> pd.DataFrame:
        """Numbers of points, a row for each class of the map and a column for each class on the ground."""
        import pandas as pd

        names = list(self.record.legend.names)
        return pd.DataFrame(self.sample.counts(), index=names, columns=names)

    @property
    def strata(self) -> pd.DataFrame:
        """A row for each stratum of the design: ``code``, ``name``, ``pixels``, ``area_ha``, ``points``."""
        return Table.of_parts(self.record.strata).frame()

    @property
    def total_m2(self) -> float | None:
        """Ground area of the map's valid pixels, m²; None where it is unknown."""
        areas = [each.area_m2 for each in self.record.classes]
        return None if None in areas else float(sum(area for area in areas if area is not None))

    def area_table(self) -> Table:
        """Return the table behind `areas`."""
        found, total = self.sample.areas(), self.total_m2
        mapped = self.mapped()
        names = ["code", "name", "mapped_share"]
        columns: list[list[Any]] = [*self._classes(), mapped.tolist()]
        _add(names, columns, "share", found)
        if total is not None:
            names.append("mapped_ha")
            columns.append((mapped * (total / HECTARE)).tolist())
            for unit, size in (("ha", HECTARE), ("km2", SQUARE_KM)):
                scaled = Estimate(value=found.value * (total / size), se=found.se * (total / size))
                _add(names, columns, f"area_{unit}", scaled)
        return columns_of(names, *columns)

    def accuracy_table(self) -> Table:
        """Return the table behind `accuracies`."""
        names = ["code", "name"]
        columns: list[list[Any]] = [*self._classes()]
        _add(names, columns, "users", self.sample.users())
        _add(names, columns, "producers", self.sample.producers())
        return columns_of(names, *columns)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain values, as ``--json`` prints it; None where nothing can be said."""
        drawing = self.record.drawing
        return {
            "map": {"name": self.record.map_name, "sha256": self.record.digest},
            "design": drawing.method,
            "strata_from": drawing.strata or ("map classes" if self.record.by_classes else None),
            "points": len(self.record.places.row),
            "used": len(self.sample.stratum),
            "total_ha": None if self.total_m2 is None else self.total_m2 / HECTARE,
            "overall": {key: plain(value) for key, value in self.overall.items()},
            "areas": self.area_table().records(),
            "accuracies": self.accuracy_table().records(),
            "classes": list(self.record.legend.names),
            "matrix": self.sample.matrix().tolist(),
            "counts": self.sample.counts().tolist(),
            "strata": Table.of_parts(self.record.strata).records(),
            "notes": list(self.notes),
        }

    def csv(self) -> str:
        """Return areas and accuracies as CSV, a row for each class."""
        areas, accuracies = self.area_table(), self.accuracy_table()
        rows = tuple((*a, *b[2:]) for a, b in zip(areas.rows, accuracies.rows, strict=True))
        return Table(head=(*areas.head, *accuracies.head[2:]), rows=rows).csv()

    def lines(self) -> Iterator[str]:
        """Yield the estimates for a terminal."""
        overall = self.overall
        used, drawn = len(self.sample.stratum), len(self.record.places.row)
        yield f"overall accuracy {_interval(overall['estimate'], overall['se'])}, from {used:,} of {drawn:,} points"
        yield from self.short_table().lines()
        yield from self.notes

    def short_table(self) -> Table:
        """Return estimates with the half-widths of their intervals, a row for each class, as text."""
        total = self.total_m2
        areas, scale = self.sample.areas(), 1.0 if total is None else total / HECTARE
        unit = "share" if total is None else "ha"
        form = ".4f" if total is None else ",.2f"
        rows = []
        for i, (name, users, producers) in enumerate(
            zip(
                self.record.legend.names,
                _texts(self.sample.users()),
                _texts(self.sample.producers()),
                strict=True,
            )
        ):
            area, margin = areas.value[i] * scale, Z * areas.se[i] * scale
            km2 = () if total is None else (f"{area / 100:,.3f} ± {margin / 100:,.3f}",)
            mapped = f"{self.mapped()[i] * scale:{form}}"
            rows.append((name, mapped, f"{area:{form}} ± {margin:{form}}", *km2, users, producers))
        head = ["class", f"mapped, {unit}", f"area, {unit}", *([] if total is None else ["area, km²"])]
        return Table(head=(*head, "user's", "producer's"), rows=tuple(rows))

    def _repr_html_(self) -> str:
        """Show the estimates in a notebook."""
        table = self.short_table()
        return html_table(table.head, table.cells(), "\n".join([next(iter(self.lines())), *self.notes]))

    def _classes(self) -> tuple[list[int], list[str]]:
        return list(self.record.legend.codes), list(self.record.legend.names)

    def mapped(self) -> Floats:
        """Return the share of each class of the legend in the map's area."""
        known = self.total_m2 is not None
        size = {each.code: each.area_m2 if known else each.pixels for each in self.record.classes}
        sizes = np.array([float(size.get(code) or 0.0) for code in self.record.legend.codes])
        return np.asarray(sizes / sizes.sum())


def _add(names: list[str], columns: list[Any], name: str, found: Estimate) -> None:
    names += [name, f"{name}_se", f"{name}_low", f"{name}_high"]
    columns += [each.tolist() for each in (found.value, found.se, found.low, found.high)]


def _texts(found: Estimate) -> list[str]:
    return [_interval(value, se) for value, se in zip(found.value, found.se, strict=True)]


def _interval(value: float, se: float) -> str:
    """Format a share with the half-width of its interval."""
    return "–" if np.isnan(value) else f"{value:.3f} ± {Z * se:.3f}"
