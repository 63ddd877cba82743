"""Lightning callback of a training: saves the state, scores epochs, keeps the best model, stops."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from geoseg.engine.folded import folded
from geoseg.errors import DataError, NotANumberError
from geoseg.learning.batches import Batches
from geoseg.learning.lightning_loop import lightning
from geoseg.learning.monitor import Standing, beats, report
from geoseg.learning.preparation import PreparedTraining
from geoseg.learning.process_state import Interrupted, Interruption
from geoseg.learning.records import Records
from geoseg.learning.scoring import Score
from geoseg.learning.state import State, TrainingPosition, restore_random, save_state
from geoseg.learning.stepping import PlateauSchedule
from geoseg.learning.story import BEST
from geoseg.learning.task import SegmentationTask
from geoseg.models.model import Model

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Course(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Everything that happens between the steps of a training.

    Law: the state saved between two steps, and the files that it refers to, are those that an uninterrupted run
    has at that moment; resuming from it gives the same weights (on a CPU, with the same number of threads).

    Parameters
    ----------
    run : Run
        The training.
    task : SegmentationTask
        The optimisation step.
    batches : Batches
        The batches of each epoch.
    folder : Path
        Folder of the run.
    records : Records
        Writes metrics and progress.
    interruption : Interruption
        Remembers signals.
    base : Progress
        Starting position: after the epochs of the training that is extended, if any.
    state : State or None
        Saved state to resume from.
    """

    run: PreparedTraining
    task: SegmentationTask
    batches: Batches
    folder: Path
    records: Records
    interruption: Interruption
    base: TrainingPosition
    state: State | None = None

    def __post_init__(self) -> None:
        """Set the position from the state."""
        self.progress = replace(self.state.progress if self.state else self.base)
        self.task.number = self.progress.epoch * self.batches.count + self.progress.batch
        self.batches.begin(self.progress.epoch, self.progress.batch)
        self._saved = time.monotonic()
        self._start_clocks()

    @property
    def over(self) -> bool:
        """Whether no epoch is left to train."""
        return self.progress.stopped or self.progress.epoch >= self.run.config.train.epochs

    def enter(self, trainer: Any) -> None:
        """Set the first epoch of Lightning's loop before it begins."""
        trainer.fit_loop.epoch_progress.current.processed = self.progress.epoch
        trainer.fit_loop.epoch_progress.current.completed = self.progress.epoch

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        """Restore the states of optimizer, schedule and scaler; take over the signals from Lightning."""
        self.interruption.listen()
        self.task.start_average()
        self._saved = time.monotonic()
        self._start_clocks()
        if self.state is not None:
            parts = self.state.parts
            if self.task.average is not None:
                self.task.average.load_state_dict(parts["average"])
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
        """Set the first batch of the epoch, and freeze or unfreeze the encoder."""
        self.batches.begin(self.progress.epoch, self.progress.batch)
        self.task.freeze_encoder(self.progress.epoch < self.run.config.train.freeze_encoder)

    def on_train_batch_start(self, *_: Any) -> None:
        """Restore the random generators at the first batch, since the set-up before it draws from them."""
        if self.state is not None:
            restore_random(self.state.random)
            self.state = None

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count the batch; save the state if it is time to, or a signal asks for it."""
        self.progress.batch += 1
        self.progress.loss_sum += self.task.last_loss
        self.progress.loss_count += 1
        self.records.step(self.progress, self.task.last_loss)
        config = self.run.config.train
        if self.progress.batch % config.accumulate:
            return  # accumulated gradients are not part of the state
        if self.task.average is not None:
            self.task.average.update(self.task.network)
        if self.interruption.signum is not None:
            self._stop(trainer)
        if time.monotonic() - self._saved > 60 * config.save_minutes:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        """Score the epoch, keep the best, save the state, and stop if there was no improvement for long."""
        self.finish_epoch(trainer)
        trainer.should_stop = self.progress.stopped

    def finish_epoch(self, trainer: Any) -> None:
        """Do the work after the last batch of an epoch; repeated if the run was stopped during it."""
        score, network = self._scored(trainer)
        progress = self.progress
        self._count_time()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        loss = self._mean(trainer, progress.loss_sum / max(1, progress.loss_count))
        progress.loss_sum, progress.loss_count = 0.0, 0
        self.records.epoch(progress, loss, score, trainer)
        found = self._standing(score)
        better = progress.best_epoch == 0 or beats(found, progress.best)
        if better:
            progress.best, progress.best_epoch = found, progress.epoch
        if trainer.is_global_zero and (better or self._keeps_last):
            model = Model(self.run.model.card, network)
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

    def _scored(self, trainer: Any) -> tuple[Score, nn.Module]:
        """Score the network and its averaged weights, if any; return the better one, or that which is kept."""
        network = self.task.network
        if self._keeps_last and self.task.average is not None:
            network = self.task.average.network
        try:
            score = self._together(trainer, self._score(trainer, network))
        except NotANumberError as error:
            if not error.of_network:
                raise
            raise DataError(
                f"the network's output is not a number after epoch {self.progress.epoch + 1} of the training; lower "
                "train.learning_rate"
            ) from error
        if (average := self.task.average) is not None and not self._keeps_last:
            try:
                own = self._score(trainer, average.network)
            except NotANumberError:  # training diverged, which the next loss will report
                own = replace(Score.nothing(self.run.splits["val"][0].channels), losses=(math.inf, 1))
            averaged = self._together(trainer, own)
            if averaged.loss < math.inf and beats(self._standing(averaged), self._standing(score)):
                return averaged, average.network
        return score, network

    @property
    def _keeps_last(self) -> bool:
        return self.run.config.train.keep == "last"

    def _standing(self, score: Score) -> Standing | None:
        return self.run.monitor.standing(report(score, self.run.classes))

    def _score(self, trainer: Any, network: nn.Module) -> Score:
        """Score a network on this rank's share of the validation images."""
        pairs, network = self.run.splits["val"], folded(network)
        total = Score.nothing(pairs[0].channels)
        own = pairs[trainer.global_rank :: trainer.world_size]
        for done, pair in enumerate(own, start=1):
            total += self.run.scorer.image(network, pair)
            self.records.scoring(self.progress, done, len(own))
            if self.interruption.signum is not None:
                self._stop(trainer)
        self.task.train()
        return total

    def _together(self, trainer: Any, own: Score) -> Score:
        """Return the sum of the scores of all ranks."""
        if trainer.world_size == 1:
            return own

        def add(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
            here = torch.from_numpy(numbers).to(self.task.device)
            found: npt.NDArray[Any] = trainer.strategy.reduce(here, reduce_op="sum").cpu().numpy()
            return found

        return own.added_by(add)

    def _mean(self, trainer: Any, value: float) -> float:
        """Return the mean of a value over all ranks."""
        if trainer.world_size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=self.task.device)
        return float(trainer.strategy.reduce(number, reduce_op="mean"))

    def _start_clocks(self) -> None:
        self._clock, self._cpu_clock = time.monotonic(), time.process_time()

    def _count_time(self) -> None:
        """Add the time since the clocks were last read."""
        self.progress.seconds += time.monotonic() - self._clock
        self.progress.cpu_seconds += time.process_time() - self._cpu_clock
        self._start_clocks()

    def _stop(self, trainer: Any) -> None:
        self._save(trainer)
        assert self.interruption.signum is not None
        raise Interrupted(self.interruption.signum)

    def _save(self, trainer: Any) -> None:
        """Save the state; only between two optimizer steps."""
        self._count_time()
        self._saved = time.monotonic()
        if not trainer.is_global_zero:
            return
        parts = {
            "network": self.task.network.state_dict(),
            "average": {} if self.task.average is None else self.task.average.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "scaler": trainer.precision_plugin.state_dict(),
        }
        save_state(self.folder, State(progress=self.progress, parts=parts), self.task.number)
