"""A training killed at any moment, on a full disk or told to stop: the same command ends in the same weights."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.models.card_file import read_card
from tests.faults.conftest import Program, error_line, names, wait_while_running

pytestmark = pytest.mark.faults

CONFIG = """
data:
  images: images/*.tif
  labels: labels/*.tif
  bands: [red, green]
  classes: {1: left, 2: right}
  split: {train: [a], val: [b]}
model:
  architecture: FPN
  encoder: tu-mobilenetv3_small_050
  decoder_options: {decoder_pyramid_channels: 32, decoder_segmentation_channels: 32, decoder_dropout: 0.5}
  tile_size: 64
train:
  epochs: 3
  chips_per_epoch: 48
  chip_size: 64
  batch_size: 4
  accumulate: 2
  save_minutes: 0.005
  precision: fp32
  device: cpu
  threads: 1
"""
LEFT = [
    "config.yaml", "curves.png", "metrics.jsonl", "model.safetensors", "report.html", "run.json", "tensorboard",
]  # fmt: skip
WORKERS = {
    0: [],
    2: ["--set", "train.workers=2", "--set", "train.start_method=fork"],
}


@dataclass(frozen=True)
class Trained:
    """What a training that was never stopped came to."""

    weights: str
    metrics: list[object]
    seconds: float


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of 192 x 192 px whose classes the first band tells apart."""
    folder = tmp_path_factory.mktemp("set")
    generator = np.random.default_rng(1)
    for at, stem in enumerate("ab"):
        labels = np.where(np.arange(192) < 90 + 10 * at, 1, 2)[None].repeat(192, axis=0).astype(np.uint8)
        image = generator.normal(100, 20, (2, 192, 192)) + np.where(labels == 2, 40, 0)
        for kind, pixels in (("images", image.astype(np.uint8)), ("labels", labels[None])):
            (folder / kind).mkdir(exist_ok=True)
            profile = {
                "driver": "GTiff", "count": len(pixels), "height": 192, "width": 192, "dtype": "uint8",
                "crs": "EPSG:32633", "transform": from_origin(5e5 + 9000 * at, 5e6, 10, 10),
            }  # fmt: skip
            with rasterio.open(folder / kind / f"{stem}.tif", "w", **profile) as dataset:
                dataset.write(pixels)
    (folder / "config.yaml").write_text(CONFIG)
    return folder / "config.yaml"


def train(config: Path, run: Path, workers: int = 0, *more: str) -> list[str]:
    return ["train", str(config), "-o", str(run), *WORKERS[workers], *more]


def outcome(run: Path) -> tuple[str, list[object]]:
    """Weights and scores by epoch."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["cpu_seconds"]
    return read_card(run / "model.safetensors").weights_sha256, lines


@pytest.fixture(scope="session")
def trained(program: Program, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    run = tmp_path_factory.mktemp("whole") / "run"
    pid = program.start(train(config, run))
    wait_for_state(pid, run)
    started = time.perf_counter()
    finished = program.finish()
    assert finished.returncode == 0, finished.stderr
    return Trained(*outcome(run), time.perf_counter() - started)


def wait_for_state(pid: int, run: Path) -> None:
    """Wait until a state is saved, or the run has ended."""
    wait_while_running(pid, lambda: list(run.glob("state-*.ckpt")))


def same(run: Path, trained: Trained) -> None:
    assert outcome(run) == (trained.weights, trained.metrics)
    assert names(run) == LEFT


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moment", range(5))
def test_the_same_command_ends_in_the_same_weights(
    program: Program, config: Path, trained: Trained, tmp_path: Path, moment: int, workers: int
) -> None:
    run = tmp_path / "run"
    pid = program.start(train(config, run, workers))
    wait_for_state(pid, run)
    # Seeded and spread: one moment in each fifth of the work.
    time.sleep(trained.seconds * (moment + random.Random(10 * workers + moment).random()) / 5)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    program.finish()
    if (run / "model.safetensors").exists():  # absent, or complete
        assert read_card(run / "model.safetensors").weights_sha256 == trained.weights
    again = program.run(train(config, run, workers))
    assert again.returncode == 0, again.stderr
    same(run, trained)


@pytest.mark.parametrize("moment", range(4))
def test_the_same_command_writes_the_report_of_a_model_that_is_there(
    program: Program, config: Path, trained: Trained, tmp_path: Path, moment: int
) -> None:
    run = tmp_path / "run"
    pid = program.start(train(config, run))
    wait_while_running(pid, (run / "model.safetensors").exists)
    time.sleep(moment / 4)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    program.finish()
    written = (run / "model.safetensors").stat().st_mtime_ns
    for said in (f"Wrote {run / 'report.html'}", "finished before"):
        again = program.run(train(config, run))
        assert again.returncode == 0, again.stderr
        assert said in again.stderr or "finished before" in again.stderr
        assert (run / "model.safetensors").stat().st_mtime_ns == written
        same(run, trained)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_says_so_and_the_same_command_goes_on(
    program: Program, config: Path, trained: Trained, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    pid = program.start(train(config, run, 2))
    wait_for_state(pid, run)
    os.kill(pid, sent)
    finished = program.finish()
    assert finished.returncode == code, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "the same command continues it" in finished.stderr
    assert program.run(train(config, run)).returncode == 0
    same(run, trained)


def test_a_second_run_in_the_folder_is_refused(
    program: Program, config: Path, trained: Trained, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tmp_path / "run"
    first = Program(tmp_path_factory.mktemp("first") / "stderr")
    pid = first.start(train(config, run))
    wait_for_state(pid, run)
    os.kill(pid, signal.SIGSTOP)
    second = program.run(train(config, run))
    os.kill(pid, signal.SIGCONT)
    assert second.returncode == 4
    assert f"in use by process {pid} on" in error_line(second)
    assert first.finish().returncode == 0
    first.close()
    same(run, trained)


@pytest.mark.parametrize("kibibytes", [500, 3000, 6000, 9500])
def test_a_full_disk_stops_with_the_reason_and_goes_on_with_room(
    program: Program,
    config: Path,
    trained: Trained,
    small_disk: Callable[[int], Path],
    kibibytes: int,
) -> None:
    """Three states of 4 MB (two kept, one in the making) and two models of 1.4 MB do not fit."""
    folder = small_disk(kibibytes)
    finished = program.run(train(config, folder / "run"))
    assert finished.returncode == 1, finished.stderr
    assert str(folder) in error_line(finished)
    assert "No space left" in error_line(finished) or "cannot be" in error_line(finished)
    subprocess.run(["mount", "-o", "remount,size=2g", str(folder)], check=True)
    assert program.run(train(config, folder / "run")).returncode == 0
    same(folder / "run", trained)


def test_a_folder_that_cannot_be_written_is_refused(
    program: Program, config: Path, small_disk: Callable[[int], Path]
) -> None:
    folder = small_disk(1024)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    finished = program.run(train(config, folder / "run"))
    assert finished.returncode == 1
    assert str(folder) in error_line(finished)


def test_a_loss_that_is_no_number_stops_with_step_and_files(
    program: Program, config: Path, tmp_path: Path
) -> None:
    finished = program.run(train(config, tmp_path / "run", 0, "--set", "train.learning_rate=1.0e+6"))
    assert finished.returncode == 1
    assert "at step" in error_line(finished)
    assert "chips of a" in error_line(finished)
