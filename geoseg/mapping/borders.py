"""Polygons of several grids as one coverage.

Each zone is polygonized on its own lattice, a little beyond its territory. Here its polygons come into the CRS of
the plan and are cut at the border of the territory; across borders, polygons of one class become one. Polygons that
touch no border pass at once, unchanged but for their CRS; only the others are held, until all zones have been seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.mapping.combining import Pieces, columns_of, combined
from geoseg.mapping.cutting import INSIDE, UNSURE, Cutter
from geoseg.mapping.joining import groups, matched, united
from geoseg.mapping.plane import Plane, Reprojection
from geoseg.mapping.ragged import Ragged
from geoseg.mapping.territory import Territory
from geoseg.polygons.features import Features
from geoseg.polygons.measure import gathered
from geoseg.polygons.rings import offsets
from geoseg.polygons.wkb import polygon_bounds

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]

_SNAP = 10
"""By how many times the distance within which places of a border are one, vertices may be off it and are put onto it.
It is more, because the crossings of an edge's two ends lie farther apart than a corner beyond the border reaches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZonePolygons:
    """Polygons of one zone.

    Parameters
    ----------
    grid : Grid
        Grid of the zone.
    parts : iterable of Features
        Its polygons in the CRS of the grid, all together one coverage in which neighbours share vertices; with the
        columns, legend and origins of those of other zones.
        They reach over the border of the zone's territory by some pixels.
    """

    grid: Grid
    parts: Iterable[Features]


def one_coverage(zones: Sequence[ZonePolygons], territory: Territory) -> Iterator[Features]:
    """Turn polygons of several zones into one coverage in the CRS of the plan.

    Laws: the polygons are a valid coverage; those of a zone cover its territory, wherever its polygons do, and no other
    ground; polygons of one class and of different zones share no piece of a border; the batches of the streams change
    nothing.

    Parameters
    ----------
    zones : sequence of ZonePolygons
        The zones, in the order of the indices in `territory`.
    territory : Territory
        Which ground each zone owns.

    Yields
    ------
    Features
        Zone by zone, for each part the polygons that touch no border of the territory, in the order of the stream,
        maybe none; at last those at borders, ordered by west end, south end, class and WKB. Cut ones have the area
        and the perimeter of what is left of them, and as many pixels as go into that area.

    Raises
    ------
    SceneError
        If the territory of a zone crosses the antimeridian or holds a pole.
    """
    plane = Plane(wkt=territory.crs)
    reprojections = [
        Reprojection(grid=zone.grid, territory=territory, zone=index) for index, zone in enumerate(zones)
    ]
    for reprojection in reprojections:
        reprojection.check()
    held: list[tuple[Features, Pieces]] = []
    for index, zone in enumerate(zones):
        cutter = Cutter(territory=territory, zone=index, near=_SNAP * plane.unified)
        for part in zone.parts:
            untouched, pieces = _sorted_out(part, reprojections[index], cutter, plane)
            yield untouched
            if len(pieces.shape):
                held.append((untouched[:0], pieces))
    if held:
        like = Features.joined([empty for empty, _ in held])
        if len({empty.scene for empty, _ in held}) > 1:
            like = replace(like, scene=None)
        yield from Features.rebatched(
            [_at_borders(Pieces.joined([each for _, each in held]), like, territory, plane)]
        )


def _sorted_out(
    part: Features, reprojection: Reprojection, cutter: Cutter, plane: Plane
) -> tuple[Features, Pieces]:
    """Return the polygons of a part that touch no border, and the pieces of those that do."""
    import shapely

    if reprojection.is_needed:
        polygons = reprojection(Ragged.of(shapely.from_wkb(part.wkb)))
        shapes, bounds = polygons.shapes(), polygons.bounds()
        place, ranges = cutter.places(bounds)
        unsure = np.flatnonzero(place == UNSURE)
        near = shapes[unsure]
    else:
        place, ranges = cutter.places(polygon_bounds(part.buffer, part.offset))
        unsure = np.flatnonzero(place == UNSURE)
        near = (
            shapely.from_wkb(_chosen(part, unsure, plane.wkt).wkb) if len(unsure) else np.zeros(0, np.object_)
        )
    cut = cutter(Ragged.of(near), ranges[unsure])
    stays = place == INSIDE
    stays[unsure[cut.untouched]] = True
    index = np.flatnonzero(stays)
    untouched = _chosen(part, index, plane.wkt, shapes[index] if reprojection.is_needed else None)
    columns = {
        name: column[unsure[cut.source]] for name, column in columns_of(part).items() if name != "last"
    }
    amount = columns["pixels"].astype(np.float64)
    split = ~cut.whole
    if split.any():
        area, perimeter = _measured(cut.piece, cut.holes, cut.holed, plane)
        area, perimeter = area[split], perimeter[split]
        before = columns["area_m2"][split]
        known = np.isfinite(area) & (before > 0)
        share = np.divide(area, before, out=np.zeros(len(area)), where=known)
        if not known.all():  # in a plane without a body
            hollow = np.bincount(cut.holed, shapely.area(cut.holes.shapes()), len(cut.piece))[split]
            flat = (shapely.area(cut.piece[split]) - hollow) / shapely.area(near[cut.source[split]])
            share[~known] = flat[~known]
        amount[split] *= share
        columns["area_m2"][split], columns["perimeter_m"][split] = area, perimeter
    zone = np.full(len(cut.piece), cutter.zone, np.int64)
    return untouched, Pieces(
        shape=cut.piece, zone=zone, amount=amount, columns=columns, holes=cut.holes, holed=cut.holed
    )


def _measured(shapes: Objects, holes: Ragged, holed: Longs, plane: Plane) -> tuple[Floats, Floats]:
    """Return areas and perimeters of polygons from which holes were taken out."""
    area, perimeter = plane.measured(Ragged.of(shapes))
    inner, around = plane.measured(holes)
    return (
        area - np.bincount(holed, inner, len(shapes)),
        perimeter + np.bincount(holed, around, len(shapes)),
    )


def _at_borders(pieces: Pieces, like: Features, territory: Territory, plane: Plane) -> Features:
    """Return the polygons that pieces at borders make together, in their order."""
    import shapely

    polygons, kept = matched(Ragged.of(pieces.shape), territory.steps, plane.unified).without_repeats()
    pieces = pieces.chosen(kept)
    group = groups(polygons, territory.steps, pieces.zone, pieces.columns["class_code"])
    shapes = united(polygons.shapes(), group)
    columns = combined(pieces, group)
    several = np.bincount(group) > 1
    if several.any():
        _, perimeter = _measured(shapes, pieces.holes, group[pieces.holed], plane)
        columns["perimeter_m"][several] = perimeter[several]
    shapes = Ragged.of(shapes).with_holes(pieces.holes, group[pieces.holed]).shapes()
    shapes = shapely.orient_polygons(shapely.normalize(shapes))
    wkb = shapely.to_wkb(shapes, byte_order=1)
    bounds, code = shapely.bounds(shapes), columns["class_code"]
    order = sorted(range(len(shapes)), key=lambda at: (*bounds[at, :2].tolist(), int(code[at]), wkb[at]))
    buffer, offset = _buffer(wkb[order])
    chosen: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    return replace(like, **chosen, buffer=buffer, offset=offset)


def _chosen(part: Features, index: Longs, crs: str, shapes: Objects | None = None) -> Features:
    """Return some features with the CRS of the plan.

    Parameters
    ----------
    part : Features
        Features.
    index : (chosen,) int64
        Which ones.
    crs : str
        CRS of the plan as WKT.
    shapes : (chosen,) object, optional
        Their polygons there; by default the ones that they have.
    """
    import shapely

    if shapes is None:
        buffer, offset = gathered(part.buffer, part.offset, index)
    else:
        buffer, offset = _buffer(shapely.to_wkb(shapes, byte_order=1))
    # What a stream is joined by is of no use any more.
    columns: dict[str, Any] = {
        name: None if name == "last" else column[index] for name, column in columns_of(part).items()
    }
    return replace(part, **columns, buffer=buffer, offset=offset, crs=crs)


def _buffer(wkb: Objects) -> tuple[npt.NDArray[np.uint8], Longs]:
    """Put polygons in WKB one after the other, and say where each begins."""
    lengths = np.fromiter(map(len, wkb), np.int64, len(wkb))
    return np.frombuffer(b"".join(wkb), np.uint8), offsets(lengths)
