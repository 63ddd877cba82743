"""Which chips come together in which step."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from geoseg.datasets.series import Place, TrainingSampler


class Batches(Sampler[Place]):
    """The chips of an epoch from any batch on, one after the other, for a loader that puts them together.

    Law: a batch is a function of (epoch, its number) and of nothing that happened before.

    Lightning tells samplers which epoch it is by `set_epoch`, and would begin every one at its first batch:
    this one listens to `begin` only.

    Parameters
    ----------
    sampler : TrainingSampler
    size : int
        Chips of a batch. The last of an epoch may be smaller, but not of one chip where others have more: batch
        normalisation takes no statistics of a single one. It is drawn together with the first chip of the epoch then.
    accumulate : int
        Batches of one optimizer step. Where it is more than one, an epoch is a whole number of steps, at least
        one: what is left over is not drawn, and what is missing is drawn again.
    """

    def __init__(self, sampler: TrainingSampler, size: int, accumulate: int = 1) -> None:
        self.size = size
        self._sampler = sampler
        step = size * accumulate
        chips = len(sampler) if accumulate == 1 else max(1, len(sampler) // step) * step
        self._chips = chips + 1 if size > 1 and chips % size == 1 else chips
        self._epoch = self._first = 0

    @property
    def count(self) -> int:
        """Batches of a whole epoch."""
        return -(-self._chips // self.size)

    def begin(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch, and the batch of it, that the next iteration begins with."""
        self._epoch, self._first = epoch, first

    def __len__(self) -> int:
        """Count the chips of a whole epoch."""
        return self._chips

    def __iter__(self) -> Iterator[Place]:
        """Yield the chips of the rest of the epoch."""
        for number in range(self._first, self.count):
            yield from self.batch(self._epoch, number)

    def batch(self, epoch: int, number: int) -> list[Place]:
        """Return one batch."""
        steps = range(number * self.size, min((number + 1) * self.size, self._chips))
        return [self._sampler.draw(epoch, step % len(self._sampler)) for step in steps]
