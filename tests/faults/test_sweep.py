"""Sweeps whose trials fail, and sweeps and trials that are killed: the same command goes on."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from geoseg.experiments.table import SweepTable
from geoseg.models.card_file import read_card
from tests.faults.conftest import Finished, Program, still_runs, wait_while_running
from tests.faults.test_train import config

pytestmark = pytest.mark.faults
__all__ = ["config"]  # the fixture
GRID = ["--grid", "train.loss=ce,dice", "--seeds", "1"]
TIMES = ["seconds", "cpu_seconds"]


def sweep(config: Path, output: Path, *more: str) -> list[str]:
    return ["sweep", str(config), "-o", str(output), *more]


@dataclass(frozen=True)
class Swept:
    """What a sweep that was never disturbed came to."""

    rows: pd.DataFrame
    weights: list[str]


def outcome(folder: Path) -> Swept:
    rows = SweepTable.read(folder).rows
    names = sorted(rows.loc[rows["status"] == "finished", "trial"].unique())
    weights = [read_card(folder / "trials" / name / "model.safetensors").weights_sha256 for name in names]
    return Swept(rows.drop(columns=TIMES), weights)


def same(folder: Path, undisturbed: Swept) -> None:
    found = outcome(folder)
    pd.testing.assert_frame_equal(found.rows, undisturbed.rows)
    assert found.weights == undisturbed.weights


@pytest.fixture(scope="session")
def undisturbed(program: Program, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    finished = program.run(sweep(config, folder, *GRID))
    assert finished.returncode == 0, finished.stderr
    assert "Stage grid: " in finished.stderr
    return outcome(folder)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still run."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return [each for each in found if still_runs(each)]


def wait_for(folder: Path, trial: str, pid: int) -> None:
    """Wait until a trial has saved a state, or the sweep has ended."""
    wait_while_running(pid, lambda: list((folder / "trials" / trial).glob("state-*.ckpt")))


@pytest.mark.parametrize("trial", ["t0001", "t0002"])
def test_a_killed_sweep_ends_in_the_same_table(
    program: Program, config: Path, undisturbed: Swept, tmp_path: Path, trial: str
) -> None:
    folder = tmp_path / "sweep"
    pid = program.start(sweep(config, folder, *GRID))
    wait_for(folder, trial, pid)
    (child,) = children(pid)
    os.kill(pid, signal.SIGKILL)
    program.finish()
    deadline = time.monotonic() + 10
    while still_runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not still_runs(child), "a trial does not outlive its sweep"
    first = folder / "trials" / "t0001" / "model.safetensors"
    stamp = first.stat().st_mtime_ns if trial == "t0002" else None
    log = folder / "trials" / trial / "trial.log"
    again = program.run(sweep(config, folder, *GRID))
    assert again.returncode == 0, again.stderr
    assert "going on in epoch" in log.read_text()
    assert stamp in (None, first.stat().st_mtime_ns), "a finished trial stays"
    same(folder, undisturbed)


def test_a_killed_trial_is_named_the_others_are_done_and_it_goes_on(
    program: Program, config: Path, undisturbed: Swept, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    pid = program.start(sweep(config, folder, *GRID))
    wait_for(folder, "t0001", pid)
    (child,) = children(pid)
    os.kill(child, signal.SIGKILL)
    finished = program.finish()
    assert finished.returncode == 3, finished.stderr
    assert "t0001 failed: killed by SIGKILL" in finished.stderr
    rows = SweepTable.read(folder).rows
    assert dict(zip(rows["trial"], rows["status"], strict=True)) == {"t0001": "failed", "t0002": "finished"}
    assert program.run(sweep(config, folder, *GRID)).returncode == 0
    assert "going on in epoch" in (folder / "trials" / "t0001" / "trial.log").read_text()
    same(folder, undisturbed)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_trials_with_their_state(
    program: Program, config: Path, undisturbed: Swept, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    folder = tmp_path / "sweep"
    pid = program.start(sweep(config, folder, *GRID))
    wait_for(folder, "t0001", pid)
    os.kill(pid, sent)
    finished = program.finish()
    assert finished.returncode == code, finished.stderr
    assert "Traceback" not in finished.stderr
    assert set(SweepTable.read(folder).rows["status"]) == {"waiting"}
    assert program.run(sweep(config, folder, *GRID)).returncode == 0
    same(folder, undisturbed)


STAGES = """
stages:
  - name: failures
    choices:
      - {model.encoder: no_such_encoder}
      - {train.learning_rate: 1.0e+6}
      - {train.batch_size: 512, train.chip_size: 512, train.chips_per_epoch: 1024}
      - {train.loss: ce}
"""


def failures(finished: Finished) -> dict[str, str]:
    """The line about each trial that failed."""
    lines = [line for line in finished.stderr.splitlines() if line.startswith("Warning: t0")]
    return dict(line.removeprefix("Warning: ").split(" failed: ", 1) for line in lines)  # type: ignore[misc]


def test_what_fails_is_named_in_one_line_and_the_rest_is_done(
    program: Program, config: Path, tmp_path: Path
) -> None:
    folder, stages = tmp_path / "sweep", tmp_path / "stages.yaml"
    stages.write_text(STAGES)
    pid = program.start(sweep(config, folder, "--stages", str(stages), "--seeds", "1"))
    resource.prlimit(pid, resource.RLIMIT_AS, (9 * 2**30, 9 * 2**30))
    finished = program.finish()
    assert finished.returncode == 3, finished.stderr
    found = failures(finished)
    assert sorted(found) == ["t0001", "t0002", "t0003"], finished.stderr
    assert "no_such_encoder" in found["t0001"]
    assert "at step" in found["t0002"]
    assert "memory" in found["t0003"]
    rows = SweepTable.read(folder).rows.groupby("trial").tail(1).set_index("trial")
    assert rows["status"].to_dict() == {
        "t0001": "failed", "t0002": "failed", "t0003": "failed", "t0004": "finished",
    }  # fmt: skip
    assert rows["reason"].to_dict() == {**found, "t0004": ""}
    assert "Stage failures: train.loss=ce with" in finished.stderr


def test_a_killed_worker_costs_nothing(
    program: Program, config: Path, undisturbed: Swept, tmp_path: Path
) -> None:
    """Two workers of a cluster; the one whose trial has saved a state is killed, and another one goes on with it."""
    from distributed import LocalCluster

    folder = tmp_path / "sweep"
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        workers = [worker.process.pid for worker in cluster.workers.values()]
        pid = program.start(sweep(config, folder, *GRID, "--scheduler", cluster.scheduler_address))
        wait_for(folder, "t0001", pid)
        (busy,) = [
            worker
            for worker in workers
            for child in children(worker)
            if str(folder / "trials" / "t0001" / "trial.log") == str(Path(f"/proc/{child}/fd/2").readlink())
        ]
        os.kill(busy, signal.SIGKILL)
        finished = program.finish()
    assert finished.returncode == 0, finished.stderr
    assert "going on in epoch" in (folder / "trials" / "t0001" / "trial.log").read_text()
    assert not (folder / "pulse").exists()
    same(folder, undisturbed)
