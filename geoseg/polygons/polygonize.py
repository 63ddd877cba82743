"""Polygons of a class map in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons.features import Features
from geoseg.polygons.runs import Bools, Ints
from geoseg.polygons.stream import Wanted, complete_legend, polygonize_strips
from geoseg.polygons.strips import MapRows


def polygonize(
    codes: Ints,
    valid: Bools,
    grid: Grid,
    *,
    legend: Legend | None = None,
    confidence: npt.NDArray[np.uint8] | None = None,
) -> Features:
    """Turn every 4-connected region of one class into one polygon, as `polygonize_connected` does.

    Parameters
    ----------
    codes : (row, col) of any integer dtype
        Class codes.
    valid : (row, col) bool
        False where there is no data: no polygon covers such a pixel.
    grid : Grid
        Grid of the map, with any affine.
    legend : Legend, optional
        Names of the codes. Missing ones are made up.
    confidence : (row, col) uint8, optional
        Probability of the class in steps of 1/254, or 255 for none.

    Raises
    ------
    ClassMapError
        If the codes are not integers, or the arrays do not have the shape of the grid.
    """
    for what, array in (("class map", codes), ("valid pixels", valid), ("confidence", confidence)):
        if array is not None and array.shape != grid.shape:
            raise ClassMapError(f"{what} has shape {array.shape}, expected that of the grid, {grid.shape}")
    whole = MapRows(codes=codes, valid=valid, confidence=confidence)
    wanted = Wanted(grid=grid, legend=legend, confidence=confidence is not None)
    parts = list(polygonize_strips([whole], wanted))
    found = sorted({code for part in parts for code in np.unique(part.class_code).tolist()})
    return Features.joined(parts, complete_legend(legend, found))
