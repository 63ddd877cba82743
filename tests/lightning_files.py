"""Checkpoints as Lightning writes them, without a training."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any


def save_task(task: Any, path: Path) -> None:
    """Save a LightningModule through Lightning's own trainer."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
        trainer.strategy.connect(task)
        trainer.save_checkpoint(path)
