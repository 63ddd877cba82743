"""geoai's trainer and prediction, in an environment of their own: ``python peer_geoai.py FOLDER``.

The folder holds ``task.json``, tiles in ``images`` and ``labels``, and whole images in ``test``; class maps go to
``maps``. Weights are random where ImageNet's cannot be fetched.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import geoai
import torch


def main() -> None:
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text())
    torch.set_num_threads(1)
    network = {"num_channels": task["bands"], "num_classes": task["classes"]}
    geoai.train_segmentation_model(
        images_dir=str(folder / "images"), labels_dir=str(folder / "labels"), output_dir=str(folder / "model"),
        encoder_weights=None, batch_size=task["batch"], num_epochs=task["epochs"], seed=task["seed"],
        num_workers=0, ignore_index=255, verbose=False, **network,
    )  # fmt: skip
    (folder / "maps").mkdir()
    for path in sorted((folder / "test").glob("*.tif")):
        geoai.semantic_segmentation(
            str(path), str(folder / "maps" / path.name), str(folder / "model" / "best_model.pth"),
            window_size=task["size"], overlap=task["size"] // 2, quiet=True, **network,
        )  # fmt: skip


if __name__ == "__main__":
    main()
