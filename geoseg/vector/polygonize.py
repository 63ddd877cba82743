"""A class map in memory to polygons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.vector.bands import Band
from geoseg.vector.features import Features
from geoseg.vector.runs import Bools, Ints
from geoseg.vector.stream import Wanted, complete_legend, polygonize_strips


def polygonize(
    codes: Ints,
    valid: Bools,
    grid: Grid,
    *,
    legend: Legend | None = None,
    confidence: npt.NDArray[np.uint8] | None = None,
) -> Features:
    """Turn every 4-connected region of one class into one polygon, as `polygonize_bands` does.

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
    whole = Band(codes=codes, valid=valid, confidence=confidence)
    wanted = Wanted(grid=grid, legend=legend, confidence=confidence is not None)
    parts = list(polygonize_strips([whole], wanted))
    found = sorted({code for part in parts for code in np.unique(part.class_code).tolist()})
    return Features.joined(parts, complete_legend(legend, found))
