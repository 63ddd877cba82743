"""Amounts with units, as users type them: ``20px``, ``500m2``, ``0.5ha``, ``5m``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.polygons.areas import Ground

_SQUARE_METRES = {"m2": 1.0, "ha": 1e4, "km2": 1e6}
_ROUNDING = 1e-7  # relative error of ground areas: 5 pixels of 100 m² must count as 500 m²


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number with its unit.

    Parameters
    ----------
    amount : float
        The number.
    unit : str
        Unit: ``px``, ``m``, ``m2``, ``ha`` or ``km2``.
    what : str
        Name of the quantity for messages.
    """

    amount: float
    unit: str
    what: str

    @classmethod
    def parse(cls, text: str, units: Sequence[str], *, what: str, example: str) -> Amount:
        """Parse a number followed by one of the units.

        Raises
        ------
        OptionError
            If it is no such text.
        """
        if not isinstance(text, str):
            raise OptionError(
                f"{what} is {text!r}, expected text with a number and its unit, such as {example!r}"
            )
        plain = text.strip().lower().replace("²", "2")
        for unit in sorted(units, key=len, reverse=True):  # km2 ends in m2
            if plain.endswith(unit):
                try:
                    amount = float(plain[: -len(unit)])
                except ValueError:
                    continue
                if math.isfinite(amount) and amount >= 0:
                    return cls(amount=amount, unit=unit, what=what)
        raise OptionError(f"{what} is {text!r}, expected a number with its unit, such as {example}")

    @property
    def square_metres(self) -> float | None:
        """The area in m²; None if the unit is px."""
        factor = _SQUARE_METRES.get(self.unit)
        return None if factor is None else self.amount * factor

    def pixels(self, grid: Grid) -> float:
        """Convert an area to pixels of a grid (also fractions) whose ground areas are unknown.

        Raises
        ------
        OptionError
            If the size of the grid's pixels in metres is unknown.
        """
        if self.square_metres is None:
            return self.amount
        from pyproj import CRS

        if not grid.crs:
            raise OptionError(
                f"{self.what} is in {self.unit} and the grid has no CRS: give it in px, such as 2px"
            )
        crs = CRS.from_wkt(grid.crs)  # an engineering CRS, whose plane is the ground
        return self.square_metres / (grid.pixel_area * float(crs.axis_info[0].unit_conversion_factor) ** 2)


def parse_min_area(text: str) -> Amount:
    """Parse a minimum area such as ``20px``, ``500m2``, ``0.5ha`` or ``2km2``.

    Raises
    ------
    OptionError
        If it is not an area.
    """
    return Amount.parse(text, ("px", "m2", "ha", "km2"), what="the least area", example="20px or 500m2")


def least_size(min_area: str | None, grid: Grid) -> tuple[int, Ground | None]:
    """Return the minimum size of a polygon: in pixels, or in fixed-point units of the `Ground` returned with it.

    Raises
    ------
    OptionError
        If the size of the grid's pixels in metres is unknown.
    """
    if min_area is None:
        return 0, None
    amount = parse_min_area(min_area)
    if amount.square_metres is not None:
        ground = Ground(grid)
        if ground.known:
            return ground.fixed(amount.square_metres * (1 - _ROUNDING)), ground
    # 500 m2 are 5 px of 100 m2, not 6.
    return math.ceil(amount.pixels(grid) * (1 - 1e-12)), None
