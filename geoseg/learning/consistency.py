"""Learn from unlabelled pixels: predictions must not change with the light.

The averaged weights predict the original chip, and where they are confident, the network must predict the same
for the chip made lighter, darker, blurred and partly hidden (FixMatch: Sohn et al. 2020, arXiv:2001.07685; with
an averaged teacher: Tarvainen and Valpola 2017, arXiv:1703.01780; on segmentation: Yang et al. 2023, UniMatch,
arXiv:2208.09910).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geoseg.datasets.dataset import Pair
from geoseg.datasets.sampler import RandomSampler
from geoseg.datasets.series import Place, Size, TrainingSampler
from geoseg.grid.legend import Task
from geoseg.grid.window import Window
from geoseg.labels.label import Codes
from geoseg.learning.augment import Augment

SURE: Final = 0.95
"""Probability above which the teacher's class is used, as in FixMatch."""
_RISE: Final = 0.25
"""Share of the training over which the weight rises, since the teacher knows nothing at first."""
STRONG: Final = Augment(
    symmetries="none", brightness=0.5, contrast=0.5, per_band=0.5, blur=1.0, noise=0.05, cutout=0.25
)
"""Changes of values only: pixels stay where the teacher saw them."""


@dataclass(frozen=True, slots=True)
class Everywhere:
    """Dummy labels with the same code at every pixel.

    Parameters
    ----------
    path : str
        Name of the labels in messages.
    layers : int
        Number of classes if they may overlap; 0 for one class per pixel.
    code : int
        Code of every pixel.
    """

    path: str
    layers: int
    code: int

    @property
    def layered(self) -> bool:
        """Whether there is a layer for each class."""
        return self.layers > 0

    def read(self, window: Window) -> Codes:
        """Return the same code everywhere."""
        shape = (self.layers, *window.shape) if self.layers else window.shape
        return np.full(shape, self.code, dtype=np.uint8)


def unlabelled(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the images of a split with masks that are 0 where a pixel is valid and in no other split, else IGNORED.

    Blocks without labels, which belong to no split, are looked at: they are most of a scene with few polygons.
    """
    return [
        replace(
            pair,
            area=None if pair.area is None else pair.area.with_unlabelled(),
            labels=Everywhere(
                pair.labels.path,
                pair.channels.count if pair.labels.layered else 0,
                pair.channels.codes[0] if pair.channels.task == "multiclass" else 0,
            ),
        )
        for pair in pairs
    ]


class AnyPlace(TrainingSampler):
    """Random windows in images that follow others in a list.

    Parameters
    ----------
    pairs : sequence of Pair
        The images.
    size : int or (int, int)
        Window edge or (rows, cols), px.
    length : int
        Windows per epoch.
    first : int
        Index of the first image.
    seed : int
        Seed of the random windows.
    """

    def __init__(self, pairs: Sequence[Pair], size: Size, length: int, *, first: int, seed: int) -> None:
        super().__init__(length, seed=seed)
        self._sampler, self._first = RandomSampler(pairs, size, length, seed=seed), first

    def draw(self, epoch: int, step: int) -> Place:
        """Return the window of one step."""
        index, window = self._sampler.draw(epoch, step)
        return index + self._first, window


def disagreement(logits: Tensor, teacher: Tensor, looked_at: Tensor, task: Task) -> Tensor:
    """Return the cross-entropy between a network and its teacher's confident classes.

    Parameters
    ----------
    logits, teacher : Tensor, (n, channel, row, col)
        Outputs of the network and of the teacher, which gets no gradient.
    looked_at : Tensor of bool, (n, row, col)
        Pixels over which the mean is taken; those on which the teacher is not confident contribute 0.
    task : str
        ``multiclass``, ``binary`` or ``multilabel``.

    Returns
    -------
    Tensor
        Mean over these pixels, 0 if there are none.
    """
    teacher, logits = teacher.detach().float(), logits.float()
    if task == "multiclass":
        share, label = teacher.softmax(1).max(1)
        counts = looked_at
        each = functional.cross_entropy(logits, label, reduction="none")
    else:
        chance = teacher.sigmoid()
        share, counts = torch.maximum(chance, 1 - chance), looked_at.unsqueeze(1).expand_as(teacher)
        each = functional.binary_cross_entropy_with_logits(logits, (chance > 0.5).float(), reduction="none")
    sure = counts & (share >= SURE)
    return (each * sure).sum() / counts.sum().clamp(min=1)


def weight_at(done: float, largest: float) -> float:
    """Return the weight of the disagreement when a share (0 to 1) of the training is done; it rises over the
    first quarter.
    """
    return largest * min(1.0, done / _RISE)
