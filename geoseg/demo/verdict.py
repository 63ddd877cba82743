"""What the demo says about its maps: figures first, then what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import numpy as np

from geoseg.assessment.accuracy import Accuracy

_GOOD = 0.6
_WEAK = 0.4
_WIDTH = 100
_CAVEATS = (
    "Roads and buildings are narrower than a pixel nearly everywhere: in blue, green and red at 10 m a model "
    "finds the larger ones at best. Water is no class of its own but part of 'other', and dark water is "
    "easily taken for forest: both are nearly black without an infrared band.",
    "The labels are one static map for all dates and leave out fields and woods here and there, so some of "
    "what counts as wrong is right.",
    "The model is a small one, trained on 16 patches of one coast, each stretched to its own contrast. It "
    "shows what geoseg does; for a map to use, train a model on scenes like yours.",
)


def verdict(accuracy: Accuracy, scenes: int) -> Iterator[str]:
    """Table of accuracies, and a plain word on each class.

    Parameters
    ----------
    accuracy : Accuracy
        Of all scenes together.
    scenes : int
        How many they are.
    """
    yield f"Accuracy against labels that the model never saw, {accuracy.pixels:,} pixels of {scenes} scenes:"
    yield ""
    for line in accuracy.lines():
        yield f"  {line}"
    yield ""
    scores = {row["name"]: row["iou"] for row in accuracy.rows() if row["reference_pixels"]}
    good = [name for name, iou in scores.items() if iou >= _GOOD]
    fair = [name for name, iou in scores.items() if _WEAK <= iou < _GOOD]
    weak = [name for name, iou in scores.items() if iou < _WEAK]
    if good:
        yield f"Good for: {', '.join(good)} (IoU of {_GOOD:.0%} and more)."
    if fair:
        yield f"With care: {', '.join(fair)} (IoU of {_WEAK:.0%} to {_GOOD:.0%})."
    if weak:
        yield f"Not good for: {', '.join(weak)} (IoU below {_WEAK:.0%}); do not map these with it."
    yield from wrap(f"Most often wrong: {'; '.join(_worst(accuracy))}.", _WIDTH)
    for paragraph in _CAVEATS:
        yield from wrap(paragraph, _WIDTH)


def _worst(accuracy: Accuracy, most: int = 3) -> Iterator[str]:
    """Name the commonest confusions, the worst first."""
    wrong = accuracy.confusion.counts.copy()
    np.fill_diagonal(wrong, 0)
    names = accuracy.legend.names
    for place in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        truth, found = np.unravel_index(place, wrong.shape)
        if wrong[truth, found]:
            share = wrong[truth, found] / accuracy.pixels
            yield f"{names[truth]} mapped as {names[found]} ({share:.1%} of all pixels)"
