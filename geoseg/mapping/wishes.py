"""What users wish of a map, as they type it: a grid, a size of cells, a preference."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

from geoseg.errors import Message, OptionError, SceneError
from geoseg.grid.window import Window
from geoseg.mapping.lattice import Lattice, is_geographic, lattice_of_resolution
from geoseg.mapping.plan import Wishes
from geoseg.mapping.preferences import PREFERENCES, RESAMPLINGS
from geoseg.models.card import Card
from geoseg.raster.scene import grid_of_raster

_EDGE, _SMALL_EDGE = 4096, 2048  # px
_MANY_BANDS = 4
_LEAST_EDGE, _MOST_EDGE = 16, 65_536  # px


def wishes_of(
    card: Card,
    *,
    grid: str | None,
    like: str | PathLike[str] | None,
    prefer: str,
    cell: str | None,
    resample: str,
) -> Wishes:
    """Check what is wished of a map.

    Parameters
    ----------
    card : Card
        Card of the model, whose bands say how large a cell may be by default.
    grid : str, optional
        CRS and pixel size of the whole map: ``EPSG:3035,10``.
    like : path, optional
        Raster whose grid the map shall have.
    prefer : str
        One of `PREFERENCES`.
    cell : str, optional
        Edge of a cell: ``10km``, ``500m`` or ``2048px``.
    resample : str
        One of `RESAMPLINGS`.

    Raises
    ------
    OptionError
    """
    if prefer not in PREFERENCES:
        raise OptionError(f"prefer is {prefer!r}, expected one of {', '.join(PREFERENCES)}")
    if resample not in RESAMPLINGS:
        raise OptionError(f"resample is {resample!r}, expected one of {', '.join(RESAMPLINGS)}")
    if grid is not None and like is not None:
        raise OptionError(Message("{grid} and {like} both say what grid the map has; give one of them"))
    target, within = None, None
    if grid is not None:
        target = _asked(grid)
    elif like is not None:
        target, within = _like(like)
    many = len(card.bands) > _MANY_BANDS or prefer == "confidence"
    edge_m, edge = (None, _SMALL_EDGE if many else _EDGE) if cell is None else _edge(cell)
    return Wishes(edge_m=edge_m, edge=edge, prefer=prefer, target=target, within=within)


def _asked(text: str) -> Lattice:
    """Read CRS,RES."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    name, comma, number = text.rpartition(",")
    try:
        resolution = float(number)
        crs = CRS.from_user_input(name.strip())
    except (ValueError, CRSError):
        comma = ""
        resolution = 0.0
    if not comma or not math.isfinite(resolution) or resolution <= 0:
        raise OptionError(
            f"the grid of the map is {text!r}, expected a CRS and the edge of a pixel in its units",
            "EPSG:3035,10 is Europe in pixels of 10 m",
        )
    if not (crs.is_projected or crs.is_geographic):
        raise OptionError(
            Message("{grid}: {} is no CRS of the plane; expected a projected or geographic one", crs.name)
        )
    if is_geographic(crs.to_wkt()) and resolution > 1:
        raise OptionError(
            Message(
                "{grid}: {} is in degrees, and a pixel of {} degrees is no map", crs.name, number.strip()
            ),
            "0.0001 is about 10 m",
        )
    return lattice_of_resolution(crs.to_wkt(), resolution)


def _like(path: Any) -> tuple[Lattice, Window]:
    try:
        grid = grid_of_raster(path)
    except SceneError as error:
        raise error.into(OptionError) from error
    lattice = Lattice.of(grid)
    if grid.crs is None:
        raise OptionError(
            Message("{like}: {} has no CRS, so scenes cannot be brought onto its grid", str(path))
        )
    return lattice, Window(row=lattice.row, col=lattice.col, height=grid.height, width=grid.width)


def _edge(text: str) -> tuple[float | None, int]:
    """Read an edge in metres, kilometres or pixels."""
    plain = text.strip().lower()
    for unit, factor in (("px", None), ("km", 1000.0), ("m", 1.0)):
        if plain.endswith(unit):
            try:
                amount = float(plain[: -len(unit)])
            except ValueError:
                break
            if factor is None and amount.is_integer() and _LEAST_EDGE <= amount <= _MOST_EDGE:
                return None, int(amount)
            if factor is not None and math.isfinite(amount) and amount > 0:
                return amount * factor, 0
            break
    raise OptionError(
        f"the edge of a cell is {text!r}, expected a length with its unit, such as 10km, 500m or 2048px",
        f"from {_LEAST_EDGE} to {_MOST_EDGE} px",
    )
