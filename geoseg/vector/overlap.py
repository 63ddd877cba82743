"""Which class a pixel has where drawn shapes of several classes lie over each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from geoseg.errors import OptionError

if TYPE_CHECKING:  # the command line's help names the rules, and loads nothing heavy
    import numpy as np
    import numpy.typing as npt

Shapes: TypeAlias = "npt.NDArray[np.object_]"
Overlap = Literal["last", "smallest", "ignore"]
OVERLAPS: Final[tuple[str, ...]] = get_args(Overlap)
OVERLAP: Final = "smallest"
"""The default. People draw a pond onto the forest around it, before or after that: either way it stays a pond."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Shapes with what decides who covers whom.

    Parameters
    ----------
    geometry : (shape,) object
        Geometries of shapely.
    code : (shape,) int
    area : (shape,) float64
        Of each as it was drawn, square units of its file's CRS; 0 of lines and points.
    """

    geometry: Shapes
    code: npt.NDArray[Any]
    area: npt.NDArray[np.float64]

    def at(self, index: npt.NDArray[Any]) -> Drawn:
        """Choose shapes, by their numbers or by true and false."""
        return Drawn(geometry=self.geometry[index], code=self.code[index], area=self.area[index])

    def ordered(self, overlap: Overlap) -> Drawn:
        """Return the shapes in the order in which they are burned: the last one covers those before."""
        return self.at((-self.area).argsort(kind="stable")) if overlap == "smallest" else self


def check_overlap(overlap: str) -> None:
    """Raise OptionError unless there is such a rule."""
    if overlap not in OVERLAPS:
        raise OptionError(f"overlap is {overlap!r}, expected one of {', '.join(OVERLAPS)}")


def overlap_words(overlap: Overlap) -> str:
    """Say what becomes of pixels in shapes of several classes."""
    return {
        "last": "each has the class of the last one",
        "smallest": "each has the class of the smallest one",
        "ignore": "they are left out",
    }[overlap] + f" (overlap: {overlap})"
