"""Samples of images beside their labels, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from geoseg.assessment.report.pictures import Look, painted
from geoseg.assessment.report.samples import evenly, in_turn, labelled_windows
from geoseg.assessment.training_data.finding import DataFinding
from geoseg.assessment.training_data.survey import Bands, DataSurvey
from geoseg.datasets.dataset import Pair
from geoseg.errors import DataError, SceneError
from geoseg.grid.window import Window

SHOWN: Final = 8
_TOLD: Final = 4
"""Most samples of images that findings are about."""
"""Samples on a page."""
_EDGES: Final = (256, 512)
"""Smallest and largest edge of a sample, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A window of an image and its labels, as data URIs.

    Parameters
    ----------
    name, place : str
        Image, and where the window lies in it; empty for a whole image.
    image, label : str
        Pictures.
    """

    name: str
    place: str
    image: str
    label: str


def panels_of(survey: DataSurvey, found: Sequence[DataFinding]) -> list[Panel]:
    """Return samples of labelled windows, as far as images can be read: of those that findings are about, and others.

    Parameters
    ----------
    survey : DataSurvey
        What was seen.
    found : sequence of DataFinding
        Findings, the worst first.
    """
    keys = list(survey.counts)
    pairs = [survey.pairs[key] for key in keys]
    colors = [each.rgb for each in survey.classes]
    told = [keys.index(key) for each in found for key in each.images[:2] if key in survey.counts]
    chosen = list(dict.fromkeys([*told[:_TOLD], *evenly(len(pairs), SHOWN)]))
    offered = {number: _windows(pairs[number]) for number in chosen}
    places = in_turn([offered.get(number, []) for number in range(len(pairs))], chosen)
    panels = (_panel(survey, pairs[number], window, colors) for number, window in islice(places, SHOWN))
    return [each for each in panels if each is not None]


def _windows(pair: Pair) -> list[Window]:
    """Return windows with labels; none of labels that are damaged, which a finding says."""
    edge = min(max(max(pair.grid.shape) // 4, _EDGES[0]), _EDGES[1])
    try:
        return labelled_windows(pair, edge)
    except DataError:
        return []


def _panel(
    survey: DataSurvey, pair: Pair, window: Window, colors: Sequence[tuple[int, int, int]]
) -> Panel | None:
    """Return a sample; None where the image is damaged."""
    try:
        pixels, valid, mask = pair.read(window)
    except (DataError, SceneError):
        return None
    look = Look.of(Bands(band_names=survey.data.bands, dtype=str(pixels.dtype)), pixels, valid)
    place = f"rows {window.row}–{window.row_stop - 1}, columns {window.col}–{window.col_stop - 1}"
    return Panel(
        name=pair.name,
        place="" if window.shape == pair.grid.shape else place,
        image=look.photo(pixels, valid),
        label=painted(mask, colors),
    )
