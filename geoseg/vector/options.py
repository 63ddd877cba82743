"""What a person may choose about polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.vector.absorb import least_size, parse_min_area
from geoseg.vector.outline import parse_tolerance

if TYPE_CHECKING:
    from geoseg.vector.areas import Ground
    from geoseg.vector.sources import Confidence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorizeOptions:
    """How a class map becomes polygons, and what they say besides.

    Parameters
    ----------
    min_area : str, optional
        Area that a polygon has at least, ``20px``, or on the ground, as ``area_m2`` says it: ``500m2``, ``0.5ha``
        or ``2km2``. Smaller regions go to the neighbour with the longest shared border (`geoseg.vector.absorb`).
    probabilities : path, DataArray or (class, row, col) array, optional
        Of the classes of the map's legend, in their order, as confidence has them: polygons say which other
        class is the most probable.
    scene : str, optional
        Name of what the map is of, said by every polygon.
    simplify : str, optional
        Tolerance, ``1px``, or ``5m`` on the ground where a vertex lies: vertices go whose triangle with their
        neighbours on the boundary is at most the square of it large, on both sides of the boundary
        alike (`geoseg.vector.simplify`). Borders of the map
        and of no data stay, and so do corners where three or more regions meet.
    smooth : bool
        Whether boundaries run through the midpoints of pixel edges instead of along them, before they are
        simplified (`geoseg.vector.smooth`).
    classes : sequence of str or int
        Names or codes of the legend: only polygons of these classes come out, as they would with all others
        around them. None for all.
    band : int, optional
        Number from 1 of the band of class codes, in a file that has several.
    multipolygon : bool
        Whether each class is one row, a multipolygon, instead of a row for each region. In a GeoPackage that polygons
        are appended to, those of a class grow together across the seam. All of them are held in memory.
    workers : int
        Threads; the polygons do not depend on it.
    rows : int, optional
        Rows of the map in work at a time, by default about four million pixels; nor on this. Where boundaries are
        redrawn the width of the map says how many there are.
    """

    min_area: str | None = None
    simplify: str | None = None
    smooth: bool = False
    probabilities: Confidence | None = None
    scene: str | None = None
    classes: Sequence[str | int] = ()
    band: int | None = None
    multipolygon: bool = False
    workers: int = 1
    rows: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers below 1, and amounts without a unit."""
        for name, number, most in (
            ("workers", self.workers, 256),
            ("rows", self.rows, 2**31 - 1),
            ("band", self.band, 65535),
        ):
            if number is not None and not 1 <= number <= most:
                raise OptionError(f"{name} is {number}, expected 1 to {most}")
        if self.multipolygon and self.probabilities is not None:
            raise OptionError(
                "the second class is that of single polygons; leave out probabilities or multipolygon"
            )
        if self.min_area is not None:
            parse_min_area(self.min_area)
        if self.simplify is not None:
            parse_tolerance(self.simplify)

    def least_size(self, grid: Grid) -> tuple[int, Ground | None]:
        """Fewest pixels of a polygon, or its least ground and what measures it."""
        return least_size(self.min_area, grid)

    @property
    def words(self) -> dict[str, Any]:
        """What is kept with the polygons of how they were made."""
        return {
            "tolerance": self.simplify or 0,
            "smooth": self.smooth,
            "min_area": self.min_area,
            "classes": [str(each) for each in self.classes] or None,
        }
