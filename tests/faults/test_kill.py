"""Law 9: after ``kill -9`` at any moment the same command ends in the bytes of an uninterrupted run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Program, command, error_line, names, wait_for_strips

pytestmark = pytest.mark.faults

PRODUCTS = ["l.gpkg", "l.gpkg.run.json", "l.qml", "l.tif", "l.tif.aux.xml"]


def arguments_for(job: Path, folder: Path) -> list[str]:
    return command(job, folder / "l.gpkg", "--raster", str(folder / "l.tif"))


def same(folder: Path, clean: Path) -> None:
    """Products equal, nothing left beside them."""
    assert names(folder) == PRODUCTS
    for name in PRODUCTS:
        if not name.endswith("run.json"):
            assert (folder / name).read_bytes() == (clean / name).read_bytes(), name


@pytest.fixture(scope="session")
def work_seconds(program: Program, job: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds from the first stored strip to the end of the process."""
    folder = tmp_path_factory.mktemp("timed")
    pid = program.start(arguments_for(job, folder))
    wait_for_strips(pid, folder / "l.gpkg")
    started = time.perf_counter()
    assert program.finish().returncode == 0
    return time.perf_counter() - started


@pytest.mark.parametrize("moment", range(10))
def test_the_same_command_ends_in_the_same_bytes(
    program: Program, job: Path, clean: Path, work_seconds: float, tmp_path: Path, moment: int
) -> None:
    pid = program.start(arguments_for(job, tmp_path))
    wait_for_strips(pid, tmp_path / "l.gpkg")
    # Seeded and spread: one moment in each tenth of the work.
    time.sleep(work_seconds * (moment + random.Random(moment).random()) / 10)
    with contextlib.suppress(ProcessLookupError):  # it may have just finished
        os.kill(pid, signal.SIGKILL)
    program.finish()
    for product in ("l.gpkg", "l.tif"):  # absent, or complete
        if (tmp_path / product).exists():
            assert (tmp_path / product).read_bytes() == (clean / product).read_bytes()
    again = program.run(arguments_for(job, tmp_path))
    assert again.returncode == 0, again.stderr
    same(tmp_path, clean)
    assert "finished before" in program.run(arguments_for(job, tmp_path)).stderr
    same(tmp_path, clean)


@pytest.mark.parametrize("strips", [1, 5, 9])
def test_a_run_killed_again_while_it_goes_on_still_ends(
    program: Program, job: Path, clean: Path, tmp_path: Path, strips: int
) -> None:
    for more in (0, 2):
        pid = program.start(arguments_for(job, tmp_path))
        wait_for_strips(pid, tmp_path / "l.gpkg", strips + more)
        os.kill(pid, signal.SIGKILL)
        assert program.finish().returncode == -signal.SIGKILL
    assert program.run(arguments_for(job, tmp_path)).returncode == 0
    same(tmp_path, clean)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so_keeps_its_work_and_goes_on(
    program: Program, job: Path, clean: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    pid = program.start(arguments_for(job, tmp_path))
    wait_for_strips(pid, tmp_path / "l.gpkg", 2)
    os.kill(pid, sent)
    finished = program.finish()
    assert finished.returncode == code
    assert "Traceback" not in finished.stderr
    assert names(tmp_path) == ["l.gpkg.geoseg-part"]
    assert program.run(arguments_for(job, tmp_path)).returncode == 0
    same(tmp_path, clean)


def test_a_second_writer_is_refused_and_the_first_finishes(
    program: Program, job: Path, clean: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = Program(tmp_path_factory.mktemp("first") / "stderr")
    pid = first.start(arguments_for(job, tmp_path))
    wait_for_strips(pid, tmp_path / "l.gpkg")
    os.kill(pid, signal.SIGSTOP)  # held in the middle, however fast it is
    second = program.run(arguments_for(job, tmp_path))
    os.kill(pid, signal.SIGCONT)
    assert second.returncode == 4
    assert f"in use by process {pid} on" in error_line(second)
    assert first.finish().returncode == 0
    first.close()
    same(tmp_path, clean)


def test_a_resumed_predict_gives_its_bytes(program: Program, job: Path, clean: Path, tmp_path: Path) -> None:
    arguments = command(job, tmp_path / "l.tif", verb="predict")
    pid = program.start(arguments)
    wait_for_strips(pid, tmp_path / "l.tif", 3)
    os.kill(pid, signal.SIGKILL)
    program.finish()
    assert program.run(arguments).returncode == 0
    assert names(tmp_path) == ["l.qml", "l.tif", "l.tif.aux.xml", "l.tif.run.json"]
    assert (tmp_path / "l.tif").read_bytes() == (clean / "l.tif").read_bytes()
