"""From the CRS of a zone into that of the plan, and the ground that polygons of the plan's CRS have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import Message, SceneError
from geoseg.grid.grid import Grid, crs_name, same_crs
from geoseg.grid.ground import pixel_size_m
from geoseg.mapping.ragged import Ragged
from geoseg.mapping.territory import Territory, spread

if TYPE_CHECKING:
    from pyproj import CRS, Transformer

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

_LONGEST = 64
"""Longest edge, px, that is reprojected by its ends alone."""
_BENT = 1e5
"""Of pixels of g m an edge has at most the root of this number over g px: an edge of 64 px of 20 m bends by about a
hundredth of a pixel between its ends in longitude and latitude, and the bend grows with the square of the length."""
_FINE_M = 250.0
"""Longest edge, m, of a projected CRS that is measured in longitude and latitude by its ends: it bends by 2 mm."""
_GAUSS = ((-math.sqrt(0.6), 5 / 18), (0.0, 8 / 18), (math.sqrt(0.6), 5 / 18))
"""Nodes and weights of a mean along an edge."""
_ANOTHER = Message("pass a {grid} for the whole map, in a CRS that does not end there")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reprojection:
    """Polygons of a zone as the plan's CRS has them.

    Longitudes are counted from the middle of the zone's territory, so that what pokes out of it over the antimeridian
    keeps its form.

    Parameters
    ----------
    grid : Grid
        Grid of the zone.
    territory : Territory
        Cells of the plan.
    zone : int
        Index of the zone.
    """

    grid: Grid
    territory: Territory
    zone: int

    @cached_property
    def is_needed(self) -> bool:
        """Whether the zone's CRS is another one than the plan's."""
        return not same_crs(self.grid.crs, self.territory.crs)

    def check(self) -> None:
        """Refuse a territory that crosses the antimeridian or holds a pole, in a plan in longitude and latitude.

        Raises
        ------
        SceneError
            If it does.
        """
        gx, gy = self.territory.cells_of(self.zone)
        turn = self._turn
        if not self.is_needed or turn is None or not len(gx):
            return
        dx, dy = self.territory.steps
        near = 1e-9 * turn
        if min(gy.min() * dy + turn / 4, turn / 4 - (gy.max() + 1) * dy) <= near:
            raise self._refusal("reaches a pole")
        columns = np.unique(gx)
        at_both_ends = columns[0] * dx <= near - turn / 2 and (columns[-1] + 1) * dx >= turn / 2 - near
        if at_both_ends and len(columns) > 1 and np.diff(columns).max() * dx > turn / 2:
            raise self._refusal("crosses the antimeridian")

    def __call__(self, polygons: Ragged) -> Ragged:
        """Return polygons in the plan's CRS, with points on long edges that are the same for both neighbours.

        Raises
        ------
        SceneError
            If one lies outside the plan's CRS or across the antimeridian.
        """
        if not self.is_needed or not len(polygons.xy):
            return polygons
        fine = with_points(polygons, self._step)
        x, y = (np.asarray(each) for each in self._transformer.transform(*fine.xy.T))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise self._refusal("has polygons outside the CRS of the map")
        if (turn := self._turn) is not None:
            far = np.abs(x - self._middle) > turn / 2
            x[far] -= turn * np.sign(x[far] - self._middle)
            if (np.abs(np.diff(x)[fine.edges]) > turn / 2).any():
                raise self._refusal("crosses the antimeridian")
        return Ragged(np.column_stack([x, y]), fine.ring_first, fine.polygon_first)

    @cached_property
    def _step(self) -> float:
        """Longest edge that is reprojected by its ends, in units of the zone's CRS."""
        size = pixel_size_m(self.grid)
        pixels = _LONGEST if size is None else min(_LONGEST, max(1.0, math.sqrt(_BENT / size)))
        return pixels * math.sqrt(self.grid.pixel_area)

    @cached_property
    def _transformer(self) -> Transformer:
        from pyproj import Transformer

        return Transformer.from_crs(self.grid.crs, self.territory.crs, always_xy=True)

    @cached_property
    def _turn(self) -> float | None:
        """A whole turn in units of the plan's CRS; None if it is not in longitude and latitude."""
        from pyproj import CRS

        crs = CRS.from_user_input(self.territory.crs)
        return 2 * math.pi / float(crs.axis_info[0].unit_conversion_factor) if crs.is_geographic else None

    @cached_property
    def _middle(self) -> float:
        gx, _ = self.territory.cells_of(self.zone)
        return float(gx.min() + gx.max() + 1) / 2 * self.territory.dx if len(gx) else 0.0

    def _refusal(self, what: str) -> SceneError:
        problem = f"the ground of the scenes in {crs_name(self.grid.crs)} {what}, where a map in {{}} ends"
        return SceneError(problem.format(crs_name(self.territory.crs)), _ANOTHER)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """The plane of the plan's CRS: distances that count as none, and what polygons measure on the ground.

    Parameters
    ----------
    wkt : str
        The CRS as WKT.
    """

    wkt: str

    @cached_property
    def crs(self) -> CRS:
        """The CRS."""
        from pyproj import CRS

        crs = CRS.from_user_input(self.wkt)
        return crs.sub_crs_list[0] if crs.is_compound else crs

    @cached_property
    def unified(self) -> float:
        """Places of a border that are no farther apart are one: 1e-10 degrees or 1e-6 m."""
        unit = float(self.crs.axis_info[0].unit_conversion_factor)
        return math.radians(1e-10) / unit if self.crs.is_geographic else 1e-6 / unit

    def measured(self, polygons: Ragged) -> tuple[Floats, Floats]:
        """Return areas in m² and perimeters in m, on the ellipsoid; NaN in a CRS that is not tied to a body.

        Edges are straight in longitude and latitude, as edges along parallels are. The area is the integral of the
        area south of them, so areas of polygons side by side add up to that of both.
        """
        base, geod = self.crs.geodetic_crs, self.crs.get_geod()
        count = len(polygons.polygon_first) - 1
        if base is None or geod is None:
            return np.full(count, np.nan), np.full(count, np.nan)
        fine = polygons
        if not self.crs.is_geographic:
            from pyproj import Transformer

            fine = with_points(polygons, _FINE_M / float(self.crs.axis_info[0].unit_conversion_factor))
            there = Transformer.from_crs(self.crs, base, always_xy=True).transform(*fine.xy.T)
            fine = Ragged(np.column_stack(there), fine.ring_first, fine.polygon_first)
        xy = fine.xy * float(base.axis_info[0].unit_conversion_factor)
        begin = fine.edges
        turned = np.diff(xy, axis=0)[begin]
        middle = (xy[begin, 1] + xy[begin + 1, 1]) / 2
        area, length = np.zeros(len(begin)), np.zeros(len(begin))
        for node, weight in _GAUSS:
            south, across, along = _zone(middle + node / 2 * turned[:, 1], geod)
            area += weight * south
            length += weight * np.hypot(across * turned[:, 0], along * turned[:, 1])
        polygon = fine.polygon[begin]
        areas, lengths = (
            np.bincount(polygon, weights=each, minlength=count).astype(np.float64)
            for each in (area * turned[:, 0], length)
        )
        return np.abs(areas), lengths


def _zone(lat: Floats, geod: Any) -> tuple[Floats, Floats, Floats]:
    """Return for latitudes in radians, per radian: area from the equator, m², length eastwards and northwards, m.

    Snyder's q (3-12), N cos lat (4-18) and M (4-19), as in `geoseg.grid.ground`.
    """
    squared = geod.es
    sine = np.sin(lat)
    inner = 1 - squared * sine**2
    e = math.sqrt(squared)
    q = sine / inner + (np.arctanh(e * sine) / e if squared else sine)
    across = geod.a * np.cos(lat) / np.sqrt(inner)
    return geod.a**2 * (1 - squared) / 2 * q, across, geod.a * (1 - squared) / inner**1.5


def with_points(polygons: Ragged, longest: float) -> Ragged:
    """Divide long edges evenly; an edge gets the same points in whichever direction it runs.

    Parameters
    ----------
    polygons : Ragged
        Polygons.
    longest : float
        Longest edge that stays.
    """
    begin = polygons.edges
    one, other = polygons.xy[begin], polygons.xy[begin + 1]
    parts = np.ceil(np.hypot(*(other - one).T) / longest).astype(np.int64)
    edge, number = spread(np.ones(len(begin), np.int64), np.maximum(parts - 1, 0))
    if not len(edge):
        return polygons
    one, other, parts = one[edge], other[edge], parts[edge]
    turned = (one[:, 0] > other[:, 0]) | ((one[:, 0] == other[:, 0]) & (one[:, 1] > other[:, 1]))
    low, high = (np.where(turned[:, np.newaxis], *pair) for pair in ((other, one), (one, other)))
    share = np.where(turned, parts - number, number) / parts
    return polygons.inserted(
        begin[edge], number.astype(np.float64), low + (high - low) * share[:, np.newaxis]
    )
