"""Bands of a class map to polygons, as they are read: what is complete leaves, what is open is carried over.

Three steps for each band: its runs, regions, sums, rings and arcs (in any order, in parallel); the join with what
the bands above left open (in their order, alone; costs time per run of the common row and per open arc); and
attributes and well-known binary of what is complete (in parallel again). Laws: the polygons and their order do
not depend on the rows of a band and the number of workers; memory grows with the bands in work, a few per worker,
and the regions still open.
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
from geoseg.vector.areas import PIXELS, VERTICES, Ground, columns, mean_confidence, second_class, sum_regions
from geoseg.vector.bands import Band, connected, even
from geoseg.vector.features import Features
from geoseg.vector.outline import Outline, band_rows
from geoseg.vector.rings import Rings
from geoseg.vector.runs import Runs, find_regions
from geoseg.vector.seams import Closed, Seams
from geoseg.vector.trace import Arcs, complete_regions, trace_band
from geoseg.vector.wkb import write_wkb_of

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the polygons of a map are to say.

    Parameters
    ----------
    grid : Grid
        Of the whole map.
    legend : Legend, optional
        Names of the codes. Codes that it lacks get made-up names.
    confidence : bool
        Whether the bands have it.
    classes : tuple of int, optional
        Codes of the bands' probabilities, in their order.
    scene : str, optional
        What every polygon says that it is of.
    outline : Outline, optional
        How boundaries are redrawn.
    """

    grid: Grid
    legend: Legend | None = None
    confidence: bool = False
    classes: tuple[int, ...] | None = None
    scene: str | None = None
    outline: Outline | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Traced:
    """A band by itself."""

    runs: Runs
    complete: npt.NDArray[np.bool_]
    rings: Rings
    arcs: Arcs
    sums: Longs
    last: Longs


def polygonize_strips(
    strips: Iterable[Band], wanted: Wanted, *, workers: int = 1, rows: int | None = None
) -> Iterator[Features]:
    """Turn strips of rows from the first to the last into polygons, as `polygonize_bands` does.

    Parameters
    ----------
    strips : iterable of Band
        Without rows, halos and ends, of any heights.
    wanted : Wanted
    workers : int
    rows : int, optional
        Most rows of a band; where boundaries are redrawn the map alone says how many there are.

    Raises
    ------
    ClassMapError
        If they are not the rows of the grid.
    """
    if wanted.outline is not None:
        rows = band_rows(wanted.grid.width)
        strips = even(strips, rows)
    return polygonize_bands(connected(strips, wanted.grid.shape, rows), wanted, workers=workers)


def polygonize_bands(bands: Iterable[Band], wanted: Wanted, *, workers: int = 1) -> Iterator[Features]:
    """Turn every 4-connected region of one class into one polygon, band by band.

    Laws: rasterizing all polygons gives the class map; they are valid and a valid coverage; their planar areas
    sum to that of the valid pixels.

    Parameters
    ----------
    bands : iterable of Band
        The rows of the map from the first to the last. It is read by the caller's thread.
    wanted : Wanted
    workers : int
        Threads; with one, the caller's own does everything.

    Yields
    ------
    Features
        Of each band those that end before its last row, maybe none; each with a legend that has its codes.
    """
    ground = Ground(wanted.grid)
    seams = Seams(columns(len(wanted.classes or ())))
    if workers == 1:
        for band in bands:
            traced = _trace(band, wanted, ground)
            del band  # before the next one is read
            yield _finish(traced, _join(seams, traced), wanted, ground)
        return
    with ThreadPoolExecutor(workers) as threads:
        tracing: deque[Future[_Traced]] = deque()
        finishing: deque[Future[Features]] = deque()

        def join_next() -> None:
            traced = tracing.popleft().result()
            finishing.append(threads.submit(_finish, traced, _join(seams, traced), wanted, ground))

        for band in bands:
            tracing.append(threads.submit(_trace, band, wanted, ground))
            if len(tracing) > workers:
                join_next()
            if len(finishing) > workers:
                yield finishing.popleft().result()
        while tracing:
            join_next()
        while finishing:
            yield finishing.popleft().result()


def _trace(band: Band, wanted: Wanted, ground: Ground) -> _Traced:
    runs = find_regions(band.codes, band.valid, row=band.row, halo=band.halo, last=band.last)
    complete = complete_regions(runs)
    rings, arcs, drawn = trace_band(runs, complete, wanted.outline)
    sums, last = sum_regions(runs, ground, band.confidence, band.probabilities)
    if drawn is not None:
        sums[:, VERTICES] = drawn
    return _Traced(runs, complete[1:], rings, arcs, sums, last)


def _join(seams: Seams, traced: _Traced) -> Closed:
    return seams.join(traced.runs, traced.arcs, traced.last, traced.sums)


def _finish(traced: _Traced, closed: Closed, wanted: Wanted, ground: Ground) -> Features:
    """Polygons that are complete in a band, and those that its upper seam closed, in one order."""
    done = traced.complete
    order = np.argsort(np.concatenate([traced.last[done], closed.last]))
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
    )


def nothing_of(wanted: Wanted) -> Features:
    """None of the polygons of a map, with their columns."""
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
    )


def complete_legend(legend: Legend | None, codes: Iterable[int]) -> Legend:
    """Return the legend with a made-up class for every code that it lacks.

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
        while name in taken:  # a foreign legend may call another code so
            name += "'"
        made_up.append((code, name, None))
    return Legend.of([*((c.code, c.name, c.color) for c in legend.classes), *made_up])
