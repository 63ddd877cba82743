"""Train with ftw-tools for a moment and keep what it writes: ``python make_checkpoint_ftw.py OUT``.

Runs in an environment of its own that has ftw-tools, not geoseg. Everything but the random images is ftw-tools'
own code: the command ``ftw model fit``, its data module and task, and the checkpoint that these save. Beside it
lies an ``.npz`` with random stored numbers, what ftw-tools feeds its network of them, and the logits.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile

import geopandas
import matplotlib as mpl
import numpy as np
import rasterio
import torch
import yaml
from shapely.geometry import box

BANDS, CLASSES, SIZE = 8, 3, 64

CONFIG = {
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1},
    "model": {
        "class_path": "ftw.trainers.CustomSemanticSegmentationTask",
        "init_args": {
            "model": "unet",
            "backbone": "efficientnet-b0",
            "weights": False,
            "in_channels": BANDS,
            "num_classes": CLASSES,
            "class_weights": [0.05, 0.2, 0.75],
            "ignore_index": 3,
            "loss": "ce",
            "model_kwargs": {"decoder_attention_type": "scse"},
        },
    },
    "data": {
        "class_path": "ftw.datamodules.FTWDataModule",
        "init_args": {
            "batch_size": 2,
            "num_workers": 0,
            **{f"{split}_countries": ["rwanda"] for split in ("train", "val", "test")},
        },
        "dict_kwargs": {"load_boundaries": True},
    },
}


def images(root: Path) -> None:
    """Random images of uint16 and random labels, as the data set Fields of the World lays them out."""
    random = np.random.default_rng(0)
    country = root / "rwanda"
    names = [f"g{number}" for number in range(4)]
    for folder, count, top, dtype in (
        ("s2_images/window_a", 4, 4000, "uint16"),
        ("s2_images/window_b", 4, 4000, "uint16"),
        ("label_masks/semantic_2class", 1, 2, "uint8"),
        ("label_masks/semantic_3class", 1, 3, "uint8"),
    ):
        (country / folder).mkdir(parents=True)
        for name in names:
            profile = {"driver": "GTiff", "dtype": dtype, "count": count, "width": SIZE, "height": SIZE}
            with rasterio.open(country / folder / f"{name}.tif", "w", **profile) as file:
                file.write(random.integers(0, top, (count, SIZE, SIZE), dtype=dtype))
    table = {"aoi_id": names, "split": ["train", "train", "val", "val"]}
    shapes = [box(0, 0, 1, 1)] * len(names)
    geopandas.GeoDataFrame(table, geometry=shapes, crs=4326).to_parquet(country / "chips_rwanda.parquet")


def train(scratch: Path) -> Path:
    """``ftw model fit``; return the checkpoint."""
    from ftw_cli.model import fit

    images(scratch / "data")
    CONFIG["trainer"]["default_root_dir"] = str(scratch / "runs")
    CONFIG["data"]["dict_kwargs"]["root"] = str(scratch / "data")
    (scratch / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    fit(str(scratch / "config.yaml"), None, [])
    (made,) = (scratch / "runs").rglob("*.ckpt")
    return made


def keep(made: Path, out: Path) -> None:
    """Copy the checkpoint and write what ftw-tools' network makes of random numbers."""
    from ftw.datamodules import preprocess
    from ftw.trainers import CustomSemanticSegmentationTask

    copyfile(made, out / "ftw.ckpt")
    task = CustomSemanticSegmentationTask.load_from_checkpoint(made, map_location="cpu")
    stored = np.random.default_rng(1).integers(0, 10000, (2, BANDS, SIZE, SIZE), dtype=np.uint16)
    x = preprocess({"image": torch.tensor(stored.astype(np.float32))})["image"]
    with torch.inference_mode():
        logits = task.model.eval()(x)
    np.savez(out / "ftw.ckpt.npz", stored=stored, input=x.numpy(), logits=logits.numpy())
    facts = {"program": f"ftw-tools {version('ftw-tools')}", "torch": torch.__version__, "scale": 1 / 3000}
    (out / "ftw.ckpt.json").write_text(
        json.dumps({"bands": BANDS, "classes": CLASSES, "dtype": "uint16", **facts})
    )


if __name__ == "__main__":
    mpl.use("Agg")
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        keep(train(Path(folder)), target)
