"""Find the batch size that fits in the memory of a machine without a GPU.

When a GPU reports that its memory is full, the batch is halved. When the machine's memory is full, the system
kills the process, so the memory of a tile is measured before the first large batch, and a batch that cannot fit
is refused before it is allocated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.engine.settings import Settings
from geoseg.errors import OptionError
from geoseg.storage.process_memory import kilobytes, peak, resident

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("geoseg")

_TRIED = 4
"""Tiles in the batch that is measured."""
_SMALL = 32
"""Batches up to this many tiles are not measured."""
_SHARE = 0.7
"""Share of the free memory to use; the rest is for pictures being read and written, and for other processes."""
_SMALL_BATCH, _SMALL_STEP = 2**24, 2**22
"""Pixels of a batch that fits on every machine: 16 tiles of 1024 x 1024 without, of 512 x 512 with gradients."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def fitted_to_memory(settings: Settings, run: Callable[[int], object]) -> Settings:
    """Return the settings with a batch size that fits in memory.

    Parameters
    ----------
    settings : Settings
        Settings with the wanted batch size.
    run : callable
        Called with a number of tiles; runs the network on a batch of that size.
    """
    size = settings.batch_size
    if settings.device != "cpu" or size <= _SMALL:
        return settings
    before, free = resident(), free_memory()
    if before is None or free is None:
        return settings
    run(_TRIED)
    # An earlier peak may hide this one; the need of a tile is then overestimated.
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
    """Raise OptionError for a batch that cannot fit in the machine's memory, before any of it is allocated.

    The estimate is a lower bound of the network's need, so nothing that fits is refused. Small batches are not
    checked. Torch watches the GPU's own memory; for a GPU, only the batch in host memory is checked here.

    Parameters
    ----------
    network : callable, optional
        Returns the module that maps (n, band, row, col) to logits; called only for large batches. Without it, as
        for an exported model, which has no module, only the batch itself counts.
    shape : (int, int, int, int)
        n, bands, rows and columns of the batch.
    settings : Settings
        Device and precision.
    training : bool
        Whether the outputs of all layers are kept for the gradients.

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
    """Return a lower bound of how many numbers a network holds at once for a batch, computed without storage.

    Only the outputs of convolutions and matrix products count: other layers may work in place.
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
    except Exception:  # a network that reads values of its tensors: the layers seen until then count
        log.debug("the memory of a batch could not be estimated completely", exc_info=True)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(taken) if training else max(taken, default=0)


def free_memory() -> int | None:
    """Return the bytes that this process may still allocate (limits of containers included), or None if unknown."""
    free, own = kilobytes(Path("/proc/meminfo"), "MemAvailable"), resident()
    if free is None or own is None:
        return None
    for path in _LIMITS:
        try:
            free = min(free, max(int(Path(path).read_text()) - own, 0))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return free
