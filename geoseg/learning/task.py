"""What Lightning's Trainer runs: one optimisation step, and the scores of an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from geoseg.datasets.dataset import Pair, Sample
from geoseg.errors import DataError
from geoseg.grid.tiling import Tiling
from geoseg.learning.augment import Augment
from geoseg.learning.config import TrainConfig
from geoseg.learning.losses import Loss
from geoseg.learning.metrics import Confusion
from geoseg.learning.scoring import score_image


class SegmentationTask(lightning.LightningModule):  # type: ignore[misc]  # seen as Any
    """Train a network on chips, score it on whole images.

    Parameters
    ----------
    network : Module
    loss : Loss
    config : TrainConfig
    train, val : sequence of Pair
        Images that the indices in a batch speak of.
    tiling : Tiling
        Tiles of the scores.
    device, precision : str
        Where and how the scores are computed (the Trainer sees to the steps).
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        config: TrainConfig,
        *,
        train: Sequence[Pair],
        val: Sequence[Pair],
        tiling: Tiling,
        device: str,
        precision: str,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.confusion: Confusion | None = None
        self._loss, self._config, self._tiling = loss, config, tiling
        self._device_name, self._precision = device, precision
        self._train, self._val = train, val
        self._losses: list[float] = []
        # Lightning trains in the mode it finds, and a new model is in evaluation mode.
        self.train()
        change = config.augment
        self._augment = Augment(
            symmetries=change.symmetries == "all",
            brightness=change.brightness,
            contrast=change.contrast,
            per_band=change.per_band,
        )

    def train(self, mode: bool = True) -> SegmentationTask:  # noqa: FBT001, FBT002 - torch's own signature
        """Switch between training and evaluation; batch statistics stay as they are where so configured."""
        super().train(mode)
        if mode and not self._config.batch_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def training_step(self, batch: Sample) -> Tensor:
        """Return the loss of a batch, changed at random as (seed, step, rank) say.

        Raises
        ------
        DataError
            If the loss is not finite: the step and the images of the batch.
        """
        key = (self._config.seed, self.global_step, self.global_rank)
        image, mask, _ = self._augment(batch["image"], batch["mask"], batch["valid"], key)
        loss = self._loss(self.network(image.contiguous(memory_format=torch.channels_last)), mask)
        value = float(loss.detach())
        if not math.isfinite(value):
            names = sorted({self._train[int(i)].name for i in batch["scene"]})
            raise DataError(
                f"the loss is {value:g} at step {self.global_step} on chips of {', '.join(names)}; "
                "look at their values, or lower train.learning_rate"
            )
        self._losses.append(value)
        return loss

    def take_mean_loss(self) -> float:
        """Return the mean loss since this was last asked."""
        mean = math.fsum(self._losses) / len(self._losses) if self._losses else math.nan
        self._losses.clear()
        return mean

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self.confusion = None

    def validation_step(self, batch: int) -> None:
        """Count the pixels of one whole image."""
        counts = score_image(
            self.network,
            self._val[int(batch)],
            self._tiling,
            device=self._device_name,
            precision=self._precision,
        )
        self.confusion = counts if self.confusion is None else self.confusion + counts

    def configure_optimizers(self) -> Any:
        """AdamW under a one-cycle schedule over all steps of the run."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self._config.learning_rate, weight_decay=self._config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self._config.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
