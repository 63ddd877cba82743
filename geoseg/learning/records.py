"""What a person follows a training by: a bar or a line now and then, a line of metrics an epoch, TensorBoard."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tqdm import tqdm

from geoseg.errors import OutputError
from geoseg.learning.monitor import ScoredClasses, report
from geoseg.learning.scoring import Score
from geoseg.learning.state import Progress
from geoseg.storage.durable import write_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
BOARD = "tensorboard"
_EVERY: Final = 30.0
"""Seconds between two lines, where no bar is drawn."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How long a training is: epochs, and batches of each."""

    epochs: int
    steps: int


class Records:
    """Writes down how a training goes.

    Parameters
    ----------
    folder : Path
        Of the run; None writes no files.
    classes : ScoredClasses
    extent : Extent
    progress : Progress
        Where the training begins; what was written after that moment is written again.
    shown : Bar or Lines, optional
        What shows how far it is.
    """

    def __init__(
        self,
        folder: Path | None,
        classes: ScoredClasses,
        extent: Extent,
        progress: Progress,
        shown: Bar | Lines | None = None,
    ) -> None:
        self._classes, self._extent, self._shown = classes, extent, shown
        self._metrics = folder / METRICS if folder is not None else None
        self._board: SummaryWriter | None = None
        self._scores: dict[str, str] = {}
        if folder is not None:
            assert self._metrics is not None
            self._rewind(progress.epoch)
            # Imported here: it takes a second, and only a training needs it.
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / BOARD), purge_step=progress.epoch + 1)

    def step(self, progress: Progress, loss: float) -> None:
        """Count a batch."""
        if self._shown is not None:
            done = progress.epoch * self._extent.steps + progress.batch
            self._shown.step(done, {"loss": f"{loss:.4f}", **self._scores})

    def scoring(self, progress: Progress, done: int, images: int) -> None:
        """Count an image of those that an epoch is scored on."""
        if self._shown is not None:
            self._shown.scoring(progress.epoch + 1, done, images)

    def epoch(self, progress: Progress, loss: float, score: Score, trainer: Any) -> None:
        """Write what an epoch came to."""
        scores = report(score, self._classes)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        line = {
            "epoch": progress.epoch,
            "step": progress.epoch * self._extent.steps,
            "seconds": round(progress.seconds, 1),
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
        if self._board is not None:
            with _explained(Path(self._board.log_dir)):
                for key, value in _flat({"loss/train": loss, "learning_rate": rate, "val": scores}).items():
                    self._board.add_scalar(key, value, progress.epoch)
                self._board.flush()

    def close(self) -> None:
        """End the bar and the files."""
        if self._shown is not None:
            self._shown.close()
        if self._board is not None:
            with _explained(Path(self._board.log_dir)):
                self._board.close()

    def _rewind(self, epochs: int) -> None:
        """Take back lines of epochs that will be done again: a kill fell between them and the state."""
        assert self._metrics is not None
        lines = self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
        kept = [line for line in lines[:epochs] if line.endswith(b"\n")]
        if len(kept) < len(lines):
            write_bytes(self._metrics, b"".join(kept))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say which file or folder could not be written; what a failed write raises names none."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error.strerror}); make room, then run the same command again to go on"
        ) from error


def shown(extent: Extent, done: int) -> Bar | Lines:
    """Return what shows on stderr how far a training is: a bar on a terminal, elsewhere lines."""
    return Bar(extent, done) if sys.stderr.isatty() else Lines(extent, done)


def validation_scores(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a line of metrics as `report` has them."""
    return {key.removeprefix("val_"): value for key, value in line.items() if key.startswith("val_")}


class Bar:
    """A bar of batches; stdout is for results."""

    def __init__(self, extent: Extent, done: int) -> None:
        total = extent.epochs * extent.steps
        self._bar = tqdm(total=total, initial=done, unit="step", file=sys.stderr, **_size())
        self._extent = extent

    def step(self, done: int, values: dict[str, str]) -> None:
        """Draw it."""
        epoch = min(-(-done // self._extent.steps), self._extent.epochs)
        self._bar.set_description(f"epoch {epoch} of {self._extent.epochs}", refresh=False)
        self._bar.set_postfix(values, refresh=False)
        self._bar.update(done - self._bar.n)

    def scoring(self, epoch: int, done: int, images: int) -> None:
        """Say what it waits for."""
        self._bar.set_description(f"epoch {epoch} of {self._extent.epochs}, scoring {done}/{images}")

    def close(self) -> None:
        """End it."""
        self._bar.close()


def _size() -> dict[str, Any]:
    """Return the size of a terminal that does not say its own, for which tqdm would draw nothing."""
    with suppress(OSError, ValueError):
        if os.get_terminal_size(sys.stderr.fileno()).columns == 0:
            return {"ncols": 100, "nrows": 24}
    return {}


class Lines:
    """A line of the log every 30 s, for files and for terminals that are none."""

    def __init__(self, extent: Extent, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._extent, self._clock, self._begun = extent, clock, (clock(), done)
        self._said = self._begun[0]

    def step(self, done: int, values: dict[str, str]) -> None:
        """Say how far it is, and for how long it will go on at this speed."""
        if not self._is_time():
            return
        steps, epochs = self._extent.steps, self._extent.epochs
        began, first = self._begun
        left = (self._said - began) / max(1, done - first) * (epochs * steps - done)
        _log.info(
            "epoch %d of %d, step %d of %d: %s, about %s left",
            min(-(-done // steps), epochs), epochs, done, epochs * steps,
            ", ".join(f"{key} {value}" for key, value in values.items()), _minutes(left),
        )  # fmt: skip

    def scoring(self, epoch: int, done: int, images: int) -> None:
        """Say what is waited for."""
        if self._is_time():
            _log.info("epoch %d of %d: %d of %d images scored", epoch, self._extent.epochs, done, images)

    def close(self) -> None:
        """Say nothing more."""

    def _is_time(self) -> bool:
        now = self._clock()
        if now - self._said < _EVERY:
            return False
        self._said = now
        return True


def _minutes(seconds: float) -> str:
    """Write a time to come as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _flat(values: dict[str, Any], before: str = "") -> dict[str, float]:
    """Flatten nested metrics into slash-separated keys, without missing values."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{key}/")
        elif value is not None:
            flat[before + key] = float(value)
    return flat
