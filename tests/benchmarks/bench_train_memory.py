"""Training on a scene that memory could not hold: under a limit, and what it peaked at.

A made-up scene of 24,576 x 24,576 px, 3 bands (1.8 GB as it is read, its labels another 0.6 GB), is trained on
for a few steps in a process that may have 2 GB of data beyond what importing takes (RLIMIT_DATA).

    python tests/benchmarks/bench_train_memory.py [--edge 24576] [--limit-mb 2000]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

CONFIG = """
data:
  images: image.tif
  labels: labels.tif
  bands: [red, green, blue]
  classes: {{1: left, 2: right}}
  split: {{method: blocks, size: 2048, val: 0.02}}
model: {{encoder: resnet18, tile_size: 256}}
train: {{epochs: 1, chips_per_epoch: 16, chip_size: 256, batch_size: 4, sampling: {sampling}}}
"""
CHILD = """
import re, resource, sys
from pathlib import Path
from geoseg.learning.train import train

def megabytes(key):
    return int(re.search(key + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

limit = int((megabytes("VmData") + float(sys.argv[3])) * 2**20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
before = megabytes("VmHWM")
train(sys.argv[1], output=sys.argv[2])
print(f"peak {megabytes('VmHWM'):.0f} MB, of which imports {before:.0f} MB")
"""


def write(path: Path, edge: int, bands: int) -> None:
    """Write noise (or, with one band, classes that change in the middle) strip by strip."""
    profile = {
        "driver": "GTiff", "count": bands, "height": edge, "width": edge, "dtype": "uint8", "crs": "EPSG:32633",
        "transform": from_origin(0, 9e6, 10, 10), "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "lzw", "bigtiff": "if_safer",
    }  # fmt: skip
    random = np.random.default_rng(0)
    noise = random.integers(0, 16, (bands, 512, edge), dtype=np.uint8)
    classes = np.where(np.arange(edge) < edge // 2, 1, 2).astype(np.uint8)
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, edge, 512):
            strip = noise + 40 * classes if bands > 1 else np.broadcast_to(classes, (1, 512, edge))
            dataset.write(strip.astype(np.uint8), window=Window(0, row, edge, 512))


def main() -> None:
    """Write the scene, train under the limit, print the peak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--edge", type=int, default=24_576, help="px, a multiple of 512")
    parser.add_argument("--limit-mb", type=float, default=2000, help="of data, beyond the imports")
    parser.add_argument("--sampling", choices=("random", "balanced", "grid"), default="balanced")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "image.tif", chosen.edge, 3)
        write(folder / "labels.tif", chosen.edge, 1)
        (folder / "config.yaml").write_text(CONFIG.format(sampling=chosen.sampling))
        print(
            f"scene of {chosen.edge} x {chosen.edge} px: {3 * chosen.edge**2 / 2**20:.0f} MB of pixels, "
            f"{chosen.edge**2 / 2**20:.0f} MB of labels; limit {chosen.limit_mb:.0f} MB"
        )
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder / "config.yaml"), str(folder / "run"), str(chosen.limit_mb)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        print(done.stdout.strip() or re.sub(r"(?s).*\n(?=\S)", "", done.stderr.strip()))
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
