"""Which zone owns which ground: the one whose scenes cover most of a cell of ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geoseg.mapping.footprints import cells_touched
from geoseg.mapping.lattice import Lattice, is_geographic, metres_per_unit
from geoseg.mapping.territory import Territory

_METRES_PER_DEGREE = 111_320.0
_STEPS = 1000
"""Steps of a share: smaller differences are those of outlines, not of ground."""


def ground_of(
    zones: Sequence[int],
    outlines: Sequence[Any],
    lattices: Sequence[Lattice],
    about: tuple[str | None, float],
) -> Territory:
    """Divide the ground among zones.

    Each cell of ground belongs to the zone whose scenes cover most of it; among equals to one whose CRS is made for
    that place, then to the first by name. So an owner depends on nothing but the scenes that touch the cell.

    Parameters
    ----------
    zones : sequence of int
        Zone of each scene.
    outlines : sequence of Polygon
        Outline of each scene in the CRS of the plan.
    lattices : sequence of Lattice
        Lattices of the zones.
    about : (str, float)
        CRS of the plan, and edge of a cell of ground in metres.
    """
    import shapely

    crs, edge_m = about
    assert crs is not None, "lattices without a CRS are one zone each, and refused before"
    if is_geographic(crs):
        step = 360 / max(1, round(360 * _METRES_PER_DEGREE / edge_m))
    else:
        step = edge_m / metres_per_unit(crs)
    touching: dict[tuple[int, int], dict[int, list[Any]]] = {}
    for zone, outline in zip(zones, outlines, strict=True):
        for cell in cells_touched(outline, step, step):
            touching.setdefault(cell, {}).setdefault(zone, []).append(outline)
    owner = {}
    for (gx, gy), of_zones in touching.items():
        zone = next(iter(of_zones))
        if len(of_zones) > 1:
            square = shapely.box(gx * step, gy * step, (gx + 1) * step, (gy + 1) * step)
            centre = ((gx + 0.5) * step, (gy + 0.5) * step)

            def rank(zone: int) -> tuple[int, bool, str]:
                covered = shapely.intersection(square, shapely.union_all(of_zones[zone]))  # noqa: B023
                share = round(_STEPS * shapely.area(covered) / shapely.area(square))  # noqa: B023
                return -share, not _made_for(lattices[zone].crs, crs, centre), repr(lattices[zone])  # noqa: B023

            zone = min(of_zones, key=rank)
        owner[gx, gy] = zone
    return Territory(crs=crs, dx=step, dy=step, owner=owner)


def _made_for(crs: str | None, plan: str, centre: tuple[float, float]) -> bool:
    """Tell whether a place lies where a CRS is meant to be used."""
    from pyproj import CRS

    from geoseg.mapping.footprints import transformer

    area = None if crs is None else CRS.from_user_input(crs).area_of_use
    if area is None:
        return False
    lon, lat = transformer(plan, "OGC:CRS84").transform(*centre)
    return bool(area.west <= lon < area.east and area.south <= lat <= area.north)


def owners_around(territory: Territory, outline: Any) -> Territory:
    """Return the owners of the ground in the bounding box of an outline."""
    import numpy as np
    import shapely

    west, south, east, north = shapely.bounds(outline)
    cols = range(int(np.floor(west / territory.dx)), int(np.floor(east / territory.dx)) + 1)
    rows = range(int(np.floor(south / territory.dy)), int(np.floor(north / territory.dy)) + 1)
    known = territory.owner
    found = {(gx, gy): known[gx, gy] for gx in cols for gy in rows if (gx, gy) in known}
    return Territory(crs=territory.crs, dx=territory.dx, dy=territory.dy, owner=found)
