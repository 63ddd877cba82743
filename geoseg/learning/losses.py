"""Training losses."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from geoseg.datasets.dataset import IGNORED
from geoseg.grid.legend import Task
from geoseg.learning.loss_pixels import binary_cross_entropy, cross_entropy, focal
from geoseg.learning.loss_regions import lovasz, tversky
from geoseg.learning.loss_text import Term, check_task, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A weighted sum of losses, with softmax or, for binary and multilabel tasks, with sigmoid.

    Laws: pixels labelled IGNORED do not affect the value or the gradients of other pixels, and their own gradient
    is 0, whatever their logits are. The value is computed in float32, whatever the logits' type is. Without a
    labelled pixel it is 0.

    Parameters
    ----------
    task : str
        ``multiclass``, ``binary`` or ``multilabel``.
    terms : tuple of Term
        Terms of the sum, see `parse`.
    class_weights : tuple of float
        Class weights in ce, bce and focal; empty: all equal. Multiclass: of each channel; binary: of 0 and 1;
        multilabel: of the presence of each class.
    label_smoothing : float
        Label smoothing in ce and bce.
    gamma : float
        Focusing parameter of focal.
    alpha, beta : float
        Weights of false positives and false negatives in tversky.

    Raises
    ------
    ValueError
        If a term is not for the task.
    """

    task: Task = "multiclass"
    terms: tuple[Term, ...] = parse("ce + dice")
    class_weights: tuple[float, ...] = field(default=())
    label_smoothing: float = 0.0
    gamma: float = 2.0
    alpha: float = 0.3
    beta: float = 0.7

    def __post_init__(self) -> None:
        """Raise ValueError if a term does not suit the task."""
        check_task(self.terms, self.task)

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of a batch.

        Parameters
        ----------
        logits : Tensor, (N, channel, row, col) float
            Output of the network.
        target : Tensor, int64
            Masks of a batch of samples: multilabel (N, channel, row, col), else (N, row, col).
        """
        if self.task == "binary":
            target = target.unsqueeze(1)
        ignored = target == IGNORED
        # Filled, not weighted: an infinite logit in the padding times 0 would be NaN.
        logits = logits.float().masked_fill(ignored.unsqueeze(1) if ignored.ndim == 3 else ignored, 0.0)
        weights = self._weights(logits.device)
        values = [term.share * self._term(term.name, logits, target, weights) for term in self.terms]
        return torch.stack(values).sum()

    def _term(self, name: str, logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        match name:
            case "ce":
                return cross_entropy(logits, target, weights, self.label_smoothing)
            case "bce":
                return binary_cross_entropy(logits, target, weights, self.label_smoothing)
            case "focal":
                return focal(logits, target, weights, self.gamma)
            case "dice":
                return tversky(logits, target, 0.5, 0.5)
            case "jaccard":
                return tversky(logits, target, 1.0, 1.0)
            case "tversky":
                return tversky(logits, target, self.alpha, self.beta)
            case "lovasz":
                return lovasz(logits, target)
            case _:
                raise AssertionError(name)

    def _weights(self, device: torch.device) -> Tensor | None:
        """Return weights by channel, or by channel, absence and presence."""
        if not self.class_weights:
            return None
        weights = torch.tensor(self.class_weights, device=device)
        if self.task == "multiclass":
            return weights
        if self.task == "binary":
            return weights.view(1, 2)
        return torch.stack([torch.ones_like(weights), weights], dim=1)
