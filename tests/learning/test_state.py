"""Saved states: whole or not there, and never code."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.errors import OutputError, ResumeError
from geoseg.learning.state import (
    State,
    TrainingPosition,
    clear_states,
    load_state,
    random_states,
    restore_random,
    save_state,
)


def state(**progress: Any) -> State:
    parts = {"network": {"w": torch.arange(6.0).reshape(2, 3)}, "optimizer": {"param_groups": [{"lr": 0.1}]}}
    return State(progress=TrainingPosition(**progress), parts=parts)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = state(epoch=2, batch=7, loss_sum=1.25, loss_count=7, best=(0.5, -0.2), best_epoch=1, seconds=3.5)
    save_state(tmp_path, saved, 47)
    found = load_state(tmp_path)
    assert found is not None
    assert found.progress == saved.progress
    assert torch.equal(found.parts["network"]["w"], saved.parts["network"]["w"])
    assert found.parts["optimizer"] == saved.parts["optimizer"]
    assert names(tmp_path) == ["state-0000000047.ckpt"]


def test_the_last_two_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    for step in (5, 9, 100):
        save_state(tmp_path, state(batch=step), step)
    assert names(tmp_path) == ["state-0000000009.ckpt", "state-0000000100.ckpt"]
    newest = tmp_path / "state-0000000100.ckpt"
    newest.write_bytes(newest.read_bytes()[:-200])
    found = load_state(tmp_path)
    assert found is not None
    assert found.progress.batch == 9
    (tmp_path / "state-0000000009.ckpt").write_bytes(b"")
    with pytest.raises(ResumeError, match="resume=False"):
        load_state(tmp_path)
    (tmp_path / "state-0000000200.part").write_bytes(b"half")
    clear_states(tmp_path)
    assert names(tmp_path) == []
    assert load_state(tmp_path) is None


def test_generators_go_on_where_they_were() -> None:
    def draw() -> tuple[float, ...]:
        return float(torch.rand(1)), float(torch.randn(1)), np.random.rand(), random.random()  # noqa: NPY002

    torch.randn(3)
    states = pickle.loads(pickle.dumps(random_states()))
    expected = [draw() for _ in range(3)]
    restore_random(states)
    assert [draw() for _ in range(3)] == expected


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_code_in_a_state_is_not_run(tmp_path: Path) -> None:
    torch.save({"format": 1, "progress": Evil(tmp_path / "ran")}, tmp_path / "state-0000000001.ckpt")
    with pytest.raises(ResumeError):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_saved_says_why_and_leaves_the_rest(tmp_path: Path) -> None:
    save_state(tmp_path, state(batch=1), 1)
    (tmp_path / "state-0000000002.part").mkdir()
    with pytest.raises(OutputError, match=r"state-0000000002.ckpt: .*cannot be saved .*training stops"):
        save_state(tmp_path, state(batch=2), 2)
    found = load_state(tmp_path)
    assert found is not None
    assert found.progress.batch == 1
