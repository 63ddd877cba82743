"""`geoseg check` of polygon maps: seconds and peak memory, each in a process of its own.

Run it as a script::

    python tests/benchmarks/bench_check.py [--polygons 1000000] [--broken]

The map is argmax of smoothed noise as in `bench_vectorize`, vectorized by geoseg. With ``--broken`` each polygon is
also simplified by itself with shapely: hardly an edge has a partner then, which is the most work there is.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from affine import Affine
from bench_vectorize import class_map
from rasterio.crs import CRS

from geoseg.grid.grid import Grid
from geoseg.raster.classmap import ClassMap
from geoseg.vector.vectorize import vectorize

_DENSITY = 26  # pixels of a polygon of such maps, on average
_RUN = """
import json, sys, time
import geoseg
from geoseg.storage.process_memory import peak_memory_mb
begin, processor = time.perf_counter(), time.process_time()
found = geoseg.check(sys.argv[1], progress=False, **json.loads(sys.argv[2]))
seconds = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - processor}
print(json.dumps({**seconds, "mb": peak_memory_mb(), **found.to_dict()}))
"""


def measured(path: Path, **options: str) -> None:
    """Check a file in a fresh process, and print what it took and what was found."""
    run = subprocess.run(
        [sys.executable, "-c", _RUN, str(path), json.dumps(options)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout)
    (layer,) = told["layers"]
    found = ", ".join(f"{each['found']:,} {each['check']}" for each in layer["checks"] if each["found"])
    print(
        f"  {path.stem} {options or ''}: {layer['polygons']:,} polygons in {told['seconds']:.1f} s "
        f"({told['cpu']:.1f} s of processors), "
        f"peak {told['mb']:,.0f} MB; {found or 'no findings'}",
        flush=True,
    )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--polygons", type=int, default=200_000)
    parser.add_argument("--broken", action="store_true")
    arguments = parser.parse_args()
    edge = math.ceil(math.sqrt(arguments.polygons * _DENSITY))
    codes = class_map(edge, 2.0).astype(np.uint8)
    grid = Grid(
        height=edge,
        width=edge,
        transform=Affine(10, 0, 3e5, 0, -10, 5.3e6),
        crs=CRS.from_epsg(32633).to_wkt(),
    )
    with tempfile.TemporaryDirectory() as folder:
        whole = ClassMap(codes=codes, valid=np.ones(codes.shape, np.bool_), grid=grid, legend=None)
        path = Path(folder) / "ours.gpkg"
        begin = time.perf_counter()
        vectorize(whole, output=path)
        print(f"{edge} x {edge} px, vectorized in {time.perf_counter() - begin:.1f} s", flush=True)
        measured(path)
        measured(path, profile="clc2024")
        if arguments.broken:
            frame = pyogrio.read_dataframe(path, layer="landcover")
            frame.geometry = shapely.simplify(frame.geometry.to_numpy(), 15)
            broken = path.with_name("simplified_one_by_one.gpkg")
            pyogrio.write_dataframe(frame, broken)
            measured(broken)


if __name__ == "__main__":
    main()
