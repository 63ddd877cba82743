"""Write a run's record: software, device, data and scores."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from geoseg.learning.metrics import Confusion
from geoseg.storage.durable import write_bytes

if TYPE_CHECKING:
    from geoseg.learning.preparation import PreparedTraining
    from geoseg.learning.scoring import Score

MODEL: Final = "model.safetensors"
"""Name of the finished model file in a run's folder."""
BEST: Final = "best.safetensors"
"""The best epoch so far, while a training runs."""
STORY: Final = "run.json"
_PACKAGES: Final = (
    "geoseg", "torch", "lightning", "segmentation-models-pytorch", "timm", "rasterio", "numpy",
)  # fmt: skip
Scored: TypeAlias = "Mapping[str, Sequence[Score]]"
"""Scores of the images of each split, in their order."""


def write_story(
    folder: Path, run: PreparedTraining, final: Path, scored: Scored | None = None, weights: str | None = None
) -> None:
    """Write ``run.json`` when a training begins, and again with its scores when it ends.

    It names the folder of the data on this machine, which reports need and model files do not contain.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    run : Run
        The training.
    final : Path
        The model file.
    scored : mapping of str to sequence of Score, optional
        Scores of the images of each split.
    weights : str, optional
        Checksum of the finished model's weights, by which its model file is recognised.

    Raises
    ------
    OutputError
    """
    root = run.config.data_root
    story = {
        "format": 1,
        "date": run.date,
        "model": os.path.relpath(final, folder),
        "data_root": str(root),
        "surroundings": _surroundings(run),
        "images": {
            split: [
                {"name": pair.name, "height": pair.grid.height, "width": pair.grid.width} for pair in pairs
            ]
            for split, pairs in run.splits.items()
        },
        "class_pixels": list(run.statistics.pixels),
        "left_out": [
            {"file": _relative(problem.path, root), "what": problem.what} for problem in run.opened.left_out
        ],
        "range_test": run.range_test,
        "input_spread": run.spread,
        "scores": {split: _scores(run, split, scores) for split, scores in (scored or {}).items()},
        "weights": weights,
        "fingerprint": dict(run.fingerprint),
    }
    write_bytes(folder / STORY, (json.dumps(story, ensure_ascii=False, indent=1) + "\n").encode())


def counts_of(story: Mapping[str, Any], split: str) -> Confusion | None:
    """Return the counts of a split, all its images together, from a record; None if it was not scored."""
    scores = story.get("scores", {}).get(split)
    return None if scores is None else Confusion(np.array(scores["confusion"], dtype=np.int64))


def _scores(run: PreparedTraining, split: str, scores: Sequence[Score]) -> dict[str, Any]:
    """Return the counts of a split, and the mean IoU of each of its images, to find the worst ones."""
    # Imported here, since whoever only reads a record needs no torch.
    from geoseg.learning.monitor import report

    images = zip(run.splits[split], scores, strict=True)
    return {
        "confusion": sum(scores[1:], start=scores[0]).confusion.counts.tolist(),
        "images": {pair.name: report(score, run.classes)["mean_iou"] for pair, score in images},
    }


def _surroundings(run: PreparedTraining) -> dict[str, Any]:
    """Return everything in the environment that a result may depend on."""
    import torch

    return {
        "device": run.device,
        "device_name": torch.cuda.get_device_name() if run.device == "cuda" else platform.machine(),
        "devices": run.config.train.devices,
        "precision": run.precision,
        "threads": torch.get_num_threads(),
        "batch_size": run.batch_size,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _relative(path: str, root: Path) -> str:
    """Return a file's path relative to the data folder if it lies in it, else its name."""
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else Path(path).name
