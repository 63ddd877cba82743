"""What the pixels of each region sum to: count, ground area, confidence.

Sums are integers, so they do not depend on the order of summation: blocks of rows may be summed apart.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.ground import area_scale, row_areas
from geoseg.vector.runs import Ints, Runs

Floats = npt.NDArray[np.float64]

NO_CONFIDENCE = 255
"""Stored confidence of a pixel that has none; 0 to 254 are probabilities in steps of 1/254."""


def measure_pixels(runs: Runs) -> npt.NDArray[np.int64]:
    """Pixels of each region."""
    return _sum_rows(runs, np.ones(len(runs.first) - 1, np.int64))


def measure_ground(runs: Runs, pixels: npt.NDArray[np.int64], grid: Grid) -> Floats:
    """Measure the true ground area of each region, m²; NaN where the CRS is not tied to the Earth.

    On axis-aligned geographic grids the exact ellipsoidal area of every pixel is summed; elsewhere the planar
    area is scaled by the ground's share at the mean position of the region's pixels.
    """
    zones = row_areas(grid)
    if zones is not None:
        # Fixed-point numbers: the largest power of two with which the whole grid still fits 62 bits.
        bits = 62 - math.frexp(float(zones.sum()) * grid.width)[1]
        return np.ldexp(
            _sum_rows(runs, np.rint(np.ldexp(zones, bits)).astype(np.int64)).astype(np.float64), -bits
        )
    doubled_col, row = _sum_positions(runs.first, runs.start, runs.region, runs.count)
    scale = area_scale(grid, doubled_col / (2 * pixels), row / pixels + 0.5)
    if scale is None:
        return np.full(runs.count, np.nan)
    return np.asarray(pixels * grid.pixel_area * scale)


def measure_confidence(runs: Runs, confidence: npt.NDArray[np.uint8]) -> Floats:
    """Mean probability of each region's pixels that have one, 0 to 1; NaN where none has.

    Parameters
    ----------
    confidence : (row, col) uint8
        0 to 254 in steps of 1/254, 255 where there is none.
    """
    total, counted = _sum_confidence(runs.first, runs.start, runs.region, runs.count, confidence)
    mean = np.full(runs.count, np.nan)
    np.divide(total, 254 * counted, out=mean, where=counted > 0)
    return mean


def _sum_rows(runs: Runs, weight: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total: npt.NDArray[np.int64] = _sum_weights(runs.first, runs.start, runs.region, runs.count, weight)
    return total


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_weights(
    first: npt.NDArray[np.int64], start: Ints, region: Ints, count: int, weight: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Sum of the pixels' weights, which are one number per row."""
    total = np.zeros(count, np.int64)
    for row in range(len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                total[region[run] - 1] += weight[row] * (start[run + 1] - start[run])
    return total


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_positions(
    first: npt.NDArray[np.int64], start: Ints, region: Ints, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Twice the sum of the pixel centres' columns (centres at .5), and the sum of the row numbers."""
    col, row_sum = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for row in range(len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                length = np.int64(start[run + 1] - start[run])
                col[region[run] - 1] += length * (np.int64(start[run]) + start[run + 1])
                row_sum[region[run] - 1] += length * row
    return col, row_sum


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sum_confidence(
    first: npt.NDArray[np.int64], start: Ints, region: Ints, count: int, confidence: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sum and number of the stored confidences."""
    total, counted = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for row in range(len(first) - 1):
        for run in range(first[row], first[row + 1] - 1):
            if region[run]:
                run_total = run_counted = np.int64(0)
                for col in range(start[run], start[run + 1]):
                    value = confidence[row, col]
                    present = value != NO_CONFIDENCE
                    run_total += np.int64(value) * present
                    run_counted += present
                total[region[run] - 1] += run_total
                counted[region[run] - 1] += run_counted
    return total, counted
