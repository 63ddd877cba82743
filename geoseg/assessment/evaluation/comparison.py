"""How two class maps differ: the result of comparing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from geoseg.assessment.evaluation.blocks import FEWEST, Counts, Numbers, paired_intervals
from geoseg.grid.html import html_table
from geoseg.grid.legend import Legend
from geoseg.learning.metrics import Confusion

if TYPE_CHECKING:
    import pandas as pd

_TOTALS: Final = ("accuracy", "mean_iou", "mean_dice")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """How two class maps differ.

    Parameters
    ----------
    names : (str, str)
        The maps.
    legend : Legend
        Their classes.
    counts : (class, class) int64
        Pixels that both maps know, by (class of the first, class of the second).
    blocks : (2, block, class, class) int64 or None
        Pixels of each map by (block, reference, map), where both maps and the reference know a class; None without a
        reference.
    edge : int
        Edge of the blocks, px.
    """

    names: tuple[str, str]
    legend: Legend
    counts: Counts
    blocks: Counts | None
    edge: int

    @property
    def agreement(self) -> float:
        """Share of pixels on which the maps agree."""
        return Confusion(self.counts).accuracy

    @property
    def table(self) -> pd.DataFrame:
        """Pixels by class: rows of the first map, columns of the second."""
        import pandas as pd

        names = list(self.legend.names)
        return pd.DataFrame(self.counts, index=pd.Index(names, name=self.names[0]), columns=names)

    @property
    def differences(self) -> pd.DataFrame:
        """Scores of both maps, and second minus first with its 95 % interval; empty without a reference."""
        import pandas as pd

        return pd.DataFrame(self._rows)

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        if self.blocks is None:
            return []
        one, other = (_scores(each.sum(axis=0)) for each in self.blocks)
        ends = paired_intervals(self.blocks[0], self.blocks[1], _scores)
        names = [*_TOTALS, *(f"iou of {name}" for name in self.legend.names)]
        rows = []
        for number, name in enumerate(names):
            low, high = (None, None) if ends is None else (_finite(ends[0, number]), _finite(ends[1, number]))
            rows.append(
                {
                    "score": name,
                    "first": _finite(one[number]),
                    "second": _finite(other[number]),
                    "difference": _finite(other[number] - one[number]),
                    "low": low,
                    "high": high,
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers and text, as ``geoseg compare --json`` prints it."""
        return {
            "maps": list(self.names),
            "classes": [{"code": each.code, "name": each.name} for each in self.legend.classes],
            "agreement": _finite(self.agreement),
            "pixels": self.counts.tolist(),
            "differences": self._rows,
            "intervals": {"drawn": f"blocks of {self.edge} px", "level": 0.95},
        }

    def lines(self) -> Iterator[str]:
        """Yield tables for a terminal, line by line."""
        yield f"the maps agree on {self.agreement:.2%} of {int(self.counts.sum()):,} pixels"
        off = self.counts.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(-off, axis=None, kind="stable")[:10]
        names = self.legend.names
        for place in order:
            one, other = divmod(int(place), len(names))
            if off[one, other]:
                yield f"  {off[one, other]:>12,} px {names[one]} to {names[other]}"
        for row in self._rows:
            if row["difference"] is None:
                continue
            words = (
                f"  {row['score']:<20} {row['first']:.3f} to {row['second']:.3f}, {row['difference']:+.3f}"
            )
            if row["low"] is None:
                yield words
                continue
            told = "within chance" if row["low"] <= 0 <= row["high"] else "beyond chance"
            yield f"{words} [{row['low']:+.3f}, {row['high']:+.3f}] {told}"
        if self._rows:
            yield (
                f"in brackets: 95 % intervals of the difference from blocks of {self.edge} px"
                if self._rows[0]["low"] is not None
                else f"no intervals: fewer than {FEWEST} blocks of {self.edge} px have labels"
            )

    def _repr_html_(self) -> str:
        """Show the differences, or the pixels by class, as a table in a notebook."""
        names = list(self.legend.names)
        if not self._rows:
            rows = [
                [name, *(f"{n:,}" for n in row)]
                for name, row in zip(names, self.counts.tolist(), strict=True)
            ]
            return html_table(
                ["", *names], rows, f"{self.names[0]} to {self.names[1]}: {self.agreement:.2%} agree"
            )
        heads = ("score", "first", "second", "difference", "from", "to")
        keys = ("first", "second", "difference", "low", "high")
        cells = [
            [row["score"], *("–" if row[key] is None else f"{row[key]:.3f}" for key in keys)]
            for row in self._rows
        ]
        return html_table(heads, cells)


def _scores(counts: Counts) -> Numbers:
    confusion = Confusion(counts)
    return np.concatenate([[confusion.accuracy, confusion.mean_iou, confusion.mean_dice], confusion.iou])


def _finite(value: float | np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
