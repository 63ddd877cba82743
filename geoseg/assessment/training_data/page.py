"""The page of training data: self-contained HTML in the style of the training report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoseg.assessment.rendering import rendered
from geoseg.assessment.report.tables import compact, percent
from geoseg.assessment.training_data.finding import SEVERITIES
from geoseg.assessment.training_data.panels import panels_of
from geoseg.assessment.training_data.quality import DataQuality
from geoseg.assessment.training_data.tally import Histogram
from geoseg.errors import plural

_TEMPLATE: Final = "training_data/page.html.j2"
_MOST_CLASSES: Final = 40
"""A matrix of more classes is not shown, since nobody can read it."""
_MOST_IMAGES: Final = 500
_WIDTH, _HEIGHT = 240, 60
"""Size of a histogram in the units of its drawing."""
_MANY, _HIGHEST = 50, 0.98
"""Of a histogram of so many bins, this share of them is drawn to its full height."""
_CUT: Final = 0.002
"""Share of the values that may lie outside a histogram on either side, so that outliers do not squeeze it."""


def page_of(quality: DataQuality) -> str:
    """Return what is known of training data as a page that loads nothing.

    Parameters
    ----------
    quality : DataQuality
        What was found.
    """
    content, survey = quality.content, quality.survey
    data = quality.to_dict()
    together = content.together
    contents = {
        "title": Path(quality.name).name or quality.name,
        "passed": quality.passed,
        "verdict": quality.verdict,
        "about": quality.about,
        "facts": _facts(quality),
        "findings": quality.found,
        "classes": content.classes,
        "splits": [split for split in survey.parts if survey.parts[split].any()],
        "matrix": _shades(together) if 1 < len(together) <= _MOST_CLASSES and len(survey.counts) > 1 else [],
        "bands": [
            row | {"drawn": drawn(tally.histogram)}
            for row, tally in zip(data["bands"], survey.pooled.bands, strict=True)
        ],
        "images": data["images"][:_MOST_IMAGES],
        "more": max(0, len(data["images"]) - _MOST_IMAGES),
        "panels": panels_of(survey, quality.found),
        "size": (_WIDTH, _HEIGHT),
        "multilabel": survey.data.task == "multilabel",
    }
    return rendered(_TEMPLATE, contents, {"compact": compact, "percent": percent})


def _facts(quality: DataQuality) -> list[tuple[str, str, str]]:
    """Return the key figures at the top: name, value and comment."""
    survey = quality.survey
    counts = Counter(each.severity for each in quality.found)
    watches = survey.watches.values()
    pixels, valid, known = (
        sum(getattr(each, name) for each in watches) for name in ("pixels", "valid", "known")
    )
    megapixels = f"{compact(pixels)} pixels" if pixels else "none can be read"
    kinds = plural(len(survey.classes), "class")
    return [
        *((f"{each.capitalize()}s", f"{counts[each]:,}", _MEANS[each]) for each in SEVERITIES),
        ("Images", f"{len(survey.entries):,}", megapixels),
        ("Valid", percent(valid / pixels if pixels else None), "of all pixels"),
        ("Labelled", percent(known / valid if valid else None), "of the valid pixels"),
        ("Objects", compact(sum(each.objects for each in quality.content.classes)), kinds),
    ]  # fmt: skip


_MEANS: Final = {
    "error": "a training should not start",
    "warning": "to be looked at",
    "hint": "may be as it should be",
}


def _shades(together: np.ndarray[Any, Any]) -> list[list[tuple[float, str]]]:
    """Return shade and number of the cells of the co-occurrence."""
    own = np.maximum(together.diagonal(), 1)[:, None]
    return [
        [(float(100 * share), f"{int(count):,}") for share, count in zip(shares, counts, strict=True)]
        for shares, counts in zip(together / own, together, strict=True)
    ]


def drawn(histogram: Histogram) -> dict[str, Any] | None:
    """Return the outline of a histogram as an SVG path, and the values at its ends; None without values."""
    counts = histogram.counts
    total = int(counts.sum())
    if not total:
        return None
    sums = np.cumsum(counts)
    first = int(np.searchsorted(sums, _CUT * total))
    last = int(np.searchsorted(sums, (1 - _CUT) * total))
    shown = counts[first : last + 1]
    # A peak, such as of black borders, would leave nothing of the rest.
    top = np.quantile(shown, _HIGHEST) if len(shown) >= _MANY else shown.max()
    heights = _HEIGHT * (1 - np.sqrt(np.minimum(shown / max(top, 1), 1)))
    step = _WIDTH / len(shown)
    points = [f"M0 {_HEIGHT}"]
    for number, height in enumerate(heights.tolist()):
        points.append(f"V{height:.1f}H{step * (number + 1):.1f}")
    low = (histogram.first + first) * histogram.width
    return {"path": "".join(points) + f"V{_HEIGHT}Z", "low": low, "high": low + len(shown) * histogram.width}
