"""Law 8: peak memory of `geoseg predict` by width and height of the scene, beside the formula that bounds it.

Run: ``python tests/benchmarks/bench_memory.py [--widths 4096 16384] [--heights 4096 16384]``

Each scene in a process of its own. What imports, network and a batch need is told by a scene of one batch, and
taken off; the rest is the scene's, and should not grow with its height.
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

from geoseg.engine.plan import Plan
from geoseg.grid.legend import Legend
from geoseg.grid.tiling import Tiling
from geoseg.models.model import Model

TILE, OVERLAP, CLASSES, BANDS, BLOCK = 512, 64, 7, 3, 512


def make_scene(path: Path, width: int, height: int) -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 255, (BANDS, BLOCK, width), dtype=np.uint8)
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": BANDS, "dtype": "uint8", "crs": "EPSG:32633",
        "transform": from_origin(5e5, 5e6, 10, 10), "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK,
        "compress": "deflate", "zlevel": 1, "bigtiff": "yes",
    }  # fmt: skip
    with rasterio.Env(GDAL_CACHEMAX=64_000_000), rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, height, BLOCK):
            dataset.write(
                np.roll(rows, row // BLOCK, axis=2), window=Window(0, row, width, min(BLOCK, height - row))
            )


def bound(width: int, height: int, arguments: argparse.Namespace) -> float:
    """MB by the formula of `geoseg.engine.engine.Engine`, without the batch, and GDAL's cache of blocks."""
    tiling = Tiling(size=TILE, overlap=OVERLAP)
    plan = Plan.of((height, width), tiling, arguments.batch_size)
    rows = max(strip.read_stop - strip.start for strip in plan.strips)
    columns, ahead = plan.padded[1], BLOCK
    cache = min(width * height * (BANDS + 1), 64 * 2**20)
    return (columns * ((4 * CLASSES + 8) * rows + 3 * (rows + ahead) * (BANDS + 2)) + cache) / 1e6


def peak(model: Path, scene: Path, arguments: argparse.Namespace) -> float:
    """Largest resident set of a run of the command line, MB."""
    output = scene.with_name(f"{scene.stem}-classes.tif")
    command = [sys.executable, "-m", "geoseg_cli", "predict", scene, "-m", model, "-o", output]
    subprocess.run([*command, "--batch-size", str(arguments.batch_size), "--overwrite", "-q"], check=True)
    report = json.loads(Path(f"{output}.run.json").read_text())
    return float(report["peak_memory_mb"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--heights", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model, scene = Path(scratch) / "m.safetensors", Path(scratch) / "scene.tif"
        Model.new(
            architecture="Unet",
            encoder="tu-mobilenetv3_small_050",
            bands=["red", "green", "blue"],
            classes=Legend.parse(",".join("abcdefg"[:CLASSES])),
            tile_size=TILE,
            overlap=OVERLAP,
            decoder_options={"decoder_channels": [16, 16, 8, 8, 8]},
        ).save(model)
        # As many tiles as a batch: a smaller scene would be run in a smaller one.
        down = max(n for n in range(1, int(arguments.batch_size**0.5) + 1) if arguments.batch_size % n == 0)
        base_shape = arguments.batch_size // down * (TILE - OVERLAP), down * (TILE - OVERLAP)
        make_scene(scene, *base_shape)
        # It converts the network, for which torch is loaded; the others find it kept.
        peak(model, scene, arguments)
        base, own = peak(model, scene, arguments), bound(*base_shape, arguments)
        print(f"one batch: peak {base:.0f} MB, what the imports, the network and a batch need", flush=True)
        # Strips of each width grow in height, and one is wider at the smallest height.
        shapes = [(arguments.widths[0], height) for height in arguments.heights]
        shapes += [(width, arguments.heights[0]) for width in arguments.widths[1:]]
        for width, height in shapes:
            make_scene(scene, width, height)
            more, most = peak(model, scene, arguments) - base, bound(width, height, arguments) - own
            print(
                f"{width} x {height} px: peak {base + more:.0f} MB, {more:.0f} MB more than of one batch; the "
                f"formula allows {most:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
