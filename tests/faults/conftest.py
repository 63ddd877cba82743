"""A job of a few seconds, run as a person runs it: by the command line, in a process that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.grid.legend import Legend
from geoseg.models.model import Model

# A batch is a row of tiles of the job's scene, and so a strip: there are 14 to be killed after.
ARGUMENTS = ["--precision", "fp32", "--tile-size", "64", "--overlap", "16", "--batch-size", "11"]


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with scene.tif (640 x 512 px, dozens of strips of tiles) and m.safetensors."""
    folder = tmp_path_factory.mktemp("job")
    Model.new(
        architecture="Unet",
        encoder="resnet18",
        bands=["red", "green", "blue"],
        classes=Legend.parse("water,forest,town,field"),
        tile_size=64,
    ).save(folder / "m.safetensors")
    generator = np.random.default_rng(5)
    coarse = generator.integers(0, 255, (3, 40, 32)).repeat(16, axis=1).repeat(16, axis=2)
    pixels = np.clip(coarse + generator.integers(-20, 20, (3, 640, 512)), 0, 255).astype(np.uint8)
    profile = {
        "driver": "GTiff", "count": 3, "height": 640, "width": 512, "dtype": "uint8", "crs": "EPSG:32633",
        "transform": from_origin(5e5, 5e6, 10, 10), "tiled": True, "blockxsize": 64, "blockysize": 64,
        "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(folder / "scene.tif", "w", **profile) as dataset:
        dataset.write(pixels)
    return folder


def command(job: Path, output: Path, *more: str, verb: str = "segment") -> list[str]:
    """Return the command line that turns the job's scene into `output`."""
    scene, model = str(job / "scene.tif"), str(job / "m.safetensors")
    return [verb, scene, "-m", model, "-o", str(output), *ARGUMENTS, *more]


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    returncode: int
    stderr: str


PATIENCE = 300.0
"""Seconds after which a run counts as hung: whole ones take a few."""


class Program:
    """The command line, one run at a time, each in a process of its own (see zygote.py)."""

    def __init__(self, stderr: Path, environment: dict[str, str] | None = None) -> None:
        self._stderr = stderr
        self._running: int | None = None
        script = Path(__file__).with_name("zygote.py")
        self._zygote = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=os.environ | (environment or {}),
        )  # fmt: skip
        self._answer()

    def start(self, arguments: list[str], environment: dict[str, str] | None = None) -> int:
        """Start a run, with further environment variables, and return its process number."""
        assert self._zygote.stdin is not None
        self.settle()
        request = {"arguments": arguments, "stderr": str(self._stderr), "environment": environment or {}}
        self._zygote.stdin.write(f"{json.dumps(request)}\n".encode())
        self._running = self._answer()["pid"]
        return self._running

    def finish(self) -> Finished:
        """Wait for the end of the run."""
        code = self._answer()["returncode"]
        self._running = None
        return Finished(code, self._stderr.read_text())

    def run(self, arguments: list[str], environment: dict[str, str] | None = None) -> Finished:
        """Run a command to its end."""
        self.start(arguments, environment)
        return self.finish()

    def settle(self) -> None:
        """End a run that a test which failed has left."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running, signal.SIGKILL)
            self.finish()

    def close(self) -> None:
        """End the program."""
        self.settle()
        self._zygote.communicate()

    def _answer(self) -> dict[str, int]:
        assert self._zygote.stdout is not None
        # Not buffered: what was read already would not be seen here.
        if not select.select([self._zygote.stdout], [], [], PATIENCE)[0]:
            fail_as_hung(self._running or self._zygote.pid, self._stderr)
        answer: dict[str, int] = json.loads(self._zygote.stdout.readline())
        return answer


def fail_as_hung(pid: int, stderr: Path | None = None) -> NoReturn:
    """Fail because a process hangs; where it prints its stacks when it is aborted, with them."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGABRT)
    deadline = time.monotonic() + 10
    while still_runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    said = stderr.read_text() if stderr is not None and stderr.exists() else ""
    pytest.fail(f"hangs since {PATIENCE:.0f} s:\n{said}")


def wait_while_running(pid: int, holds: Callable[[], object]) -> None:
    """Wait until something holds, or a run has ended."""
    deadline = time.monotonic() + PATIENCE
    while not holds() and still_runs(pid):
        if time.monotonic() > deadline:
            fail_as_hung(pid)
        time.sleep(0.001)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The command line."""
    started = Program(tmp_path_factory.mktemp("program") / "stderr")
    yield started
    started.close()


def wait_for_strips(pid: int, output: Path, count: int = 1) -> None:
    """Wait until a run has stored so many strips, or has ended."""
    scratch = output.with_name(output.name + ".geoseg-part")
    wait_while_running(pid, lambda: len(list(scratch.glob("strip-*"))) >= count)


def still_runs(pid: int) -> bool:
    """Whether a process has not ended yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends while its file is read
        return False


def error_line(finished: Finished) -> str:
    """Return the one line that begins with Error, and require that there is just one and no traceback."""
    lines = [line for line in finished.stderr.splitlines() if line.startswith("Error")]
    assert len(lines) == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    return lines[0]


def names(folder: Path) -> list[str]:
    """Sorted names in a folder."""
    return sorted(item.name for item in folder.iterdir())


@pytest.fixture(scope="session")
def clean(program: Program, job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the products of an uninterrupted `segment`."""
    folder = tmp_path_factory.mktemp("clean")
    finished = program.run(command(job, folder / "l.gpkg", "--raster", str(folder / "l.tif")))
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Call with a size in KiB: a file system of that size, mounted; needs root."""
    mounted: list[Path] = []

    def mount(kib: int) -> Path:
        folder = tmp_path / f"disk{kib}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        )
        if os.geteuid() != 0 or done.returncode != 0:
            pytest.skip("file systems of a given size can be mounted by root only")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
