"""Count how often a confidence is right, and how far the two are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

BINS: Final = 15
_STEPS: Final = 254
"""A stored confidence of this means a probability of 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Pixels counted by stored confidence and by whether the class is right.

    Parameters
    ----------
    counts : (255, 2) int64
        Wrong and right pixels of each confidence, in steps of 1/254.
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> Reliability:
        """Return the counts of no pixels."""
        return cls(counts=np.zeros((_STEPS + 1, 2), dtype=np.int64))

    def add(
        self,
        right: npt.NDArray[np.bool_],
        counted: npt.NDArray[np.bool_],
        confidence: npt.NDArray[np.uint8],
    ) -> None:
        """Count pixels whose confidence is known.

        Parameters
        ----------
        right, counted : ndarray of bool
            Whether the class is right, and whether the pixel counts.
        confidence : ndarray of uint8, of the same shape
            Stored confidence, 255 where it is not known.
        """
        counted = counted & (confidence <= _STEPS)
        keys = 2 * confidence[counted].astype(np.int64) + right[counted]
        self.counts[:] += np.bincount(keys, minlength=2 * (_STEPS + 1)).reshape(-1, 2)

    def __add__(self, other: Reliability) -> Reliability:
        """Add other pixels."""
        return Reliability(counts=self.counts + other.counts)

    def bins(self) -> list[dict[str, float]]:
        """Return the reliability diagram: for each bin of confidence that has pixels, its means.

        Returns
        -------
        list of dict
            ``from`` and ``to``, the bin's confidence; ``pixels``; ``confidence``, the mean; ``accuracy``, the share
            of right pixels.
        """
        levels = np.arange(_STEPS + 1)
        # Bins are (lower, upper], as in Guo et al. 2017; in whole numbers, so that no level is on the wrong side.
        place = np.maximum(-(-levels * BINS // _STEPS) - 1, 0)
        rows = []
        for number in range(BINS):
            inside = place == number
            pixels = int(self.counts[inside].sum())
            if pixels:
                weights = self.counts[inside].sum(axis=1)
                rows.append(
                    {
                        "from": number / BINS,
                        "to": (number + 1) / BINS,
                        "pixels": pixels,
                        "confidence": float((levels[inside] * weights).sum() / (_STEPS * pixels)),
                        "accuracy": float(self.counts[inside, 1].sum() / pixels),
                    }
                )
        return rows

    @property
    def expected_error(self) -> float:
        """Expected calibration error, the mean distance of confidence and accuracy over 15 bins of equal width.

        Guo et al. 2017 (arXiv:1706.04599), equation 3; NaN without pixels.
        """
        rows = self.bins()
        pixels = sum(row["pixels"] for row in rows)
        if not pixels:
            return float("nan")
        return sum(row["pixels"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / pixels
