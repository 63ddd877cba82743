"""Folders of sweeps as `geoseg sweep` leaves them, without the trainings."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from geoseg.assessment.report.pictures import differences, painted
from geoseg.experiments.record import Decision, SweepRecord, TrialRecord
from geoseg.experiments.table import RESULTS
from geoseg.models.model import Model

SCORE = "val/per_image/dice/roof"
GRID = {
    "model.encoder": ["resnet18", "tu-tf_efficientnet_lite0", "tu-mobilenetv3_large_100"],
    "model.architecture": ["Unet", "FPN"],
    "train.loss.terms": ["ce", "ce + dice", "focal + lovasz"],
}
LIFTS = {
    "tu-tf_efficientnet_lite0": 0.06,
    "tu-mobilenetv3_large_100": 0.02,
    "FPN": -0.003,
    "ce + dice": 0.025,
}
HOSTILE = "</script><img src=x onerror=alert(1)>"
COLORS = [(0, 0, 255), (34, 139, 34), (255, 0, 0)]


def planned(grid: Mapping[str, Sequence[str]], seeds: Sequence[int]) -> list[TrialRecord]:
    """Every combination with every seed."""
    combinations = itertools.product(itertools.product(*grid.values()), seeds)
    return [
        TrialRecord(
            trial=f"t{number:04}", stage="grid", parameters=dict(zip(grid, values, strict=True)), seed=seed,
            fold=None, settings=str(number),
        )
        for number, (values, seed) in enumerate(combinations, start=1)
    ]  # fmt: skip


def rows_of(trial: TrialRecord, epochs: int, status: str = "finished", reason: str = "") -> pd.DataFrame:
    """Plausible epochs of a trial: a curve towards a level of its values and seed."""
    random = np.random.default_rng([trial.seed, int(trial.trial[1:]), trial.fold or 0])
    lift = sum(LIFTS.get(value, 0.0) for value in trial.parameters.values())
    level = 0.66 + lift + 0.006 * np.random.default_rng(trial.seed).normal() + 0.005 * random.normal()
    fields = {
        "trial": trial.trial, "stage": trial.stage, "status": status, "reason": reason, "seed": trial.seed,
        "fold": trial.fold, **{f"param/{path}": value for path, value in trial.parameters.items()},
    }  # fmt: skip
    if not epochs:
        return pd.DataFrame([{**fields, "best": False}])
    epoch = np.arange(1, epochs + 1)
    score = level * (1 - np.exp(-epoch / (0.12 * max(epochs, 8)))) + random.normal(0, 0.006, epochs)
    seconds = epoch * (1.5 + 20 * max(lift, 0.01) + random.uniform(0, 0.3))
    scores = {
        SCORE: score, "val/loss": 1 - score + 0.05 * random.random(epochs), "train/loss": 0.9 - score,
        "val/mean_iou": score * 0.9, "val/per_image/iou/roof": score * 0.85,
        "val/iou/a class of a rather long name with spaces": score * 0.7,
    }  # fmt: skip
    best = epoch == epoch[score.argmax()]
    return pd.DataFrame(
        {**fields, "epoch": epoch, "cpu_seconds": 1.8 * seconds, "seconds": seconds, **scores, "best": best}
    )


def write_sweep(
    folder: Path,
    trials: Sequence[TrialRecord],
    epochs: int = 12,
    ends: Mapping[str, tuple[str, str, int]] | None = None,
    *,
    name: str = "roofs",
    decisions: Sequence[Decision] = (),
) -> pd.DataFrame:
    """Write a sweep's record and results; `ends`: status, reason and epochs of trials that did not finish."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for trial in trials:
        status, reason, length = (ends or {}).get(trial.trial, ("finished", "", epochs))
        parts.append(rows_of(trial, length, status, reason).dropna(axis=1, how="all"))
    frame = pd.concat(parts, ignore_index=True)
    kinds = {"epoch": "Int64", "fold": "Int64", "cpu_seconds": "float64", "seconds": "float64"}
    frame = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *kinds]))).astype(kinds)
    frame.to_parquet(folder / RESULTS)
    SweepRecord(
        name=name, created_by="geoseg 0.1.0", score=SCORE, goal="max", base={},
        stages=list(dict.fromkeys(trial.stage for trial in trials)),
        parameters=list(dict.fromkeys(path for trial in trials for path in trial.parameters)),
        trials=trials, decisions=decisions,
    ).write(folder)  # fmt: skip
    return frame


def with_runs(folder: Path, trials: Sequence[TrialRecord], model: Model, edge: int = 256) -> None:
    """Give trials a run folder: model, confusion in run.json, and a report with four pictured samples."""
    first = folder / "trials" / trials[0].trial
    first.mkdir(parents=True)
    model.save(first / "model.safetensors")
    truth = [blobs(np.random.default_rng(image), edge, 3) for image in range(4)]
    photos = [photo(mask, np.random.default_rng(image)) for image, mask in enumerate(truth)]
    for number, trial in enumerate(trials):
        run = folder / "trials" / trial.trial
        run.mkdir(parents=True, exist_ok=True)
        if run != first:
            (run / "model.safetensors").hardlink_to(first / "model.safetensors")
        random = np.random.default_rng(number)
        samples, counts = [], np.zeros((3, 3), dtype=np.int64)
        for image, mask in enumerate(truth):
            wrong = blobs(random, edge, 12) == 0
            predicted = np.where(wrong, (mask + 1) % 3, mask)
            np.add.at(counts, (mask, predicted), 1)
            samples.append(sample(f"image {image} {HOSTILE}", photos[image], mask, predicted))
        story = {
            "model": "model.safetensors",
            "scores": {"val": {"confusion": counts.tolist(), "images": {}}},
        }
        (run / "run.json").write_text(json.dumps(story))
        (run / "report.html").write_text(f"<section id='samples'>{''.join(samples)}</section>")


def blobs(random: np.random.Generator, edge: int, kinds: int) -> Any:
    """Smooth regions of classes."""
    fields = [gaussian_filter(random.normal(size=(edge, edge)), 9) for _ in range(kinds)]
    return np.argmax(fields, axis=0)


def photo(mask: Any, random: np.random.Generator) -> str:
    """A picture of an image, as reports have them."""
    colors = np.array([[70, 110, 60], [150, 140, 120], [180, 90, 70]])[mask]
    pixels = np.clip(colors + random.normal(0, 14, colors.shape), 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "webp", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def sample(name: str, image: str, mask: Any, predicted: Any) -> str:
    """A figure of a report."""
    parts = {
        "image": image, "label": painted(mask, COLORS), "prediction": painted(predicted, COLORS),
        "errors": differences(mask, predicted),
    }  # fmt: skip
    pictures = "".join(
        f"<div><img src='{uri}' alt='x'><small>{part}</small></div>" for part, uri in parts.items()
    )
    return (
        f"<figure class='sample'><figcaption><b>{escape(name)}</b><span>rows 0–9, columns 0–9</span>"
        f"<span>mean IoU 0.500</span><span>accuracy 0.600</span></figcaption>{pictures}</figure>"
    )
