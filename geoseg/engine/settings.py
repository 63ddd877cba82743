"""How a model runs on this machine: what ``auto`` means, above all for the batch size, which may be measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from geoseg.engine.devices import choose_device, choose_precision, cpu_threads
from geoseg.engine.plan import rows_together
from geoseg.errors import ANEW, Message, OptionError, ResumeError

Runtime = Literal["openvino", "torch"]
_LARGEST_BATCH = {"cpu": 8, "cuda": 32, "mps": 8}

Trial = Callable[[int], Callable[[], object]]
"""Called with a batch size; returns a function that runs one batch of that size and waits for it."""
_CALLS = 3
"""Batches run for each size; the first is not timed, since libraries choose their kernels in it."""
_SHARE = 0.03
"""Share of the time of the whole scene that the search may cost."""
_GAIN = 0.03
"""Relative improvement below which another size is not better: less is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a model runs; equal settings on one machine give equal bytes.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``mps``.
    precision : str
        ``fp32``, ``bf16``, ``fp16`` or, for quantized networks, ``int8``.
    batch_size : int
        Tiles per call; smaller batches are filled up to it.
    threads : int
        CPU threads of the network; their number changes the order of its sums.
    tta : bool
        Whether the probabilities are the mean over the 8 symmetries of every tile.
    compile : bool
        Whether torch compiles the network.
    runtime : str
        Library that computes the network: ``openvino`` on CPUs, or ``torch``.
    """

    device: str
    precision: str
    batch_size: int
    threads: int
    tta: bool = False
    compile: bool = False
    runtime: Runtime = "torch"

    @classmethod
    def choose(cls, device: str, precision: str, batch_size: int | None, tiles: tuple[int, int]) -> Settings:
        """Return the settings with ``auto`` resolved for this machine.

        Parameters
        ----------
        device, precision : str
            As in `PredictOptions`.
        batch_size : int or None
            None chooses by `cheapest_batch`; `with_fastest_batch` then measures others.
        tiles : tuple of int
            Rows and columns of the tiling.
        """
        device = choose_device(device)
        precision = choose_precision(precision, device)
        # Batches are filled up: a batch larger than the number of tiles would compute only zeros.
        batch_size = min(batch_size or cheapest_batch(*tiles, _LARGEST_BATCH[device]), tiles[0] * tiles[1])
        return cls(device=device, precision=precision, batch_size=batch_size, threads=cpu_threads())

    @property
    def together(self) -> int:
        """Tiles per strip to plan for: a batch for torch; 1 for OpenVINO, which computes tile by tile across
        strips.
        """
        return 1 if self.runtime == "openvino" else self.batch_size

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Return the settings of a run to resume; its device must be available again."""
        settings = cls(**values)
        try:
            choose_device(settings.device)
        except OptionError as error:
            raise ResumeError(
                Message("the unfinished run cannot be continued here, {}", error), Message("or {}", ANEW)
            ) from error
        return settings


def cheapest_batch(rows: int, columns: int, largest: int) -> int:
    """Return the cheapest batch size for a tiling in strips of as few rows as fill it, the largest among equals.

    Batches do not cross strips, and their unused places are computed in vain; other sizes need more rows at
    once (`rows_together`), which costs memory. A call is assumed to cost half a tile besides its tiles, so that
    eleven columns do not become eleven batches of one.
    """

    def cost(batch: int) -> float:
        return _calls((rows, columns), batch, -(-batch // columns)) * (batch + 0.5)

    return min(range(1, largest + 1), key=lambda batch: (cost(batch), -batch))


def calls(rows: int, columns: int, batch: int) -> int:
    """Return how many batches a tiling takes."""
    return _calls((rows, columns), batch, rows_together(columns, batch))


def _calls(tiles: tuple[int, int], batch: int, together: int) -> int:
    """Count the batches in strips of `together` tile rows."""
    strips, rest = divmod(tiles[0], together)
    return strips * -(-together * tiles[1] // batch) + -(-rest * tiles[1] // batch)


def batch_sizes(tiles: tuple[int, int], device: str) -> set[int]:
    """Return the sizes worth measuring: the best fit up to each power of 2, to twice the default maximum."""
    powers = (2**i for i in range((2 * _LARGEST_BATCH[device]).bit_length()))
    return {cheapest_batch(*tiles, power) for power in powers}


def with_fastest_batch(settings: Settings, tiles: tuple[int, int], trial: Trial) -> Settings:
    """Return the settings with the batch size that runs a tiling fastest.

    The search goes down from the given size, then up, as long as it gets faster; larger is often slower: a batch
    may exceed the caches of a CPU, or a GPU may gain nothing from it.

    Laws: a small scene keeps the given settings; a batch that does not fit in memory is never chosen.

    Parameters
    ----------
    settings : Settings
        With the batch size to begin at.
    tiles : tuple of int
        Rows and columns of the tiling.
    trial : callable
        Runs batches of a size; see `Trial`.
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
    """Return the time that the whole tiling would take; infinite if the batch does not fit in memory."""
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
