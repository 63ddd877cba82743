"""Speed of `predict` against the bare model: the same tiles, batch, precision and threads, in turns.

Run: ``python tests/benchmarks/bench_predict.py [--size 4096] [--rounds 3] [--device auto]``

The scene is a tiled deflate GeoTIFF of three uint8 bands made from smoothed noise, the model an untrained
U-Net with a ResNet34 encoder and 7 classes. "engine" is everything from opening the file to stored, verified
bands (without imports and without loading the model); "bare" is ``model(x)`` on as many batches of tiles that
lie ready on the device. A ratio of 1 would mean that reading, stitching and writing cost nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from scipy.ndimage import zoom

from geoseg.engine.network import Network
from geoseg.engine.plan import Plan
from geoseg.grid.legend import Legend
from geoseg.inference.bandstore import BandStore
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import prepare
from geoseg.inference.run import _fill, build_engine, choose_settings
from geoseg.models.model import Model
from geoseg.storage.journal import Journal


def make_scene(path: Path, size: int) -> None:
    generator = np.random.default_rng(0)
    profile = {
        "driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "crs": "EPSG:32633",
        "transform": from_origin(5e5, 5e6, 10, 10), "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for band in (1, 2, 3):
            coarse = generator.random((size // 32, size // 32))
            noise = zoom(coarse, 32, order=1)[:size, :size] * 200 + generator.random((size, size)) * 20
            dataset.write(noise.astype(np.uint8), band)


def engine_seconds(scene: Path, model: Model, options: PredictOptions, folder: Path) -> float:
    started = time.perf_counter()
    job = prepare(scene, model, options)
    settings = choose_settings(job)
    plan = Plan.of(job.grid.shape, job.tiling, settings.batch_size)
    folder.mkdir()
    journal = Journal(folder, {})
    _fill(build_engine(job, model, settings, plan), BandStore(folder, plan, journal), journal, None)
    return time.perf_counter() - started


def bare_seconds(scene: Path, model: Model, options: PredictOptions) -> tuple[float, int]:
    job = prepare(scene, model, options)
    settings = choose_settings(job)
    plan = Plan.of(job.grid.shape, job.tiling, settings.batch_size)
    columns = len(job.tiling.starts(job.grid.width))
    batches = sum(-(-len(band.tile_rows) * columns // settings.batch_size) for band in plan.bands)
    network = Network(model.network, job.match.gain, job.match.bias, settings)
    size, device = job.tiling.size, network.device
    chips = [torch.randint(0, 255, (3, size, size), dtype=torch.uint8, device=device)] * settings.batch_size
    inputs = network.normalised(chips, [torch.ones(size, size, dtype=torch.bool, device=device)] * len(chips))
    with torch.inference_mode():
        started = time.perf_counter()
        for _ in range(batches):
            network.logits(inputs)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - started, settings.batch_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int)
    arguments = parser.parse_args()
    options = PredictOptions(
        device=arguments.device, batch_size=arguments.batch_size, tile_size=512, overlap=64
    )
    legend = Legend.parse(",".join("abcdefg"))
    model = Model.new(architecture="Unet", encoder="resnet34", bands=["red", "green", "blue"], legend=legend)
    with tempfile.TemporaryDirectory() as scratch:
        scene = Path(scratch) / "scene.tif"
        make_scene(scene, arguments.size)
        bare_seconds(scene, model, options)
        ours, bare = [], []
        for i in range(arguments.rounds):
            seconds, batch = bare_seconds(scene, model, options)
            bare.append(seconds)
            ours.append(engine_seconds(scene, model, options, Path(scratch) / f"run{i}"))
    ratios = [b / o for b, o in zip(bare, ours, strict=True)]
    pixels = arguments.size**2 / 1e6
    job_settings = (
        f"{arguments.size}² px, tile 512, overlap 64, batch {batch}, torch threads {torch.get_num_threads()}"
    )
    print(job_settings)
    for name, values in (("bare model", bare), ("engine", ours)):
        print(
            f"{name:<12} median {statistics.median(values):7.2f} s ({min(values):.2f} to {max(values):.2f}), "
            f"{pixels / statistics.median(values):6.2f} million scene px/s"
        )
    print(f"bare / engine: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
