"""The page of an estimate: self-contained HTML in the style of the training report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from geoseg.assessment.accuracy.estimators import Estimate
from geoseg.assessment.accuracy.result import AccuracyEstimate
from geoseg.assessment.accuracy.tables import HECTARE, Table, text_of
from geoseg.assessment.rendering import rendered

_TEMPLATE: Final = "accuracy/page.html.j2"
_MOST_CLASSES: Final = 40
"""An error matrix of more classes is not shown, since nobody can read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An interval on an axis: positions in percent of its width, None where nothing can be said.

    Parameters
    ----------
    low, value, high : float or None
        Ends of the interval, and the estimate.
    mapped : float or None
        The value on the map.
    text : str
        The same in words.
    """

    low: float | None
    value: float | None
    high: float | None
    mapped: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Intervals of all classes on one axis, whose ends are `first` and `last`.

    Parameters
    ----------
    title : str
        What is shown.
    first, last : str
        Ends of the axis.
    zero, one : float or None
        Positions of 0 and 1 in percent, if they lie inside.
    marks : tuple of Mark
        One for each class.
    """

    title: str
    first: str
    last: str
    zero: float | None
    one: float | None
    marks: tuple[Mark, ...]


def page_of(found: AccuracyEstimate, title: str) -> str:
    """Return an estimate as a page that loads nothing.

    Parameters
    ----------
    found : AccuracyEstimate
        The estimate.
    title : str
        Title of the page.
    """
    total, areas = found.total_m2, found.sample.areas()
    scale = 1.0 if total is None else total / HECTARE
    mapped = found.mapped() * scale
    scaled = Estimate(value=areas.value * scale, se=areas.se * scale)
    axes = [
        _axis("Area, share of pixels" if total is None else "Area, ha", scaled, mapped, scale),
        _axis("User's accuracy", found.sample.users(), None, 1.0),
        _axis("Producer's accuracy", found.sample.producers(), None, 1.0),
    ]
    legend = found.record.legend
    contents = {
        "title": title,
        "map_name": found.record.map_name or "a map in memory",
        "facts": _facts(found),
        "axes": axes,
        "classes": [(c.name, c.color) for c in legend.classes],
        "estimates": found.short_table(),
        "matrix": _matrix(found) if len(legend.classes) <= _MOST_CLASSES else [],
        "strata": Table.of_parts(found.record.strata),
        "notes": found.notes,
        "drawing": _drawing(found),
        "digest": found.record.digest,
    }
    return rendered(_TEMPLATE, contents)


def _facts(found: AccuracyEstimate) -> list[tuple[str, str, str]]:
    """Return the key figures at the top: name, value and comment."""
    overall, total = found.overall, found.total_m2
    drawn, used = len(found.record.places.row), len(found.sample.stratum)
    interval = f"95 % interval {overall['low']:.3f} to {overall['high']:.3f}"
    facts = [
        ("Overall accuracy", f"{overall['estimate']:.3f}", interval),
        ("Points", f"{used:,}", f"of {drawn:,} that were drawn"),
    ]
    if total is not None:
        facts.append(("Area", f"{total / HECTARE:,.0f} ha", f"{total / 1e6:,.2f} km² of valid pixels"))
    return facts


def _axis(title: str, found: Estimate, mapped: Any, scale: float) -> Axis:
    """Place intervals on an axis that has room for all of them."""
    ends = np.concatenate([found.low, found.high, [0.0], [] if mapped is not None else [scale]])
    ends = np.concatenate([ends, [] if mapped is None else mapped])
    ends = ends[np.isfinite(ends)]
    first, last = float(ends.min()), float(ends.max())
    width = last - first or 1.0

    def place(value: float) -> float | None:
        return None if np.isnan(value) else 100 * (value - first) / width

    area = mapped is not None
    marks = []
    for i, (low, value, high) in enumerate(zip(found.low, found.value, found.high, strict=True)):
        words = f"{_said(value, scale)} ({_said(low, scale)} to {_said(high, scale)})"
        marks.append(
            Mark(
                low=place(low), value=place(value), high=place(high),
                mapped=place(float(mapped[i])) if area else None, text="–" if np.isnan(value) else words,
            )
        )  # fmt: skip
    return Axis(
        title=title,
        first=_said(first, scale),
        last=_said(last, scale),
        zero=place(0.0),
        one=None if area else place(1.0),
        marks=tuple(marks),
    )


def _said(value: float, scale: float) -> str:
    return f"{value:.3f}" if scale == 1.0 else f"{value:,.1f}"


def _matrix(found: AccuracyEstimate) -> list[list[tuple[float, str, int]]]:
    """Return the cells of the error matrix: share of the row in percent, share of the area, points."""
    shares, counts = found.sample.matrix(), found.sample.counts()
    rows = np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return [
        [
            (100 * float(of_row), text_of(float(share)), int(count))
            for of_row, share, count in zip(*row, strict=True)
        ]
        for row in zip(shares / rows, shares, counts, strict=True)
    ]


def _drawing(found: AccuracyEstimate) -> list[tuple[str, str]]:
    """Return how the sample was drawn, as names and values."""
    drawing = found.record.drawing
    of_strata = drawing.strata or ("the map's classes" if drawing.method == "stratified" else None)
    every = None if drawing.step is None else f"every {drawing.step[0]} rows and {drawing.step[1]} columns"
    values = {
        "design": {"simple": "simple random", "stratified": "stratified random"}.get(
            drawing.method, drawing.method
        ),
        "strata": of_strata,
        "allocation": drawing.allocation,
        "points of a stratum at least": drawing.minimum,
        "standard error aimed at": drawing.standard_error,
        "lattice": every,
        "seed": drawing.seed,
    }
    return [(name, str(value)) for name, value in values.items() if value is not None]
