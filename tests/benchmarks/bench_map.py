"""A map of many scenes: two workers against one, the scheduler's part of a task, and ten thousand scenes.

Run it as a script::

    python tests/benchmarks/bench_map.py [--only workers,tasks,scenes] [--edge 2048] [--tasks 5000] [--side 100]

`workers`: a dozen scenes of `--edge` px side by side, by one process, one worker and two, each with one thread; the
efficiency of two is half of the speed that they have over one. `tasks`: cells that do nothing, through a cluster of one
worker; client and scheduler are one process, whose time is measured. `scenes`: `--side` x `--side` scenes of 64 px and
a model that looks at single pixels: planned from files that are opened, planned from kept headers, and run through;
then every pixel is compared with the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from geoseg.grid.legend import Legend
from geoseg.models.model import Model

sys.path.insert(0, str(Path(__file__).parents[2]))  # for the packages of the tests
from tests.mapping.truths import reading_model, truth, write_scene

TINY = 64
CHILD = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import geoseg
from geoseg.mapping.listing import read_list
from geoseg.mapping.plan import Wishes
from geoseg.mapping.planning import plan_map
from geoseg.inference.options import PredictOptions
from geoseg.storage.process_memory import peak_memory_mb
from tests.mapping.truths import reading_model

folder = Path(sys.argv[2])
scenes = sorted((folder / "scenes").glob("*.tif"))
model = reading_model(tile_size=64, overlap=16)
found = {}
for name in ("planned", "planned again"):
    begin = time.perf_counter()
    listing = read_list(scenes, model.card, PredictOptions(), folder / "headers.json")
    plan = plan_map(listing.scenes, Wishes(), {})
    found[name] = time.perf_counter() - begin
    listing.headers.keep(folder / "headers.json")
begin = time.perf_counter()
geoseg.map(scenes, model, output=folder / "map.gpkg", precision="fp32", progress=False)
found["run"] = time.perf_counter() - begin
found["cells"], found["peak MB"] = len(plan.cells), peak_memory_mb()
print(json.dumps(found))
"""


def run(*arguments: str | Path) -> float:
    """Run the command line with one thread; return the seconds."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "geoseg_cli", *map(str, arguments)],
        check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - begin


def workers(folder: Path, edge: int) -> None:
    """Time a dozen scenes by one process, one worker and two."""
    model, scenes = folder / "m.safetensors", folder / "dozen"
    scenes.mkdir()
    Model.new(
        architecture="Unet", encoder="resnet18", bands=["red", "green", "blue"],
        classes=Legend.parse("water,forest,town"), tile_size=256,
    ).save(model)  # fmt: skip
    generator = np.random.default_rng(0)
    coarse = generator.integers(1, 255, (3, edge // 16, edge // 16)).repeat(16, axis=1).repeat(16, axis=2)
    pixels = np.clip(coarse + generator.integers(-9, 9, (3, edge, edge)), 1, 255).astype(np.uint8)
    for number in range(12):
        corner = Affine(10, 0, 5e5 + number % 4 * edge * 10, 0, -10, 5e6 - number // 4 * edge * 10)
        with rasterio.open(
            scenes / f"s{number:02d}.tif", "w", driver="GTiff", count=3, height=edge, width=edge, dtype="uint8",
            crs="EPSG:32633", transform=corner, tiled=True, compress="deflate",
        ) as file:  # fmt: skip
            file.write(pixels)
    seconds = {}
    common = [*sorted(scenes.glob("*.tif")), "-m", model, "--precision", "fp32", "--cell", f"{edge}px"]
    run(
        "map", common[0], "-m", model, "--precision", "fp32", "-o", folder / "first" / "map.gpkg"
    )  # is not counted
    for name, more in {
        "one process": [],
        "1 worker": ["--workers", "1"],
        "2 workers": ["--workers", "2"],
    }.items():
        output = folder / name / "map.gpkg"
        whole = run("map", *common, "-o", output, *more)
        said: dict[str, Any] = json.loads(output.with_name("map.gpkg.run.json").read_text())
        seconds[name] = said["seconds"]["cells"]
        speed = said["valid_pixels"] / 1e6 / seconds[name]
        size = sum(path.stat().st_size for path in output.parent.rglob("*")) / said["valid_pixels"]
        print(
            f"{name}: cells {seconds[name]:.1f} s ({speed:.2f} million px/s), the whole command {whole:.1f} s, "
            f"{size:.2f} bytes/px written, {said['peak_memory_mb']:.0f} MB"
        )
    print(f"efficiency of two workers: {seconds['1 worker'] / seconds['2 workers'] / 2:.2f}")


def nothing(*_: object) -> None:
    """Return at once: a cell without work."""


def tasks(folder: Path, count: int) -> None:
    """Time cells that do nothing."""
    from unittest.mock import patch

    from distributed import Client, LocalCluster

    from geoseg.inference.options import PredictOptions
    from geoseg.mapping import spread
    from geoseg.mapping.listing import read_list
    from geoseg.mapping.plan import Wishes
    from geoseg.mapping.planning import plan_map
    from geoseg.mapping.sent_work import SentWork
    from geoseg.mapping.task import CellTask

    scene = write_scene(folder / "one.tif", truth((TINY, TINY)))
    listing = read_list([scene], reading_model().card, PredictOptions())
    (cell,) = plan_map(listing.scenes, Wishes(edge=1 << 15), {}).cells
    every = [
        CellTask(cell=cell, scenes=dict(enumerate(listing.scenes)), name=f"c{number}", folder=folder)
        for number in range(count)
    ]
    sent = SentWork(path=folder / "work", sha256="", versions=())
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        patch.object(spread, "run_sent", nothing),
    ):
        flow = spread._Flow(client=client, sent=sent, told=lambda *_: None, gpu=False)
        flow.run(every[:100])
        begin, processor = time.perf_counter(), time.process_time()
        flow.run(every)
        took, used = time.perf_counter() - begin, time.process_time() - processor
    print(
        f"{count:,} tasks without work, two in flight: {1000 * used / count:.1f} ms each of the processor for client "
        f"and scheduler, {1000 * took / count:.1f} ms until the next one"
    )


def scenes(folder: Path, side: int) -> None:
    """Plan and run through a great many tiny scenes."""
    codes = truth((side * TINY, side * TINY), step=40)
    (folder / "scenes").mkdir()
    for row in range(side):
        for col in range(side):
            part = codes[row * TINY : (row + 1) * TINY, col * TINY : (col + 1) * TINY]
            write_scene(folder / "scenes" / f"r{row:03d}c{col:03d}.tif", part, (row * TINY, col * TINY))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, root, str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    with rasterio.open(folder / "map.vrt") as mosaic:
        wrong = int((mosaic.read(1) != codes + 1).sum())
    print(
        f"{side * side:,} scenes in {found['cells']} cells: planned in {found['planned']:.1f} s, from kept headers "
        f"in {found['planned again']:.1f} s; run through in {found['run']:.1f} s, {found['peak MB']:.0f} MB at "
        f"most; {wrong} wrong pixels"
    )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="workers,tasks,scenes")
    parser.add_argument("--edge", type=int, default=2048)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--side", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            if name == "workers":
                workers(Path(folder), options.edge)
            elif name == "tasks":
                tasks(Path(folder), options.tasks)
            else:
                scenes(Path(folder), options.side)


if __name__ == "__main__":
    main()
