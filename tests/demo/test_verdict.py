"""The plain word follows the figures."""

from __future__ import annotations

import numpy as np

from geoseg.assessment.comparison import Accuracy
from geoseg.demo.run import verdict
from geoseg.grid.legend import Legend
from geoseg.learning.metrics import Confusion

LEGEND = Legend.parse("building,road,field,forest,snow")


def test_each_class_that_occurs_gets_one_word() -> None:
    # IoU 0, 0.5, 0.6, 1 and, for snow, nothing to say.
    counts = np.zeros((5, 5), np.int64)
    counts[0, 1] = 1
    counts[1, 1] = 2
    counts[1, 2] = 1
    counts[2, 2] = 3
    counts[2, 0] = 1
    counts[3, 3] = 10
    text = "\n".join(verdict(Accuracy(legend=LEGEND, confusion=Confusion(counts), excluded=0)))
    assert "held back, 18 pixels" in text
    assert "Good for: field, forest (" in text
    assert "With care: road (" in text
    assert "Not good for: building (" in text
    assert "the label under its centre" in text
    assert "Most often wrong: building mapped as road (5.6% of all pixels); road mapped as field" in text
    assert "forest mapped" not in text
