"""Losses that compare regions: Dice, Jaccard, Tversky, Lovász. Each is in 0 to 1, a mean over classes.

A class is compared over all labelled pixels of the batch.

A class without labelled pixels in the batch has no overlap to increase. With softmax it is left out: any
probability that it takes is missing in another class. With sigmoid nothing else would penalise it, so false
positives are penalised directly: its loss is its mean probability (for Lovász, the largest error). So the loss of
a class is 0 if the prediction is right, and has a gradient if it is not.

Law: pixels labelled IGNORED do not affect the value or the gradients of other pixels, and their own gradient is
0; without a labelled pixel the loss is 0. Logits are float32, and finite where they are ignored; the target of a
multiclass task is (N, row, col) channels, else (N, channel, row, col) 1 or 0, or IGNORED.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geoseg.datasets.dataset import IGNORED

_SMALLEST = 1e-12
"""Replaces an empty sum in a denominator; every real one is larger."""
_OVER_PIXELS = (0, 2, 3)


def tversky(logits: Tensor, target: Tensor, alpha: float = 0.5, beta: float = 0.5) -> Tensor:
    """Return ``1 - TP / (TP + alpha FP + beta FN)`` of soft counts (Salehi et al. 2017,
    doi:10.1007/978-3-319-67389-9_44).

    ``TP = Σ p t``, ``FP = Σ p - TP``, ``FN = Σ t - TP``. With 0.5 and 0.5 it is the Dice loss
    ``1 - 2 Σ p t / (Σ p + Σ t)`` (Milletari et al. 2016, doi:10.1109/3DV.2016.79), with 1 and 1 the Jaccard loss
    ``1 - Σ p t / (Σ p + Σ t - Σ p t)`` (Rahman and Wang 2016, doi:10.1007/978-3-319-50835-1_22).

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float32
        Output of the network.
    target : Tensor, int64
        Labels, in the form described in the module.
    alpha, beta : float
        Weights of false positives and false negatives, above 0.
    """
    probabilities, truth, counted = _layers(logits, target)
    both = torch.where(truth, probabilities, 0.0).sum(_OVER_PIXELS)
    predicted = torch.where(counted, probabilities, 0.0).sum(_OVER_PIXELS)
    labelled = truth.sum(_OVER_PIXELS)
    union = both + alpha * (predicted - both) + beta * (labelled - both)
    losses = 1 - both / union.clamp_min(_SMALLEST)
    present = kept = labelled > 0
    if target.ndim == 4:
        pixels = counted.sum(_OVER_PIXELS)
        losses, kept = torch.where(present, losses, predicted / pixels.clamp_min(1)), pixels > 0
    return torch.where(kept, losses, 0.0).sum() / kept.sum().clamp_min(1)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Return the Lovász extension of the Jaccard loss at the errors ``|t - p|`` (Berman et al. 2018, algorithm 1).

    doi:10.1109/CVPR.2018.00464. With sigmoid the errors are also those of probabilities, not of the paper's hinge, so
    that every term of a sum is of one scale.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float32
        Output of the network.
    target : Tensor, int64
        Labels, in the form described in the module.
    """
    probabilities, truth, counted = _layers(logits, target)
    errors = torch.where(truth, 1 - probabilities, probabilities)
    with torch.no_grad():
        counted = counted.expand_as(truth)
        kept = (truth if target.ndim == 3 else counted).flatten(2).any(2).any(0).nonzero().flatten().tolist()
        factors = torch.zeros_like(errors)
        for i in kept:
            found = _factors(errors[:, i].flatten(), truth[:, i].flatten(), counted[:, i].flatten())
            factors[:, i] = found.view_as(factors[:, i])
    return (errors * factors).sum() / max(1, len(kept))


def _factors(errors: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Return what each pixel of a class, in order of its error, adds to ``1 - intersection / union``."""
    # Ignored pixels come last, whatever ties there are, so they change no count and add nothing.
    order = _rising(torch.where(counted, -errors, 1.0))
    sorted_truth = truth[order]
    # Integer counts are exact; differences of two quotients near 1 would not be.
    seen = sorted_truth.cumsum(0, dtype=torch.int32)
    labelled = seen[-1]
    missed = torch.arange(1, len(order) + 1, dtype=torch.int32, device=order.device) - seen
    rest, union = (labelled - seen).float(), (labelled + missed).float()
    steps = torch.where(sorted_truth, 1 / union, rest / (union * (union - 1).clamp_min(1)))
    # For a class without labels only the largest error counts: one false positive makes the Jaccard index 0.
    steps[0] = torch.where(labelled == 0, 1.0, steps[0])
    return torch.empty_like(steps).scatter_(0, order, steps)


def _rising(values: Tensor) -> Tensor:
    """Return the order that sorts values; on the CPU by numpy, whose sort is four times as fast."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.argsort(values.numpy()))
    return values.argsort()


def _layers(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities and presence of each class, (N, channel, row, col), and where labels count."""
    if target.ndim == 3:
        target = target.unsqueeze(1)
        channels = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
        return torch.softmax(logits, dim=1), target == channels, target != IGNORED
    return torch.sigmoid(logits), target == 1, target != IGNORED
