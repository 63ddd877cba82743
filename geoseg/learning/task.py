"""The optimisation step, as a LightningModule, and the average of the weights over the steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.datasets.dataset import Pair, Sample
from geoseg.errors import DataError
from geoseg.learning.augment import Augment, Key
from geoseg.learning.batch_norm import BATCH_NORMS
from geoseg.learning.config import TrainConfig
from geoseg.learning.consistency import STRONG, disagreement, weight_at
from geoseg.learning.lightning_loop import lightning
from geoseg.learning.losses import Loss
from geoseg.learning.optimizers import parameter_groups
from geoseg.learning.stepping import build_schedule


class AveragedWeights:
    """Exponential moving average of a network's weights and batch statistics.

    After step n the average moves by ``1 - min(decay, (1 + n) / (10 + n))`` towards the network (the rise is that of
    TensorFlow's ExponentialMovingAverage), so that the random weights of the beginning are soon forgotten. Averages
    of late steps are often better than the last step (Polyak and Juditsky 1992, doi:10.1137/0330046).

    Parameters
    ----------
    network : Module
        The network that is trained; a copy of it holds the average.
    decay : float
        Weight of the previous average, from 0 to below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average after a step."""
        self._steps += 1
        share = 1 - min(self._decay, (1 + self._steps) / (10 + self._steps))
        new = network.state_dict()
        for name, own in self.network.state_dict().items():
            if own.is_floating_point():
                own.lerp_(new[name], share)
            else:  # how many batches the statistics saw
                own.copy_(new[name])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on."""
        return {"network": self.network.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.network.load_state_dict(state["network"])
        self._steps = int(state["steps"])


class SegmentationTask(lightning.LightningModule):  # type: ignore[misc]  # seen as Any
    """Trains a network on chips.

    Parameters
    ----------
    network : Module
        The network.
    loss : Loss
        The training loss.
    config : TrainConfig
        Training settings.
    pairs : sequence of Pair
        Images to which the indices in a batch refer.
    spread : float
        Standard deviation of the training pixels in the network's input, the unit of brightness and noise.
    learning_rate : float
        Largest learning rate of the schedule.
    steps : int
        Number of optimizer steps of the whole training.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        config: TrainConfig,
        *,
        pairs: Sequence[Pair],
        spread: float,
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
        self._augment = Augment(**config.augment.model_dump()).in_units_of(spread)
        self._strong = STRONG.in_units_of(spread)
        moves = {name: getattr(config.augment, name) for name in ("symmetries", "rotate", "scale", "crop")}
        self._moved = Augment(**moves)
        # Lightning keeps the mode of the module, and a new model is in evaluation mode.
        self.train()

    def freeze_encoder(self, frozen: bool) -> None:  # noqa: FBT001 - a setter
        """Freeze or unfreeze the encoder with its batch statistics."""
        self._frozen = frozen
        for parameter in self._encoder.parameters() if self._encoder is not None else ():
            parameter.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> SegmentationTask:  # noqa: FBT001, FBT002 - torch's own signature
        """Switch between training and evaluation; batch statistics stay fixed if so configured."""
        super().train(mode)
        if mode and not self._config.batch_statistics:
            for module in self.network.modules():
                if isinstance(module, BATCH_NORMS):
                    module.eval()
        if mode and self._frozen and self._encoder is not None:
            self._encoder.eval()
        return self

    def start_average(self) -> None:
        """Start averaging the weights, on the network's current device."""
        if self._config.average:
            decay = 1 - 1 / max(1.0, self._config.average * self._steps)
            self.average = AveragedWeights(self.network, decay)

    @property
    def _encoder(self) -> nn.Module | None:
        encoder = getattr(self.network, "encoder", None)
        return encoder if isinstance(encoder, nn.Module) else None

    def training_step(self, batch: Sample) -> Tensor:
        """Return the loss of a batch, augmented as determined by (seed, batch number, rank).

        Raises
        ------
        DataError
            If the loss is not finite; names the step and the images of the batch.
        """
        key = (self._config.seed, self.number, self.global_rank)
        loss = (
            self._loss_with_unlabelled(batch, key) if self._config.consistency else self._own_loss(batch, key)
        )
        self.last_loss = float(loss.detach())
        if not math.isfinite(self.last_loss):
            names = sorted({self._pairs[int(i)].name for i in batch["scene"]})
            raise DataError(
                f"the loss is {self.last_loss:g} at step {self.number} on chips of {', '.join(names)}; "
                "look at their values, or lower train.learning_rate"
            )
        self.number += 1
        return loss

    def _own_loss(self, batch: Sample, key: Key) -> Tensor:
        image, mask, _ = self._augment(batch["image"], batch["mask"], batch["valid"], key)
        loss: Tensor = self._loss(self.network(image.contiguous(memory_format=torch.channels_last)), mask)
        return loss

    def _loss_with_unlabelled(self, batch: Sample, key: Key) -> Tensor:
        """Return the loss plus the disagreement with the averaged weights on the second half of the batch."""
        assert self.average is not None, "the configuration was checked"
        images, masks, valids = batch["image"], batch["mask"], batch["valid"]
        half = len(images) // 2
        image, mask, _ = self._augment(images[:half], masks[:half], valids[:half], key)
        seen, where, valid = self._moved(images[half:], masks[half:], valids[half:], (*key, 1))
        seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            teacher = self.average.network(seen)
        changed, _, _ = self._strong(seen, where, valid, (*key, 2))
        both = torch.cat([image, changed]).contiguous(memory_format=torch.channels_last)
        logits = self.network(both)
        looked_at = (where if where.ndim == 3 else where[:, 0]) >= 0
        other = disagreement(logits[half:], teacher, looked_at, self._loss.task)
        done = self.number / (self._steps * self._config.accumulate)
        loss: Tensor = self._loss(logits[:half], mask) + weight_at(done, self._config.consistency) * other
        return loss

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule over all steps of the run."""
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
