"""Samples of images beside their labels, for the page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from geoseg.assessment.report.pictures import Look, painted
from geoseg.assessment.report.samples import evenly, in_turn, labelled_windows
from geoseg.assessment.training_data.survey import Bands, DataSurvey
from geoseg.errors import DataError, SceneError

SHOWN: Final = 8
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


def panels_of(survey: DataSurvey) -> list[Panel]:
    """Return samples of labelled windows from all over the images, as far as these can be read.

    Parameters
    ----------
    survey : DataSurvey
        What was seen.
    """
    pairs = [survey.pairs[key] for key in survey.counts]
    colors = [each.rgb for each in survey.classes]
    chosen = evenly(len(pairs), SHOWN)
    try:
        offered = {
            number: labelled_windows(
                pairs[number], min(max(max(pairs[number].grid.shape) // 4, _EDGES[0]), _EDGES[1])
            )
            for number in chosen
        }
        places = list(
            islice(in_turn([offered.get(number, []) for number in range(len(pairs))], chosen), SHOWN)
        )
        panels = []
        for number, window in places:
            pair = pairs[number]
            pixels, valid, mask = pair.read(window)
            look = Look.of(Bands(band_names=survey.data.bands, dtype=str(pixels.dtype)), pixels, valid)
            place = f"rows {window.row}–{window.row_stop - 1}, columns {window.col}–{window.col_stop - 1}"
            panels.append(
                Panel(
                    name=pair.name,
                    place="" if window.shape == pair.grid.shape else place,
                    image=look.photo(pixels, valid),
                    label=painted(mask, colors),
                )
            )
    except (DataError, SceneError):  # a finding says which file is damaged
        return []
    return panels
