"""A data set as geoai takes it: tiles of bytes and their labels as files; its maps read again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from pixels import Floats, Picture, pictures
from rasterio.transform import from_origin

from geoseg.datasets.dataset import Pair
from geoseg.grid.tiling import starts
from geoseg.learning.metrics import Confusion, ImageMeans
from geoseg.learning.scoring import Score

_IGNORED = 255


def train_geoai(
    python: str,
    folder: Path,
    known: list[Pair],
    test: list[Pair],
    *,
    size: int,
    batch: int,
    chips: int,
    seed: int,
) -> Score:
    """Train geoai's network on tiles without overlap, for as many chips as geoseg draws, and score its maps.

    Parameters
    ----------
    python : str
        Of the environment that has geoai.
    folder : Path
        For files.
    known, test : list of Pair
    size, batch : int
        Edge of a tile, and tiles a step.
    chips : int
        Tiles that are trained on, counted each time.
    seed : int
    """
    count = sum(_write_tiles(folder, i, each, size) for i, each in enumerate(pictures(known)))
    kinds = known[0].channels.kinds
    task = {
        "bands": known[0].image.count, "classes": kinds, "batch": batch, "size": size, "seed": seed,
        "epochs": max(1, round(chips / max(1, 0.8 * count))),  # a fifth of the tiles validates
    }  # fmt: skip
    (folder / "task.json").write_text(json.dumps(task))
    references = pictures(test)
    for i, each in enumerate(references):
        _write(folder / "test" / f"{i:03d}.tif", _bytes(each.image))
    script = Path(__file__).with_name("peer_geoai.py")
    subprocess.run([python, script, folder], check=True, capture_output=True)
    return _score(references, folder / "maps", kinds)


def _write_tiles(folder: Path, number: int, picture: Picture, size: int) -> int:
    """Write the tiles of an image that have a label; return how many."""
    count = 0
    rows, cols = (starts(extent, size, size) for extent in picture.mask.shape)
    for row in rows:
        for col in cols:
            mask = picture.mask[row : row + size, col : col + size]
            if (mask >= 0).any():
                name = f"{number:03d}_{row}_{col}.tif"
                image = _bytes(picture.image[:, row : row + size, col : col + size])
                _write(folder / "images" / name, image)
                _write(folder / "labels" / name, np.where(mask < 0, _IGNORED, mask).astype(np.uint8)[None])
                count += 1
    return count


def _bytes(image: Floats) -> npt.NDArray[np.uint8]:
    """From normalised numbers to bytes: two and a half deviations to either side."""
    return ((image.clip(-2.5, 2.5) + 2.5) * 51).round().astype(np.uint8)


def _write(path: Path, values: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": len(values), "height": values.shape[1],
        "width": values.shape[2], "crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 10, 10),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)


def _score(references: Iterable[Picture], maps: Path, kinds: int) -> Score:
    scores = []
    for picture, path in zip(references, sorted(maps.glob("*.tif")), strict=True):
        with rasterio.open(path) as dataset:
            counts = Confusion.of(picture.mask, dataset.read(1), kinds)
        scores.append(Score(confusion=counts, image_means=ImageMeans.of(counts)))
    return sum(scores[1:], scores[0])
