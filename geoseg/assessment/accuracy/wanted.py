"""Options of a sample, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.assessment.accuracy.allocation import ALLOCATIONS, Allocation
from geoseg.assessment.accuracy.record import METHODS, Method
from geoseg.errors import Message, OptionError
from geoseg.storage.printable import listed

Floats = npt.NDArray[np.float64]

LIKELY = 0.8
"""Expected accuracy of strata for which none is given."""
MINIMUM = 2
"""Points of a stratum at least: one point has no spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Options of `design_sample`."""

    points: int | None
    standard_error: float | None
    design: Method
    allocation: Allocation | None
    minimum: int | None
    expected: float | Mapping[str | int, float]
    seed: int

    def check(self, *, strata: bool) -> None:
        """Raise OptionError for values that cannot be used, alone or together."""
        if self.design not in METHODS:
            raise OptionError(f"design is {self.design!r}, expected {', '.join(METHODS)}")
        if (self.points is None) == (self.standard_error is None):
            found = "neither" if self.points is None else "both"
            raise OptionError(
                Message(
                    "the size of the sample is {points} or follows from {standard_error}, found {}", found
                )
            )
        if self.points is not None and self.points < 2:
            raise OptionError(f"points is {self.points}, expected 2 or more: one point has no spread")
        if self.standard_error is not None and not 0 < self.standard_error < 1:
            raise OptionError(
                f"standard_error is {self.standard_error:g}, expected a share between 0 and 1, such as 0.01"
            )
        if self.allocation is not None and self.allocation not in ALLOCATIONS:
            raise OptionError(f"allocation is {self.allocation!r}, expected {', '.join(ALLOCATIONS)}")
        if self.minimum is not None and self.minimum < MINIMUM:
            raise OptionError(f"minimum is {self.minimum}, expected 2 or more: one point has no spread")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}, expected 0 or more")
        given = {"allocation": self.allocation, "minimum": self.minimum, "strata": strata or None}
        unused = next((name for name, value in given.items() if value is not None), None)
        if self.design != "stratified" and unused is not None:
            raise OptionError(f"{unused} is for a stratified design, and design is {self.design}")

    def accuracies(self, names: Mapping[int, str]) -> Floats:
        """Return the expected accuracy of each stratum, given their names by code."""
        given: dict[str | int, float] = (
            dict(self.expected) if isinstance(self.expected, Mapping) else {"": float(self.expected)}
        )
        rest = given.pop("", LIKELY)
        unknown = [key for key in given if key not in names and key not in names.values()]
        if unknown:
            raise OptionError(
                f"expected names {listed(map(repr, unknown))}, which is no stratum; expected some of "
                f"{listed(map(repr, names.values()))}"
            )
        found = [float(given.get(code, given.get(name, rest))) for code, name in names.items()]
        wrong = next((value for value in found if not 0 <= value <= 1), None)
        if wrong is not None:
            raise OptionError(f"an expected accuracy is {wrong:g}, expected a share from 0 to 1, such as 0.9")
        return np.array(found)
