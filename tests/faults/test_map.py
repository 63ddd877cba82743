"""A map on a cluster: whatever dies, and however many workers there are, the same command ends in the same bytes."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
import torch
from distributed import Client
from rasterio.transform import from_origin

from geoseg.mapping.map import map as make_map
from geoseg.models.model import Model
from geoseg.storage.run_record import RunRecord
from tests.faults.clusters import BIN, ENVIRONMENT, Cluster, wait_until
from tests.faults.conftest import Finished, error_line, names, still_runs
from tests.mapping.truths import CLASSES, ReadsOff, truth, write_scene

pytestmark = pytest.mark.faults

ARGUMENTS = ["--precision", "fp32", "--tile-size", "64", "--overlap", "16", "--cell", "48px"]
SHAPE = (220, 300)


@pytest.fixture(scope="session")
def land(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Path:
    """Folder with a dozen overlapping scenes of three bands with clouds, and m.safetensors."""
    folder = tmp_path_factory.mktemp("land")
    (folder / "m.safetensors").write_bytes(model_file.read_bytes())
    generator = np.random.default_rng(22)
    pixels = generator.integers(1, 255, (3, *(edge // 10 for edge in SHAPE))).repeat(10, 1).repeat(10, 2)
    for number in range(12):
        height, width = generator.integers(90, 150, 2).tolist()
        row, col = (
            int(generator.integers(0, whole - part + 1))
            for whole, part in zip(SHAPE, (height, width), strict=True)
        )
        part = pixels[:, row : row + height, col : col + width].astype(np.uint8)
        part[:, 20:50, 30:60] = 0
        with rasterio.open(
            folder / f"s{number:02d}.tif", "w", driver="GTiff", count=3, height=height, width=width, dtype="uint8",
            nodata=0, crs="EPSG:32633", transform=from_origin(5e5 + col * 10, 5e6 - row * 10, 10, 10),
        ) as file:  # fmt: skip
            file.write(part)
    return folder


def command(land: Path, folder: Path, *more: str) -> list[str]:
    """Return the command line that makes the map."""
    scenes = [str(path) for path in sorted(land.glob("*.tif"))]
    model = str(land / "m.safetensors")
    return [
        str(BIN / "geoseg"),
        "map",
        *scenes,
        "-m",
        model,
        "-o",
        str(folder / "map.gpkg"),
        *ARGUMENTS,
        *more,
    ]


@dataclass
class Run:
    """The command in a process of its own, and in a session of its own, as if in a terminal."""

    process: subprocess.Popen[bytes]
    stderr: Path

    @classmethod
    def start(cls, arguments: list[str], folder: Path) -> Run:
        stderr = folder.parent / f"{folder.name}.stderr"
        with stderr.open("wb") as file:
            process = subprocess.Popen(
                arguments, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True, env=ENVIRONMENT
            )
        return cls(process, stderr)

    def finish(self) -> Finished:
        return Finished(self.process.wait(300), self.stderr.read_text())


def run(arguments: list[str], folder: Path) -> Finished:
    return Run.start(arguments, folder).finish()


def cells(folder: Path) -> int:
    """How many cells are finished."""
    return len(list((folder / "map.cells").glob("*.npz")))


def wait_for_cells(started: Run, folder: Path, count: int) -> None:
    """Wait until so many cells are finished, or the command is."""
    wait_until(lambda: cells(folder) >= count or not still_runs(started.process.pid), f"cell {count}")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All products; those that have not their names yet are none."""
    kinds = (".gpkg", ".vrt", ".qml", ".npz", ".tif", ".csv")
    return {
        name: (folder / name).read_bytes()
        for name in all_files(folder)
        if name.endswith(kinds) and ".unfinished" not in name and ".geoseg-" not in name
    }


def all_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def same(folder: Path, clean: Path) -> None:
    """Products equal, nothing left beside them."""
    assert all_files(folder) == all_files(clean)
    found, expected = bytes_of(folder), bytes_of(clean)
    assert [name for name in expected if found[name] != expected[name]] == []


def nothing_half_written(folder: Path, clean: Path) -> None:
    """What has its name is complete; what is not has a name that says so."""
    expected = bytes_of(clean)
    for name, content in bytes_of(folder).items():
        assert content == expected[name], name
    known = set(all_files(clean))
    others = [name for name in all_files(folder) if name not in known and ".geoseg-" not in name]
    assert [name for name in others if ".unfinished" not in name] == []


@pytest.fixture(scope="session")
def clean(land: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the map that one process made undisturbed."""
    folder = tmp_path_factory.mktemp("clean") / "map"
    folder.mkdir()
    finished = run(command(land, folder), folder)
    assert finished.returncode == 0, finished.stderr
    assert 20 <= cells(folder) <= 40
    assert not [name for name in all_files(folder) if ".unfinished" in name]
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Empty folder for the map."""
    made = tmp_path / "map"
    made.mkdir()
    return made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler and no workers yet."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    made.start_scheduler()
    yield made
    made.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_bytes_of_one_process(
    land: Path, clean: Path, folder: Path, workers: int
) -> None:
    finished = run(command(land, folder, "--workers", str(workers)), folder)
    assert finished.returncode == 0, finished.stderr
    same(folder, clean)


@pytest.mark.parametrize("moment", range(5))
def test_a_killed_worker_changes_nothing(
    land: Path, clean: Path, folder: Path, cluster: Cluster, moment: int
) -> None:
    """Every other time the worker has a nanny, which starts another."""
    for _ in range(2):
        cluster.start_worker("--nanny" if moment % 2 else "--no-nanny")
    cluster.wait_for_workers(2)
    generator = random.Random(moment)
    pid = generator.choice(cluster.pids())
    started = Run.start(command(land, folder, "--scheduler", str(cluster.file)), folder)
    # Seeded and spread: one moment in each fifth of the work.
    wait_for_cells(started, folder, int(cells(clean) * (moment + generator.random()) / 5))
    os.kill(pid, signal.SIGKILL)
    finished = started.finish()
    assert finished.returncode == 0, finished.stderr
    same(folder, clean)


def test_the_last_worker_may_die_if_another_comes(
    land: Path, clean: Path, folder: Path, cluster: Cluster
) -> None:
    cluster.start_worker()
    cluster.wait_for_workers(1)
    (pid,) = cluster.pids()
    started = Run.start(command(land, folder, "--scheduler", str(cluster.file)), folder)
    wait_for_cells(started, folder, 5)
    os.kill(pid, signal.SIGKILL)
    cluster.start_worker()
    finished = started.finish()
    assert finished.returncode == 0, finished.stderr
    same(folder, clean)


@pytest.mark.parametrize("count", [1, 12])
def test_without_its_scheduler_the_command_ends_in_one_line_and_goes_on_with_another(
    land: Path, clean: Path, folder: Path, cluster: Cluster, count: int
) -> None:
    for _ in range(2):
        cluster.start_worker()
    cluster.wait_for_workers(2)
    arguments = command(land, folder, "--scheduler", str(cluster.file))
    started = Run.start(arguments, folder)
    wait_for_cells(started, folder, count)
    assert cluster.scheduler is not None
    cluster.scheduler.kill()
    finished = started.finish()
    assert finished.returncode == 1
    assert "the scheduler of the cluster is gone" in error_line(finished)
    nothing_half_written(folder, clean)
    assert not (folder / "map.gpkg").exists()
    before = cells(folder)
    assert before >= count

    cluster.start_scheduler()
    cluster.start_worker()
    cluster.wait_for_workers(1)
    again = run(arguments, folder)
    assert again.returncode == 0, again.stderr
    assert f"{cells(clean) - before} computed by this run" in again.stderr
    same(folder, clean)


def session_of(run: Run) -> list[int]:
    """Processes that a run has started, and itself."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == run.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "two"])
def test_after_a_kill_the_same_command_goes_on(
    land: Path, clean: Path, folder: Path, moment: int, workers: list[str]
) -> None:
    arguments = command(land, folder, *workers)
    started = Run.start(arguments, folder)
    count = int(cells(clean) * (moment + random.Random(moment).random()) / 4)
    wait_for_cells(started, folder, count)
    os.kill(started.process.pid, signal.SIGKILL)
    assert started.finish().returncode == -signal.SIGKILL
    wait_until(lambda: not session_of(started), "the end of the workers")
    nothing_half_written(folder, clean)
    again = run(arguments, folder)
    assert again.returncode == 0, again.stderr
    same(folder, clean)
    assert "finished before" in run(arguments, folder).stderr


def test_a_killed_client_of_a_cluster_leaves_it_as_it_was(
    land: Path, clean: Path, folder: Path, cluster: Cluster
) -> None:
    for _ in range(2):
        cluster.start_worker()
    cluster.wait_for_workers(2)
    arguments = command(land, folder, "--scheduler", str(cluster.file))
    for count in (3, 9):
        started = Run.start(arguments, folder)
        wait_for_cells(started, folder, count)
        os.kill(started.process.pid, signal.SIGKILL)
        started.finish()
        nothing_half_written(folder, clean)
    again = run(arguments, folder)  # at once: workers may still be at their last cells
    assert again.returncode == 0, again.stderr
    wait_until(lambda: not [n for n in all_files(folder) if ".unfinished" in n], "the last cells")
    same(folder, clean)
    cluster.wait_for_workers(2)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["alone", "workers", "scheduler"])
def test_an_interruption_is_one_word_and_the_same_command_goes_on(
    land: Path, clean: Path, folder: Path, cluster: Cluster, where: str, sent: signal.Signals
) -> None:
    """A terminal sends Ctrl-C to all processes that the command has started, too."""
    more = {"alone": [], "workers": ["--workers", "2"], "scheduler": ["--scheduler", str(cluster.file)]}[
        where
    ]
    if where == "scheduler":
        cluster.start_worker()
        cluster.wait_for_workers(1)
    started = Run.start(command(land, folder, *more), folder)
    wait_for_cells(started, folder, 4)
    os.killpg(started.process.pid, sent)
    finished = started.finish()
    assert finished.returncode == 128 + sent, finished.stderr
    assert "Traceback" not in finished.stderr
    wait_until(lambda: not session_of(started), "the end of the workers")
    nothing_half_written(folder, clean)
    assert run(command(land, folder, *more), folder).returncode == 0
    same(folder, clean)


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "two"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.6, 0.9])
def test_on_a_full_disk_the_command_ends_in_one_line(
    land: Path, clean: Path, small_disk: Callable[[int], Path], workers: list[str], share: float
) -> None:
    page = 4
    whole = sum(
        -(-path.stat().st_size // (page * 1024)) * page for path in clean.rglob("*") if path.is_file()
    )
    folder = small_disk(int(whole * share))
    finished = run(command(land, folder, *workers), folder)
    assert finished.returncode == 1, finished.stderr
    assert str(folder) in error_line(finished)
    assert not (folder / "map.gpkg").exists()
    nothing_half_written(folder, clean)
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    again = run(command(land, folder, *workers), folder)
    assert again.returncode == 0, again.stderr
    same(folder, clean)


class Deadly(ReadsOff):
    """Reads classes off, and ends its process where a pixel has a certain value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("is no graph")
        if (x == 4.5).any():
            os._exit(7)
        return super().forward(x)


def test_a_cell_that_kills_its_workers_is_reported_and_the_rest_ends(folder: Path) -> None:
    codes = truth((128, 192))
    codes[118, 80] = 9  # 22 and 32 px from the edges of its cell
    scene = write_scene(folder / "scene.tif", codes)
    model = Model.wrap(
        Deadly(), bands=["class"], classes=CLASSES, value_range=(0, 2), dtype="uint8", mean=0.0, std=1.0,
        tile_size=16, overlap=4, name="deadly",
    )  # fmt: skip
    made = make_map([scene], model, output=folder / "map.gpkg", cell="64px", precision="fp32", workers=2)

    with rasterio.open(folder / "map.vrt") as mosaic:
        found = mosaic.read(1)
    empty = found == 255
    assert empty.any()
    assert empty[118, 80]
    assert (np.ptp(np.argwhere(empty), axis=0) < 64).all()
    np.testing.assert_array_equal(found[~empty], (codes + 1)[~empty])
    record = RunRecord.read(made)
    assert record is not None
    (warning,) = record.warnings
    assert "kills its worker" in warning
    assert not [name for name in names(folder / "map.cells") if ".unfinished" in name]


OLDER = """
import importlib.metadata as metadata
metadata.version = lambda name, real=metadata.version: "0.0.1" if name == "geoseg" else real(name)
"""


def test_workers_of_another_version_are_refused_before_the_start(
    land: Path, folder: Path, cluster: Cluster
) -> None:
    preload = cluster.folder / "older.py"
    preload.write_text(OLDER)
    cluster.start_worker()
    cluster.start_worker("--no-nanny", "--preload", str(preload))
    cluster.wait_for_workers(2)
    finished = run(command(land, folder, "--scheduler", str(cluster.file)), folder)
    assert finished.returncode == 2
    assert "geoseg 0.0.1 for" in error_line(finished)
    assert cells(folder) == 0


def test_a_worker_of_another_version_that_comes_later_is_refused(
    land: Path, clean: Path, folder: Path, cluster: Cluster
) -> None:
    preload = cluster.folder / "older.py"
    preload.write_text(OLDER)
    cluster.start_worker()
    cluster.wait_for_workers(1)
    (pid,) = cluster.pids()
    started = Run.start(command(land, folder, "--scheduler", str(cluster.file)), folder)
    wait_for_cells(started, folder, 2)
    os.kill(pid, signal.SIGKILL)
    cluster.start_worker("--no-nanny", "--preload", str(preload))
    finished = started.finish()
    assert finished.returncode == 2
    assert "a worker differs from the client: geoseg 0.0.1 for" in error_line(finished)
    nothing_half_written(folder, clean)


def test_a_worker_that_does_not_see_the_folder_is_refused(land: Path, folder: Path, cluster: Cluster) -> None:
    """In a mount namespace of its own, with an empty file system over the folder."""
    hidden = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces can be made by root only")
    cluster.start_worker(before=hidden)
    cluster.wait_for_workers(1)
    finished = run(command(land, folder, "--scheduler", str(cluster.file)), folder)
    assert finished.returncode == 2
    assert f"does not find {folder / 'map.cells'}" in error_line(finished)


@pytest.fixture
def other_host() -> Iterator[tuple[str, list[str]]]:
    """Address of this machine in a network with another host, and the words that run a command there."""
    name, ours, theirs = f"geoseg{os.getpid()}", "10.231.77.1", "10.231.77.2"
    inside = ["ip", "netns", "exec", name]
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", f"gs{os.getpid()}", "type", "veth", "peer", "name", "eth0", "netns", name],
        ["ip", "addr", "add", f"{ours}/30", "dev", f"gs{os.getpid()}"],
        ["ip", "link", "set", f"gs{os.getpid()}", "up"],
        [*inside, "ip", "addr", "add", f"{theirs}/30", "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
    ]
    try:
        for step in steps:
            try:
                done = subprocess.run(step, check=False, capture_output=True, text=True)
            except FileNotFoundError:
                pytest.skip("ip is not on this machine")
            if done.returncode:
                pytest.skip(f"no network namespace can be made here: {' '.join(step)}: {done.stderr.strip()}")
        yield ours, [*inside, "unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"]
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_a_worker_on_another_host(
    land: Path, clean: Path, folder: Path, tmp_path: Path, other_host: tuple[str, list[str]]
) -> None:
    address, there = other_host
    (tmp_path / "hosts").mkdir()
    cluster = Cluster(tmp_path / "hosts", host=address)
    try:
        cluster.start_scheduler()
        cluster.start_worker(before=there)
        cluster.start_worker("--no-nanny", "--host", address)
        cluster.wait_for_workers(2)
        with Client(scheduler_file=str(cluster.file)) as client:
            assert "elsewhere" in client.run(socket.gethostname).values()
        finished = run(command(land, folder, "--scheduler", str(cluster.file)), folder)
    finally:
        cluster.close()
    assert finished.returncode == 0, finished.stderr
    same(folder, clean)
