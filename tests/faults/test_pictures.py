"""Law 9 for pictures: after ``kill -9`` at any moment the same command ends in the files of an uninterrupted run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.conftest import ARGUMENTS, Program, error_line, names, still_runs, wait_while_running

pytestmark = pytest.mark.faults


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of 90 x 120 px."""
    folder = tmp_path_factory.mktemp("album")
    for seed in range(40):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((120, 90)).save(folder / f"{seed:02d}.png")
    return folder


def predict(job: Path, album: Path, *output: str) -> list[str]:
    return ["predict", str(album), "-m", str(job / "m.safetensors"), *output, *ARGUMENTS]


@pytest.fixture(scope="session")
def whole(program: Program, job: Path, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with masks/ and t.csv of uninterrupted runs."""
    folder = tmp_path_factory.mktemp("whole")
    for output in (("-o", f"{folder}/masks"), ("--submission", f"{folder}/t.csv", "--size", "45x60")):
        finished = program.run(predict(job, album, *output))
        assert finished.returncode == 0, finished.stderr
    return folder


@pytest.mark.parametrize("count", [1, 9, 22])
def test_masks_go_on_after_a_kill(
    program: Program, job: Path, album: Path, whole: Path, tmp_path: Path, count: int
) -> None:
    masks = tmp_path / "masks"
    arguments = predict(job, album, "-o", str(masks))
    pid = program.start(arguments)
    wait_while_running(pid, lambda: len(list(masks.glob("*.png"))) >= count)
    os.kill(pid, signal.SIGKILL)
    assert program.finish().returncode == -signal.SIGKILL
    for path in masks.glob("*.png"):
        assert path.read_bytes() == (whole / "masks" / path.name).read_bytes()
    again = program.run(arguments)
    assert again.returncode == 0, again.stderr
    assert names(masks) == names(whole / "masks")
    for path in masks.glob("*.png"):
        assert path.read_bytes() == (whole / "masks" / path.name).read_bytes()
    assert program.run(arguments).returncode == 0


@pytest.mark.parametrize("parts", [0, 1, 6])
def test_a_table_goes_on_after_a_kill(
    program: Program, job: Path, album: Path, whole: Path, tmp_path: Path, parts: int
) -> None:
    arguments = predict(job, album, "--submission", f"{tmp_path}/t.csv", "--size", "45x60")
    scratch = tmp_path / "t.csv.geoseg-part"
    pid = program.start(arguments)
    while not (scratch / "journal.jsonl").exists() or len(list(scratch.glob("part-*.csv"))) < parts:
        assert still_runs(pid)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    assert program.finish().returncode == -signal.SIGKILL
    assert not (tmp_path / "t.csv").exists()
    again = program.run(arguments)
    assert again.returncode == 0, again.stderr
    assert f"{tmp_path / 't.csv'}: " in again.stderr
    assert names(tmp_path) == ["t.csv", "t.csv.run.json"]
    assert (tmp_path / "t.csv").read_bytes() == (whole / "t.csv").read_bytes()


def test_a_full_disk_leaves_whole_masks(
    program: Program, job: Path, album: Path, whole: Path, tmp_path: Path, small_disk: object
) -> None:
    assert callable(small_disk)
    disk = small_disk(96)
    finished = program.run(predict(job, album, "-o", f"{disk}/masks"))
    assert finished.returncode == 1
    assert "could not be written" in error_line(finished)
    written = list((disk / "masks").glob("*.png"))
    assert 0 < len(written) < 40
    for path in written:
        assert path.read_bytes() == (whole / "masks" / path.name).read_bytes()
