"""Train with geoai for a moment and keep what it writes: ``python make_checkpoint_geoai.py OUT``.

Runs in an environment of its own that has geoai (package ``geoai-py``), not geoseg. Everything but the random
images is geoai's own code: its network factory, its training loops and what these save. Beside each checkpoint
lies an ``.npz`` with random stored numbers, what geoai feeds its network of them, and the logits.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import rasterio
import torch

BANDS, CLASSES, SIZE = 4, 3, 64
ENCODER = "mobilenet_v2"


def images(folder: Path) -> tuple[Path, Path]:
    """Random images of uint8 and random labels."""
    random = np.random.default_rng(0)
    for name, count, top in (("images", BANDS, 256), ("labels", 1, CLASSES)):
        (folder / name).mkdir()
        for number in range(5):
            profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "width": SIZE, "height": SIZE}
            with rasterio.open(folder / name / f"{number}.tif", "w", **profile) as file:
                file.write(random.integers(0, top, (count, SIZE, SIZE), dtype=np.uint8))
    return folder / "images", folder / "labels"


def keep(made: Path, model: torch.nn.Module, out: Path, name: str, told: dict[str, Any]) -> None:
    """Copy a checkpoint and write what geoai's network makes of random numbers."""
    copyfile(made, out / name)
    stored = np.random.default_rng(1).integers(0, 256, (2, BANDS, SIZE, SIZE), dtype=np.uint8)
    x = torch.tensor(stored.astype(np.float32) / 255.0)  # as geoai.train.semantic_inference_on_geotiff does
    with torch.inference_mode():
        logits = model.eval()(x)
    np.savez(out / f"{name}.npz", stored=stored, input=x.numpy(), logits=logits.numpy())
    facts = {"program": f"geoai {version('geoai-py')}", "torch": torch.__version__, "scale": 1 / 255, **told}
    (out / f"{name}.json").write_text(
        json.dumps({"bands": BANDS, "classes": CLASSES, "dtype": "uint8", **facts})
    )


def trained(out: Path, images_dir: Path, labels_dir: Path, runs: Path) -> None:
    """`train_segmentation_model`, which saves bare weights and checkpoints that name their network."""
    from geoai.train import get_smp_model, train_segmentation_model

    train_segmentation_model(
        str(images_dir),
        str(labels_dir),
        str(runs),
        architecture="unet",
        encoder_name=ENCODER,
        encoder_weights=None,
        num_channels=BANDS,
        num_classes=CLASSES,
        batch_size=2,
        num_epochs=1,
        save_best_only=False,
        num_workers=0,
    )
    model = get_smp_model("unet", ENCODER, None, BANDS, CLASSES)
    model.load_state_dict(torch.load(runs / "final_model.pth", weights_only=True))
    keep(runs / "checkpoint_epoch_1.pth", model, out, "geoai_checkpoint.pth", {})
    untold = {"architecture": "unet", "encoder": ENCODER}
    keep(runs / "final_model.pth", model, out, "geoai_final_model.pth", {**untold, "untold": True})


def trained_by_lightning(out: Path, images_dir: Path, labels_dir: Path, runs: Path) -> None:
    """`TimmSegmentationModel`, whose checkpoints Lightning writes."""
    import lightning.pytorch as pl
    from geoai.timm_segment import SegmentationDataset, TimmSegmentationModel
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader

    paths = [sorted(map(str, folder.glob("*.tif"))) for folder in (images_dir, labels_dir)]
    module = TimmSegmentationModel(
        ENCODER, "fpn", CLASSES, BANDS, None, class_weights=torch.tensor([1.0, 2.0, 3.0]), decoder_dropout=0.1
    )
    loader = DataLoader(SegmentationDataset(*paths, num_channels=BANDS), batch_size=2)
    saver = ModelCheckpoint(dirpath=runs, save_last=True)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[saver], logger=False)
    trainer.fit(module, loader, loader)
    keep(runs / "last.ckpt", module.model, out, "geoai_lightning.ckpt", {})


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        where = images(Path(scratch))
        trained(target, *where, Path(scratch) / "runs")
        trained_by_lightning(target, *where, Path(scratch) / "lightning")
