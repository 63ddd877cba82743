"""A class map in memory to polygons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass, made_up_color
from geoseg.vector.areas import measure_confidence, measure_ground, measure_pixels
from geoseg.vector.features import Features
from geoseg.vector.runs import Bools, Ints, find_regions
from geoseg.vector.trace import trace
from geoseg.vector.wkb import write_wkb


def polygonize(
    codes: Ints,
    valid: Bools,
    grid: Grid,
    *,
    legend: Legend | None = None,
    confidence: npt.NDArray[np.uint8] | None = None,
) -> Features:
    """Turn every 4-connected region of one class into one polygon.

    Laws: rasterizing the polygons gives the class map; they are valid and a valid coverage; their planar
    areas sum to that of the valid pixels.

    Parameters
    ----------
    codes : (row, col) of any integer dtype
        Class codes.
    valid : (row, col) bool
        False where there is no data: no polygon covers such a pixel.
    grid : Grid
        Where the pixels lie; any affine.
    legend : Legend, optional
        Names of the codes. Codes that it lacks get made-up names.
    confidence : (row, col) uint8, optional
        Probability of the class in steps of 1/254, 255 where there is none.

    Raises
    ------
    ClassMapError
        If the codes are not integers, or the arrays are not on the grid.
    """
    for what, array in (("class map", codes), ("valid pixels", valid), ("confidence", confidence)):
        if array is not None and array.shape != grid.shape:
            raise ClassMapError(f"{what} has shape {array.shape}, expected that of the grid, {grid.shape}")
    runs = find_regions(codes, valid)
    pixels = measure_pixels(runs)
    buffer, offset = write_wkb(trace(runs), grid.transform)
    return Features(
        class_code=runs.code,
        pixels=pixels,
        area_m2=measure_ground(runs, pixels, grid),
        confidence=None if confidence is None else measure_confidence(runs, confidence),
        buffer=buffer,
        offset=offset,
        crs=grid.crs,
        legend=complete_legend(legend, np.unique(runs.code).tolist()),
    )


def complete_legend(legend: Legend | None, codes: Iterable[int]) -> Legend:
    """Return the legend with a made-up class for every code that it lacks."""
    if legend is None:
        return Legend.made_up(codes or (0,))
    missing = sorted(set(codes) - set(legend.codes))
    if not missing:
        return legend
    taken = set(legend.names)
    made_up = []
    for i, code in enumerate(missing, start=len(legend.classes)):
        name = f"class {code}"
        while name in taken:  # a foreign legend may call another code so
            name += "'"
        taken.add(name)
        made_up.append(LegendClass(code=code, name=name, color=made_up_color(i)))
    return Legend(classes=legend.classes + tuple(made_up))
