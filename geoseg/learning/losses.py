"""What training makes small."""

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
    """A weighted sum of losses, by softmax or, for binary and multilabel tasks, by sigmoid.

    Laws: pixels labelled IGNORED change neither the value nor any gradient but their own, which is 0, whatever
    their logits are. The value is computed in float32, whatever the logits are. Without a pixel that counts it is 0.

    Parameters
    ----------
    task : str
    terms : tuple of Term
        As `parse` reads them.
    class_weights : tuple of float
        In ce, bce and focal, empty: all alike. Multiclass: of each channel; binary: of 0 and 1; multilabel: of
        the presence of each class.
    label_smoothing : float
        Of ce and bce.
    gamma : float
        Of focal.
    alpha, beta : float
        Of false positives and of misses in tversky.

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
        """Refuse what does not go together."""
        check_task(self.terms, self.task)

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of a batch.

        Parameters
        ----------
        logits : Tensor, (N, channel, row, col) float
        target : Tensor, int64
            Masks of a batch of samples: multilabel (N, channel, row, col), else (N, row, col).
        """
        if self.task == "binary":
            target = target.unsqueeze(1)
        ignored = target == IGNORED
        # Filled, not weighted: a logit that overflowed in the padding would be infinity times 0.
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
            case _:
                return lovasz(logits, target)

    def _weights(self, device: torch.device) -> Tensor | None:
        """Weights by channel, or by channel, absence and presence."""
        if not self.class_weights:
            return None
        weights = torch.tensor(self.class_weights, device=device)
        if self.task == "multiclass":
            return weights
        if self.task == "binary":
            return weights.view(1, 2)
        return torch.stack([torch.ones_like(weights), weights], dim=1)
