"""Which batch size is fastest: measured on the device, where the scene is large enough to earn it back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from geoseg.engine.settings import Settings, batch_sizes, calls

Trial = Callable[[int], Callable[[], object]]
"""Called with a batch size: returns what runs one such batch and waits for it."""

_CALLS = 3
"""Of each size that is tried; the first of them is not counted: libraries choose their kernels in it."""
_SHARE = 0.03
"""Of the time of the whole scene, that trying may cost."""
_GAIN = 0.03
"""What another size must be better by: less is noise."""


def with_fastest_batch(settings: Settings, tiles: tuple[int, int], trial: Trial) -> Settings:
    """Return the settings with the batch size that runs a tiling fastest.

    From the given size the search goes down, then up, as long as it gets better; larger is often slower: a batch
    that leaves the caches of a CPU, or one more that a GPU gains nothing from.

    Laws: the same settings come back where the scene is small; nothing larger than what memory holds is chosen.

    Parameters
    ----------
    settings : Settings
        With the batch size to begin at.
    tiles : tuple of int
        Rows and columns of the tiling.
    trial : callable
    """
    if _CALLS * settings.batch_size > _SHARE * tiles[0] * tiles[1]:
        return settings
    sizes = sorted({settings.batch_size, *batch_sizes(tiles, settings.device)})
    place, started = sizes.index(settings.batch_size), time.perf_counter()
    best, fastest = settings.batch_size, _seconds(settings.batch_size, tiles, trial)
    allowed = _SHARE * fastest
    for step in (-1, 1):
        other = place + step
        while 0 <= other < len(sizes):
            cost = _CALLS * sizes[other] * fastest / (tiles[0] * tiles[1])
            if time.perf_counter() - started + cost > allowed:
                break
            seconds = _seconds(sizes[other], tiles, trial)
            if seconds > fastest * (1 - _GAIN):
                break
            best, fastest = sizes[other], seconds
            other += step
    return replace(settings, batch_size=best)


def _seconds(batch: int, tiles: tuple[int, int], trial: Trial) -> float:
    """Time that the whole tiling would take; infinite where the memory does not hold such a batch."""
    import torch

    try:
        run, taken = trial(batch), []
        for _ in range(_CALLS):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return float("inf")
    return min(taken[1:]) * calls(*tiles, batch)
