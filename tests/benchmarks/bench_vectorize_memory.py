"""Law 8: peak memory of `geoseg.vectorize` on maps of bounded regions, each in a process of its own.

Run it as a script::

    python tests/benchmarks/bench_vectorize_memory.py [--edges 8192 16384 32768] [--workers 1]
    python tests/benchmarks/bench_vectorize_memory.py --percolating 8192

The maps are one of 1024 x 1024 px, framed by no data on two sides, repeated in a tiled file. A percolating map is the
opposite: of two classes drawn pixel by pixel one hangs together from end to end, so that most boundaries stay open
until the last row; told is what is held for each of their vertices.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from geoseg.grid.grid import Grid

_PATTERN = 1024


def make_map(path: Path, edge: int) -> None:
    """Write a map of so many pixels a side."""
    from bench_vectorize import class_map

    codes = class_map(_PATTERN, 9.9)
    codes[0], codes[:, 0] = 0, 0
    profile = {
        "driver": "GTiff", "height": edge, "width": edge, "count": 1, "dtype": "uint8", "nodata": 0, "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "deflate", "crs": "EPSG:32632",
        "transform": Affine(10, 0, 5e5, 0, -10, 54e5),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        for row in range(0, edge, _PATTERN):
            file.write(np.tile(codes, (1, edge // _PATTERN)), 1, window=Window(0, row, edge, _PATTERN))


def measure(path: Path, workers: int) -> None:
    """Vectorize a map in this process and print its peak."""
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vector.vectorize import Target, vectorize_file

    options = VectorizeOptions(workers=workers)
    output = Target(path=path.with_suffix(".gpkg"), overwrite=True)
    vectorize_file(np.ones((4, 4), np.uint8), output, options=options)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter()
    polygons = vectorize_file(path, output, options=options).polygons
    seconds, peak = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{path.stem} px: {polygons:,} polygons, {seconds:.1f} s, {before:.0f} MB before, peak {peak:.0f} MB"
    )


def percolate(edge: int) -> None:
    """Print what is held for every open vertex of a map that hangs together."""
    from geoseg.polygons.areas import Ground, columns, sum_regions
    from geoseg.polygons.runs import find_regions
    from geoseg.polygons.seams import Seams
    from geoseg.polygons.strips import MapRows, cut, rows_of_band
    from geoseg.polygons.trace import complete_regions, trace_band

    codes = (np.random.default_rng(0).random((edge, edge)) < 0.62).astype(np.uint8)
    seams = Seams(columns(0))
    ground = Ground(Grid(height=edge, width=edge, transform=Affine.identity(), crs=None))
    whole = MapRows(codes=codes, valid=np.ones(codes.shape, np.bool_))
    for strip in cut(whole, rows_of_band(edge)):
        runs = find_regions(strip.codes, strip.valid, row=strip.row, halo=strip.halo, last=strip.last)
        _, arcs, _ = trace_band(runs, complete_regions(runs))
        sums, last = sum_regions(runs, ground)
        seams.join(runs, arcs, last, sums)
        if seams.open_vertices:
            print(
                f"after row {strip.row + len(strip.codes)}: {seams.open_vertices:,} open vertices, "
                f"{seams.nbytes / 1e6:.0f} MB, {seams.nbytes / seams.open_vertices:.1f} bytes for each"
            )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edges", type=int, nargs="+", default=[8192, 16384, 32768])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--percolating", type=int, metavar="EDGE")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.workers)
        return
    if arguments.percolating:
        percolate(arguments.percolating)
        return
    with tempfile.TemporaryDirectory() as folder:
        for edge in arguments.edges:
            path = Path(folder) / f"{edge}.tif"
            make_map(path, edge)
            command = [sys.executable, __file__, "--measure", str(path), "--workers", str(arguments.workers)]
            subprocess.run(command, check=True)
            for file in Path(folder).iterdir():
                file.unlink()


if __name__ == "__main__":
    main()
