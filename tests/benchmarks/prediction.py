"""What the benchmarks of prediction share: scenes, models, and the two rates that are compared."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import zoom

from geoseg.engine.network import DTYPES, Network
from geoseg.engine.plan import tile_starts
from geoseg.engine.settings import Settings, calls
from geoseg.grid.legend import Legend
from geoseg.inference.assemble import build_engine, choose_settings, plan_of
from geoseg.inference.bandstore import BandStore
from geoseg.inference.filling import fill
from geoseg.inference.options import PredictOptions
from geoseg.inference.precision import network_for
from geoseg.inference.prepare import Job, prepare
from geoseg.inference.quantize import quantize
from geoseg.models.model import Model
from geoseg.raster.cache import limited_cache
from geoseg.storage.journal import Journal

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
    return Model.new(
        architecture="Unet", encoder=encoder, bands=bands, dtype=dtype, legend=Legend.parse("a,b,c,d,e,f,g"),
        value_range=None if dtype == "uint8" else (0, 10_000), tile_size=tile,
    )  # fmt: skip


def case(kind: str, arguments: argparse.Namespace, scratch: Path) -> tuple[Path, Model, PredictOptions]:
    """Make the scene and the model of a kind, with the options of the command line."""
    scene = scratch / f"{kind}.tif"
    make_scene(scene, arguments.size, kind)
    options = PredictOptions(
        device=arguments.device, precision=arguments.precision, batch_size=arguments.batch_size,
        tile_size=arguments.tile, overlap=arguments.tile // 8,
    )  # fmt: skip
    model = make_model(kind, arguments.tile)
    if arguments.precision == "int8":
        model = quantize(model, [scene], tiles=4, options=options)
    return scene, model, options


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A job whose settings are chosen."""

    job: Job
    model: Model
    settings: Settings

    @classmethod
    def of(cls, scene: Path, model: Model, options: PredictOptions) -> Subject:
        job = prepare(scene, model, options)
        return cls(job=job, model=model, settings=choose_settings(job, model))

    @property
    def batches(self) -> int:
        rows, cols = tile_starts(self.job.grid.shape, self.job.tiling)
        return calls(len(rows), len(cols), self.settings.batch_size)

    @property
    def megapixels(self) -> float:
        return self.job.grid.height * self.job.grid.width / 1e6

    def engine(self, folder: Path, beside: Beside | None = None, *, profile: bool = False) -> Pass:
        """Compute the scene from the opened file to stored, verified bands.

        `beside` is called after every band of rows; its time does not count. What other threads do meanwhile,
        the reading of the next band and the storing of the last, is a few thousandths of the work.
        """
        job = replace(self.job, options=replace(self.job.options, profile=profile))
        folder.mkdir()
        journal, plan = Journal(folder, {}), plan_of(job, self.settings)
        engine = build_engine(job, self.model, self.settings, plan)
        if self.settings.compile:
            engine.network.try_out(len(job.card.bands), (job.tiling.size,) * 2)
        calls, seconds, told = _Calls(engine.network), 0.0, 0

        def after(rows: int) -> None:
            nonlocal started, seconds, told
            taken = time.perf_counter() - started
            seconds += taken
            if beside is not None:
                beside(taken, calls.count - told)
            started, told = time.perf_counter(), calls.count

        with limited_cache():
            started = time.perf_counter()
            fill(engine, BandStore(folder, plan, journal), range(len(plan.bands)), journal, after)
            seconds += time.perf_counter() - started
        return Pass(seconds=seconds, profile=engine.clock.profile(seconds))

    def bare(self) -> Alone:
        """``model(x)`` as it was built, channels last, at the precision of the job; where that is int8, in fp32."""
        _, inputs = self._ready()
        module, dtype = copy.deepcopy(self.model.network).eval(), DTYPES[self.settings.precision]
        module = module.to(inputs.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        def model(batch: torch.Tensor) -> torch.Tensor:
            with torch.autocast(batch.device.type, dtype=dtype, enabled=dtype is not torch.float32):
                logits: torch.Tensor = module(batch)
            return logits

        return Alone(model, inputs)

    def own(self) -> Alone:
        """The network that the engine makes of it: OpenVINO's, or folded, or compiled."""
        network, inputs = self._ready()
        return Alone(network.logits, inputs)

    def _ready(self) -> tuple[Network, torch.Tensor]:
        size, match = self.job.tiling.size, self.job.match
        network = Network(
            network_for(self.model, self.settings, (self.job.tiling.size,) * 2),
            match.gain,
            match.bias,
            self.settings,
        )
        shape = len(self.job.card.bands), size, size
        chips = [torch.randint(0, 255, shape, dtype=torch.uint8, device=network.device)]
        many = self.settings.batch_size
        return network, network.normalised(chips * many, [None] * many)


@dataclass(frozen=True)
class Alone:
    """A network, and a batch (n, band, row, col) that lies ready on its device."""

    logits: Callable[[torch.Tensor], torch.Tensor]
    inputs: torch.Tensor

    def seconds(self, batches: int, *, warm: bool = False) -> float:
        """Seconds of so many batches, after one that does not count unless the network is `warm`."""
        with torch.inference_mode():
            if not warm:
                self.logits(self.inputs)
                wait(self.inputs.device)
            started = time.perf_counter()
            for _ in range(batches):
                self.logits(self.inputs)
            wait(self.inputs.device)
        return time.perf_counter() - started


Beside = Callable[[float, int], None]
"""Called with the seconds of a band, and how often the model was called in it."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Seconds of a whole scene, and where they went."""

    seconds: float
    profile: dict[str, float] | None


class _Calls:
    """Counts how often a network's model is called."""

    def __init__(self, network: Network) -> None:
        self.count, self._logits = 0, network.logits
        network.logits = self._counted  # type: ignore[method-assign]

    def _counted(self, inputs: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return self._logits(inputs)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, smallest and largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"
