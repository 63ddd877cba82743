"""Adding polygons to a GeoPackage: the old complete file or the new complete file, whatever happens on the way."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from tests.faults.conftest import Program, error_line, names, wait_while_running

pytestmark = pytest.mark.faults

HOSTILE = "x\"; DROP TABLE gpkg_contents; --'<script>é😀"


@pytest.fixture(scope="session")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a.tif and b.tif, maps of 300 x 240 px that make some ten thousand polygons each, and l.csv."""
    folder = tmp_path_factory.mktemp("maps")
    for seed, name in enumerate(("a", "b")):
        codes = np.random.default_rng(seed).integers(0, 5, (300, 240)).astype(np.uint8)
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", count=1, height=300, width=240, dtype="uint8", nodata=0,
            crs="EPSG:32633", transform=from_origin(5e5 + seed * 2400, 5e6, 10, 10),
        ) as file:  # fmt: skip
            file.write(codes, 1)
    lines = [f'{code},"{HOSTILE.replace(chr(34), 2 * chr(34))} {code}"' for code in (1, 2, 3, 4)]
    (folder / "l.csv").write_text("\n".join(["code,name", *lines, ""]))
    return folder


def command(maps: Path, name: str, output: Path) -> list[str]:
    return [
        *("vectorize", str(maps / f"{name}.tif"), "-o", str(output), "--append"),
        *("--output-layer", HOSTILE, "--legend", str(maps / "l.csv"), "--workers", "1"),
    ]


@pytest.fixture(scope="session")
def states(program: Program, maps: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The file with one scene, and with both."""
    path = tmp_path_factory.mktemp("states") / "o.gpkg"
    found = {}
    for state, name in (("old", "a"), ("new", "b")):
        finished = program.run(command(maps, name, path))
        assert finished.returncode == 0, finished.stderr
        found[state] = path.read_bytes()
    return found


@pytest.fixture
def output(states: dict[str, bytes], tmp_path: Path) -> Path:
    path = tmp_path / "o.gpkg"
    path.write_bytes(states["old"])
    return path


@pytest.fixture(scope="session")
def seconds(
    program: Program, maps: Path, states: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> float:
    """How long the second scene takes from the moment its copy is begun."""
    path = tmp_path_factory.mktemp("timed") / "o.gpkg"
    path.write_bytes(states["old"])
    pid = program.start(command(maps, "b", path))
    wait_for_scratch(pid, path)
    started = time.perf_counter()
    assert program.finish().returncode == 0
    return time.perf_counter() - started


def wait_for_scratch(pid: int, path: Path) -> None:
    """Wait until the copy is begun, or the run has ended."""
    scratch = path.with_name(path.name + ".geoseg-part")
    wait_while_running(pid, lambda: list(scratch.glob("*")))


@pytest.mark.parametrize("moment", range(10))
def test_after_a_kill_the_file_is_the_old_or_the_new_one(
    program: Program, maps: Path, states: dict[str, bytes], output: Path, seconds: float, moment: int
) -> None:
    pid = program.start(command(maps, "b", output))
    wait_for_scratch(pid, output)
    # Seeded and spread: one moment in each tenth of the work.
    time.sleep(seconds * (moment + random.Random(moment).random()) / 10)
    with contextlib.suppress(ProcessLookupError):  # it may have just finished
        os.kill(pid, signal.SIGKILL)
    program.finish()
    content = output.read_bytes()
    assert content in (states["old"], states["new"])
    if content == states["old"]:
        assert program.run(command(maps, "b", output)).returncode == 0
        assert output.read_bytes() == states["new"]
        assert names(output.parent) == ["o.gpkg"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_the_old_file_alone(
    program: Program, maps: Path, states: dict[str, bytes], output: Path, sent: signal.Signals
) -> None:
    pid = program.start(command(maps, "b", output))
    wait_for_scratch(pid, output)
    os.kill(pid, sent)
    finished = program.finish()
    assert finished.returncode in (130, 143), finished.stderr
    assert "Traceback" not in finished.stderr
    assert output.read_bytes() == states["old"]
    assert names(output.parent) == ["o.gpkg"]


@pytest.mark.parametrize("more", [0.5, 1.02, 1.3, 1.6, 1.9])
def test_a_full_disk_keeps_the_old_file(
    program: Program, maps: Path, states: dict[str, bytes], small_disk: Callable[[int], Path], more: float
) -> None:
    """Room for a part of the copy, for the copy, for the copy and some of the polygons."""
    folder = small_disk(int(len(states["old"]) * (1 + more) / 1024) + 16)
    output = folder / "o.gpkg"
    output.write_bytes(states["old"])
    finished = program.run(command(maps, "b", output))
    assert finished.returncode == 1
    assert str(folder) in error_line(finished)
    assert output.read_bytes() == states["old"]
    assert names(folder) == ["o.gpkg"]
    subprocess.run(["mount", "-o", "remount,size=400m", str(folder)], check=True)
    assert program.run(command(maps, "b", output)).returncode == 0
    assert output.read_bytes() == states["new"]


def test_a_second_writer_is_refused_and_the_first_finishes(
    program: Program,
    maps: Path,
    states: dict[str, bytes],
    output: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first = Program(tmp_path_factory.mktemp("first") / "stderr")
    pid = first.start(command(maps, "b", output))
    wait_for_scratch(pid, output)
    os.kill(pid, signal.SIGSTOP)  # held in the middle, however fast it is
    second = program.run(command(maps, "b", output))
    os.kill(pid, signal.SIGCONT)
    assert second.returncode == 4
    assert f"in use by process {pid} on" in error_line(second)
    assert first.finish().returncode == 0
    first.close()
    assert output.read_bytes() == states["new"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    program: Program, maps: Path, states: dict[str, bytes], small_disk: Callable[[int], Path]
) -> None:
    folder = small_disk(400_000)
    (folder / "o.gpkg").write_bytes(states["old"])
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    finished = program.run(command(maps, "b", folder / "o.gpkg"))
    assert finished.returncode == 1
    assert "cannot be written" in error_line(finished)
    assert (folder / "o.gpkg").read_bytes() == states["old"]
