"""Law 8: peak memory of `geoseg predict` on scenes of one width and two heights, each in a process of its own.

Run: ``python tests/benchmarks/bench_memory.py [--width 4096] [--heights 4096 65536]``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from geoseg.grid.legend import Legend
from geoseg.models.model import Model


def make_scene(path: Path, width: int, height: int) -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 255, (3, 512, width), dtype=np.uint8)
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "crs": "EPSG:32633",
        "transform": from_origin(5e5, 5e6, 10, 10), "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "zlevel": 1, "bigtiff": "yes",
    }  # fmt: skip
    with rasterio.Env(GDAL_CACHEMAX=64_000_000), rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, height, 512):
            dataset.write(np.roll(rows, row // 512, axis=2), window=Window(0, row, width, 512))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--heights", type=int, nargs="+", default=[4096, 65536])
    arguments = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "m.safetensors"
        Model.new(
            architecture="Unet",
            encoder="tu-mobilenetv3_small_050",
            bands=["red", "green", "blue"],
            legend=Legend.parse("a,b,c,d,e,f,g"),
            tile_size=512,
            overlap=64,
            decoder_options={"decoder_channels": [16, 16, 8, 8, 8]},
        ).save(model)
        for height in arguments.heights:
            scene, output = Path(scratch) / f"{height}.tif", Path(scratch) / f"{height}-classes.tif"
            make_scene(scene, arguments.width, height)
            command = [
                sys.executable,
                "-m",
                "geoseg_cli",
                "predict",
                str(scene),
                "-m",
                str(model),
                "-o",
                str(output),
            ]
            subprocess.run([*command, "-q"], check=True)
            report = json.loads(Path(f"{output}.run.json").read_text())
            peaks.append(report["peak_memory_mb"])
            print(
                f"{arguments.width} x {height} px: peak {peaks[-1]:.0f} MB, "
                f"{report['megapixels_per_second']:.2f} million px/s, {report['seconds']}",
                flush=True,
            )
            scene.unlink()
    print(f"largest / smallest peak: {max(peaks) / min(peaks):.3f}")


if __name__ == "__main__":
    main()
