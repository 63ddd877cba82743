"""Make ``geoseg/demo/data``: the scene, the labels and the model of ``geoseg demo``.

Name the folder ``zion_landsat8_nlcd``, with ``landsat_b2.tif`` to ``landsat_b5.tif`` and ``nlcd.tif`` of
https://github.com/Nowosad/spDataLarge (CC0), and a folder for the training::

    .venv/bin/python scripts/make_demo.py zion_landsat8_nlcd build/zion

The bands are cut, and no pixel is changed. The labels stay on their own grid and are cut in two: those to train on, and
those of a strip that no training sees, which the demo's scores are of. The model is trained with
``geoseg/demo/data/zion.yaml`` and exported. The same files give the same cuts, byte for byte; a training gives the
same weights only on the same machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from geoseg.learning.train import train
from geoseg.models.model import Model

DATA: Final = Path(__file__).parents[1] / "geoseg" / "demo" / "data"
BANDS: Final = {"blue": "b2", "green": "b3", "red": "b4", "nir": "b5"}
SCENE: Final = Window(col_off=96, row_off=224, width=896, height=1120)
"""The part of the bands that comes with the package, px."""
STRIP: Final = 468, 660
"""First column of the scene that is held back, and the one after the last, px."""
UNLABELLED: Final = 255


def main(source: Path, run: Path) -> None:
    """Cut, train, export."""
    cut(source, DATA)
    model = train(DATA / "zion.yaml", run)
    Model.open(model).export(DATA / "zion.xml", weights="fp16", overwrite=True)
    print(f"{DATA}: {sum(path.stat().st_size for path in DATA.iterdir()):,} bytes")


def cut(source: Path, target: Path) -> None:
    """Write the bands and the two files of labels."""
    for name, letters in BANDS.items():
        with rasterio.open(source / f"landsat_{letters}.tif") as file:
            write(target / f"landsat_{name}.tif", file.read(1, window=SCENE), place(file, SCENE))
            left, bottom, right, top = file.window_bounds(SCENE)
    with rasterio.open(source / "nlcd.tif") as file:
        # The two coordinate systems differ by the datum alone, by less than a pixel: one more on each side is enough.
        near = file.window(left, bottom, right, top).round_offsets().round_lengths(op="ceil")
        window = Window(near.col_off - 1, near.row_off - 1, near.width + 2, near.height + 2)
        window = window.intersection(Window(0, 0, file.width, file.height))
        codes, where = file.read(1, window=window), place(file, window)
    eastings = where["transform"].c + (np.arange(codes.shape[1]) + 0.5) * where["transform"].a
    first, last = (left + column * (right - left) / SCENE.width for column in STRIP)
    strip = (eastings >= first) & (eastings < last)
    for name, kept in (("training", ~strip), ("heldback", strip)):
        write(target / f"nlcd_{name}.tif", np.where(kept, codes, UNLABELLED).astype(np.uint8), where)


def place(file: rasterio.DatasetReader, window: Window) -> dict[str, Any]:
    """Tell where a part of a file lies, and what its no data is."""
    return {"crs": file.crs, "transform": file.window_transform(window), "nodata": file.nodata}


def write(path: Path, pixels: npt.NDArray[Any], where: dict[str, Any]) -> None:
    """Write one band."""
    height, width = pixels.shape
    profile = {
        **where, "driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": pixels.dtype.name,
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 9,
        "predictor": 2 if pixels.dtype == np.uint16 else 1,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels, 1)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
