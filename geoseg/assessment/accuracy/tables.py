"""Small tables of results: lines for a terminal, rows for a page or a CSV file, and a DataFrame."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

    from geoseg.assessment.accuracy.record import Part

HECTARE: Final = 1e4
SQUARE_KM: Final = 1e6
"""m²."""
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
"""Beginning of a text that a spreadsheet takes for a formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Named columns and rows of values; None and NaN are shown as a dash.

    Parameters
    ----------
    head : tuple of str
        Names of the columns.
    rows : tuple of tuple
        Values.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of_parts(cls, parts: Iterable[Part]) -> Table:
        """Return a table of strata."""
        return cls(
            head=("code", "name", "pixels", "area_ha", "points"),
            rows=tuple(
                (each.code, each.name, each.pixels, hectares(each.area_m2), each.points) for each in parts
            ),
        )

    def cells(self) -> Iterator[list[str]]:
        """Yield the rows as text."""
        for row in self.rows:
            yield [text_of(value, name) for value, name in zip(row, self.head, strict=True)]

    def lines(self) -> Iterator[str]:
        """Yield the table for a terminal, texts to the left and numbers to the right."""
        cells = [list(self.head), *self.cells()]
        width = [max(map(len, column)) for column in zip(*cells, strict=True)]
        left = [
            all(isinstance(value, str) for value in column) for column in zip(*self.rows, strict=True)
        ] or [True] * len(width)
        for row in cells:
            parts = (
                cell.ljust(w) if is_text else cell.rjust(w)
                for cell, w, is_text in zip(row, width, left, strict=True)
            )
            yield ("  " + "  ".join(parts)).rstrip()

    def frame(self) -> pd.DataFrame:
        """Return the table as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=list(self.head))

    def csv(self) -> str:
        """Return the table as CSV; a ``'`` stands before text that a spreadsheet would run as a formula."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([_guarded(value) for value in row] for row in self.rows)
        return text.getvalue()

    def records(self) -> list[dict[str, Any]]:
        """Return the rows for JSON: NaN is None."""
        return [dict(zip(self.head, map(plain, row), strict=True)) for row in self.rows]


def plain(value: Any) -> Any:
    """Return a number as JSON has it: None for NaN."""
    return None if isinstance(value, float) and value != value else value


def hectares(area_m2: float | None) -> float | None:
    """Convert m² to ha; None stays."""
    return None if area_m2 is None else area_m2 / HECTARE


def text_of(value: Any, column: str = "") -> str:
    """Format a value for people: areas with two decimals, shares with four, a dash if there is none."""
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return str(value) if column == "code" else f"{value:,}"
    return f"{value:,.2f}" if "_ha" in column or "_km2" in column else f"{value:.4f}"


def _guarded(value: Any) -> Any:
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return "" if plain(value) is None else value


def columns_of(names: Sequence[str], *columns: Iterable[Any]) -> Table:
    """Return a table of columns of equal length."""
    return Table(head=tuple(names), rows=tuple(zip(*columns, strict=True)))
