"""Time and memory of ``geoseg evaluate`` on a large map.

    python tests/benchmarks/bench_evaluate.py [--edge 20000]

Map and reference are made up, of five classes in patches, and differ in patches; each is a tiled GeoTIFF.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

import geoseg
from geoseg.storage.process_memory import peak_memory_mb

_CLASSES = 5


def write(path: Path, edge: int, seed: int) -> None:
    """Write a class map of an edge, in patches of about 30 px."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    smooth = [
        ndimage.gaussian_filter(random.standard_normal((1000, 1000)), 6, mode="wrap") for _ in range(_CLASSES)
    ]
    unit = (np.argmax(smooth, axis=0) + 1).astype(np.uint8)
    profile = {
        "driver": "GTiff", "height": edge, "width": edge, "count": 1, "dtype": "uint8", "nodata": 255,
        "crs": "EPSG:32652", "transform": rasterio.transform.from_origin(3e5, 4e6, 10, 10), "tiled": True,
        "blockxsize": 512, "blockysize": 512, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        for row in range(0, edge, 512):
            height = min(512, edge - row)
            rows = np.take(unit, np.arange(row, row + height), axis=0, mode="wrap")
            codes = np.tile(rows, (1, -(-edge // 1000)))[:, :edge]
            noisy = random.random(codes.shape) < 0.002
            file.write(
                np.where(noisy, seed + 1, codes).astype(np.uint8), 1, window=Window(0, row, edge, height)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edge", type=int, default=20_000)
    edge = parser.parse_args().edge
    legend = geoseg.Legend.parse(",".join(f"class {number}" for number in range(1, _CLASSES + 1)))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("map.tif", "reference.tif")]
        for seed, path in enumerate(paths):
            write(path, edge, seed)
        before, started, used = peak_memory_mb(), time.perf_counter(), time.process_time()
        found = geoseg.evaluate(paths[0], reference=paths[1], legend=legend, progress=False)
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
    objects = int(found.objects.mapped.sum() + found.objects.reference.sum())
    print(
        f"{edge:,} x {edge:,} px, {objects:,} objects: {seconds:.0f} s, {cpu:.0f} s of CPU, "
        f"{edge**2 / cpu / 1e6:.1f} million px a CPU second; peak memory {peak_memory_mb():,.0f} MB "
        f"({before:,.0f} before)"
    )


if __name__ == "__main__":
    main()
