"""Training beside a plain loop: what a step costs, and how long it is from the start of the command to its first step.

    python tests/benchmarks/bench_train.py [--precision fp32 bf16] [--steps 20] [--rounds 3] [--threads 1]
    python tests/benchmarks/bench_train.py --config examples/recipes/kampala.yaml

Both train the network of a configuration, from the same first weights, on as many chips of the same size in a step,
turned, zoomed and in another light, in the same precision. Without ``--config`` that is the default network on a
made-up scene of 2048 x 2048 px with an alpha band and polygons as GeoJSON. They take turns, each time in a process of
its own; the first steps, which allocate, are not counted, and neither is anything after the last. The plain loop
(`tests/quality/plain_loop.py`, not for multilabel tasks) cuts its chips out of a scene that lies in memory. geoseg
reads them from files, and beyond the plain loop it averages the weights, clips gradients and tells how far it is.

The start is that of ``geoseg train`` in a terminal (not on Windows): until it says something, and until its bar shows
the first step. Processor seconds, of all threads but not of other processes that read (``--workers``), mean something
even where other programs run.
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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

QUALITY = Path(__file__).parents[1] / "quality"
CONFIG = """
data:
  task: binary
  images: image.tif
  labels: {files: buildings.geojson, unlabelled: 0}
  bands: [red, green, blue]
  classes: {1: {name: building, labels: [buildings]}}
  split: {method: blocks, val: 0.2}
train: {sampling: balanced, chip_size: 256, loss: bce + dice, augment: aerial}
"""
WARM_UP = 3
"""Steps that are not counted."""


def make_data(folder: Path, edge: int = 2048) -> Path:
    """Write a scene of noise, and a hundred brighter squares in it as polygons; return the configuration."""
    import rasterio
    from rasterio.transform import from_origin

    generator = np.random.default_rng(0)
    values = generator.integers(0, 100, (4, edge, edge), dtype=np.uint8)
    values[3] = 255
    features = []
    for col, row in generator.integers(0, edge - 40, (100, 2)).tolist():
        values[:3, row : row + 40, col : col + 40] += 50
        corners = [(0, 0), (40, 0), (40, 40), (0, 40), (0, 0)]
        ring = [[500_000 + (col + x) * 0.075, 4_000_000 - (row + y) * 0.075] for x, y in corners]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {}, "geometry": geometry})
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


class EnoughError(Exception):
    """Ends a training after the steps that are measured."""


@dataclass
class Moments:
    """When steps ended.

    Parameters
    ----------
    last : int
        Number of the step that is the last.
    device : str
        Where they are computed.
    """

    last: int
    device: str
    ends: list[tuple[float, float]] = field(default_factory=list)

    def end(self) -> None:
        """Note that a step is over."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        self.ends.append((time.perf_counter(), time.process_time()))
        if len(self.ends) == self.last:
            raise EnoughError

    def each(self) -> dict[str, float]:
        """Return seconds and processor seconds of a step."""
        (begun, before), (ended, after) = self.ends[WARM_UP - 1], self.ends[-1]
        steps = len(self.ends) - WARM_UP
        return {"seconds": (ended - begun) / steps, "cpu": (after - before) / steps}


def by_geoseg(path: str, changes: list[str], moments: Moments) -> None:
    """Train as `geoseg.train` does."""
    from geoseg import train

    def told(done: int, _total: int, _what: str) -> None:
        if done > len(moments.ends):
            moments.end()

    with tempfile.TemporaryDirectory() as folder:
        train(path, output=Path(folder) / "run", changes=changes, progress=told)


def by_plain_loop(path: str, changes: list[str], moments: Moments) -> None:
    """Train in a plain loop."""
    import torch

    sys.path.insert(0, str(QUALITY))
    from pixels import pictures
    from plain_loop import train_plainly

    from geoseg.learning.config import Config
    from geoseg.learning.preparation import prepare_training

    run = prepare_training(Config.read(path, changes))
    torch.set_num_threads(run.config.train.threads or torch.get_num_threads())
    network, begun = run.model.network, []

    def begins(*_: object) -> None:
        # A step goes from one call of the network to the next.
        if begun:
            moments.end()
        begun.append(True)

    network.register_forward_pre_hook(begins)
    train_plainly(
        network, pictures(run.splits["train"]), steps=moments.last + 1, batch=run.batch_size,
        chip=run.config.chip_shape[0], rate=1e-3, seed=0, bf16=run.precision == "bf16", device=run.device,
    )  # fmt: skip


def run(who: str, path: str, last: int, changes: list[str]) -> None:
    """Train in this process, and print what a step took."""
    device = next(each.partition("=")[2] for each in changes if each.startswith("train.device="))
    moments = Moments(last, device)
    with suppress(EnoughError):
        (by_geoseg if who == "geoseg" else by_plain_loop)(path, changes, moments)
    print(json.dumps(moments.each()))


def in_process(who: str, config: Path, last: int, changes: list[str]) -> dict[str, float]:
    """Train in a process of its own."""
    command = [sys.executable, __file__, "--run", who, str(config), str(last), *changes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def start(config: Path, changes: list[str]) -> dict[str, float]:
    """Run the command until its bar shows the first step; return the seconds until then and until it says something."""
    import pty

    shown, terminal = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "geoseg_cli", "train", str(config), "-o", str(Path(folder) / "run")]
        command += [word for change in changes for word in ("--set", change)]
        begun, said, line = time.perf_counter(), b"", 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal)
        os.close(terminal)
        while b"epoch 1 of" not in said:
            try:
                said += os.read(shown, 4096)
            except OSError:  # the command is over
                sys.exit(said.decode())
            line = line or time.perf_counter() - begun
        step = time.perf_counter() - begun
        process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = -9  # wait4 took it
        os.close(shown)
    return {"line": line, "step": step, "cpu": used.ru_utime + used.ru_stime}


def said_of(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def compare(config: Path, changes: list[str], arguments: argparse.Namespace) -> None:
    """Print what the rounds of one precision gave."""
    ours, plain = [], []
    for turn in range(arguments.rounds):
        both = [("geoseg", ours), ("plain", plain)]
        for who, found in both if turn % 2 else reversed(both):
            found.append(in_process(who, config, WARM_UP + arguments.steps, changes))
    for name, values in (("geoseg", ours), ("plain loop", plain)):
        seconds, cpu = ([one[key] for one in values] for key in ("seconds", "cpu"))
        print(f"  {name:<11}{said_of(seconds)} s a step, {said_of(cpu)} processor seconds")
    for key, name in (("seconds", "steps per second"), ("cpu", "steps per processor second")):
        ratios = [other[key] / one[key] for one, other in zip(ours, plain, strict=True)]
        print(f"  geoseg beside the plain loop, {name}: {said_of(ratios)}")


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--config", type=Path, help="a training's configuration, in place of the made-up scene"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that read for geoseg")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help=f"that are counted, after {WARM_UP}")
    parser.add_argument("--rounds", type=int, default=3, help="of steps; 0 measures the start alone")
    parser.add_argument("--starts", type=int, default=3, help="of the command")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as scratch:
        config = arguments.config or make_data(Path(scratch))
        changes = [
            f"train.device={arguments.device}", f"train.threads={arguments.threads}", "train.epochs=1",
            f"train.workers={arguments.workers}", f"train.batch_size={arguments.batch}",
            f"train.chips_per_epoch={(WARM_UP + arguments.steps) * arguments.batch}",
        ]  # fmt: skip
        starts = [start(config, changes) for _ in range(arguments.starts)]
        if starts:
            line, step, cpu = ([one[key] for one in starts] for key in ("line", "step", "cpu"))
            print(f"start to first line {said_of(line)} s, to first step {said_of(step, 1)} s; "
                  f"{said_of(cpu, 1)} processor seconds")  # fmt: skip
        for precision in arguments.precision if arguments.rounds else ():
            print(
                f"{precision}, {arguments.threads} thread(s), {arguments.steps} steps of {arguments.batch} chips"
            )
            compare(config, [*changes, f"train.precision={precision}"], arguments)


if __name__ == "__main__":
    main()
