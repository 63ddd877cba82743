"""Which chips come together in which step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch.utils.data import Sampler

from geoseg.grid.window import Window

Place = tuple[int, Window]


class Draws(Protocol):
    """A sampler that says what it draws at any step of any epoch."""

    def __len__(self) -> int:
        """Count the steps of an epoch."""

    def draw(self, epoch: int, step: int) -> Place:
        """Return (index of the pair, window)."""


class Batches(Sampler[list[Place]]):
    """Lists of chips, from any batch of any epoch on.

    Law: a batch is a function of (epoch, its number) and of nothing that happened before.

    Parameters
    ----------
    sampler : Draws
    batch_size : int
    accumulate : int
        Batches of one optimizer step; an epoch is a whole number of steps, what is left over is not drawn.
    """

    def __init__(self, sampler: Draws, batch_size: int, accumulate: int = 1) -> None:
        self._sampler, self._size = sampler, batch_size
        whole = -(-len(sampler) // batch_size)
        self._count = max(1, whole // accumulate) * accumulate
        self._epoch = self._first = 0

    def begin(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the batch of it, that the next iteration begins with."""
        self._epoch, self._first = epoch, first

    def __len__(self) -> int:
        """Count the batches of a whole epoch."""
        return self._count

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield the rest of the epoch."""
        for number in range(self._first, self._count):
            yield self.batch(self._epoch, number)

    def batch(self, epoch: int, number: int) -> list[Place]:
        """Return one batch; the last of an epoch may be smaller."""
        steps = range(number * self._size, (number + 1) * self._size)
        length = len(self._sampler)
        inside = [step for step in steps if step < length] or [step % length for step in steps]
        return [self._sampler.draw(epoch, step) for step in inside]
