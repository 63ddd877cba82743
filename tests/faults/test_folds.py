"""Folds killed at any moment: the same command ends in the same models, and finished folds stay."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from geoseg.models.card_file import read_card
from tests.faults.conftest import Program, names, still_runs
from tests.faults.test_train import LEFT, config

pytestmark = pytest.mark.faults
__all__ = ["config"]  # the fixture
FOLDS = 3


@dataclass(frozen=True)
class Trained:
    """What folds that were never stopped came to."""

    weights: list[str]
    scores: bytes
    seconds: float


def train(config: Path, output: Path, *more: str) -> list[str]:
    split = ["--set", "data.split={method: blocks, size: 48, buffer: 4}", "--set", "train.epochs=1"]
    return ["train", str(config), "-o", str(output), "--folds", str(FOLDS), *split, *more]


def weights_of(output: Path) -> list[str]:
    return [
        read_card(output / f"fold-{number}" / "model.safetensors").weights_sha256
        for number in range(1, FOLDS + 1)
    ]


@pytest.fixture(scope="session")
def folded(program: Program, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    output = tmp_path_factory.mktemp("whole") / "folds"
    started = time.perf_counter()
    finished = program.run(train(config, output))
    assert finished.returncode == 0, finished.stderr
    assert "IoU of what 3 folds of blocks held back:" in finished.stderr
    return Trained(weights_of(output), (output / "folds.json").read_bytes(), time.perf_counter() - started)


@pytest.mark.parametrize("moment", range(6))
def test_the_same_command_ends_in_the_same_models(
    program: Program, config: Path, folded: Trained, tmp_path: Path, moment: int
) -> None:
    output = tmp_path / "folds"
    more = ["--overwrite"] if moment % 2 else []
    pid = program.start(train(config, output, *more))
    # Seeded and spread: one moment in each sixth of the work.
    time.sleep(folded.seconds * (moment + random.Random(moment).random()) / 6)
    alive = still_runs(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    program.finish()
    journal = output / "journal.jsonl"
    done = max(0, len(journal.read_text().splitlines()) - 1) if journal.exists() else 0
    stamps = [
        (output / f"fold-{number}" / "model.safetensors").stat().st_mtime_ns for number in range(1, done + 1)
    ]
    assert (output / "folds.json").exists() <= (not alive or done == FOLDS)
    again = program.run(train(config, output, *(more if alive else [])))
    assert again.returncode == 0, again.stderr
    kept = [
        (output / f"fold-{number}" / "model.safetensors").stat().st_mtime_ns for number in range(1, done + 1)
    ]
    assert kept == stamps
    assert weights_of(output) == folded.weights
    assert (output / "folds.json").read_bytes() == folded.scores
    assert names(output) == ["fold-1", "fold-2", "fold-3", "folds.json"]
    assert all(names(output / f"fold-{number}") == LEFT for number in range(1, FOLDS + 1))
