"""Training against the bare model: chips per second of `geoseg train`, and of forward and backward alone.

    python tests/benchmarks/bench_train.py [--device cuda] [--precision bf16] [--workers 8] [--batch 8] [--chip 256]

A made-up scene of 4096 x 4096 px, 3 bands of uint8 in deflated tiles, is trained on, with all symmetries of the
square and brightness as augmentation. Two runs that differ in nothing but the chips of their epoch are taken from
each other, so that start-up, validation and saving drop out. The bare model takes a batch that lies on the device:
forward, loss, backward, optimizer step, at the same precision. Both in turns; medians and spread. On a GPU its
utilisation while training is read from nvidia-smi.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
from rasterio.transform import from_origin
from torch.nn import functional

CLASSES = 7
CONFIG = """
data:
  images: image.tif
  labels: labels.tif
  bands: [red, green, blue]
  classes: {{0: a, 1: b, 2: c, 3: d, 4: e, 5: f, 6: g}}
  split: {{method: blocks, size: 256, val: 0.01}}
model: {{encoder: {encoder}, tile_size: 256}}
train:
  epochs: 1
  chips_per_epoch: {chips}
  chip_size: {chip}
  batch_size: {batch}
  augment: {{symmetries: all, brightness: 0.2}}
  device: {device}
  precision: {precision}
  workers: {workers}
  start_method: forkserver
  save_minutes: 60
"""


def make_scene(folder: Path, edge: int = 4096) -> None:
    generator = np.random.default_rng(0)
    codes = np.kron(generator.integers(0, CLASSES, (edge // 64, edge // 64)), np.ones((64, 64), int))
    profile = {
        "driver": "GTiff", "height": edge, "width": edge, "dtype": "uint8", "crs": "EPSG:32633", "tiled": True,
        "transform": from_origin(5e5, 5e6, 10, 10), "compress": "deflate", "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    with rasterio.open(folder / "image.tif", "w", count=3, **profile) as dataset:
        for band in range(3):
            noise = generator.integers(0, 60, (edge, edge))
            dataset.write((codes * (20 + 5 * band) + noise).astype(np.uint8), band + 1)
    with rasterio.open(folder / "labels.tif", "w", count=1, **profile) as dataset:
        dataset.write(codes.astype(np.uint8), 1)


def train_seconds(folder: Path, steps: int, arguments: argparse.Namespace) -> float:
    """Train for a number of steps in a process of its own; seconds of its epoch."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(**{**vars(arguments), "chips": steps * arguments.batch}))
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "cli", "-q", "train", str(config), "-o", output, "--overwrite"]
        subprocess.run(command, check=True)
        line = (Path(output) / "metrics.jsonl").read_text().splitlines()[0]
    return float(json.loads(line)["seconds"])


def bare_rate(arguments: argparse.Namespace, steps: int) -> float:
    """Chips per second of the model alone."""
    device = torch.device(arguments.device)
    network = smp.Unet(arguments.encoder, encoder_weights=None, in_channels=3, classes=CLASSES)
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    edge = arguments.chip
    image = torch.randn(arguments.batch, 3, edge, edge, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, CLASSES, (arguments.batch, edge, edge), device=device)
    cast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(arguments.precision)

    def step() -> None:
        with torch.autocast(device.type, dtype=cast) if cast is not None else nullcontext():
            logits = network(image)
        loss = functional.cross_entropy(logits.float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return steps * arguments.batch / (time.perf_counter() - started)


class Utilisation(threading.Thread):
    """Reads how busy the GPU is, twice a second, until it is told to end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.values: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self.over.wait(0.5):
            found = subprocess.run(query, check=True, capture_output=True, text=True).stdout
            self.values.append(float(found.split()[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--chip", type=int, default=256)
    parser.add_argument("--steps", type=int, help="of the longer run; 400 on a GPU, 12 on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    steps = arguments.steps or (12 if arguments.device == "cpu" else 400)
    short = max(2, steps // 6)
    ours, bare, ratios, busy = [], [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_scene(folder)
        for _ in range(arguments.rounds):
            first = train_seconds(folder, short, arguments)
            watch = Utilisation()
            if arguments.device == "cuda":
                watch.start()
            seconds = train_seconds(folder, steps, arguments) - first
            watch.over.set()
            if seconds < first / 2:
                sys.exit(f"{steps} steps take hardly longer than {short}: pass more --steps")
            ours.append((steps - short) * arguments.batch / seconds)
            bare.append(bare_rate(arguments, steps - short))
            ratios.append(ours[-1] / bare[-1])
            # The upper half: start-up and validation are no training.
            busy += sorted(watch.values)[len(watch.values) // 2 :]
    for name, values in (("geoseg train", ours), ("bare model", bare)):
        print(f"{name:<14}{statistics.median(values):8.1f} chips/s ({min(values):.1f} to {max(values):.1f})")
    print(
        f"share of the bare model: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    if busy:
        print(f"GPU busy: {statistics.median(busy):.0f} % of the time (median of the busier half of the run)")


if __name__ == "__main__":
    main()
