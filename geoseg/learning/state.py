"""The whole state of a training, so that the same command goes on after a kill as if nothing had happened."""

from __future__ import annotations

import io
import logging
import random
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from geoseg.errors import OutputError, ResumeError
from geoseg.storage.durable import replace

_FORMAT: Final = 2
_NAME: Final = re.compile(r"state-(\d{10})\.ckpt")
_KEPT: Final = 2
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a training has come, and the numbers that steer it.

    Parameters
    ----------
    epoch : int
        Finished epochs.
    batch : int
        Batches done of the one after them.
    loss_sum, loss_count
        Sum and number of the losses of these batches.
    best : tuple of float or None
        How good the best epoch so far is (`Monitor.standing`).
    best_epoch : int
        The epoch it was reached in, from 1; 0 before there is one.
    seconds : float
        Time that training has taken.
    stopped : bool
        Whether it ended before the last epoch, for lack of improvement.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: tuple[float, float] | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    stopped: bool = False

    def __post_init__(self) -> None:
        """Take the list that JSON makes of a tuple."""
        self.best = None if self.best is None else (self.best[0], self.best[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that the next step depends on beside configuration and data.

    Parameters
    ----------
    progress : Progress
    parts : dict
        State of network, averaged weights, optimizer, schedule and scaler, as torch gives them.
    random : dict
        States of all random generators, as tensors and plain numbers.
    """

    progress: Progress
    parts: dict[str, Any]
    random: dict[str, Any] = field(default_factory=lambda: random_states())


def save_state(folder: Path, state: State, steps: int) -> None:
    """Write a state beside the others, verify it by reading it back, and keep the last two.

    Parameters
    ----------
    folder : Path
    state : State
    steps : int
        Batches done since the beginning: names the file.

    Raises
    ------
    OutputError
        With the reason; the earlier states are untouched.
    """
    path = folder / f"state-{steps:010d}.ckpt"
    part = path.with_suffix(".part")
    content = {
        "format": _FORMAT,
        "progress": asdict(state.progress),
        "parts": state.parts,
        "random": state.random,
    }
    # Into memory first: its bytes are what must be found on the disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getbuffer()
    try:
        part.write_bytes(data)
        if part.read_bytes() != data:
            raise OutputError(
                f"{path}: what was read back is not what was written; the disk may be faulty, training stops"
            )
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OutputError(
            f"{path}: the state of the training ({len(data)} bytes) cannot be saved ({error.strerror}); training "
            "stops here, make room and run the same command to go on"
        ) from error
    replace(part, path)
    for old in _states(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)


def load_state(folder: Path) -> State | None:
    """Read the newest state that is whole; None where there is none at all.

    Raises
    ------
    ResumeError
        If there are states and none can be read.
    """
    found = _states(folder)
    for path in reversed(found):
        try:
            # Weights only: tensors, containers and plain numbers; nothing in the file is executed.
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] != _FORMAT:
                raise ResumeError(f"{path}: has format {content['format']}, expected {_FORMAT}; pass --fresh")
            return State(
                progress=Progress(**content["progress"]), parts=content["parts"], random=content["random"]
            )
        except ResumeError:
            raise
        except Exception as error:  # torch has no one class for all that a damaged file can hold
            _log.warning("%s: cannot be read (%s), the one before it is tried", path, type(error).__name__)
    if found:
        raise ResumeError(f"{found[-1]}: no saved state can be read; pass --fresh to start anew")
    return None


def clear_states(folder: Path) -> None:
    """Remove all states."""
    for path in [*_states(folder), *folder.glob("state-*.part")]:
        path.unlink(missing_ok=True)


def _states(folder: Path) -> list[Path]:
    """Return the whole states, oldest first."""
    return sorted(path for path in folder.glob("state-*.ckpt") if _NAME.fullmatch(path.name))


def random_states() -> dict[str, Any]:
    """States of the generators of torch (CPU and GPUs), numpy and Python, as tensors and plain numbers."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 - foreign code's
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(numbers), gauss],
        "numpy": [
            str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss),
            float(cached),
        ],
    }  # fmt: skip


def restore_random(states: Mapping[str, Any]) -> None:
    """Put the generators back into the states of `random_states`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state(  # noqa: NPY002 - foreign code's
        (name, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    )
