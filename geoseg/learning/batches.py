"""Group chips into batches."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from geoseg.datasets.series import Place, TrainingSampler


class Batches(Sampler[Place]):
    """Yields the chips of an epoch from a given batch on, for a loader that groups `size` of them.

    Law: a batch depends only on (epoch, its number), not on anything before.

    Lightning tells samplers which epoch it is by `set_epoch`, and would begin every one at its first batch:
    this one listens to `begin` only.

    Parameters
    ----------
    sampler : TrainingSampler
        Draws the chips.
    size : int
        Chips of a batch. The last of an epoch may be smaller, but not of one chip where others have more: batch
        normalisation takes no statistics of a single one. It is drawn together with the first chip of the epoch then.
    accumulate : int
        Batches of one optimizer step. Where it is more than one, an epoch is a whole number of steps, at least
        one: what is left over is not drawn, and what is missing is drawn again.
    beside : TrainingSampler, optional
        Draws as many chips again, which follow the others in their batch.
    """

    def __init__(
        self,
        sampler: TrainingSampler,
        size: int,
        accumulate: int = 1,
        *,
        beside: TrainingSampler | None = None,
    ) -> None:
        self.size = size if beside is None else 2 * size
        self._sampler, self._beside, self._own = sampler, beside, size
        step = size * accumulate
        chips = len(sampler) if accumulate == 1 else max(1, len(sampler) // step) * step
        self._chips = chips + 1 if size > 1 and chips % size == 1 else chips
        self._epoch = self._first = 0

    @property
    def count(self) -> int:
        """Number of batches of an epoch."""
        return -(-self._chips // self._own)

    def begin(self, epoch: int, first: int = 0) -> None:
        """Set the epoch and the batch at which the next iteration begins."""
        self._epoch, self._first = epoch, first

    def __len__(self) -> int:
        """Return the number of chips of an epoch."""
        return self._chips if self._beside is None else 2 * self._chips

    def __iter__(self) -> Iterator[Place]:
        """Yield the chips of the rest of the epoch."""
        for number in range(self._first, self.count):
            yield from self.batch(self._epoch, number)

    def batch(self, epoch: int, number: int) -> list[Place]:
        """Return the chips of one batch."""
        steps = range(number * self._own, min((number + 1) * self._own, self._chips))
        own = [self._sampler.draw(epoch, step % len(self._sampler)) for step in steps]
        return own if self._beside is None else own + [self._beside.draw(epoch, step) for step in steps]
