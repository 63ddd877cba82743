"""Options of vectorizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.polygons.amounts import least_size, parse_min_area
from geoseg.polygons.outline import parse_tolerance

if TYPE_CHECKING:
    from geoseg.polygons.areas import Ground
    from geoseg.vector.sources import Confidence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorizeOptions:
    """Checked keywords of `vectorize` about drawing polygons and their attributes.

    Parameters
    ----------
    min_area : str, optional
        Minimum area of a polygon: ``20px``, or on the ground like ``area_m2``, ``500m2``, ``0.5ha`` or ``2km2``.
        Smaller regions are merged into the neighbour with the longest shared border (`geoseg.polygons.absorb`).
    probabilities : path, DataArray or (class, row, col) array, optional
        Of the classes of the map's legend, in their order, as confidence has them: polygons say which other
        class is the most probable.
    scene_name : str, optional
        Name of the scene that the map is of, which every polygon says.
    simplify : str, optional
        Tolerance, ``1px``, or ``5m`` on the ground at each vertex: vertices are removed if their triangle with their
        neighbours on the boundary has at most the square of it as area, alike on both sides of the boundary
        (`geoseg.polygons.simplify`). Borders of the map and of no data, and corners where three or more regions
        meet, are kept.
    smooth : bool
        Whether boundaries run through the midpoints of pixel edges instead of along them, before they are
        simplified (`geoseg.polygons.smooth`).
    classes : sequence of str or int
        Names or codes of the only classes whose polygons are returned, unchanged by the selection. Empty for all.
    band : int, optional
        Number from 1 of the band of class codes, for files with several bands.
    multipolygon : bool
        Whether each class is one row with a multipolygon, instead of one row per region. When appending to a
        GeoPackage, polygons of a class are joined across the seam. All of them are held in memory.
    workers : int
        Number of threads; the polygons do not depend on it.
    rows : int, optional
        Rows that are processed at a time, by default about four million pixels; the polygons do not depend on it. If
        boundaries are redrawn, the width of the map determines the rows.
    """

    min_area: str | None = None
    simplify: str | None = None
    smooth: bool = False
    probabilities: Confidence | None = None
    scene_name: str | None = None
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
        if isinstance(self.classes, str):
            raise OptionError(
                f"classes is {self.classes!r}, expected a list of names or codes, [{self.classes!r}]"
            )
        if self.multipolygon and self.probabilities is not None:
            raise OptionError("multipolygons have no second class; leave out probabilities or multipolygon")
        if self.min_area is not None:
            parse_min_area(self.min_area)
        if self.simplify is not None:
            parse_tolerance(self.simplify)

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Take the fields out of the keywords of a public function, which are its ``locals()``."""
        return cls(**{field.name: keywords[field.name] for field in fields(cls)})

    def least_size(self, grid: Grid) -> tuple[int, Ground | None]:
        """Return the minimum size of a polygon in pixels, or as ground area with its `Ground`."""
        return least_size(self.min_area, grid)

    @property
    def words(self) -> dict[str, Any]:
        """Options that are stored with the polygons, as JSON values."""
        return {
            "tolerance": self.simplify or 0,
            "smooth": self.smooth,
            "min_area": self.min_area,
            "classes": [str(each) for each in self.classes] or None,
        }
