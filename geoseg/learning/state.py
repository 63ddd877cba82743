"""Save and load the whole state of a training, so that it can be resumed exactly."""

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

from geoseg.errors import ANEW, OutputError, ResumeError, plural
from geoseg.storage.durable import replace

_FORMAT: Final = 2
_NAME: Final = re.compile(r"state-(\d{10})\.ckpt")
_KEPT: Final = 2
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class TrainingPosition:
    """How far a training has come, and its running totals.

    Parameters
    ----------
    epoch : int
        Number of finished epochs.
    batch : int
        Number of finished batches of the current epoch.
    loss_sum, loss_count
        Sum and number of the losses of these batches.
    best : tuple of float or None
        Rank of the best epoch so far (`Monitor.standing`).
    best_epoch : int
        Number of the best epoch, from 1; 0 if there is none yet.
    seconds : float
        Training time so far.
    cpu_seconds : float
        CPU time of the training process so far.
    stopped : bool
        Whether it stopped early for lack of improvement.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: tuple[float, float] | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    stopped: bool = False

    def __post_init__(self) -> None:
        """Convert a list read from JSON back to a tuple."""
        self.best = None if self.best is None else (self.best[0], self.best[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that the next step depends on besides configuration and data.

    Parameters
    ----------
    progress : Progress
        Position of the training.
    parts : dict
        States of network, averaged weights, optimizer, schedule and scaler, as torch returns them.
    random : dict
        States of all random generators, as tensors and plain numbers.
    """

    progress: TrainingPosition
    parts: dict[str, Any]
    random: dict[str, Any] = field(default_factory=lambda: random_states())


def save_state(folder: Path, state: State, steps: int) -> None:
    """Write a state, verify it by reading it back, and keep the last two.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    state : State
        The state.
    steps : int
        Number of batches since the beginning, used in the file name.

    Raises
    ------
    OutputError
        If it cannot be written; earlier states are untouched.
    """
    path = folder / f"state-{steps:010d}.ckpt"
    part = path.with_suffix(".part")
    content = {
        "format": _FORMAT,
        "progress": asdict(state.progress),
        "parts": state.parts,
        "random": state.random,
    }
    # Serialized in memory first, to compare with the bytes on disk.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getbuffer()
    try:
        part.write_bytes(data)
        if part.read_bytes() != data:
            raise OutputError(
                f"{path}: the content read back differs from what was written; the disk may be faulty, training stops"
            )
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OutputError(
            f"{path}: the state of the training ({plural(len(data), 'byte')}) cannot be saved "
            f"({error.strerror}); training "
            "stops here, make room and run the same command to continue"
        ) from error
    replace(part, path)
    for old in _states(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)


def load_state(folder: Path) -> State | None:
    """Load the newest intact state; None if there is no state at all.

    Raises
    ------
    ResumeError
        If there are states but none can be read.
    """
    found = _states(folder)
    for path in reversed(found):
        try:
            # Only tensors, containers and plain numbers are loaded; no code in the file is run.
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] != _FORMAT:
                raise ResumeError(f"{path}: has format {content['format']}, expected {_FORMAT}", ANEW)
            return State(
                progress=TrainingPosition(**content["progress"]),
                parts=content["parts"],
                random=content["random"],
            )
        except ResumeError:
            raise
        except Exception as error:  # torch raises errors of any type for damaged files
            _log.warning("%s: cannot be read (%s), the one before it is tried", path, type(error).__name__)
    if found:
        raise ResumeError(f"{found[-1]}: no saved state can be read", ANEW)
    return None


def clear_states(folder: Path) -> None:
    """Remove all states."""
    for path in [*_states(folder), *folder.glob("state-*.part")]:
        path.unlink(missing_ok=True)


def _states(folder: Path) -> list[Path]:
    """Return the complete states, oldest first."""
    return sorted(path for path in folder.glob("state-*.ckpt") if _NAME.fullmatch(path.name))


def random_states() -> dict[str, Any]:
    """Return the states of the random generators of torch (CPU and GPUs), numpy and Python, as plain values."""
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
    """Restore the random generators from `random_states`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state(  # noqa: NPY002 - foreign code's
        (name, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    )
