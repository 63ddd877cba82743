"""One writer per output, also when that writer has forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg.errors import OutputBusyError
from geoseg.storage.lock import locked

# Takes the lock, forks a child that says so and lives on, and waits to be killed.
FORKING = """
import os, sys, time
from pathlib import Path
from geoseg.storage.lock import locked
with locked(Path(sys.argv[1]), Path("output")):
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)  # by now it has let go of what it was born with
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def test_children_of_a_killed_process_do_not_hold_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKING, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        with pytest.raises(OutputBusyError, match=str(parent.pid)), locked(path, tmp_path / "output"):
            pass
        parent.kill()
        parent.wait()
        parent.stdout.close()
        os.kill(child, 0)  # it lives
        with locked(path, tmp_path / "output"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
