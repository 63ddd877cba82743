"""Training against a plain loop: steps per second, and seconds from the start of the process to the first step.

    python tests/benchmarks/bench_train.py [--precision fp32 bf16] [--steps 24] [--rounds 3] [--threads 1]
    python tests/benchmarks/bench_train.py --config examples/recipes/kampala.yaml --rounds 1

Both train the same network with the same first weights (what the configuration says; by default a U-Net with the
packaged encoder on a made-up scene of 2048 x 2048 px with polygons), on chips and batches of the same size, turned,
zoomed and in another light, in processes of their own, in turns; the plain loop is `tests/quality/plain_loop.py`, and
holds the whole scene in memory. geoseg reads files, samples by class, averages the weights, clips gradients, shows
progress and can be killed; validation is no part of the figures. CPU seconds are given too: they mean something beside
other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

QUALITY = Path(__file__).parents[1] / "quality"
CONFIG = """
data:
  task: binary
  images: image.tif
  labels: {files: buildings.geojson, unlabelled: 0}
  bands: [red, green, blue]
  classes: {1: {name: building, labels: [buildings]}}
  split: {method: blocks, size: 256, val: 0.1}
train: {epochs: 1, sampling: balanced, chip_size: 256, batch_size: 8, loss: bce + dice, augment: aerial}
"""
_WARM_UP = 3
"""Steps that are not counted."""


def make_data(folder: Path, edge: int = 2048) -> Path:
    """Write a scene of noise, its alpha, and a hundred brighter squares as polygons; return the configuration."""
    import rasterio
    from rasterio.transform import from_origin

    generator = np.random.default_rng(0)
    values = generator.integers(0, 200, (4, edge, edge), dtype=np.uint8)
    values[3] = 255
    features = []
    for col, row in generator.integers(0, edge - 40, (100, 2)).tolist():
        values[:3, row : row + 40, col : col + 40] += 50
        corners = [(0, 0), (40, 0), (40, 40), (0, 40), (0, 0)]
        ring = [[500_000 + (col + x) * 0.075, 4_000_000 - (row + y) * 0.075] for x, y in corners]
        features.append(
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    profile = {
        "driver": "GTiff", "height": edge, "width": edge, "count": 4, "dtype": "uint8", "crs": "EPSG:32636",
        "transform": from_origin(500_000, 4_000_000, 0.075, 0.075), "compress": "deflate", "tiled": True,
        "photometric": "RGB", "alpha": "yes",
    }  # fmt: skip
    with rasterio.open(folder / "image.tif", "w", **profile) as dataset:
        dataset.write(values)
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32636"}}
    collection = {"type": "FeatureCollection", "name": "buildings", "crs": crs, "features": features}
    (folder / "buildings.geojson").write_text(json.dumps(collection))
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    return config


def by_geoseg(config: Any, started: float) -> dict[str, float]:
    """Train; seconds from the start of the process to its first step, and for each of the steps after some."""
    from geoseg.learning.train import train

    ends: list[tuple[float, float]] = []

    def told(done: int, total: int, what: str) -> None:
        if done > len(ends):
            ends.append((time.time(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        train(config, output=Path(folder) / "run", progress=told)
    (first, _), (begun, cpu), (ended, used) = ends[0], ends[_WARM_UP - 1], ends[-1]
    steps = len(ends) - _WARM_UP
    return {"start": first - started, "step": (ended - begun) / steps, "cpu": (used - cpu) / steps}


def by_plain_loop(config: Any) -> dict[str, float]:
    """Train a plain loop; seconds for each of the steps after some."""
    sys.path.insert(0, str(QUALITY))
    from pixels import pictures
    from plain_loop import train_plainly

    from geoseg.learning.preparation import prepare_training

    run = prepare_training(config)
    images, settings = pictures(run.splits["train"]), run.config.train
    moments = []
    for steps in (_WARM_UP, settings.chips_per_epoch // run.batch_size):
        moments.append((time.time(), time.process_time()))
        train_plainly(
            run.model.network, images, steps=steps, batch=run.batch_size, chip=settings.chip_size, rate=1e-3,
            seed=0, bf16=run.precision == "bf16",
        )  # fmt: skip
    moments.append((time.time(), time.process_time()))
    short, long = (np.subtract(after, before) for before, after in pairwise(moments))
    step, cpu = (long - short) / (settings.chips_per_epoch // run.batch_size - _WARM_UP)
    return {"step": float(step), "cpu": float(cpu)}


def in_process(who: str, config: Path, changes: list[str], threads: int) -> dict[str, float]:
    """Train in a process of its own."""
    command = [sys.executable, __file__, "--run", who, str(config), repr(time.time()), *changes]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(who: str, path: str, started: str, changes: list[str]) -> None:
    from geoseg.learning.config import Config

    config = Config.read(path, changes)
    found = by_geoseg(config, float(started)) if who == "geoseg" else by_plain_loop(config)
    print(json.dumps(found))


def said(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, help="a training's configuration, in place of made-up data")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.steps <= _WARM_UP:
        parser.error(f"--steps is {arguments.steps}, expected more than {_WARM_UP}")
    with tempfile.TemporaryDirectory() as scratch:
        config = arguments.config or make_data(Path(scratch))
        for precision in arguments.precision:
            changes = [
                f"train.precision={precision}", f"train.threads={arguments.threads}", "train.epochs=1",
                f"train.batch_size={arguments.batch}", f"train.chips_per_epoch={arguments.steps * arguments.batch}",
                "train.device=cpu",
            ]  # fmt: skip
            compare(precision, config, changes, arguments)


def compare(precision: str, config: Path, changes: list[str], arguments: argparse.Namespace) -> None:
    """Print what the rounds of one precision gave."""
    ours, plain = [], []
    for _ in range(arguments.rounds):
        ours.append(in_process("geoseg", config, changes, arguments.threads))
        plain.append(in_process("plain", config, changes, arguments.threads))
    print(
        f"== {precision}, {arguments.threads} thread(s), {arguments.steps} steps of {arguments.batch} chips"
    )
    print(f"start to first step: {said([one['start'] for one in ours], 1)} s")
    for name, values in (("geoseg", ours), ("plain loop", plain)):
        steps, cpu = ([one[key] for one in values] for key in ("step", "cpu"))
        print(f"{name:<11}{said(steps)} s a step, {said(cpu)} CPU s")
    for key, name in (("step", "steps per second"), ("cpu", "steps per CPU second")):
        ratios = [other[key] / one[key] for one, other in zip(ours, plain, strict=True)]
        print(f"geoseg against the plain loop, {name}: {said(ratios)}")


if __name__ == "__main__":
    main()
