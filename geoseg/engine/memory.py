"""How large a batch the memory of a machine without a GPU holds.

A GPU says that its memory is full, and the batch is halved. The memory of the machine ends in a kill of the
process, so what a tile needs is measured before the first large batch, and what cannot fit is refused before it is
allocated.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.engine.settings import Settings
from geoseg.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("geoseg")

_TRIED = 4
"""Tiles of the batch that is measured."""
_SMALL = 32
"""Batches up to this are not worth measuring."""
_SHARE = 0.7
"""Of the free memory; the rest is for pictures that are read and written, and for others."""
_SMALL_BATCH, _SMALL_STEP = 2**24, 2**22
"""Px of a batch that every machine holds: 16 tiles of 1024 x 1024 without, of 512 x 512 with what gradients need."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def fitted_to_memory(settings: Settings, run: Callable[[int], object]) -> Settings:
    """Return the settings with a batch that the memory holds.

    Parameters
    ----------
    settings : Settings
    run : callable
        Runs the network on a batch of so many tiles.
    """
    size = settings.batch_size
    if settings.device != "cpu" or size <= _SMALL:
        return settings
    before, free = resident(), free_memory()
    if before is None or free is None:
        return settings
    run(_TRIED)
    # An earlier peak may hide this one: then a tile is taken to need more than it does.
    needed = max((peak() or before) - before, 0) // _TRIED
    most = int(_SHARE * free / max(needed, 1))
    if size <= most:
        return settings
    fitting = -(-size // -(-size // max(most, min(size, _TRIED))))
    log.warning(
        "a batch of %d would need about %.0f GB and %.0f GB are free: the batch size is %d",
        size, size * needed / 1e9, free / 1e9, fitting,
    )  # fmt: skip
    return replace(settings, batch_size=fitting)


def check_memory(
    network: Callable[[], nn.Module] | None,
    shape: tuple[int, int, int, int],
    settings: Settings,
    *,
    training: bool = False,
) -> None:
    """Refuse a batch that the memory of this machine cannot hold, before any of it is allocated.

    What is compared is less than what the network takes, so nothing that fits is refused. Small batches are not
    looked at. Of a GPU's own memory torch keeps account; here it is the batch on its way there.

    Parameters
    ----------
    network : callable, optional
        Returns the module that maps (n, band, row, col) to logits; asked where the batch is not small. Without it, as
        of an exported model, which has none, the batch alone counts.
    shape : (int, int, int, int)
        n, bands, rows and columns of the batch.
    settings : Settings
        Device and precision.
    training : bool
        Whether what layers return is kept until the gradients are known.

    Raises
    ------
    OptionError
        With both figures.
    """
    n, bands, rows, cols = shape
    free = free_memory()
    if free is None or n * rows * cols <= (_SMALL_STEP if training else _SMALL_BATCH):
        return
    needed = 4 * n * bands * rows * cols
    if settings.device == "cpu" and network is not None:
        number = 2 if settings.precision in ("bf16", "fp16") else 4
        needed += n * number * _numbers(network(), (1, bands, rows, cols), training=training)
    if needed > free:
        what = "step of" if training else "batch of"
        raise OptionError(
            f"a {what} {n} x {rows} x {cols} px needs at least {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB of "
            f"memory are free; choose a smaller {'chip_size or batch_size' if training else 'tile size or batch size'}"
        )


def _numbers(network: nn.Module, shape: tuple[int, int, int, int], *, training: bool) -> int:
    """Fewest numbers that the products of a network hold at once for a batch, found without storage.

    Of what its layers compute only convolutions and matrix products count: others may work in place.
    """
    import torch
    from torch import nn

    taken: list[int] = []

    def watch(_layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        taken.append(output.numel() + (0 if training else inputs[0].numel()))

    meta = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(watch) for m in network.modules() if isinstance(m, layers)]
    try:
        with torch.no_grad():
            torch.func.functional_call(network, meta, (torch.empty(shape, device="meta"),))
    except Exception:  # a network that asks for values of its tensors: what was seen until then counts
        log.debug("the memory of a batch was not looked at to the end", exc_info=True)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(taken) if training else max(taken, default=0)


def resident() -> int | None:
    """Bytes of memory that this process has now, where the system tells."""
    return _kilobytes(Path("/proc/self/status"), "VmRSS")


def peak() -> int | None:
    """Most bytes that it had so far."""
    return _kilobytes(Path("/proc/self/status"), "VmHWM")


def free_memory() -> int | None:
    """Bytes that this process may still take, where the system tells; containers often allow less than all."""
    free, own = _kilobytes(Path("/proc/meminfo"), "MemAvailable"), resident()
    if free is None or own is None:
        return None
    for path in _LIMITS:
        try:
            free = min(free, max(int(Path(path).read_text()) - own, 0))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return free


def _kilobytes(path: Path, key: str) -> int | None:
    try:
        found = re.search(rf"^{key}:\s*(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
