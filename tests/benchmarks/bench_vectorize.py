"""Vectorize against GDAL's polygonizer with geopandas, and xarray-spatial's, in one process, warm.

Run it as a script::

    python tests/benchmarks/bench_vectorize.py [--edge 4096] [--rounds 5] [--xarray-spatial]

From a class map in memory to a GeoPackage on disk. Ours is `vectorize` with one worker; the time in which it opens
the file again and verifies it is taken off, and told apart. Theirs is `rasterio.features.shapes`, shapely geometries,
a GeoDataFrame and `to_file`; xarray-spatial's polygonizer ends with a GeoDataFrame in memory. The rounds alternate, so
that all see the same machine, and the processor's time is told beside the clock's for machines that do other things
as well. "tracer" is `find_regions` and `trace` alone. Then the stages of ours, strip by strip, each with its floor: the
time in which this machine copies the bytes that the stage has to read and to write.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from affine import Affine
from pyproj import CRS
from scipy.ndimage import gaussian_filter

from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.polygons import stream
from geoseg.polygons.areas import Ground, columns, sum_regions
from geoseg.polygons.runs import find_regions
from geoseg.polygons.seams import Seams
from geoseg.polygons.stream import Wanted
from geoseg.polygons.strips import MapRows, cut, rows_of_band
from geoseg.polygons.trace import complete_regions, trace, trace_band
from geoseg.raster.classmap import ClassMap
from geoseg.vector.options import VectorizeOptions
from geoseg.vector.vectorize import Target, vectorize_file
from geoseg.vectorfiles import geopackage
from geoseg.vectorfiles.arrow_writer import Layer
from geoseg.vectorfiles.geopackage import write_layers

Codes = npt.NDArray[np.uint8]


def class_map(edge: int, sigma: float, classes: int = 6, noise: float = 0.0) -> Codes:
    """Argmax of smoothed noise; `noise` is the share of pixels that are then drawn at random."""
    random = np.random.default_rng(0)
    best = np.full((edge, edge), -np.inf, np.float32)
    codes = np.zeros((edge, edge), np.uint8)
    for code in range(1, classes + 1):
        field = gaussian_filter(random.standard_normal((edge, edge), dtype=np.float32), sigma, mode="wrap")
        codes[field > best] = code
        np.maximum(best, field, out=best)
    speckled = random.random(codes.shape) < noise
    codes[speckled] = random.integers(1, classes + 1, np.count_nonzero(speckled))
    return codes


def theirs(codes: Codes, grid: Grid, path: Path) -> int:
    """Polygons as most scripts make them."""
    shapes = rasterio.features.shapes(codes, connectivity=4, transform=grid.transform)
    pairs = ((shapely.geometry.shape(shape), int(value)) for shape, value in shapes)
    geometry, values = zip(*pairs, strict=True)
    frame = gpd.GeoDataFrame({"class_code": values}, geometry=list(geometry), crs=grid.crs)
    frame.to_file(path, layer="landcover", driver="GPKG")
    return len(frame)


def ours(codes: Codes, grid: Grid, path: Path) -> int:
    """Polygons with names, areas, style and verification."""
    return _vectorized(codes, grid, path, 1)


def two_workers(codes: Codes, grid: Grid, path: Path) -> int:
    """As ours, with two threads."""
    return _vectorized(codes, grid, path, 2)


def xarray_spatial(codes: Codes, grid: Grid, path: Path) -> int:
    """Polygons of xarray-spatial, as a GeoDataFrame."""
    import xarray as xr
    from xrspatial.experimental.polygonize import polygonize

    t = grid.transform
    array = xr.DataArray(codes.astype(np.int64), dims=("y", "x"))
    return len(polygonize(array, transform=np.array(t[:6]), return_type="geopandas"))


_verifying: list[float] = []


def _timed_verify(*arguments: Any) -> None:
    begin = time.perf_counter()
    _verify(*arguments)
    _verifying.append(time.perf_counter() - begin)


_verify = geopackage._verify
geopackage._verify = _timed_verify


def _vectorized(codes: Codes, grid: Grid, path: Path, workers: int) -> int:
    source = ClassMap(codes=codes, valid=np.ones(codes.shape, np.bool_), grid=grid, legend=None)
    options = VectorizeOptions(workers=workers)
    return vectorize_file(source, Target(path=path, overwrite=True), options=options).polygons


def stages(codes: Codes, grid: Grid, path: Path) -> dict[str, tuple[float, float]]:
    """Seconds and floor of each stage, one after the other, with all that it makes held."""
    seconds: dict[str, float] = {}
    moved: dict[str, int] = {}

    def timed(name: str, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        made = work(*arguments, **named)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begin
        return made

    def bytes_of(name: str, *arrays: Any) -> None:
        moved[name] = moved.get(name, 0) + sum(array.nbytes for array in arrays)

    ground, wanted, seams = Ground(grid), Wanted(grid=grid), Seams(columns(0))
    whole = MapRows(codes=codes, valid=np.ones(codes.shape, np.bool_))
    parts = []
    for strip in cut(whole, rows_of_band(grid.width)):
        runs = timed(
            "runs", find_regions, strip.codes, strip.valid, row=strip.row, halo=strip.halo, last=strip.last
        )
        table = (runs.first, runs.start, runs.region, runs.code)
        bytes_of("runs", strip.codes, strip.valid, *table)
        complete = complete_regions(runs)
        rings, arcs, _ = timed("tracing", trace_band, runs, complete)
        bytes_of("tracing", *table, rings.corner, rings.ring_first, rings.polygon_first, arcs.corner)
        sums, last = timed("sums", sum_regions, runs, ground)
        bytes_of("sums", *table, sums, last)
        closed = timed("joining", seams.join, runs, arcs, last, sums)
        bytes_of("joining", arcs.corner, closed.rings.corner)
        traced = stream._Traced(runs, complete[1:], rings, arcs, sums, last)
        parts.append(timed("attributes and WKB", stream._finish, traced, closed, wanted, ground))
        bytes_of("attributes and WKB", rings.corner, closed.rings.corner, sums, parts[-1].buffer)
    legend = Legend.made_up(range(1, 7))
    layer = Layer(name="landcover", crs=grid.crs, legend=lambda: legend)
    _verifying.clear()
    timed("writing", write_layers, path, [(layer, parts)])
    seconds["verifying"] = _verifying[-1]
    seconds["writing"] -= seconds["verifying"]
    moved["writing"] = path.stat().st_size + sum(part.buffer.nbytes for part in parts)
    moved["verifying"] = path.stat().st_size
    rate = copy_rate()
    return {stage: (spent, moved[stage] / rate) for stage, spent in seconds.items()}


def copy_rate() -> float:
    """Bytes that this machine reads and writes in a second when it copies memory."""
    source = np.ones(2**26, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - begin)
    return 2 * source.nbytes / statistics.median(times)


def tracer(codes: Codes, _grid: Grid, _path: Path) -> int:
    """Regions and rings alone."""
    return len(trace(find_regions(codes, np.ones(codes.shape, np.bool_))).polygon_first) - 1


def measure(edge: int, rounds: int, maps: dict[str, dict[str, Any]], *, other: bool) -> None:
    """Print medians, spreads and ratios for every map."""
    contenders: list[Callable[[Codes, Grid, Path], int]] = [tracer, ours, two_workers, theirs]
    if other:
        contenders.append(xarray_spatial)
    grid = Grid(
        height=edge,
        width=edge,
        transform=Affine(10, 0, 500000, 0, -10, 5400000),
        crs=CRS.from_epsg(32632).to_wkt(),
    )
    warm = class_map(64, 2.0)
    small = Grid(height=64, width=64, transform=grid.transform, crs=grid.crs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.gpkg"
        for run in contenders:
            run(warm, small, path)
        for name, recipe in maps.items():
            codes = class_map(edge, **recipe)
            seconds: dict[str, list[float]] = {run.__name__: [] for run in contenders}
            busy: dict[str, list[float]] = {run.__name__: [] for run in contenders}
            counts = set()
            for _ in range(rounds):
                for run in contenders:
                    path.unlink(missing_ok=True)
                    _verifying.clear()
                    begin, busy_begin = time.perf_counter(), time.process_time()
                    counts.add(run(codes, grid, path))
                    off = sum(_verifying)
                    seconds[run.__name__].append(time.perf_counter() - begin - off)
                    busy[run.__name__].append(time.process_time() - busy_begin - off)
            assert len(counts) == 1, "they disagree on the number of polygons"
            told = stages(codes, grid, path)
            print(f"{name}: {edge} x {edge} px, {counts.pop():,} polygons, {rounds} rounds")
            for label, times in seconds.items():
                median = statistics.median(times)
                print(
                    f"  {label:14} {median:8.3f} s   (slowest / fastest {max(times) / min(times):.2f})"
                    f"   {codes.size / median / 1e6:7.1f} Mpx/s"
                    f"   processor {statistics.median(busy[label]):.3f} s"
                )
            for label, times in (("ratio", seconds), ("of processor time", busy)):
                ratio = statistics.median(times["theirs"]) / statistics.median(times["ours"])
                print(f"  {label:18} {ratio:5.1f} x")
            scaling = statistics.median(seconds["ours"]) / statistics.median(seconds["two_workers"])
            print(f"  two workers        {scaling:5.2f} x one")
            if other:
                ratio = statistics.median(seconds["xarray_spatial"]) / statistics.median(seconds["ours"])
                print(f"  to xarray-spatial  {ratio:5.1f} x")
            for stage, (spent, floor) in told.items():
                print(f"    {stage:20} {spent:7.3f} s   floor {floor:.3f} s")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edge", type=int, default=4096, help="edge of the class map, px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--xarray-spatial", action="store_true", help="its package is to be installed")
    parser.add_argument("--noise", type=float, default=0.07, help="share of random pixels of the noisy map")
    arguments = parser.parse_args()
    maps: dict[str, dict[str, Any]] = {
        "smooth": {"sigma": 9.9},
        "noisy": {"sigma": 9.9, "noise": arguments.noise},
    }
    measure(arguments.edge, arguments.rounds, maps, other=arguments.xarray_spatial)


if __name__ == "__main__":
    main()
