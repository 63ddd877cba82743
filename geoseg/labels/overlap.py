"""Choose the class of pixels where drawn shapes of several classes overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from geoseg.errors import OptionError

if TYPE_CHECKING:  # the command line's help lists the rules and must not load heavy modules
    import numpy as np
    import numpy.typing as npt

Shapes: TypeAlias = "npt.NDArray[np.object_]"
Overlap = Literal["last", "smallest", "ignore"]
OVERLAPS: Final[tuple[str, ...]] = get_args(Overlap)
OVERLAP: Final = "smallest"
"""Default rule. A pond drawn in a forest, before or after the forest, remains a pond."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Shapes with the values that determine which of them covers the others.

    Parameters
    ----------
    geometry : (shape,) object
        Shapely geometries.
    code : (shape,) int
        Legend code of each shape.
    area : (shape,) float64
        Area of each shape as drawn, in square units of its file's CRS; 0 for lines and points.
    """

    geometry: Shapes
    code: npt.NDArray[Any]
    area: npt.NDArray[np.float64]

    def at(self, index: npt.NDArray[Any]) -> Drawn:
        """Select shapes by indices or by a boolean array."""
        return Drawn(geometry=self.geometry[index], code=self.code[index], area=self.area[index])

    def ordered(self, overlap: Overlap) -> Drawn:
        """Return the shapes in the order of burning: the last one covers those before."""
        return self.at((-self.area).argsort(kind="stable")) if overlap == "smallest" else self


def check_overlap(overlap: str) -> None:
    """Raise OptionError for an unknown rule."""
    if overlap not in OVERLAPS:
        raise OptionError(f"overlap is {overlap!r}, expected one of {', '.join(OVERLAPS)}")


def overlap_words(overlap: Overlap) -> str:
    """Describe what happens to pixels in shapes of several classes."""
    return {
        "last": "each has the class of the last one",
        "smallest": "each has the class of the smallest one",
        "ignore": "they are left out",
    }[overlap] + f" (overlap: {overlap})"
