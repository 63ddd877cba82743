"""Start the process of a trial, wait for its end, and say in one line what came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from geoseg.errors import OutputError
from geoseg.experiments.trial import stop_file

LOG: Final = "trial.log"
OUTCOME: Final = "trial.json"
_LOOK: Final = 0.1
"""Seconds between two looks at a process."""
_GRACE: Final = 10.0
"""Seconds that a trial has to save its state: less than the command line gives itself after SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Parameters
    ----------
    status : str
        ``finished``, ``failed``, ``pruned``; ``paused`` where it was to stop after an epoch, and ``stopped`` where the
        sweep ends: both can go on.
    reason : str
        One line; empty where nothing needs to be said.
    """

    status: Literal["finished", "failed", "pruned", "paused", "stopped"]
    reason: str = ""


def run_process(
    order: Mapping[str, Any], environment: Mapping[str, str], ends: Callable[[], bool]
) -> Outcome:
    """Run a trial in a process of its own.

    Parameters
    ----------
    order : mapping
        What `geoseg.experiments.trial` reads; plain JSON values.
    environment : mapping of str to str
        Further environment variables.
    ends : callable
        Asked all the time; True stops the trial, with its state saved.
    """
    if ends():
        return Outcome(status="stopped")
    folder = Path(order["output"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stop_file(folder).unlink(missing_ok=True)
        log = (folder / LOG).open("ab")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for a trial ({error.strerror})") from error
    with log:
        # A session of its own: Ctrl-C in a terminal reaches the sweep alone, which stops its trials.
        process = subprocess.Popen(
            [sys.executable, "-Wignore", "-mgeoseg.experiments.trial"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            env={**os.environ, **environment},
        )  # fmt: skip
    asked = _attended(process, json.dumps(order).encode() + b"\n", ends)
    assert process.stdout is not None
    said = process.stdout.read().decode(errors="replace").strip().splitlines()
    process.stdout.close()
    outcome = _told(said) or _died(process.returncode, folder)
    return Outcome(status="stopped") if asked and outcome.status != "finished" else outcome


def _attended(process: subprocess.Popen[bytes], order: bytes, ends: Callable[[], bool]) -> bool:
    """Wait for the end of a process; return whether it was asked for."""
    assert process.stdin is not None
    asked = False
    try:
        with suppress(BrokenPipeError):  # it died at once, which its exit code says
            process.stdin.write(order)
            process.stdin.flush()
        while True:
            try:
                process.wait(_LOOK)
                return asked
            except subprocess.TimeoutExpired:
                pass
            if not asked and ends():
                asked = True
                process.terminate()
                deadline = time.monotonic() + _GRACE
            if asked and time.monotonic() > deadline:
                process.kill()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _told(said: list[str]) -> Outcome | None:
    """Return what the last line of the process says."""
    try:
        found = json.loads(said[-1])
        return Outcome(status=found["status"], reason=found["reason"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _died(code: int, folder: Path) -> Outcome:
    """Return the outcome of a process that ended without a word."""
    if code < 0:
        name = signal.Signals(-code).name
        more = " (as the system does where memory runs out)" if name == "SIGKILL" else ""
        return Outcome(status="failed", reason=f"killed by {name}{more}")
    return Outcome(status="failed", reason=f"ended with exit code {code}; {folder / LOG} may say why")
