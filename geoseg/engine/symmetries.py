"""The 8 symmetries of the square, for test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from geoseg.engine.clock import Clock

if TYPE_CHECKING:
    from torch import Tensor

Planes = TypeVar("Planes", bound=Any)
"""A tensor or an array."""


@dataclass(frozen=True, slots=True)
class Symmetry:
    """An optional swap of rows and columns, followed by flips.

    Law: ``s.back(s(x)) == x``.

    Parameters
    ----------
    swap : bool
        Whether rows and columns are swapped.
    flips : tuple of int
        Axes (-2: rows, -1: columns) that are flipped after the swap.
    """

    swap: bool
    flips: tuple[int, ...]

    def __call__(self, planes: Planes) -> Planes:
        """Apply the symmetry to planes (..., row, col)."""
        swapped: Planes = planes.swapaxes(-2, -1) if self.swap else planes
        return self._flipped(swapped)

    def back(self, planes: Planes) -> Planes:
        """Apply the inverse symmetry."""
        planes = self._flipped(planes)
        return planes.swapaxes(-2, -1) if self.swap else planes  # type: ignore[no-any-return]

    def _flipped(self, planes: Planes) -> Planes:
        if isinstance(planes, np.ndarray):
            return np.flip(planes, self.flips)
        return planes.flip(self.flips)  # type: ignore[no-any-return]


SYMMETRIES = tuple(Symmetry(swap, flips) for swap in (False, True) for flips in ((), (-2,), (-1,), (-2, -1)))


def averaged(look: Callable[[Tensor], list[Tensor]], inputs: Tensor, clock: Clock) -> list[Tensor]:
    """Return the mean of a network's probabilities over the 8 symmetries of its input.

    Laws: turning the input turns the result; where the network itself has that property (a pointwise one has), the
    mean is its result.

    Parameters
    ----------
    look : callable
        Maps (n, band, row, col) to a list of at most n probabilities, each (channel, row, col).
    inputs : Tensor, shape (n, band, row, col), channels last
        Network inputs.
    clock : Clock
        Measures the stages.

    Returns
    -------
    list of Tensor of float32, each (channel, row, col)
    """
    import torch

    first, *others = SYMMETRIES
    totals = [first.back(each) for each in look(inputs)]
    for symmetry in others:
        with clock.stage("upload"):
            turned = symmetry(inputs).contiguous(memory_format=torch.channels_last)
        shares = look(turned)
        with clock.stage("stitch"):
            for total, each in zip(totals, shares, strict=True):
                total += symmetry.back(each)
    return [total.mul_(1 / len(SYMMETRIES)) for total in totals]
