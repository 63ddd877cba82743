"""A real dask cluster: a scheduler and workers, each a command of its own in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
_PATIENCE = 60.0


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.005)


@dataclass
class Cluster:
    """Its processes.

    Parameters
    ----------
    folder : Path
        Where their folders and outputs go.
    host : str
        Address on which the scheduler listens.
    """

    folder: Path
    host: str = "127.0.0.1"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    scheduler: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        """File that says where the scheduler is."""
        return self.folder / "scheduler.json"

    def start_scheduler(self) -> None:
        """Start a scheduler and wait until it listens."""
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler",
            "--host",
            self.host,
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            "--scheduler-file",
            str(self.file),
        )
        wait_until(self.file.exists, "the scheduler")

    def start_worker(
        self, *options: str, before: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread, without a process that restarts it unless `options` say so."""
        return self._start(
            *("worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--no-dashboard"),
            *("--local-directory", str(self.folder / "scratch"), *(options or ("--no-nanny",))),
            before=before,
            environment=environment,
        )

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers are there."""
        with Client(scheduler_file=str(self.file)) as client:
            client.wait_for_workers(count, timeout=_PATIENCE)

    def pids(self) -> list[int]:
        """Return the process numbers of the workers."""
        with Client(scheduler_file=str(self.file)) as client:
            return sorted(client.run(os.getpid).values())

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)

    def _start(
        self, *arguments: str, before: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        place = self.folder / f"{arguments[0]}{len(self.processes)}"
        place.mkdir()
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [*before, str(BIN / "dask"), *arguments],
                cwd=place, stdout=log, stderr=log, start_new_session=True, env=ENVIRONMENT | (environment or {}),
            )  # fmt: skip
        self.processes.append(process)
        return process
