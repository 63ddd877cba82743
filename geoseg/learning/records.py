"""What a person follows a training by: a bar, a line of metrics an epoch, TensorBoard."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from geoseg.learning.monitor import ScoredClasses, report
from geoseg.learning.scoring import Score
from geoseg.learning.state import Progress
from geoseg.storage.durable import write_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
BOARD = "tensorboard"
_log = logging.getLogger(__name__)


class Records:
    """Writes down how a training goes.

    Parameters
    ----------
    folder : Path
        Of the run; None writes no files.
    classes : ScoredClasses
    steps : int
        Batches of an epoch.
    progress : Progress
        Where the training begins; what was written after that moment is written again.
    bar : tqdm, optional
    """

    def __init__(
        self, folder: Path | None, classes: ScoredClasses, steps: int, progress: Progress, bar: Any = None
    ) -> None:
        self._classes, self._steps, self._bar = classes, steps, bar
        self._metrics = folder / METRICS if folder is not None else None
        self._board: SummaryWriter | None = None
        self._scores: dict[str, str] = {}
        if folder is not None:
            assert self._metrics is not None
            self._rewind(progress.epoch)
            # Imported here: it takes a second, and only a training needs it.
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / BOARD), purge_step=progress.epoch + 1)

    def step(self, loss: float) -> None:
        """Count a batch."""
        if self._bar is not None:
            self._bar.set_postfix({"loss": f"{loss:.4f}", **self._scores}, refresh=False)
            self._bar.update()

    def epoch(self, progress: Progress, loss: float, score: Score, trainer: Any) -> dict[str, Any]:
        """Write what an epoch came to and return its scores as plain values."""
        scores = report(score, self._classes)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        line = {
            "epoch": progress.epoch,
            "step": progress.epoch * self._steps,
            "seconds": round(progress.seconds, 1),
            "learning_rate": rate,
            "loss": loss,
            **{f"val_{key}": value for key, value in scores.items()},
        }
        self._scores = {"mIoU": f"{score.confusion.mean_iou:.4f}"}
        if self._metrics is not None:
            _log.info(
                "epoch %d: loss %.4f, validation loss %.4f, mean IoU %.4f",
                progress.epoch, loss, score.loss, score.confusion.mean_iou,
            )  # fmt: skip
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self._board is not None:
            for key, value in _flat({"loss/train": loss, "learning_rate": rate, "val": scores}).items():
                self._board.add_scalar(key, value, progress.epoch)
            self._board.flush()
        return scores

    def close(self) -> None:
        """End the bar and the files."""
        if self._bar is not None:
            self._bar.close()
        if self._board is not None:
            self._board.close()

    def _rewind(self, epochs: int) -> None:
        """Take back lines of epochs that will be done again: a kill fell between them and the state."""
        assert self._metrics is not None
        lines = self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
        kept = [line for line in lines[:epochs] if line.endswith(b"\n")]
        if len(kept) < len(lines):
            write_bytes(self._metrics, b"".join(kept))


def bar(total: int, done: int) -> Any:
    """Return a bar of batches on stderr; stdout is for results."""
    return tqdm(total=total, initial=done, unit="step", file=sys.stderr)


def _flat(values: dict[str, Any], before: str = "") -> dict[str, float]:
    """Return nested numbers by path, those that are none left out."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{key}/")
        elif value is not None:
            flat[before + key] = float(value)
    return flat
