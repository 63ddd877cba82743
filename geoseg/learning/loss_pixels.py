"""Losses that are means over pixels: cross-entropies and focal loss.

Law: pixels labelled IGNORED do not affect the value or the gradients of other pixels, and their own gradient is
0; without a labelled pixel the loss is 0. Logits are float32, and finite where they are ignored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.datasets.dataset import IGNORED

_SMALLEST = 1e-12
"""Replaces an empty sum in a denominator; every real one is larger."""


def cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the weighted mean of ``-log softmax(logits)[target]``.

    With smoothing e, of ``(1 - e) w_t (-log p_t) + e / K Σ_c w_c (-log p_c)`` over K classes (Szegedy et al. 2016,
    doi:10.1109/CVPR.2016.308, weighted as torch does it), divided by the sum of all w_t.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float32
        Output of the network.
    target : Tensor, (N, row, col) int64
        Channel index, or IGNORED.
    weights : Tensor, (channel,) float32, optional
        Weight of each class; equal by default.
    smoothing : float
        Share e of each label that is spread over all classes.
    """
    total = functional.cross_entropy(
        logits, target, weight=weights, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
    )
    if weights is None:
        return total / (target != IGNORED).sum().clamp_min(1)
    return total / _of_channels(target, weights).sum().clamp_min(_SMALLEST)


def binary_cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the weighted mean of ``-log sigmoid(±logits)`` over pixels and classes.

    With smoothing e, labels are ``(1 - e) t + e / 2``; the weight stays that of the label.

    Parameters
    ----------
    logits : Tensor, (N, channel, row, col) float32
        Output of the network.
    target : Tensor, (N, channel, row, col) int64
        1, 0 or IGNORED.
    weights : Tensor, (channel, 2) float32, optional
        Weights of the absence and the presence of each class; equal by default.
    smoothing : float
        Label smoothing e.
    """
    weight = _of_presence(target, weights)
    truth = target.clamp_min(0).float()
    if smoothing:
        truth = truth * (1 - smoothing) + smoothing / 2
    total = functional.binary_cross_entropy_with_logits(logits, truth, weight=weight, reduction="sum")
    return total / weight.sum().clamp_min(_SMALLEST)


def focal(logits: Tensor, target: Tensor, weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Return the weighted mean of ``-(1 - p)^gamma log p``, p the probability of the label (Lin et al. 2017).

    doi:10.1109/ICCV.2017.324; with softmax if `target` has one channel index per pixel, else with sigmoid. At gamma 0
    it is the cross-entropy. The mean over all labelled pixels uses the weights (the paper's α).

    Parameters
    ----------
    logits, target, weights
        As `cross_entropy` or `binary_cross_entropy` take them.
    gamma : float
        Focusing parameter, at least 0.
    """
    if target.ndim == 3:
        weight = (target != IGNORED).float() if weights is None else _of_channels(target, weights)
        entropy = functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")
    else:
        weight = _of_presence(target, weights)
        entropy = functional.binary_cross_entropy_with_logits(
            logits, target.clamp_min(0).float(), reduction="none"
        )
    # 1 - p without rounding error; never 0, where powers below 1 have an infinite slope.
    missing = -torch.expm1(-entropy)
    total = (weight * missing.clamp_min(_SMALLEST) ** gamma * entropy).sum()
    return total / weight.sum().clamp_min(_SMALLEST)


def _of_channels(target: Tensor, weights: Tensor) -> Tensor:
    """Return the weight of each pixel's class, (N, row, col), 0 where ignored."""
    return weights[target.clamp_min(0)] * (target != IGNORED)


def _of_presence(target: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weight of the absence or presence of each class, (N, channel, row, col), 0 where ignored."""
    counted = (target != IGNORED).float()
    if weights is None:
        return counted
    absent, present = (weights[:, i].view(1, -1, 1, 1) for i in (0, 1))
    return counted * torch.where(target == 1, present, absent)
