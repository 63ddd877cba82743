"""Folders of sweeps whose trials were never trained: metrics as a training writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geoseg.experiments.record import TRIALS, SweepRecord, TrialRecord
from geoseg.experiments.results import Results
from geoseg.experiments.trial_process import Outcome
from geoseg.learning.monitor import Monitor

MONITOR = Monitor(name="per_image/iou/roof")


def line(epoch: int, score: float | None, loss: float = 0.5) -> dict[str, Any]:
    """A line of metrics."""
    scores = {"mean_iou": score, "iou": {"roof": score, "background": 0.9}}
    return {
        "epoch": epoch, "step": 10 * epoch, "seconds": 1.5 * epoch, "cpu_seconds": 2.0 * epoch, "learning_rate": 1e-3,
        "loss": loss, "val_loss": loss, "val_mean_iou": score, "val_iou": scores["iou"], "val_per_image": scores,
    }  # fmt: skip


def trial(number: int, seed: int, **parameters: str) -> TrialRecord:
    """A trial of a record."""
    values = {f"train.{key}": text for key, text in parameters.items()}
    return TrialRecord(
        trial=f"t{number:04d}", stage="grid", parameters=values, seed=seed, fold=None, settings=str(number)
    )


def record(*trials: TrialRecord) -> SweepRecord:
    """A record of trials that vary the same parameters."""
    return SweepRecord(
        name="made", created_by="tests", score=f"val/{MONITOR.name}", goal="max", base={}, stages=("grid",),
        parameters=tuple(trials[0].parameters), trials=trials,
    )  # fmt: skip


def put(folder: Path, name: str, scores: list[float | None], outcome: Outcome | None = None) -> None:
    """Write the metrics of a trial, and how it ended."""
    run = folder / TRIALS / name
    run.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line(epoch, score)) + "\n" for epoch, score in enumerate(scores, start=1))
    (run / "metrics.jsonl").write_text(text)
    if outcome is not None:
        if outcome.status == "finished":
            (run / "model.safetensors").touch()
        Results(folder, MONITOR).keep(name, outcome)
