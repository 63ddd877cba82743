"""Full disks, folders that cannot be written, files that end too soon: the old file or the new one, one line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Program, command, error_line, names, wait_for_strips

pytestmark = pytest.mark.faults

Disk = Callable[[int], Path]


@pytest.mark.parametrize("kib", [100, 200, 400, 700, 900, 1100])
def test_a_full_disk_keeps_the_old_file(
    program: Program, job: Path, clean: Path, small_disk: Disk, kib: int
) -> None:
    """--force switches the check of free space off, so that every size fails somewhere else, or succeeds."""
    folder = small_disk(kib)
    (folder / "l.gpkg").write_text("the old file")
    arguments = command(job, folder / "l.gpkg", "--raster", str(folder / "l.tif"), "--overwrite", "--force")
    finished = program.run(arguments)
    if finished.returncode == 0:
        assert (folder / "l.gpkg").read_bytes() == (clean / "l.gpkg").read_bytes()
        return
    assert finished.returncode == 1
    assert str(folder) in error_line(finished)
    assert (folder / "l.gpkg").read_text() == "the old file"
    if (folder / "l.tif").exists():
        assert (folder / "l.tif").read_bytes() == (clean / "l.tif").read_bytes()
    assert not [n for n in names(folder) if n.startswith("l.gpkg-") or n.endswith(".tmp")]
    # With room made the same command goes on where it stopped.
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    assert program.run(arguments).returncode == 0
    for name in ("l.gpkg", "l.tif"):
        assert (folder / name).read_bytes() == (clean / name).read_bytes()
    assert names(folder) == names(clean)


def test_a_disk_that_is_too_small_is_refused_before_the_run(
    program: Program, job: Path, small_disk: Disk
) -> None:
    folder = small_disk(1000)
    finished = program.run(command(job, folder / "l.gpkg"))
    assert finished.returncode == 1
    assert "MB free, the run may need" in error_line(finished)
    assert names(folder) == []


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_vectorize_on_a_full_disk_keeps_the_old_file(
    program: Program, clean: Path, small_disk: Disk, share: float
) -> None:
    folder = small_disk(int((clean / "l.gpkg").stat().st_size * share / 1024))
    (folder / "v.gpkg").write_text("the old file")
    finished = program.run(["vectorize", str(clean / "l.tif"), "-o", str(folder / "v.gpkg"), "--overwrite"])
    assert finished.returncode == 1
    assert str(folder) in error_line(finished)
    assert (folder / "v.gpkg").read_text() == "the old file"
    assert names(folder) == ["v.gpkg"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    program: Program, job: Path, small_disk: Disk
) -> None:
    folder = small_disk(5000)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    finished = program.run(command(job, folder / "l.gpkg"))
    assert finished.returncode == 1
    assert "cannot be written" in error_line(finished)


def test_a_folder_that_is_not_there_is_refused_at_once(program: Program, job: Path, tmp_path: Path) -> None:
    finished = program.run(command(job, tmp_path / "missing" / "l.gpkg"))
    assert finished.returncode == 1
    assert "does not exist" in error_line(finished)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_scene_stops_or_becomes_no_data(
    program: Program, job: Path, tmp_path: Path, share: float
) -> None:
    shutil.copy(job / "m.safetensors", tmp_path)
    whole = (job / "scene.tif").read_bytes()
    (tmp_path / "scene.tif").write_bytes(whole[: int(len(whole) * share)])
    (tmp_path / "l.gpkg").write_text("the old file")
    arguments = command(tmp_path, tmp_path / "l.gpkg", "--overwrite")
    stopped = program.run(arguments)
    assert stopped.returncode == 1
    assert "scene.tif" in error_line(stopped)
    assert (tmp_path / "l.gpkg").read_text() == "the old file"
    replaced = program.run([*arguments, "--on-error", "nodata", "--fresh"])
    assert replaced.returncode in (1, 3), replaced.stderr
    if replaced.returncode == 3:
        assert "could not be read and became no data" in replaced.stderr
    else:
        assert "scene.tif" in error_line(replaced)
        assert (tmp_path / "l.gpkg").read_text() == "the old file"


def test_a_scene_changed_between_two_runs_is_not_mixed(program: Program, job: Path, tmp_path: Path) -> None:
    for name in ("scene.tif", "m.safetensors"):
        shutil.copy(job / name, tmp_path)
    arguments = command(tmp_path, tmp_path / "l.gpkg")
    pid = program.start(arguments)
    wait_for_strips(pid, tmp_path / "l.gpkg")
    os.kill(pid, signal.SIGKILL)
    program.finish()
    os.utime(tmp_path / "scene.tif", (1, 1))
    finished = program.run(arguments)
    assert finished.returncode == 1
    assert "unfinished work" in error_line(finished)
    assert "--fresh" in error_line(finished)
    assert program.run([*arguments, "--fresh"]).returncode == 0
