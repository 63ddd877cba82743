"""Streaming conversion of class maps to polygons: complete regions leave, open ones are carried over.

Each strip takes three steps: its runs, regions, sums, rings and arcs (in parallel); the join with the regions that the
strips above left open (one strip after the other, in time proportional to the runs of the common row and to open
arcs); attributes and WKB of complete regions (in parallel again). Laws: the polygons and their order do not depend on
the rows per strip and the number of workers; memory grows with the strips in work, a few per worker, and the open
regions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons.areas import (
    PIXELS,
    VERTICES,
    Ground,
    columns,
    mean_confidence,
    second_class,
    sum_regions,
)
from geoseg.polygons.features import Features
from geoseg.polygons.origins import Origin, OriginSeams, Shares, count_origins
from geoseg.polygons.outline import Outline, redrawn_rows
from geoseg.polygons.rings import Rings
from geoseg.polygons.runs import Runs, find_regions
from geoseg.polygons.seams import Closed, Seams
from geoseg.polygons.strips import MapRows, connected, even
from geoseg.polygons.trace import complete_regions, trace_band
from geoseg.polygons.walks import Arcs
from geoseg.polygons.wkb import write_wkb_of

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What polygons of a map are requested, with which attributes.

    Parameters
    ----------
    grid : Grid
        Grid of the whole map.
    legend : Legend, optional
        Names of the codes. Missing ones are made up.
    confidence : bool
        Whether the strips have confidence.
    classes : tuple of int, optional
        Codes of the strips' probabilities, in their order.
    scene : str, optional
        Name of the scene, an attribute of every polygon.
    outline : Outline, optional
        How boundaries are redrawn.
    origins : tuple of Origin, optional
        Scenes that the strips' pixels come from, by the index that the strips have.
    """

    grid: Grid
    legend: Legend | None = None
    confidence: bool = False
    classes: tuple[int, ...] | None = None
    scene: str | None = None
    outline: Outline | None = None
    origins: tuple[Origin, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Traced:
    """A strip traced on its own."""

    runs: Runs
    complete: npt.NDArray[np.bool_]
    rings: Rings
    arcs: Arcs
    sums: Longs
    last: Longs
    origins: Shares | None


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """What a strip closed: regions at its upper seam, and the origins of all, in the order of their last pixels."""

    closed: Closed
    origin: Longs | None


def polygonize_strips(
    strips: Iterable[MapRows], wanted: Wanted, *, workers: int = 1, rows: int | None = None
) -> Iterator[Features]:
    """Turn strips of rows from the first to the last into polygons, as `polygonize_connected` does.

    Parameters
    ----------
    strips : iterable of MapRows
        Strips of any heights, without row numbers, halos and end marks.
    wanted : Wanted
        What to make of them.
    workers : int
        Number of threads.
    rows : int, optional
        Most rows per strip; if boundaries are redrawn, the map alone determines it.

    Raises
    ------
    ClassMapError
        If they are not the rows of the grid.
    """
    if wanted.outline is not None:
        rows = redrawn_rows(wanted.grid.width)
        strips = even(strips, rows)
    return polygonize_connected(connected(strips, wanted.grid.shape, rows), wanted, workers=workers)


def polygonize_connected(
    strips: Iterable[MapRows], wanted: Wanted, *, workers: int = 1
) -> Iterator[Features]:
    """Turn every 4-connected region of one class into one polygon, strip by strip.

    Laws: rasterizing all polygons gives the class map; they are valid and a valid coverage; their planar areas
    sum to that of the valid pixels.

    Parameters
    ----------
    strips : iterable of MapRows
        Strips of the map from the first to the last row, read in the caller's thread.
    wanted : Wanted
        What to make of them.
    workers : int
        Number of threads; with one, the caller's own thread does everything.

    Yields
    ------
    Features
        For each strip the polygons that end before its last row, maybe none, with a legend of their codes.
    """
    ground = Ground(wanted.grid)
    seams = Seams(columns(len(wanted.classes or ()))), OriginSeams()
    if workers == 1:
        for strip in strips:
            traced = _trace(strip, wanted, ground)
            del strip  # before the next one is read
            yield _finish(traced, _join(seams, traced), wanted, ground)
        return
    with ThreadPoolExecutor(workers) as threads:
        tracing: deque[Future[_Traced]] = deque()
        finishing: deque[Future[Features]] = deque()

        def join_next() -> None:
            traced = tracing.popleft().result()
            finishing.append(threads.submit(_finish, traced, _join(seams, traced), wanted, ground))

        for strip in strips:
            tracing.append(threads.submit(_trace, strip, wanted, ground))
            if len(tracing) > workers:
                join_next()
            if len(finishing) > workers:
                yield finishing.popleft().result()
        while tracing:
            join_next()
        while finishing:
            yield finishing.popleft().result()


def _trace(strip: MapRows, wanted: Wanted, ground: Ground) -> _Traced:
    runs = find_regions(strip.codes, strip.valid, row=strip.row, halo=strip.halo, last=strip.last)
    complete = complete_regions(runs)
    rings, arcs, drawn = trace_band(runs, complete, wanted.outline)
    sums, last = sum_regions(runs, ground, strip.confidence, strip.probabilities)
    if drawn is not None:
        sums[:, VERTICES] = drawn
    origins = None if strip.origin is None else count_origins(runs, strip.origin)
    return _Traced(runs, complete[1:], rings, arcs, sums, last, origins)


def _join(seams: tuple[Seams, OriginSeams], traced: _Traced) -> _Joined:
    closed = seams[0].join(traced.runs, traced.arcs, traced.last, traced.sums)
    if traced.origins is None:
        return _Joined(closed, None)
    return _Joined(closed, seams[1].join(traced.runs, traced.origins, traced.last))


def _finish(traced: _Traced, joined: _Joined, wanted: Wanted, ground: Ground) -> Features:
    """Combine the polygons that are complete in a strip with those that its upper seam closed, in order."""
    done, closed = traced.complete, joined.closed
    last = np.concatenate([traced.last[done], closed.last])
    order = np.argsort(last)
    code = np.concatenate([traced.runs.code[done], closed.code])[order]
    sums = np.concatenate([traced.sums[done], closed.sums])
    parts = [traced.rings, closed.rings]
    scale = 1 if wanted.outline is None else wanted.outline.scale
    measured = [
        ground.measure(sums[begin : begin + rings.count], rings, scale)
        for rings, begin in zip(parts, (0, traced.rings.count), strict=True)
    ]
    area, perimeter = (np.concatenate(each)[order] for each in zip(*measured, strict=True))
    sums = sums[order]
    buffer, offset = write_wkb_of(parts, order, wanted.grid.transform @ Affine.scale(1 / scale))
    codes = np.unique(code).tolist()
    second = share = None
    if wanted.classes is not None:
        second, share = second_class(sums, code, np.array(wanted.classes, np.int64))
        codes = sorted({*codes, *second.tolist()})
    return Features(
        class_code=code,
        pixels=sums[:, PIXELS],
        area_m2=area,
        perimeter_m=perimeter,
        confidence=mean_confidence(sums) if wanted.confidence else None,
        second_code=second,
        second_share=share,
        scene=wanted.scene,
        buffer=buffer,
        offset=offset,
        crs=wanted.grid.crs,
        legend=complete_legend(wanted.legend, codes),
        vertices_before=None if wanted.outline is None else sums[:, VERTICES],
        last=last[order],
        origin=joined.origin,
        origins=wanted.origins,
    )


def nothing_of(wanted: Wanted) -> Features:
    """Return an empty set of features with the columns of a map's polygons."""
    none, longs = np.zeros(0), np.zeros(0, np.int64)
    second = wanted.classes is not None
    return Features(
        class_code=longs,
        pixels=longs,
        area_m2=none,
        perimeter_m=none,
        confidence=none if wanted.confidence else None,
        second_code=longs if second else None,
        second_share=none if second else None,
        scene=wanted.scene,
        buffer=np.zeros(0, np.uint8),
        offset=np.zeros(1, np.int64),
        crs=wanted.grid.crs,
        legend=complete_legend(wanted.legend, ()),
        last=longs,
        origin=None if wanted.origins is None else longs,
        origins=wanted.origins,
    )


def complete_legend(legend: Legend | None, codes: Iterable[int]) -> Legend:
    """Complete a legend with a made-up class for every code that it lacks.

    The names depend on the legend alone, so a part of the codes gives the same ones.
    """
    if legend is None:
        return Legend.made_up(codes or (0,))
    missing = sorted(set(codes) - set(legend.codes))
    if not missing:
        return legend
    taken = set(legend.names)
    made_up: list[tuple[int, str, str | None]] = []
    for code in missing:
        name = f"class {code}"
        while name in taken:  # a given legend may use this name for another code
            name += "'"
        made_up.append((code, name, None))
    return Legend.of([*((c.code, c.name, c.color) for c in legend.classes), *made_up])
