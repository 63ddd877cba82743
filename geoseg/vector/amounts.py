"""Amounts with their unit, as a person types them: ``20px``, ``500m2``, ``0.5ha``, ``5m``."""

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
        ``px``, ``m``, ``m2``, ``ha`` or ``km2``.
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
        for unit in sorted(units, key=len, reverse=True):  # km2 ends in m2
            if plain.endswith(unit):
                try:
                    amount = float(plain[: -len(unit)])
                except ValueError:
                    continue
                if math.isfinite(amount) and amount >= 0:
                    return cls(amount=amount, unit=unit, what=what)
        raise OptionError(f"{what} is {text!r}, expected a number with its unit, as {example}")

    @property
    def square_metres(self) -> float | None:
        """The area, m²; None in px."""
        factor = _SQUARE_METRES.get(self.unit)
        return None if factor is None else self.amount * factor

    def pixels(self, grid: Grid) -> float:
        """How many pixels of a grid an area has, a fraction maybe, where the ground is not known.

        Raises
        ------
        OptionError
            If the grid does not say how many square metres a pixel has.
        """
        if self.square_metres is None:
            return self.amount
        from pyproj import CRS

        if not grid.crs:
            raise OptionError(f"{self.what} is in {self.unit} and the grid has no CRS: give it in px, as 2px")
        crs = CRS.from_wkt(grid.crs)  # a plan of a site, which is its own ground
        return self.square_metres / (grid.pixel_area * float(crs.axis_info[0].unit_conversion_factor) ** 2)


_SQUARE_METRES = {"m2": 1.0, "ha": 1e4, "km2": 1e6}
