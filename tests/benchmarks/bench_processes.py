"""Whole processes, start-up included: `geoseg vectorize` against scripts, and what other commands take to begin.

Run it as a script::

    python tests/benchmarks/bench_processes.py [--edge 4096] [--rounds 3] [--noise 0]

`vectorize` goes from a GeoTIFF to a GeoPackage with an R-tree, and so do the others: a script of
`rasterio.features.shapes` and geopandas, and GDAL's `gdal_polygonize.py` where it is found. `predict` maps a patch of
Sentinel-2, 512 x 512 px, on the CPU in fp32: with the converted network kept, and without. `train` is timed until it
says that it reads the data. All take turns, after one turn that is not counted: bytecode, kernels and the network are
cached then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from bench_vectorize import class_map

KOREA = Path(__file__).parents[1] / "data" / "korea"

SCRIPT = """
import sys
import geopandas, rasterio, shapely.geometry
from rasterio.features import shapes
source, output = sys.argv[1:]
with rasterio.open(source) as file:
    found = shapes(file.read(1), connectivity=4, transform=file.transform)
    pairs = [(shapely.geometry.shape(shape), int(value)) for shape, value in found]
geometry, values = zip(*pairs)
frame = geopandas.GeoDataFrame({"class_code": values}, geometry=list(geometry), crs=file.crs)
frame.to_file(output, layer="landcover", driver="GPKG")
"""
CONFIG = """
data:
  images: scene.tif
  labels: {files: labels.tif}
  bands: [one, two, three]
  classes: {1: {name: a, labels: [1]}, 2: {name: b, labels: [2]}}
  split: {method: blocks}
model: {name: none, architecture: Unet, encoder: resnet18, tile_size: 64}
train: {epochs: 1, chip_size: 64}
"""
GEOSEG = [sys.executable, "-m", "geoseg_cli"]


def write(path: Path, pixels: np.ndarray) -> None:
    """Write a GeoTIFF of (row, col) or (band, row, col)."""
    bands = pixels.reshape(-1, *pixels.shape[-2:])
    profile = {
        "driver": "GTiff", "height": bands.shape[1], "width": bands.shape[2], "count": len(bands), "dtype": "uint8",
        "tiled": True, "compress": "deflate", "crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 54e5),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)


def whole(*command: str | Path, anew: Path | None = None, cache: Path | None = None) -> Callable[[], float]:
    """Return what runs a command to its end, without the file that it makes anew, and tells the seconds.

    A `cache` is where converted networks are kept: it is empty each time.
    """

    def run() -> float:
        if anew is not None:
            anew.unlink(missing_ok=True)
        if cache is not None:
            shutil.rmtree(cache, ignore_errors=True)
        env = os.environ if cache is None else {**os.environ, "GEOSEG_CACHE_DIR": str(cache)}
        begin = time.perf_counter()
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - begin

    return run


def until(word: str, folder: Path, *command: str | Path) -> Callable[[], float]:
    """Return what runs a command until it says a word, stops it and tells the seconds; its folder is removed."""

    def run() -> float:
        begin = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if word in line:
                    break
            else:
                sys.exit(f"{word!r} was never said: {''.join(said)}")
            seconds = time.perf_counter() - begin
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        return seconds

    return run


def runs_of(folder: Path, edge: int, noise: float) -> dict[str, Callable[[], float]]:
    """Make the files; return what is timed, by name."""
    source, output = folder / "classes.tif", folder / "out.gpkg"
    write(source, class_map(edge, 9.9, noise=noise))
    labels = np.kron(np.random.default_rng(0).integers(1, 3, (8, 8)), np.ones((32, 32), np.int64)).astype(
        np.uint8
    )
    write(folder / "labels.tif", labels)
    write(folder / "scene.tif", np.stack([labels * 50, labels * 60, labels * 70]))
    (folder / "script.py").write_text(SCRIPT)
    (folder / "config.yaml").write_text(CONFIG)
    training = folder / "run"
    train = (*GEOSEG, "train", folder / "config.yaml", "-o", training)
    runs = {
        "vectorize": whole(*GEOSEG, "vectorize", source, "-o", output, "-q", anew=output),
        "script of rasterio and geopandas": whole(
            *(sys.executable, folder / "script.py", source, folder / "script.gpkg"),
            anew=folder / "script.gpkg",
        ),
    }
    polygonizer = shutil.which("gdal_polygonize.py") or shutil.which("gdal_polygonize")
    if polygonizer is not None:
        theirs = (
            polygonizer,
            "-q",
            "-overwrite",
            source,
            "-f",
            "GPKG",
            folder / "gdal.gpkg",
            "landcover",
            "class_code",
        )
        runs["gdal_polygonize.py"] = whole(*theirs, anew=folder / "gdal.gpkg")
    predicted = folder / "predicted.tif"
    predict = (
        *(
            *GEOSEG,
            "predict",
            KOREA / "202412_patchN_6.tif",
            "-m",
            KOREA / "korea.safetensors",
            "-o",
            predicted,
            "-q",
        ),
        *("--bands", "1,2,3", "--device", "cpu", "--precision", "fp32"),
    )
    return runs | {
        "predict": whole(*predict, anew=predicted),
        "predict, the network converted": whole(*predict, anew=predicted, cache=folder / "cache"),
        "--help": whole(*GEOSEG, "--help"),
        "info FILE": whole(*GEOSEG, "info", source),
        "info": whole(*GEOSEG, "info"),
        "rasterize": whole(
            *GEOSEG, "rasterize", output, "--like", source, "-o", folder / "r.tif", "--overwrite", "-q"
        ),
        "train until it reads the data": until("reading images and labels", training, *train),
    }


def main() -> None:
    """Time all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edge", type=int, default=4096, help="edge of the class map, px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.0, help="share of random pixels of the map")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        runs = runs_of(Path(folder), arguments.edge, arguments.noise)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(arguments.rounds + 1):
            for name, run in runs.items():
                spent = run()
                if turn:
                    seconds[name].append(spent)
    print(
        f"{arguments.edge} x {arguments.edge} px, noise {arguments.noise:g}, {arguments.rounds} rounds in turns"
    )
    for name, times in seconds.items():
        print(f"  {name:34} {statistics.median(times):7.2f} s ({min(times):.2f} to {max(times):.2f})")
    for name in ("script of rasterio and geopandas", "gdal_polygonize.py"):
        if name in seconds:
            ratios = [other / ours for other, ours in zip(seconds[name], seconds["vectorize"], strict=True)]
            print(
                f"  {name} / vectorize: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            )


if __name__ == "__main__":
    main()
