"""Places of findings: the polygons that they are about, read a second time, and marks on borders and vertices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.edges import Longs
from geoseg.assessment.coverage.findings import Found
from geoseg.assessment.coverage.survey import Survey
from geoseg.vectorfiles.batches import read_batches

Objects = npt.NDArray[np.object_]

_MARK = 0.02
"""Half the width of a mark, as a share of the edge of a polygon of mean size."""


def with_places(survey: Survey, found: list[Found]) -> list[Found]:
    """Return findings with their places, multipolygons; overlaps with all polygons that cover them."""
    wanted = [np.concatenate(each.polygons) for each in found if each.shape is None and len(each)]
    overlaps = next((each for each in found if each.check.name == "overlaps"), None)
    shapes, covering = _read(survey, np.unique(np.concatenate(wanted)) if wanted else None, overlaps)
    if overlaps is not None:
        found = [_covered(each, covering) if each is overlaps else each for each in found]
    areas = survey.area_m2[np.isfinite(survey.area_m2)]
    mean = math.sqrt(float(areas.mean())) / survey.ground.unit if len(areas) else 1.0
    return [replace(each, shape=_places(each, survey, shapes, _MARK * mean)) for each in found]


def _read(
    survey: Survey, wanted: Longs | None, overlaps: Found | None
) -> tuple[dict[int, object], list[tuple[int, int]]]:
    """Read polygons by their numbers, and find those that cover overlaps: pairs of overlap and polygon."""
    import shapely

    shapes: dict[int, object] = {}
    covering: list[tuple[int, int]] = []
    tree = None
    if overlaps is not None and len(overlaps) and overlaps.shape is not None:
        tree = shapely.STRtree(shapely.point_on_surface(shapely.make_valid(overlaps.shape)))
    if wanted is None and tree is None:
        return shapes, covering
    first = 0
    for batch in read_batches(survey.path, survey.layer, []):
        stop = first + len(batch.fid)
        if wanted is not None:
            here = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, stop)]
            own = shapely.force_2d(shapely.from_wkb(batch.geometry[here - first], on_invalid="ignore"))
            shapes |= dict(zip(here.tolist(), own, strict=True))
        if tree is not None:
            whole = shapely.from_wkb(batch.geometry, on_invalid="ignore")
            shapely.prepare(whole)
            polygon, overlap = tree.query(whole, predicate="contains")
            covering += zip(overlap.tolist(), (polygon + first).tolist(), strict=True)
        first = stop
    return shapes, covering


def _covered(found: Found, covering: list[tuple[int, int]]) -> Found:
    """Add the polygons that cover an overlap to those whose edges bound it."""
    more: dict[int, set[int]] = {}
    for overlap, polygon in covering:
        more.setdefault(overlap, set()).add(polygon)
    polygons = [
        np.array(sorted({*own.tolist(), *more.get(at, ())}), np.int64)
        for at, own in enumerate(found.polygons)
    ]
    return replace(found, polygons=polygons)


def _places(found: Found, survey: Survey, shapes: dict[int, object], mark: float) -> Objects:
    import shapely

    if not len(found):
        return np.empty(0, object)
    if found.shape is not None:
        places = shapely.make_valid(found.shape)
    elif found.check.name == "vertices":
        places = shapely.buffer(shapely.points(survey.missing.point[found.number]), mark)
    elif found.check.name == "neighbours":
        one, other = (np.array([shapes[int(pair[at])] for pair in found.polygons], object) for at in (0, 1))
        lines = shapely.intersection(shapely.boundary(one), shapely.boundary(other))
        places = shapely.buffer(lines, mark, cap_style="flat")
        places = np.where(shapely.is_empty(places), one, places)
    else:
        places = np.array([shapes[int(at)] for at in found.number], object)
    return np.array([_multipolygon(each) for each in places], object)


def _multipolygon(shape: object) -> object:
    """Return the polygons of a geometry; None where it has none."""
    import shapely

    if shape is None:
        return None
    parts = shapely.get_parts(shapely.get_parts(shape))
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return shapely.multipolygons(parts) if len(parts) else None
