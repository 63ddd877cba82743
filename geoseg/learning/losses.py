"""What training makes small."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.datasets.dataset import IGNORED


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
    return total / weight.clamp_min(1e-12)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, ``2 Σ p t / (Σ p + Σ t)``, averaged over the classes of the batch.

    Sums run over all pixels of the batch that count. Classes that no pixel of the batch is labelled with are
    left out: their coefficient says nothing but 0. Without any counted pixel the loss is 0.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float
    target : Tensor, (N, row, col) int64
        Channel, or IGNORED.
    """
    counted = (target != IGNORED).unsqueeze(1)
    probabilities = torch.softmax(logits.float(), dim=1) * counted
    truth = torch.zeros_like(probabilities).scatter_(1, target.clamp_min(0).unsqueeze(1), 1.0) * counted
    over_pixels = (0, 2, 3)
    both = (probabilities * truth).sum(over_pixels)
    either = probabilities.sum(over_pixels) + truth.sum(over_pixels)
    present = truth.sum(over_pixels) > 0
    losses = torch.where(present, 1 - 2 * both / either.clamp_min(1e-12), 0.0)
    return losses.sum() / present.sum().clamp_min(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """``cross_entropy * CE + dice * Dice``.

    Parameters
    ----------
    cross_entropy, dice : float
        Share of each part.
    class_weights : tuple of float
        Weight of each channel in the cross-entropy; empty: all alike.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0
    class_weights: tuple[float, ...] = field(default=())

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of a batch."""
        weights = torch.tensor(self.class_weights, device=logits.device) if self.class_weights else None
        loss = self.cross_entropy * cross_entropy(logits, target, weights)
        return loss + self.dice * dice(logits, target) if self.dice else loss
