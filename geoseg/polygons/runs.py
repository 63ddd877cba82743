"""Runs of equal pixels and their 4-connected regions: the kernels that visit every pixel.

A row is cut into runs of one class (or of no data), and vertically adjacent runs of one class are joined into
4-connected regions. All later steps, tracing included, take time per run, not per pixel.

Runs are stored in row-major order in flat arrays. Row ``r`` has the entries ``first[r]:first[r + 1]``: its runs cover
``0:width``, and the last entry is a sentinel that starts at ``width`` and represents the outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError
from geoseg.kernels.kernel import kernel

Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]

GAP = -1
"""Parent of a run that belongs to no region: no data, or the outside."""


class RunTable(NamedTuple):
    """The runs of some rows as kernels take them.

    Parameters
    ----------
    width : int
        Columns of the class map, px.
    row : int
        Row of the raster that the first row is.
    halo : bool
        Whether the first row is the last one of the strip above, which owns it.
    last : bool
        Whether the last row is the raster's.
    first : (rows + 1,) int64
        First run of each row.
    start : (run,) int32
        First column of each run.
    region : (run,) int32 or int64
        1-based region of each run, 0 for none.
    """

    width: int
    row: int
    halo: bool
    last: bool
    first: npt.NDArray[np.int64]
    start: npt.NDArray[np.int32]
    region: Ints


class Pixels(NamedTuple):
    """Rows of a class map as kernels take them.

    Parameters
    ----------
    codes : (row, col) uint8, int32 or int64
        Class codes.
    valid : (row, col) bool
        False where there is no data.
    """

    codes: Ints
    valid: Bools


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """A class map, or a strip of its rows, as runs and the regions they form.

    Parameters
    ----------
    width : int
        Columns of the class map, px.
    first : (rows + 1,) int64
        First run of each row.
    start : (run,) int32
        First column of each run.
    region : (run,) int32 or int64
        Region of each run, counted from 1; 0 for none. Regions are numbered by their last pixel in row-major order.
    code : (region,) int64
        Class code of each region.
    row : int
        Row of the raster at which the strip begins.
    halo : bool
        Whether the first row is the last row of the strip above, to which it belongs.
    last : bool
        Whether the strip ends with the last row of the raster.
    """

    width: int
    first: npt.NDArray[np.int64]
    start: npt.NDArray[np.int32]
    region: Ints
    code: npt.NDArray[np.int64]
    row: int = 0
    halo: bool = False
    last: bool = True

    @property
    def count(self) -> int:
        """Number of regions."""
        return len(self.code)

    @property
    def table(self) -> RunTable:
        """The runs, as kernels take them."""
        return RunTable(self.width, self.row, self.halo, self.last, self.first, self.start, self.region)


def find_regions(codes: Ints, valid: Bools, *, row: int = 0, halo: bool = False, last: bool = True) -> Runs:
    """Label the 4-connected regions of a class map, or of a strip of its rows.

    Parameters
    ----------
    codes : (row, col) of any integer dtype
        Class codes.
    valid : (row, col) bool
        False where there is no data, whatever the code says.
    row, halo, last
        Position of the strip, as in `Runs`.

    Raises
    ------
    ClassMapError
        If the codes are not integers, do not fit into int64, or the shapes differ.
    """
    codes = _in_few_dtypes(codes)
    valid = np.ascontiguousarray(valid, dtype=np.bool_)
    if codes.ndim != 2 or codes.shape != valid.shape or codes.size == 0:
        raise ClassMapError(
            f"class map has shape {codes.shape} and its valid pixels {valid.shape}, "
            "expected (row, col) and the same for both"
        )
    rows, width = codes.shape
    first = np.zeros(rows + 1, np.int64)
    count_runs(codes, valid, first)
    index = index_dtype(int(first[-1]))
    start = np.empty(first[-1], np.int32)
    run_code = np.empty(first[-1], np.int64)
    parent = np.empty(first[-1], index)
    begins = np.zeros(-(-width // 8) * 8, np.bool_)
    find_runs(Pixels(codes, valid), first, start, run_code, parent, begins)
    join_runs(first, start, run_code, parent)
    region = np.zeros(len(parent), index)
    code = np.empty(flatten(parent), np.int64)
    number_regions(parent, run_code, region, code)
    return Runs(
        width=width, first=first, start=start, region=region, code=code, row=row, halo=halo, last=last
    )


def index_dtype(count: int) -> type[np.int32] | type[np.int64]:
    """Return int32 if it can index `count` items, else int64."""
    return np.int32 if count < 2**31 else np.int64


def _in_few_dtypes(codes: Ints) -> Ints:
    """Convert codes to uint8, int32 or int64, the only types that kernels are compiled for."""
    codes = np.asarray(codes)
    if codes.dtype == np.uint8:
        return np.ascontiguousarray(codes)
    if not np.issubdtype(codes.dtype, np.integer):
        raise ClassMapError(f"class map is {codes.dtype}, expected integer codes")
    if codes.dtype.itemsize < 4 or codes.dtype == np.int32:
        return np.ascontiguousarray(codes, dtype=np.int32)
    if codes.dtype == np.uint64 and codes.size and codes.max() > np.iinfo(np.int64).max:
        raise ClassMapError(f"class map holds code {codes.max()}, expected at most {np.iinfo(np.int64).max}")
    return np.ascontiguousarray(codes, dtype=np.int64)


@kernel
def count_runs(codes: Ints, valid: Bools, first: npt.NDArray[np.int64]) -> None:
    """Fill `first` (rows + 1) with the index of each row's first run, sentinels included."""
    rows, width = codes.shape
    for row in range(rows):
        changes = 0
        for col in range(1, width):  # without branches, so that it is vectorised
            usable = valid[row, col]
            changes += (usable != valid[row, col - 1]) | (usable & (codes[row, col] != codes[row, col - 1]))
        first[row + 1] = first[row] + changes + 2


@kernel
def find_runs(
    pixels: Pixels,
    first: npt.NDArray[np.int64],
    start: Ints,
    run_code: Ints,
    parent: Ints,
    begins: Bools,
) -> None:
    """Fill the runs; each becomes its own parent, or GAP for no data.

    `begins`, False before, is a buffer for a row's pixels, rounded up to eight.
    """
    codes, valid = pixels
    rows, width = codes.shape
    eights = begins.view(np.uint64)
    for row in range(rows):
        begins[0] = True
        for col in range(1, width):  # without branches, so that it is vectorised
            usable = valid[row, col]
            begins[col] = (usable != valid[row, col - 1]) | (
                usable & (codes[row, col] != codes[row, col - 1])
            )
        run = first[row]
        for eight in range(len(eights)):
            if eights[eight] == 0:  # eight pixels that continue their run, the usual case
                continue
            for col in range(8 * eight, 8 * eight + 8):
                if begins[col]:
                    start[run] = col
                    run_code[run] = codes[row, col]
                    parent[run] = run if valid[row, col] else GAP
                    run += 1
        start[run] = width
        run_code[run] = 0
        parent[run] = GAP


@kernel
def _root(parent: Ints, run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@kernel
def join_runs(first: npt.NDArray[np.int64], start: Ints, run_code: Ints, parent: Ints) -> None:
    """Join vertically adjacent runs of one class by union-find; a root is the first run of its region."""
    for row in range(1, len(first) - 1):
        above, below = first[row - 1], first[row]
        above_end, below_end = first[row] - 1, first[row + 1] - 1  # the sentinels
        while above < above_end and below < below_end:
            if parent[above] != GAP and parent[below] != GAP and run_code[above] == run_code[below]:
                one, other = _root(parent, above), _root(parent, below)
                parent[max(one, other)] = min(one, other)
            above_stop, below_stop = start[above + 1], start[below + 1]
            above += above_stop <= below_stop
            below += below_stop <= above_stop


@kernel
def flatten(parent: Ints) -> int:
    """Make every run's parent its root; return the number of roots."""
    count = 0
    for run in range(len(parent)):
        if parent[run] != GAP:
            parent[run] = parent[parent[run]]  # parents come first and are flat already
            count += parent[run] == run
    return count


@kernel
def number_regions(parent: Ints, run_code: Ints, region: Ints, code: Ints) -> None:
    """Fill `region` (zeros before) with 1..n in the order of the regions' last runs, and `code` (n)."""
    number = len(code)
    for run in range(len(parent) - 1, -1, -1):
        root = parent[run]
        if root != GAP:
            if region[root] == 0:  # the last run of its region
                region[root] = number
                number -= 1
                code[number] = run_code[run]
            region[run] = region[root]
