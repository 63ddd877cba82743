"""What Lightning's Trainer runs: one optimisation step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from geoseg.datasets.dataset import Pair, Sample
from geoseg.errors import DataError
from geoseg.learning.augment import Augment
from geoseg.learning.averaging import AveragedWeights
from geoseg.learning.config import TrainConfig
from geoseg.learning.losses import Loss
from geoseg.learning.optimizers import parameter_groups
from geoseg.learning.schedules import build_schedule


class SegmentationTask(lightning.LightningModule):  # type: ignore[misc]  # seen as Any
    """Train a network on chips.

    Parameters
    ----------
    network : Module
    loss : Loss
    config : TrainConfig
    pairs : sequence of Pair
        Images that the indices in a batch speak of.
    learning_rate : float
        The largest of the schedule.
    steps : int
        Optimizer steps of the whole training.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        config: TrainConfig,
        *,
        pairs: Sequence[Pair],
        learning_rate: float,
        steps: int,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.number = 0
        """Batches done since the beginning of the training, by this rank."""
        self.last_loss = math.nan
        self._loss, self._config, self._pairs = loss, config, pairs
        self._learning_rate, self._steps = learning_rate, steps
        self._frozen = False
        self.average: AveragedWeights | None = None
        self._augment = Augment(**config.augment.model_dump())
        # Lightning trains in the mode it finds, and a new model is in evaluation mode.
        self.train()

    def freeze_encoder(self, frozen: bool) -> None:  # noqa: FBT001 - a setter
        """Let the encoder learn, or keep it with its batch statistics as it is."""
        self._frozen = frozen
        for parameter in self._encoder.parameters() if self._encoder is not None else ():
            parameter.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> SegmentationTask:  # noqa: FBT001, FBT002 - torch's own signature
        """Switch between training and evaluation; statistics stay as they are where so configured."""
        super().train(mode)
        if mode and not self._config.batch_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        if mode and self._frozen and self._encoder is not None:
            self._encoder.eval()
        return self

    def start_average(self) -> None:
        """Begin to average the weights, on the device where the network is by now."""
        if self._config.average:
            decay = 1 - 1 / max(1.0, self._config.average * self._steps)
            self.average = AveragedWeights(self.network, decay)

    @property
    def _encoder(self) -> nn.Module | None:
        encoder = getattr(self.network, "encoder", None)
        return encoder if isinstance(encoder, nn.Module) else None

    def training_step(self, batch: Sample) -> Tensor:
        """Return the loss of a batch, changed at random as (seed, batch number, rank) say.

        Raises
        ------
        DataError
            If the loss is not finite: the step and the images of the batch.
        """
        key = (self._config.seed, self.number, self.global_rank)
        image, mask, _ = self._augment(batch["image"], batch["mask"], batch["valid"], key)
        loss = self._loss(self.network(image.contiguous(memory_format=torch.channels_last)), mask)
        self.last_loss = float(loss.detach())
        if not math.isfinite(self.last_loss):
            names = sorted({self._pairs[int(i)].name for i in batch["scene"]})
            raise DataError(
                f"the loss is {self.last_loss:g} at step {self.number} on chips of {', '.join(names)}; "
                "look at their values, or lower train.learning_rate"
            )
        self.number += 1
        return loss

    def configure_optimizers(self) -> Any:
        """Optimizer, and a schedule over all steps of the run."""
        config = self._config
        groups = parameter_groups(
            self.network,
            learning_rate=self._learning_rate,
            weight_decay=config.weight_decay or 0.0,
            encoder_rate=config.encoder_rate,
        )
        optimizer = config.optimizer.build(groups, self._learning_rate, config.weight_decay or 0.0)
        schedule = build_schedule(
            config.schedule, optimizer, self._steps, cycle_momentum=config.optimizer.cycles_momentum
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
