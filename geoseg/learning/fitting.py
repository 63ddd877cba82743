"""Lightning's loop over the batches of a run."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Final

import lightning
import torch

from geoseg.datasets.dataset import Chips
from geoseg.datasets.loading import loader
from geoseg.learning.batches import Batches
from geoseg.learning.course import Course
from geoseg.learning.interruption import Interrupted, listening
from geoseg.learning.preparation import Run
from geoseg.learning.records import Extent, Records, shown
from geoseg.learning.sampling import sampler_of
from geoseg.learning.state import Progress, load_state
from geoseg.learning.surroundings import quiet_lightning, rank
from geoseg.learning.task import SegmentationTask

_LIGHTNING_PRECISION: Final = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_log = logging.getLogger(__name__)


def fit(run: Run, folder: Path, base: Progress, *, progress: bool) -> None:
    """Run Lightning's loop from `base`, or where it stopped since; the best epoch is in the folder afterwards.

    Parameters
    ----------
    run : Run
    folder : Path
        Of the run.
    base : Progress
        Where the training begins that has no state yet.
    progress : bool
        Whether to show on stderr how far it is.
    """
    config = run.config.train
    batches = Batches(sampler_of(run), run.batch_size, config.accumulate)
    state = load_state(folder)
    begin = state.progress if state else base
    if state is not None:
        run.model.network.load_state_dict(state.parts["network"])
        _log.info("going on in epoch %d of %d, batch %d", begin.epoch + 1, config.epochs, begin.batch + 1)
    extent = Extent(epochs=config.epochs, steps=batches.count)
    task = SegmentationTask(
        run.model.network,
        run.loss,
        config,
        pairs=run.splits["train"],
        learning_rate=run.learning_rate,
        steps=(config.epochs - base.epoch) * batches.count // config.accumulate,
    )
    first = rank(run.config.train.devices) == 0
    looked_at = shown(extent, begin.epoch * batches.count + begin.batch) if progress and first else None
    records = Records(folder if first else None, run.classes, extent, begin, looked_at)
    try:
        with quiet_lightning(), listening() as interruption:
            course = Course(
                run=run, task=task, batches=batches, folder=folder, records=records,
                interruption=interruption, base=base, state=state,
            )  # fmt: skip
            if not course.over:
                _loop(run, task, course)
    except Interrupted as stop:
        _log.warning("stopped; the state is saved in %s, the same command goes on", folder)
        if stop.signum == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise KeyboardInterrupt from None
    finally:
        records.close()
        run.model.network.to("cpu").eval()


def _loop(run: Run, task: SegmentationTask, course: Course) -> None:
    """Hand the steps to Lightning's Trainer."""
    config = run.config.train
    chips = loader(
        Chips(run.splits["train"]),
        course.batches,
        run.batch_size,
        workers=config.workers,
        start_method=config.start_method,
        pin_memory=run.device == "cuda",
    )
    # Loaders draw a number when they begin: from a generator of their own, or a run that goes on would differ.
    chips.generator = torch.Generator()
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(run.device, run.device),
        devices=config.devices,
        # Encoders cut short by encoder_depth, or frozen, have weights that take no part.
        strategy="ddp_find_unused_parameters_true" if config.devices > 1 else "auto",
        max_epochs=config.epochs,
        precision=_LIGHTNING_PRECISION[run.precision],
        gradient_clip_val=config.clip_gradient,
        accumulate_grad_batches=config.accumulate,
        callbacks=[course],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    course.enter(trainer)
    trainer.fit(task, chips)
