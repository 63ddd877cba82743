"""Random training chips per second against torchgeo's RandomGeoSampler and RasterDataset, in turns.

Run: ``python tests/benchmarks/bench_chips.py [--size 8192] [--chips 160] [--rounds 5] [--korea FOLDER]``

The scene is a tiled deflate GeoTIFF of four uint16 bands made from smoothed noise, its labels a raster of codes
on the same grid; with `--korea` also one 512 px patch of strips. Chips have 256 px. "geoseg" is `Chips` drawn by
`RandomSampler`: normalised image, mask and valid. "torchgeo" is ``RasterDataset & RasterDataset``: the image as
float32 and the mask; "torchgeo, image only" a single `RasterDataset`. With workers both sides go through a
DataLoader, whose start is not counted. "epochs": GDAL keeps 256 MB of decoded blocks, as in training, which is less
than the scene; a turn is an epoch of as many chips as cover the scene once, ours in the order that training gives
them. "warm": chips of a part of 2048 px, which GDAL keeps, as it keeps a small scene after the first epoch. With
workers each side keeps what it does by itself. CPU times tell more than rates on a machine that is busy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rasterio
import shapely
import torch
from rasterio.transform import from_origin
from scipy.ndimage import zoom
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import RandomGeoSampler

from geoseg.datasets.dataset import Channels, Chips, Pair
from geoseg.datasets.loading import loader
from geoseg.datasets.sampler import RandomSampler
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.label import Meanings
from geoseg.learning.sampling import visiting
from geoseg.raster.cache import limited_cache
from geoseg.raster.scene import Scene

CHIP = 256
BATCH = 8


class Labels(RasterDataset):  # type: ignore[misc]
    is_image = False


def make_scene(folder: Path, size: int) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    profile = {
        "driver": "GTiff", "height": size, "width": size, "crs": "EPSG:32633", "tiled": True, "blockxsize": 256,
        "transform": from_origin(5e5, 5e6, 10, 10), "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    coarse = zoom(generator.random((size // 64, size // 64)), 64, order=1)[:size, :size]
    image, labels = folder / "image.tif", folder / "labels.tif"
    with rasterio.open(image, "w", count=4, dtype="uint16", **profile) as dataset:
        for band in range(4):
            noise = coarse * 3000 + generator.random((size, size)) * 60 + 500 * band
            dataset.write(noise.astype(np.uint16), band + 1)
    with rasterio.open(labels, "w", count=1, dtype="uint8", **profile) as dataset:
        dataset.write((coarse * 6).astype(np.uint8).clip(0, 5), 1)
    return image, labels


def open_pair(image: Path, labels: Path) -> Pair:
    with rasterio.open(labels) as dataset:
        codes = tuple(np.unique(dataset.read(1)).tolist())
    scene = Scene.open(image)
    coded = CodedLabels.open(labels, scene.grid, Meanings(codes=codes, code_of={c: c for c in codes}))
    numbers = (1.0,) * scene.count
    return Pair(
        name="a", image=scene, labels=coded, channels=Channels(codes=codes), gain=numbers, bias=numbers
    )


Turn = tuple[float, float]
"""Chips per second, and ms of this process's CPU for a chip."""


def take(chips: Iterable[Any], number: int) -> Turn:
    """Read the next chips."""
    started, cpu = time.perf_counter(), time.process_time()
    for _ in islice(chips, number):
        pass
    return number / (time.perf_counter() - started), (time.process_time() - cpu) / number * 1e3


def alone(pair: Pair, image: Path, labels: Path, part: Window, epoch: int) -> dict[str, Iterable[Any]]:
    """Endless chips of a part, read by this process; ours by epochs."""
    chips, images = Chips([pair]), RasterDataset(image)
    both = images & Labels(labels)
    inside = SimpleNamespace(grid=pair.grid.cropped(part))
    sampler = visiting(RandomSampler([inside], CHIP, epoch, seed=0), [pair], CHIP, 0)
    drawn = (sampler.draw(*divmod(step, epoch)) for step in count())
    ours = ((index, window.shifted(part.row, part.col)) for index, window in drawn)
    theirs = iter(RandomGeoSampler(images, CHIP, 10**9, roi=shapely.box(*pair.grid.window_bounds(part))))
    return {
        "geoseg": (chips[place] for place in ours),
        "torchgeo": (both[query] for query in theirs),
        "torchgeo, image only": (images[query] for query in theirs),
    }


def with_workers(pair: Pair, image: Path, labels: Path, chips: int, workers: int) -> dict[str, Iterable[Any]]:
    """Epochs of `chips` chips in batches. Workers have started, and rest while the others have their turn."""
    images = RasterDataset(image)
    sampler = RandomSampler([pair], CHIP, chips, seed=0)

    def theirs(dataset: Any) -> Iterable[Any]:
        return DataLoader(
            dataset,
            BATCH,
            sampler=RandomGeoSampler(images, CHIP, chips),
            num_workers=workers,
            persistent_workers=True,
            collate_fn=stack_samples,
        )

    contenders = {
        "geoseg": loader(Chips([pair]), sampler, BATCH, workers=workers, start_method="fork"),
        "torchgeo": theirs(images & Labels(labels)),
        "torchgeo, image only": theirs(images),
    }
    for epoch in contenders.values():
        take(epoch, chips)
    return contenders


def compare(
    title: str, contenders: dict[str, Iterable[Any]], chips: int, rounds: int, batch: int = 1
) -> None:
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, each in contenders.items():
            turns[name].append(take(each, chips // batch))
    print(title)
    for name, values in turns.items():
        rates = [batch * rate for rate, _ in values]
        cpu = "" if batch > 1 else f", {statistics.median(ms for _, ms in values):6.2f} ms CPU a chip"
        print(
            f"  {name:<21} {statistics.median(rates):7.1f} chips/s ({min(rates):.1f} to {max(rates):.1f}){cpu}"
        )
    for name in list(turns)[1:]:
        for what, ratios in (
            ("chips/s", [a[0] / b[0] for a, b in zip(turns["geoseg"], turns[name], strict=True)]),
            ("CPU", [b[1] / a[1] for a, b in zip(turns["geoseg"], turns[name], strict=True)]),
        ):
            if what == "chips/s" or batch == 1:
                print(
                    f"  {what}: geoseg against {name}: {statistics.median(ratios):.1f} times "
                    f"({min(ratios):.1f} to {max(ratios):.1f})"
                )


def run(title: str, image: Path, labels: Path, arguments: argparse.Namespace) -> None:
    pair = open_pair(image, labels)
    height, width = pair.grid.shape
    whole = Window(row=0, col=0, height=height, width=width)
    part = Window(row=0, col=0, height=min(2048, height), width=min(2048, width))
    cover = -(-height // CHIP) * -(-width // CHIP)
    with limited_cache(256):
        contenders = alone(pair, image, labels, whole, cover)
        compare(f"{title}, epochs", contenders, cover, min(3, arguments.rounds))
    with limited_cache(1024):
        contenders = alone(pair, image, labels, part, 4096)
        for each in contenders.values():
            take(each, 2 * part.height * part.width // CHIP**2 + 20)
        compare(f"{title}, warm", contenders, arguments.chips, arguments.rounds)
    workers = with_workers(pair, image, labels, arguments.chips, 2)
    compare(f"{title}, 2 workers", workers, arguments.chips, arguments.rounds, BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--chips", type=int, default=160, help="of a turn; a multiple of 8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--korea", type=Path, help="folder of the data set, with images/ and labels/")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        run(f"{arguments.size}² px in tiles", *make_scene(Path(scratch), arguments.size), arguments)
    if arguments.korea is not None:
        image = min((arguments.korea / "images").glob("*.tif"))
        run(f"{image.name} in strips", image, arguments.korea / "labels" / image.name, arguments)


if __name__ == "__main__":
    main()
