"""The 8 symmetries of the square: an image seen turned and mirrored, and what was seen turned back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.engine.clock import Clock


@dataclass(frozen=True, slots=True)
class Symmetry:
    """Rows and columns swapped or not, then each of the two turned around or not.

    Law: ``s.back(s(x)) == x``.

    Parameters
    ----------
    swap : bool
    flips : tuple of int
        Axes (-2: rows, -1: columns) that are turned around after that.
    """

    swap: bool
    flips: tuple[int, ...]

    def __call__(self, planes: Tensor) -> Tensor:
        """Return (..., row, col) as it is seen from there; (..., col, row) where they are swapped."""
        return (planes.transpose(-2, -1) if self.swap else planes).flip(self.flips)

    def back(self, planes: Tensor) -> Tensor:
        """Return what was seen from there as it is."""
        planes = planes.flip(self.flips)
        return planes.transpose(-2, -1) if self.swap else planes


SYMMETRIES = tuple(Symmetry(swap, flips) for swap in (False, True) for flips in ((), (-2,), (-1,), (-2, -1)))


def averaged(look: Callable[[Tensor], list[Tensor]], inputs: Tensor, clock: Clock) -> list[Tensor]:
    """Mean of what a network says of its input and of the 7 others that are the same ground.

    Laws: turning the input turns the answer; where the network itself has that law (a pointwise one has), the
    mean is its answer.

    Parameters
    ----------
    look : callable
        Maps (n, band, row, col) to probabilities, each (channel, row, col), of up to n.
    inputs : Tensor, shape (n, band, row, col), channels last
    clock : Clock

    Returns
    -------
    list of Tensor of float32, each (channel, row, col)
    """
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
