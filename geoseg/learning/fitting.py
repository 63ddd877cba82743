"""Run Lightning's training loop."""

from __future__ import annotations

import logging
import signal
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Final

from geoseg.datasets.dataset import Chips
from geoseg.datasets.loading import loader
from geoseg.learning.batches import Batches
from geoseg.learning.consistency import unlabelled
from geoseg.learning.course import Course
from geoseg.learning.depthwise import depthwise_in_float32
from geoseg.learning.lightning_loop import lightning
from geoseg.learning.preparation import PreparedTraining
from geoseg.learning.process_state import Interrupted, listening, quiet_lightning, rank
from geoseg.learning.records import Extent, Records
from geoseg.learning.sampling import sampler_of, unlabelled_sampler_of
from geoseg.learning.state import TrainingPosition, load_state
from geoseg.learning.task import SegmentationTask
from geoseg.progress import OnProgress

_LIGHTNING_PRECISION: Final = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_log = logging.getLogger(__name__)


def fit(run: PreparedTraining, folder: Path, base: TrainingPosition, progress: OnProgress | None) -> None:
    """Run Lightning's loop from `base`, or where it stopped since; the best epoch is in the folder afterwards.

    Parameters
    ----------
    run : Run
        The training.
    folder : Path
        Folder of the run.
    base : Progress
        Where the training begins that has no state yet.
    progress : callable, optional
        Called with (done, total, what): the steps of the training.
    """
    config = run.config.train
    beside = unlabelled_sampler_of(run) if config.consistency else None
    batches = Batches(sampler_of(run), run.batch_size, config.accumulate, beside=beside)
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
        spread=run.spread,
        learning_rate=run.learning_rate,
        steps=(config.epochs - base.epoch) * batches.count // config.accumulate,
    )
    first = rank(run.config.train.devices) == 0
    records = Records(folder if first else None, run.classes, extent, begin, progress if first else None)
    try:
        with quiet_lightning(), listening() as interruption:
            course = Course(
                run=run, task=task, batches=batches, folder=folder, records=records,
                interruption=interruption, base=base, state=state,
            )  # fmt: skip
            if not course.over:
                _loop(run, task, course)
    except Interrupted as stop:
        _log.warning("stopped; the state is saved in %s; the same command continues it", folder)
        if stop.signum == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise KeyboardInterrupt from None
    finally:
        records.close()
        run.model.network.to("cpu").eval()


def _loop(run: PreparedTraining, task: SegmentationTask, course: Course) -> None:
    """Run the steps with Lightning's Trainer."""
    config = run.config.train
    pairs = run.splits["train"]
    chips = loader(
        Chips([*pairs, *unlabelled(pairs)]),
        course.batches,
        course.batches.size,
        workers=config.workers,
        start_method=config.start_method,
        pin_memory=run.device == "cuda",
    )
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(run.device, run.device),
        devices=config.devices,
        # Weights of encoders that are frozen, or shortened by encoder_depth, get no gradients.
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
    slow_depthwise = run.device == "cpu" and run.precision == "bf16"
    with closing(chips), depthwise_in_float32(run.model.network) if slow_depthwise else nullcontext():
        trainer.fit(task, chips)
