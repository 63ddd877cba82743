"""Chips in batches, read by this process or by others, the same either way."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from rasterio._env import get_gdal_config
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from geoseg.datasets.dataset import Chips, Sample
from geoseg.datasets.series import Place
from geoseg.errors import GeosegError, OptionError
from geoseg.raster.cache import limited_cache

StartMethod = Literal["spawn", "forkserver", "fork"]

_for_life = ExitStack()
"""What a worker entered and never leaves."""


class ChipLoader(DataLoader[Sample | GeosegError]):
    """Batches of samples; made by `loader`.

    What a worker finds wrong with the data is raised as it would be without workers.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises a class of its own
        """Yield batches, as `Pair.sample` makes them, with a first axis more."""
        batches = super().__iter__()
        for batch in batches:
            if isinstance(batch, GeosegError):
                # At once: what the error's traceback holds, the garbage collector would end with a wait of 5 s.
                if isinstance(batches, _MultiProcessingDataLoaderIter):
                    batches._shutdown_workers()
                    self._iterator = None
                raise batch
            yield batch


def loader(
    chips: Chips,
    sampler: Sampler[Place],
    batch_size: int,
    *,
    workers: int = 0,
    start_method: StartMethod = "spawn",
    pin_memory: bool = False,
) -> ChipLoader:
    """Read the windows of a sampler in batches.

    Law: the batches and their order are the same for every number of workers and every way to start them.

    Workers live as long as the loader. The sampler stays here, so `set_epoch` counts from the next iteration
    on.

    Parameters
    ----------
    chips : Chips
    sampler : Sampler of places
    batch_size : int
        The last batch of an epoch may be smaller.
    workers : int
        Processes that read; 0: this one does.
    start_method : str
        How they start. A forked one shares what this process has locked at that moment: safe only where no
        other thread is at work.
    pin_memory : bool
        Whether batches lie where a GPU fetches them fastest.

    Raises
    ------
    OptionError
        If processes cannot be started like this here.
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
            # Its children are then born with everything imported.
            context.set_forkserver_preload(["__main__", __name__])
    return ChipLoader(
        _Guarded(chips),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=workers > 0,
        worker_init_fn=_settle,
        collate_fn=_collate,
        pin_memory=pin_memory,
    )


class _Guarded(Dataset[Sample | GeosegError]):
    """Chips, or what is wrong with them: torch would wrap an error of a worker into its traceback."""

    def __init__(self, chips: Chips) -> None:
        self._chips = chips

    def __getitem__(self, place: Place) -> Sample | GeosegError:
        try:
            return self._chips[place]
        except GeosegError as error:
            return error.with_traceback(None)


def _collate(samples: Sequence[Sample | GeosegError]) -> Any:
    """Stack samples, or pass on the first error among them."""
    errors = [sample for sample in samples if isinstance(sample, GeosegError)]
    return errors[0] if errors else default_collate(list(samples))


def _settle(_worker: int) -> None:
    """Prepare a worker: there are as many as the cores that reading shall have, and the parent stops them."""
    info = get_worker_info()
    assert info is not None, "only a worker calls this"
    torch.set_num_threads(1)
    _for_life.enter_context(limited_cache(_cache_megabytes(info.num_workers)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cache_megabytes(workers: int) -> int:
    """Divide twice what GDAL would keep of decoded blocks (5 % of the memory) among workers.

    Chips at random come back to the same blocks again and again, and decoding them is most of the work.
    """
    share = 2 * int(get_gdal_config("GDAL_CACHEMAX"))
    limit = _data_limit()
    if limit is not None:
        share = min(share, limit // 8)
    return max(16, share // workers // 2**20)


def _data_limit() -> int | None:
    """Bytes of memory that the system lets this process have, where it says so."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit
