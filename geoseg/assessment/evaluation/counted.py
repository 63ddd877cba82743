"""What is counted of a map; counts of several maps add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.assessment.evaluation.blocks import Counts
from geoseg.assessment.evaluation.objects import Objects
from geoseg.learning.reliability import Reliability


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted:
    """What is counted of a map, or of one layer of a multilabel map; counts of several maps add up.

    Parameters
    ----------
    blocks : (block, class, class) int64
        Pixels by (reference, map) of the blocks, or maps, that are drawn anew for intervals.
    boundary : (block, class + 1, class + 1) int64
        The same, where pixels far from any boundary are of one more class.
    objects : Objects
        Objects and their matches.
    calibration : Reliability or None
        None without confidence.
    """

    blocks: Counts
    boundary: Counts
    objects: Objects
    calibration: Reliability | None

    def __add__(self, other: Counted) -> Counted:
        """Add another map of the same classes."""
        both = self.calibration is not None and other.calibration is not None
        return Counted(
            blocks=np.concatenate([self.blocks, other.blocks]),
            boundary=np.concatenate([self.boundary, other.boundary]),
            objects=self.objects + other.objects,
            calibration=self.calibration + other.calibration if both else None,  # type: ignore[operator]
        )

    def as_one_block(self) -> Counted:
        """Return the same counts as those of a single block."""
        some = slice(0, int(len(self.blocks) > 0))
        return Counted(
            blocks=self.blocks.sum(axis=0, keepdims=True)[some],
            boundary=self.boundary.sum(axis=0, keepdims=True)[some],
            objects=self.objects,
            calibration=self.calibration,
        )
