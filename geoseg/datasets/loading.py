"""Load chips in batches, in this process or in workers, with equal results."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence, Sized
from contextlib import ExitStack
from typing import Any, Literal, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info

from geoseg.datasets.dataset import Chips, Sample
from geoseg.datasets.series import Place
from geoseg.errors import GeosegError, OptionError
from geoseg.raster.cache import cache_limit, limited_cache

StartMethod = Literal["spawn", "forkserver", "fork"]

_for_life = ExitStack()
"""Contexts that a worker enters and never leaves."""


class ChipLoader:
    """Batches of samples; created by `loader`.

    Errors in the data found by a worker are raised as they would be without workers.

    Parameters
    ----------
    sampler : Sampler of places
        Yields the index of an image and a window.
    batch_size : int
        Chips per batch.
    **options
        Of torch's ``DataLoader``.
    """

    def __init__(self, sampler: Sampler[Place], batch_size: int, **options: Any) -> None:
        self._sampler, self._size = cast("Sized", sampler), batch_size
        self._options = {"sampler": sampler, "batch_size": batch_size, **options}
        self._workers: DataLoader[Any] | None = None

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return -(-len(self._sampler) // self._size)

    def __iter__(self) -> Iterator[Any]:
        """Yield batches of samples as returned by `Pair.sample`, with a leading batch axis."""
        if self._workers is None:
            self._workers = DataLoader(**self._options)
        batches = iter(self._workers)
        while (batch := next(batches, None)) is not None:
            if isinstance(batch, GeosegError):
                # Workers end with the last reference to them. The error's traceback would keep this one, and the
                # garbage collector needs 5 s to end workers.
                self.close()
                del batches
                raise batch
            yield batch

    def close(self) -> None:
        """End the workers; another iteration starts new ones."""
        self._workers = None


def loader(
    chips: Chips,
    sampler: Sampler[Place],
    batch_size: int,
    *,
    workers: int = 0,
    start_method: StartMethod = "spawn",
    pin_memory: bool = False,
) -> ChipLoader:
    """Load the windows of a sampler in batches.

    Law: the batches and their order do not depend on the number of workers and how they start.

    Workers live until an error in the data, or as long as the loader. The sampler stays in this process, so
    `set_epoch` applies from the next iteration on.

    Parameters
    ----------
    chips : Chips
        Labelled chips of the images.
    sampler : Sampler of places
        Yields the index of an image and a window.
    batch_size : int
        Chips per batch; the last batch of an epoch may be smaller.
    workers : int
        Number of processes that read; 0 reads in this process.
    start_method : str
        How they start. A forked process inherits the locks held at that moment, which is safe only if no
        other thread is running.
    pin_memory : bool
        Whether batches are in pinned memory, for fast copies to a GPU.

    Raises
    ------
    OptionError
        If the system does not support this start method.
    """
    context = None
    if workers:
        known = multiprocessing.get_all_start_methods()
        if start_method not in known:
            raise OptionError(
                f"start_method is {start_method}, which this system does not have; choose {' or '.join(known)}"
            )
        context = multiprocessing.get_context(start_method)
        if start_method == "forkserver":
            # Its child processes then start with all imports done.
            context.set_forkserver_preload(["__main__", __name__])
    return ChipLoader(
        sampler,
        batch_size,
        dataset=_Guarded(chips),
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=workers > 0,
        worker_init_fn=_settle,
        collate_fn=_collate,
        pin_memory=pin_memory,
        # A loader draws a number when it begins; with its own generator, a resumed training does not differ.
        generator=torch.Generator(),
    )


class _Guarded(Dataset[Sample | GeosegError]):
    """Chips or the errors in reading them: torch would wrap a worker's error into its own traceback."""

    def __init__(self, chips: Chips) -> None:
        self._chips = chips

    def __getitem__(self, place: Place) -> Sample | GeosegError:
        try:
            return self._chips[place]
        except GeosegError as error:
            return error.with_traceback(None)


def _collate(samples: Sequence[Sample | GeosegError]) -> Any:
    """Stack samples, or return the first error among them."""
    errors = [sample for sample in samples if isinstance(sample, GeosegError)]
    return errors[0] if errors else default_collate(list(samples))


def _settle(_worker: int) -> None:
    """Initialise a worker: one torch thread, and its share of GDAL's block cache."""
    info = get_worker_info()
    assert info is not None, "only a worker calls this"
    torch.set_num_threads(1)
    _for_life.enter_context(limited_cache(_cache_megabytes(info.num_workers)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cache_megabytes(workers: int) -> int:
    """Return a worker's share of twice GDAL's default cache (5 % of the memory).

    Random chips return to the same blocks repeatedly, and decoding them is most of the work.
    """
    share = 2 * cache_limit()
    limit = _data_limit()
    if limit is not None:
        share = min(share, limit // 8)
    return max(16, share // workers // 2**20)


def _data_limit() -> int | None:
    """Return the memory limit of this process in bytes, or None."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit
