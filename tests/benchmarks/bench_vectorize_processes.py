"""`geoseg vectorize` against GDAL's `gdal_polygonize.py`: whole processes, from a GeoTIFF to a GeoPackage.

Run it as a script::

    python tests/benchmarks/bench_vectorize_processes.py [--edge 4096] [--rounds 3] [--noise 0.07]

Both start an interpreter, read the file and write polygons with an R-tree. The rounds alternate.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rasterio
from affine import Affine
from bench_vectorize import class_map


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edge", type=int, default=4096, help="edge of the class map, px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.07, help="share of random pixels of the noisy map")
    arguments = parser.parse_args()
    polygonizer = shutil.which("gdal_polygonize.py") or shutil.which("gdal_polygonize")
    if polygonizer is None:
        sys.exit("gdal_polygonize.py is not on this machine (python3-gdal has it)")
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "classes.tif", Path(folder) / "out.gpkg"
        for name, noise in (("smooth", 0.0), ("noisy", arguments.noise)):
            profile = {
                "driver": "GTiff", "height": arguments.edge, "width": arguments.edge, "count": 1, "dtype": "uint8",
                "tiled": True, "compress": "deflate", "crs": "EPSG:32632", "nodata": 255,
                "transform": Affine(10, 0, 5e5, 0, -10, 54e5),
            }  # fmt: skip
            with rasterio.open(source, "w", **profile) as file:
                file.write(class_map(arguments.edge, 9.9, noise=noise), 1)
            ours = f"{sys.executable} -m geoseg_cli vectorize {source} -o {output} --overwrite -q"
            theirs = f"{polygonizer} -q {source} -f GPKG {output} landcover class_code"
            commands = {"geoseg": ours.split(), "gdal_polygonize": theirs.split()}
            seconds: dict[str, list[float]] = {each: [] for each in commands}
            for _ in range(arguments.rounds):
                for each, command in commands.items():
                    output.unlink(missing_ok=True)
                    begin = time.perf_counter()
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                    seconds[each].append(time.perf_counter() - begin)
            print(f"{name}: {arguments.edge} x {arguments.edge} px, {arguments.rounds} rounds")
            for each, times in seconds.items():
                spread = max(times) / min(times)
                print(f"  {each:16} {statistics.median(times):7.2f} s (slowest / fastest {spread:.2f})")
            ratio = statistics.median(seconds["gdal_polygonize"]) / statistics.median(seconds["geoseg"])
            print(f"  ratio {ratio:.1f} x")


if __name__ == "__main__":
    main()
