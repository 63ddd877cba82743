"""Simplification against shapely's `coverage_simplify`, in one process, warm.

Run it as a script::

    python tests/benchmarks/bench_simplify.py [--edge 2048] [--rounds 5] [--check 10000]

Ours is what redrawing adds to `polygonize_strips`; theirs starts from geometries that are there. Vertices and the area
that moved are told for both. With ``--check`` a map of so many pixels a side is redrawn instead, and GEOS says whether
the result is a valid coverage of the same area.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from bench_vectorize import Codes, class_map

from geoseg.grid.grid import Grid
from geoseg.polygons.absorb import absorbed
from geoseg.polygons.outline import Outline
from geoseg.polygons.stream import Wanted, polygonize_strips
from geoseg.polygons.strips import MapRows

Shapes = npt.NDArray[np.object_]


def grid_of(codes: Codes) -> Grid:
    """Pixels of 1 x 1."""
    height, width = codes.shape
    return Grid(height=height, width=width, transform=Affine(1, 0, 0, 0, -1, height), crs=None)


def redrawn(
    codes: Codes, tolerance: str | None, *, smooth: bool = False, least: int = 0
) -> tuple[Shapes, float]:
    """Polygons of so many pixels at least, and the seconds in which they came to be, without geometry objects."""
    grid = grid_of(codes)
    wanted = Wanted(grid=grid, outline=Outline.of(tolerance, smooth=smooth, grid=grid))
    whole = MapRows(codes=codes, valid=np.ones(codes.shape, np.bool_))
    begin = time.perf_counter()
    strips = absorbed([whole], grid, least) if least else [whole]
    parts = list(polygonize_strips(strips, wanted))
    seconds = time.perf_counter() - begin
    return shapely.from_wkb(np.concatenate([part.wkb for part in parts])), seconds


def compare(edge: int, rounds: int) -> None:
    """Print medians, spreads and ratios."""
    codes = class_map(edge, 6.0)
    redrawn(codes[:64, :64], "1px"), redrawn(codes[:64, :64], "1px", smooth=True)
    plain, _ = redrawn(codes, None)
    print(f"{edge} x {edge} px, {len(plain):,} polygons, {shapely.get_num_coordinates(plain).sum():,} points")
    for tolerance in (1, 3):
        seconds: dict[str, list[float]] = {"ours": [], "ours, smooth": [], "theirs": []}
        found: dict[str, Shapes] = {}
        for _ in range(rounds):
            _, tracing = redrawn(codes, None)
            for name, smooth in (("ours", False), ("ours, smooth", True)):
                found[name], spent = redrawn(codes, f"{tolerance}px", smooth=smooth)
                seconds[name].append(spent - tracing)
            begin = time.perf_counter()
            found["theirs"] = shapely.coverage_simplify(plain, tolerance, simplify_boundary=False)
            seconds["theirs"].append(time.perf_counter() - begin)
        for name, times in seconds.items():
            moved = shapely.area(shapely.symmetric_difference(found[name], plain)).sum() / 2 / codes.size
            print(
                f"  {tolerance} px, {name:13} {statistics.median(times):7.3f} s "
                f"(slowest / fastest {max(times) / min(times):.2f})   "
                f"{shapely.get_num_coordinates(found[name]).sum():,} points, {moved:.2%} of the area moved"
            )
        ratio = statistics.median(seconds["theirs"]) / statistics.median(seconds["ours"])
        print(f"  {tolerance} px: ratio {ratio:.1f} x")


def check(edge: int) -> None:
    """Redraw a large map, and ask GEOS."""
    codes = class_map(edge, 9.9)
    speckled = class_map(edge, 9.9, noise=0.01)
    cases: list[tuple[str | None, bool, int]] = [
        ("1px", False, 0), ("5px", False, 0), (None, True, 0), ("2px", True, 0), (None, False, 20), ("2px", True, 20),
    ]  # fmt: skip
    for tolerance, smooth, least in cases:
        shapes, seconds = redrawn(speckled if least else codes, tolerance, smooth=smooth, least=least)
        valid, coverage = bool(shapely.is_valid(shapes).all()), bool(shapely.coverage_is_valid(shapes))
        area = shapely.area(shapes).sum()
        asked = ", ".join([tolerance or "0px", *["smooth"] * smooth, *[f"{least} px at least"] * bool(least)])
        print(
            f"{edge} x {edge} px, {asked}: {len(shapes):,} polygons, "
            f"{shapely.get_num_coordinates(shapes).sum():,} points in {seconds:.1f} s; all valid: {valid}, "
            f"coverage valid: {coverage}, area {area:.6f} of {codes.size}"
        )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edge", type=int, default=2048, help="edge of the class map, px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", type=int, metavar="EDGE")
    arguments = parser.parse_args()
    if arguments.check:
        check(arguments.check)
    else:
        compare(arguments.edge, arguments.rounds)


if __name__ == "__main__":
    main()
