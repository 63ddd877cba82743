"""What a person follows a training by: its progress, a line of metrics an epoch, TensorBoard."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import OutputError
from geoseg.learning.monitor import Monitor, ScoredClasses, Standing, beats, report
from geoseg.learning.scoring import Score
from geoseg.learning.state import TrainingPosition
from geoseg.progress import OnProgress
from geoseg.storage.durable import write_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
BOARD = "tensorboard"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Length of a training: epochs, and batches per epoch."""

    epochs: int
    steps: int


class Records:
    """Writes metrics and shows progress.

    Parameters
    ----------
    folder : Path
        Folder of the run; None writes no files.
    classes : ScoredClasses
        The scored classes.
    extent : Extent
        Length of the training.
    progress : Progress
        Where the training begins; what was written after that moment is written again.
    told : callable, optional
        Called with (done, total, what): steps of the whole training, epoch and losses.
    """

    def __init__(
        self,
        folder: Path | None,
        classes: ScoredClasses,
        extent: Extent,
        progress: TrainingPosition,
        told: OnProgress | None = None,
    ) -> None:
        self._classes, self._extent, self._told = classes, extent, told
        self._folder, self._begun = folder, progress.epoch
        self._metrics = folder / METRICS if folder is not None else None
        self._board: SummaryWriter | None = None
        self._scores: dict[str, str] = {}
        if folder is not None:
            self._rewind(progress.epoch)

    def step(self, progress: TrainingPosition, loss: float) -> None:
        """Count a batch."""
        values = {"loss": f"{loss:.4f}", **self._scores}
        self._tell(progress, ", ".join(f"{key} {value}" for key, value in values.items()))

    def scoring(self, progress: TrainingPosition, done: int, images: int) -> None:
        """Count an image of those that an epoch is scored on."""
        self._tell(progress, f"scoring {done}/{images}")

    def _tell(self, progress: TrainingPosition, what: str) -> None:
        """Say how far the training is."""
        if self._told is None:
            return
        steps, epochs = self._extent.steps, self._extent.epochs
        done = progress.epoch * steps + progress.batch
        epoch = max(1, min(-(-done // steps), epochs))
        self._told(done, epochs * steps, f"epoch {epoch} of {epochs}, {what}")

    def epoch(self, progress: TrainingPosition, loss: float, score: Score, trainer: Any) -> None:
        """Write the metrics of an epoch."""
        scores = report(score, self._classes)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        line = {
            "epoch": progress.epoch,
            "step": progress.epoch * self._extent.steps,
            "seconds": round(progress.seconds, 1),
            "cpu_seconds": round(progress.cpu_seconds, 1),
            "learning_rate": rate,
            "loss": loss,
            **{f"val_{key}": value for key, value in scores.items()},
        }
        self._scores = {"mIoU": f"{score.confusion.mean_iou:.4f}"}
        if self._metrics is not None:
            _log.info(
                "epoch %d of %d: loss %.4f, validation loss %.4f, mean IoU %.4f",
                progress.epoch, self._extent.epochs, loss, score.loss, score.confusion.mean_iou,
            )  # fmt: skip
            with _explained(self._metrics), self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self._folder is not None:
            with _explained(self._folder / BOARD):
                if self._board is None:
                    # Loading it takes half a second, which the first step need not wait for.
                    from torch.utils.tensorboard import SummaryWriter

                    self._board = SummaryWriter(str(self._folder / BOARD), purge_step=self._begun + 1)
                for key, value in _flat({"loss/train": loss, "learning_rate": rate, "val": scores}).items():
                    self._board.add_scalar(key, value, progress.epoch)
                self._board.flush()

    def close(self) -> None:
        """End the files."""
        if self._board is not None:
            with _explained(Path(self._board.log_dir)):
                self._board.close()

    def _rewind(self, epochs: int) -> None:
        """Remove the lines of epochs that will be repeated, since a kill can fall between them and the state."""
        assert self._metrics is not None
        lines = self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
        kept = [line for line in lines[:epochs] if line.endswith(b"\n")]
        if len(kept) < len(lines):
            write_bytes(self._metrics, b"".join(kept))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn OSError into an OutputError that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error.strerror}); make room, then run the same command again to continue"
        ) from error


def validation_scores(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores in a line of metrics, as `report` gives them."""
    return {key.removeprefix("val_"): value for key, value in line.items() if key.startswith("val_")}


def kept_line(lines: Sequence[dict[str, Any]], monitor: Monitor, *, last: bool) -> dict[str, Any] | None:
    """Return the line of the epoch whose weights a training keeps; None where there is no line.

    Parameters
    ----------
    lines : sequence of dict
        Lines of `METRICS`, epoch by epoch.
    monitor : Monitor
        The score by which the best epoch is found.
    last : bool
        Whether the last epoch is kept (``train.keep: last``), and not the best one.
    """
    if last:
        return lines[-1] if lines else None
    kept: tuple[dict[str, Any], Standing | None] | None = None
    for line in lines:
        standing = monitor.standing(validation_scores(line))
        if kept is None or beats(standing, kept[1]):
            kept = line, standing
    return None if kept is None else kept[0]


def _flat(values: dict[str, Any], before: str = "") -> dict[str, float]:
    """Flatten nested metrics into slash-separated keys, skipping None."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{key}/")
        elif value is not None:
            flat[before + key] = float(value)
    return flat
