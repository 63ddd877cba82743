"""What the benchmarks of prediction share: scenes, models, and the two rates that are compared."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import zoom

from geoseg.engine.network import DTYPES
from geoseg.engine.openvino_network import OpenVinoNetwork
from geoseg.engine.plan import tile_starts
from geoseg.engine.settings import Settings, calls
from geoseg.grid.legend import Legend
from geoseg.inference.machine import build_engine, compile_for, network_for, settings_of
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import Job, prepare_job
from geoseg.inference.quantize import quantize
from geoseg.inference.run import fill
from geoseg.inference.strip_store import StripStore
from geoseg.models.model import Model
from geoseg.raster.cache import limited_cache
from geoseg.storage.journal import Journal
from geoseg.storage.run_record import profile_line

RGB = ("red", "green", "blue")
TEN = tuple(f"b{number}" for number in range(1, 11))
KINDS = {"rgb": (RGB, "uint8"), "ten": (TEN, "uint16")}
"""Bands and dtype of the two scenes: 3 of uint8, 10 of uint16."""


def make_scene(path: Path, size: int, kind: str) -> None:
    """Write a square tiled deflate GeoTIFF of smoothed noise, 512 rows at a time."""
    bands, dtype = KINDS[kind]
    generator = np.random.default_rng(0)
    top = 250 if dtype == "uint8" else 10_000
    profile = {
        "driver": "GTiff", "height": size, "width": size, "count": len(bands), "dtype": dtype, "crs": "EPSG:32633",
        "transform": from_origin(5e5, 5e6, 10, 10), "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.descriptions = bands
        for row in range(0, size, 512):
            rows = min(512, size - row)
            coarse = generator.random((len(bands), 16, -(-size // 32)))
            smooth = zoom(coarse, (1, 32, 32), order=1)[:, :rows, :size] * top * 0.9
            noise = generator.random((1, rows, size)) * top * 0.1
            dataset.write((smooth + noise).astype(dtype), window=Window(0, row, size, rows))


def make_model(kind: str, tile: int, encoder: str = "resnet34") -> Model:
    """An untrained U-Net of 7 classes."""
    bands, dtype = KINDS[kind]
    light = {"decoder_channels": [64, 48, 32, 24, 16]} if "lite" in encoder else {}
    return Model.new(
        architecture="Unet", encoder=encoder, decoder_options=light,
        bands=bands, dtype=dtype, classes=Legend.parse("a,b,c,d,e,f,g"),
        value_range=None if dtype == "uint8" else (0, 10_000), tile_size=tile,
    )  # fmt: skip


def case(kind: str, arguments: argparse.Namespace, scratch: Path) -> tuple[Path, Model, dict[str, Any]]:
    """Make the scene and the model of a kind, with the options of the command line."""
    scene = scratch / f"{kind}.tif"
    make_scene(scene, arguments.size, kind)
    cut = {"tile_size": arguments.tile, "overlap": arguments.tile // 8}
    model = make_model(kind, arguments.tile, arguments.encoder)
    if arguments.precision == "int8":
        model = quantize(model, [scene], tiles=4, **cut)
    chosen = {name: getattr(arguments, name) for name in ("device", "precision", "batch_size")}
    return scene, model, {**chosen, **cut}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A job whose settings are chosen."""

    job: Job
    model: Model
    settings: Settings

    @classmethod
    def of(cls, scene: Path, model: Model, options: dict[str, Any]) -> Subject:
        job = prepare_job(scene, model, PredictOptions(**options))
        return cls(job=job, model=model, settings=settings_of(job, model))

    @property
    def tiles(self) -> int:
        """Tiles that the network computes, those included that only fill a batch."""
        rows, cols = (len(each) for each in tile_starts(self.job.grid.shape, self.job.tiling))
        size = self.settings.batch_size
        return rows * cols if self.settings.runtime == "openvino" else size * calls(rows, cols, size)

    @property
    def megapixels(self) -> float:
        return self.job.grid.height * self.job.grid.width / 1e6

    def engine(self, folder: Path, *, profile: bool = False) -> Pass:
        """Compute the scene from the opened file to stored, verified strips."""
        job = replace(self.job, options=replace(self.job.options, profile=profile), settings=self.settings)
        folder.mkdir()
        journal, plan = Journal(folder, {}), job.plan
        engine = build_engine(job, self.model)
        compile_for(job, engine)
        with limited_cache(job.cache_megabytes):
            started = time.perf_counter()
            fill(engine, StripStore(folder, plan, journal), range(len(plan.strips)), journal, lambda _: None)
            seconds = time.perf_counter() - started
        return Pass(seconds=seconds, profile=engine.clock.profile(seconds))

    def bare(self) -> Alone:
        """``model(x)`` as it was built, channels last, at the precision of the job; where that is int8, in fp32."""
        device, dtype = torch.device(self.settings.device), DTYPES[self.settings.precision]
        module = copy.deepcopy(self.model.network).eval()
        module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        def model(batch: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32):
                logits: torch.Tensor = module(batch)
            return logits

        size = self.job.tiling.size
        inputs = torch.rand((self.settings.batch_size, len(self.job.card.bands), size, size), device=device)
        return Alone(model, inputs.contiguous(memory_format=torch.channels_last))

    def own(self) -> Alone | AloneInOpenVino:
        """The network that the engine makes of it: OpenVINO's, or folded, or compiled."""
        match, size = self.job.match, self.job.tiling.size
        network = network_for(self.model, self.settings, (size, size), (match.gain, match.bias))
        if isinstance(network, OpenVinoNetwork):
            return AloneInOpenVino(network)
        chips = [torch.zeros((len(match.gain), size, size), dtype=torch.uint8, device=network.device)]
        many = self.settings.batch_size
        return Alone(network.logits, network.normalised(chips * many, [None] * many))


@dataclass(frozen=True)
class Alone:
    """A network, and a batch (n, band, row, col) that lies ready on its device."""

    logits: Callable[[torch.Tensor], torch.Tensor]
    inputs: torch.Tensor

    def seconds(self, tiles: int) -> float:
        """Seconds of so many tiles, after a batch that does not count."""
        with torch.inference_mode():
            self.logits(self.inputs)
            wait(self.inputs.device)
            started = time.perf_counter()
            for _ in range(-(-tiles // len(self.inputs))):
                self.logits(self.inputs)
            wait(self.inputs.device)
        return time.perf_counter() - started


@dataclass(frozen=True)
class AloneInOpenVino:
    """A compiled graph whose inputs lie ready: as many tiles at a time as the engine has computed."""

    network: OpenVinoNetwork

    def seconds(self, tiles: int) -> float:
        """Seconds of so many tiles, after one for each request that does not count."""
        with self.network._compiled.requests() as requests:
            for request in requests:
                request.infer(
                    {0: np.random.default_rng(0).random(request.get_input_tensor(0).shape, np.float32)}
                )
            started, coming = time.perf_counter(), deque[Any]()
            for number in range(tiles):
                if len(coming) == len(requests):
                    coming.popleft().wait()
                request = requests[number % len(requests)]
                request.start_async()
                coming.append(request)
            for request in coming:
                request.wait()
        return time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Seconds of a whole scene, and where they went."""

    seconds: float
    profile: dict[str, float] | None


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, smallest and largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def rates(subject: Subject, rounds: int, folder: Path, *, torch_too: bool = True) -> None:
    """Bare model, the network as the engine runs it and the engine in turns, then where the engine's time goes."""
    alone: dict[str, Alone | AloneInOpenVino] = {"bare model": subject.bare()} if torch_too else {}
    alone["own network"] = subject.own()
    found: dict[str, list[float]] = {name: [] for name in (*alone, "engine")}
    subject.engine(folder.with_name(f"{folder.name}-first"))
    for i in range(rounds):
        for name, network in alone.items():
            found[name].append(network.seconds(subject.tiles))
        found["engine"].append(subject.engine(folder.with_name(f"{folder.name}{i}")).seconds)
    for name, values in found.items():
        print(f"{name:<11} {spread([subject.megapixels / seconds for seconds in values])} million scene px/s")
    for name in alone:
        ratios = [theirs / ours for theirs, ours in zip(found[name], found["engine"], strict=True)]
        print(f"engine against {name}: {spread(ratios, '.3f')}")
    done = subject.engine(folder.with_name(f"{folder.name}-profile"), profile=True)
    profile, seconds = done.profile, done.seconds
    assert profile is not None
    print(f"{profile_line(profile, seconds)}; busy {1 - profile['idle'] / seconds:.1%} of {seconds:.2f} s")
