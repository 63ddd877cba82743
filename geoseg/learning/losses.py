"""What training makes small."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.datasets.dataset import IGNORED
from geoseg.grid.legend import Task

_SMALLEST = 1e-12
"""Stands for the empty sum in a denominator; every real one is larger."""


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Weighted mean of ``-log softmax(logits)[target]`` over the pixels that count; 0 where none does.

    Law: pixels labelled IGNORED change neither the value nor any gradient but their own, which is 0.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float
    target : Tensor, (N, row, col) int64
        Channel, or IGNORED.
    class_weights : Tensor, (channel,) float32, optional
    """
    logits = logits.float()
    total = functional.cross_entropy(
        logits, target, weight=class_weights, ignore_index=IGNORED, reduction="sum"
    )
    counted = target != IGNORED
    if class_weights is None:
        weight = counted.sum().to(logits.dtype)
    else:
        weight = (class_weights[target.clamp_min(0)] * counted).sum()
    return total / weight.clamp_min(_SMALLEST)


def binary_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted mean of ``-log sigmoid(±logits)`` over the pixels and classes that count; 0 where none does.

    Law: as of `cross_entropy`.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float
    target : Tensor, (N, channel, row, col) int64
        1, 0 or IGNORED.
    weights : Tensor, (channel, 2) float32, optional
        Of the absence and of the presence of each class.
    """
    weight = (target != IGNORED).float()
    truth = target.clamp_min(0)
    if weights is not None:
        absent, present = (weights[:, i].view(1, -1, 1, 1) for i in (0, 1))
        weight = weight * torch.where(truth == 1, present, absent)
    total = functional.binary_cross_entropy_with_logits(
        logits.float(), truth.float(), weight=weight, reduction="sum"
    )
    return total / weight.sum().clamp_min(_SMALLEST)


def dice(logits: Tensor, target: Tensor, task: Task = "multiclass") -> Tensor:
    """One minus the soft Dice coefficient, ``2 Σ p t / (Σ p + Σ t)``, averaged over the classes of the batch.

    Sums run over all pixels of the batch that count. Classes that no pixel of the batch is labelled with are
    left out: their coefficient says nothing but 0. Without any counted pixel the loss is 0.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float
    target : Tensor, int64
        Multiclass: (N, row, col) channel or IGNORED; else (N, channel, row, col) 1, 0 or IGNORED.
    task : str
    """
    logits = logits.float()
    if task == "multiclass":
        counted = (target != IGNORED).unsqueeze(1)
        probabilities = torch.softmax(logits, dim=1) * counted
        truth = torch.zeros_like(probabilities).scatter_(1, target.clamp_min(0).unsqueeze(1), 1.0) * counted
    else:
        counted = target != IGNORED
        probabilities = torch.sigmoid(logits) * counted
        truth = target.clamp_min(0).to(probabilities.dtype)
    over_pixels = (0, 2, 3)
    both = (probabilities * truth).sum(over_pixels)
    either = probabilities.sum(over_pixels) + truth.sum(over_pixels)
    present = truth.sum(over_pixels) > 0
    losses = torch.where(present, 1 - 2 * both / either.clamp_min(_SMALLEST), 0.0)
    return losses.sum() / present.sum().clamp_min(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """``cross_entropy * CE + dice * Dice``, by softmax or, for binary and multilabel tasks, by sigmoid.

    Parameters
    ----------
    task : str
    cross_entropy, dice : float
        Share of each part.
    class_weights : tuple of float
        In the cross-entropy, empty: all alike. Multiclass: of each channel; binary: of 0 and 1; multilabel: of
        the presence of each class.
    """

    task: Task = "multiclass"
    cross_entropy: float = 1.0
    dice: float = 1.0
    class_weights: tuple[float, ...] = field(default=())

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of a batch; `target` is a batch of samples' masks."""
        weights = torch.tensor(self.class_weights, device=logits.device) if self.class_weights else None
        ignored = target == IGNORED
        # Filled, not weighted: a logit that overflowed in the padding would be infinity times 0.
        logits = logits.masked_fill(ignored if self.task == "multilabel" else ignored.unsqueeze(1), 0.0)
        if self.task == "multiclass":
            entropy = cross_entropy(logits, target, weights)
        else:
            target = target.unsqueeze(1) if self.task == "binary" else target
            entropy = binary_cross_entropy(logits, target, self._by_presence(weights))
        loss = self.cross_entropy * entropy
        return loss + self.dice * dice(logits, target, self.task) if self.dice else loss

    def _by_presence(self, weights: Tensor | None) -> Tensor | None:
        """(channel, 2) weights of absence and presence."""
        if weights is None or self.task == "binary":
            return None if weights is None else weights.view(1, 2)
        return torch.stack([torch.ones_like(weights), weights], dim=1)
