"""What happens at the ends of steps and epochs: progress, a line of metrics, the best model kept."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import lightning
from tqdm import tqdm

from geoseg.learning.metrics import Confusion
from geoseg.models.card import Card
from geoseg.models.model import Model, WeightPrecision

_log = logging.getLogger(__name__)


def report(scores: Confusion, card: Card) -> dict[str, Any]:
    """Scores as JSON: mean IoU, overall accuracy, IoU by class name; null where a class does not occur."""

    def number(value: float) -> float | None:
        return round(float(value), 6) if value == value else None

    names = [card.classes[code].name for code in card.channels]
    return {
        "mean_iou": number(scores.mean_iou),
        "accuracy": number(scores.accuracy),
        "iou": {name: number(value) for name, value in zip(names, scores.iou, strict=True)},
    }


class KeepBest(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """After each epoch: a line of metrics, and the model file where its mean IoU is the best so far.

    The weights are stored as the final file will hold them, so that the best epoch is scored as it is stored.
    """

    def __init__(self, model: Model, *, metrics: Path, best: Path, weights: WeightPrecision) -> None:
        self._model, self._metrics, self._best, self._weights = model, metrics, best, weights
        self._best_score = -1.0
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what the epoch came to; its validation is over by now."""
        scores: Confusion = pl_module.confusion
        line = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(time.monotonic() - self._started, 1),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "loss": pl_module.take_mean_loss(),
            **{f"val_{key}": value for key, value in report(scores, self._model.card).items()},
        }
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        _log.info("epoch %d: loss %.4f, mean IoU %.4f", line["epoch"], line["loss"], scores.mean_iou)
        if scores.mean_iou > self._best_score:
            self._best_score = scores.mean_iou
            self._model.save(self._best, weights=self._weights, overwrite=True)


class Progress(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """A bar of steps on stderr; Lightning's own goes to stdout, where results belong."""

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        """Draw the bar."""
        self._bar = tqdm(total=int(trainer.estimated_stepping_batches), unit="step", file=sys.stderr)

    def on_train_batch_end(self, *_: Any) -> None:
        """Count a step."""
        self._bar.update()

    def on_train_end(self, *_: Any) -> None:
        """Leave the terminal as it was."""
        self._bar.close()

    def on_exception(self, *_: Any) -> None:
        """Likewise, when a run ends early."""
        self._bar.close()
