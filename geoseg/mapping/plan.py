"""The plan of a map: which cells of ground there are, on which pixels, and which scenes may have their say in each.

It is made from headers alone, and each cell depends on nothing but the scenes that touch it: more scenes change only
the cells that they touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.mapping.lattice import Lattice
from geoseg.mapping.territory import Territory

FRINGE: Final = 2
"""Pixels beyond the border of a zone that are computed, too, so that polygons can be cut there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A lattice on which a part of the map is computed.

    Parameters
    ----------
    name : str
        Name in files and tables, such as ``EPSG_32633``.
    lattice : Lattice
        Its pixels.
    common : bool
        Whether it was asked for as the grid of the whole map; else it is that of scenes.
    """

    name: str
    lattice: Lattice
    common: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A scene that may own pixels of a cell.

    Parameters
    ----------
    scene : int
        Its index in the list.
    window : Window or None
        Its pixels on the zone's lattice; None for a scene on another lattice, whose result is resampled.
    """

    scene: int
    window: Window | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A piece of the map that is computed at once.

    Parameters
    ----------
    zone, row, col : int
        Index of the zone, and place in its division into cells.
    window : Window
        Its pixels on the lattice of the zone.
    candidates : tuple of Candidate
        Scenes that touch it, in the order in which they are asked.
    territory : Territory or None
        Owners of the ground around it, if other zones own some of it.
    key : str
        Hash of everything that its pixels depend on.
    """

    zone: int
    row: int
    col: int
    window: Window
    candidates: tuple[Candidate, ...]
    territory: Territory | None
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlan:
    """All cells of a map.

    Parameters
    ----------
    zones : tuple of Zone
        Lattices of the map.
    cells : tuple of Cell
        By zone, row and column.
    edge : int
        Edge of a cell, px.
    crs : str or None
        CRS of the polygons.
    territory : Territory or None
        Which zone owns which ground, if there are several.
    """

    zones: tuple[Zone, ...]
    cells: tuple[Cell, ...]
    edge: int
    crs: str | None
    territory: Territory | None

    def of_zone(self, zone: int) -> list[Cell]:
        """Return the cells of a zone, by row and column."""
        return [cell for cell in self.cells if cell.zone == zone]

    def name(self, cell: Cell) -> str:
        """Return the name of a cell in files."""
        return f"{self.zones[cell.zone].name}_r{cell.row}_c{cell.col}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a map shall be.

    Parameters
    ----------
    edge_m : float or None
        Edge of a cell in metres.
    edge : int
        Edge of a cell in px, unless `edge_m` is given.
    prefer : str
        One of `preferences.PREFERENCES`.
    target : Lattice or None
        Lattice of the whole map, if it is not to keep the scenes' own.
    within : Window or None
        Part of that lattice that is wanted.
    """

    edge_m: float | None = None
    edge: int = 4096
    prefer: str = "order"
    target: Lattice | None = None
    within: Window | None = None


def whole_grid(lattice: Lattice, windows: Sequence[Window]) -> tuple[Window, Grid]:
    """Return the smallest window around others, and its grid."""
    row, col = min(each.row for each in windows), min(each.col for each in windows)
    window = Window(
        row=row,
        col=col,
        height=max(each.row_stop for each in windows) - row,
        width=max(each.col_stop for each in windows) - col,
    )
    return window, lattice.grid(window)
