"""Amounts with their unit, as a person types them: ``20px``, ``500m2``, ``5m``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number and its unit.

    Parameters
    ----------
    amount : float
    unit : str
        ``px``, ``m`` or ``m2``.
    what : str
        What it is, for errors.
    """

    amount: float
    unit: str
    what: str

    @classmethod
    def parse(cls, text: str, units: Sequence[str], *, what: str, example: str) -> Amount:
        """Read a number that is followed by one of the units.

        Raises
        ------
        OptionError
        """
        plain = text.strip().lower().replace("²", "2")
        for unit in units:
            if plain.endswith(unit):
                try:
                    amount = float(plain[: -len(unit)])
                except ValueError:
                    continue
                if math.isfinite(amount) and amount >= 0:
                    return cls(amount=amount, unit=unit, what=what)
        raise OptionError(f"{what} is {text!r}, expected a number with its unit, as {example}")

    def pixels(self, grid: Grid) -> float:
        """How many pixels of a grid an area has, a fraction maybe.

        Raises
        ------
        OptionError
            If the grid does not say how many square metres a pixel has.
        """
        if self.unit == "px":
            return self.amount
        from pyproj import CRS

        crs = CRS.from_wkt(grid.crs) if grid.crs else None
        if crs is None or crs.is_geographic or crs.is_geocentric:
            measured = "is in degrees" if crs is not None else "has no CRS"
            raise OptionError(f"{self.what} is in metres and the grid {measured}: give it in px, as 2px")
        return self.amount / (grid.pixel_area * float(crs.axis_info[0].unit_conversion_factor) ** 2)
