"""The course of a training: its state saved, its epochs scored, its best model kept, its end recognised."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import numpy.typing as npt
import torch

from geoseg.engine.folded import folded
from geoseg.learning.batches import Batches
from geoseg.learning.interruption import Interrupted, Interruption
from geoseg.learning.plateau import PlateauSchedule
from geoseg.learning.preparation import Run
from geoseg.learning.records import Records
from geoseg.learning.scoring import Score
from geoseg.learning.state import Progress, State, restore_random, save_state
from geoseg.learning.story import BEST
from geoseg.learning.task import SegmentationTask

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Course(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """What happens between the steps of a training.

    Law: the state saved between two steps, and the files it speaks of, are what a run that was never stopped
    has at that moment; going on from it gives the same weights (on a CPU, with the same threads).

    Parameters
    ----------
    run : Run
    task : SegmentationTask
    batches : Batches
    folder : Path
    records : Records
    interruption : Interruption
    base : Progress
        Where it began: after the epochs of the training that it adds epochs to.
    state : State or None
        To go on from.
    """

    run: Run
    task: SegmentationTask
    batches: Batches
    folder: Path
    records: Records
    interruption: Interruption
    base: Progress
    state: State | None = None

    def __post_init__(self) -> None:
        """Begin where the state says."""
        self.progress = replace(self.state.progress if self.state else self.base)
        self.task.number = self.progress.epoch * self.batches.count + self.progress.batch
        self.batches.begin(self.progress.epoch, self.progress.batch)
        self._saved = self._clock = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether there is no epoch left to train."""
        return self.progress.stopped or self.progress.epoch >= self.run.config.train.epochs

    def enter(self, trainer: Any) -> None:
        """Tell Lightning's loop, before it begins, which epoch comes first."""
        trainer.fit_loop.epoch_progress.current.processed = self.progress.epoch
        trainer.fit_loop.epoch_progress.current.completed = self.progress.epoch

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        """Give optimizer, schedule and scaler their states; listen to signals, which Lightning took."""
        self.interruption.listen()
        self._saved = self._clock = time.monotonic()
        if self.state is not None:
            parts = self.state.parts
            trainer.optimizers[0].load_state_dict(parts["optimizer"])
            trainer.lr_scheduler_configs[0].scheduler.load_state_dict(parts["schedule"])
            if parts["scaler"]:
                trainer.precision_plugin.load_state_dict(parts["scaler"])
            if self.progress.batch == self.batches.count:  # stopped while its epoch was scored
                restore_random(self.state.random)
                self.finish_epoch(trainer)
                self.enter(trainer)
                trainer.should_stop = self.progress.stopped

    def on_train_epoch_start(self, *_: Any) -> None:
        """Say what the epoch begins with, before its batches are asked for."""
        self.batches.begin(self.progress.epoch, self.progress.batch)
        self.task.freeze_encoder(self.progress.epoch < self.run.config.train.freeze_encoder)

    def on_train_batch_start(self, *_: Any) -> None:
        """Restore the random generators at the first batch: whatever was set up before it drew from them."""
        if self.state is not None:
            restore_random(self.state.random)
            self.state = None

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count the batch; save where it is time to, or a signal asks for it."""
        self.progress.batch += 1
        self.progress.loss_sum += self.task.last_loss
        self.progress.loss_count += 1
        self.records.step(self.progress, self.task.last_loss)
        config = self.run.config.train
        if self.progress.batch % config.accumulate:
            return  # gradients are no part of the state
        if self.interruption.signum is not None:
            self._stop(trainer)
        if time.monotonic() - self._saved > 60 * config.save_minutes:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        """Score the epoch, keep the best, save, and end where nothing got better for long."""
        self.finish_epoch(trainer)
        trainer.should_stop = self.progress.stopped

    def finish_epoch(self, trainer: Any) -> None:
        """Do what follows the last batch of an epoch; again, where a run was stopped while doing it."""
        score = self._score(trainer)
        progress = self.progress
        progress.seconds += time.monotonic() - self._clock
        self._clock = time.monotonic()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        loss = self._mean(trainer, progress.loss_sum / max(1, progress.loss_count))
        progress.loss_sum, progress.loss_count = 0.0, 0
        values = self.records.epoch(progress, loss, score, trainer)
        found = self.run.monitor.value(values)
        better = progress.best_epoch == 0 or self.run.monitor.better(found, progress.best)
        if better:
            progress.best, progress.best_epoch = found, progress.epoch
            if trainer.is_global_zero:
                model = self.run.model
                model.save(self.folder / BEST, weights=self.run.config.model.weights, overwrite=True)
        schedule = trainer.lr_scheduler_configs[0].scheduler
        if isinstance(schedule, PlateauSchedule):
            schedule.scored(better=better)
        patience = self.run.config.train.patience
        since = max(progress.best_epoch, self.base.epoch)
        if patience is not None and progress.epoch - since >= patience:
            progress.stopped = progress.epoch < self.run.config.train.epochs
            _log.info("no better %s for %d epochs: stopped", self.run.monitor.name, patience)
        self._save(trainer)

    def _score(self, trainer: Any) -> Score:
        """Score the validation images, each rank its share."""
        pairs, network = self.run.splits["val"], folded(self.task.network)
        total = Score.nothing(pairs[0].channels)
        own = pairs[trainer.global_rank :: trainer.world_size]
        for done, pair in enumerate(own, start=1):
            total += self.run.scorer.image(network, pair)
            self.records.scoring(self.progress, done, len(own))
            if self.interruption.signum is not None:
                self._stop(trainer)
        self.task.train()
        if trainer.world_size == 1:
            return total

        def add(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
            own = torch.from_numpy(numbers).to(self.task.device)
            found: npt.NDArray[Any] = trainer.strategy.reduce(own, reduce_op="sum").cpu().numpy()
            return found

        return total.added_by(add)

    def _mean(self, trainer: Any, value: float) -> float:
        """Mean of a number over all ranks."""
        if trainer.world_size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=self.task.device)
        return float(trainer.strategy.reduce(number, reduce_op="mean"))

    def _stop(self, trainer: Any) -> None:
        self._save(trainer)
        assert self.interruption.signum is not None
        raise Interrupted(self.interruption.signum)

    def _save(self, trainer: Any) -> None:
        """Save the state; between two optimizer steps only."""
        self.progress.seconds += time.monotonic() - self._clock
        self._saved = self._clock = time.monotonic()
        if not trainer.is_global_zero:
            return
        parts = {
            "network": self.task.network.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "scaler": trainer.precision_plugin.state_dict(),
        }
        save_state(self.folder, State(progress=self.progress, parts=parts), self.task.number)
