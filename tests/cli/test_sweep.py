"""`geoseg sweep` says what is wrong before the first trial, in one line, and leaves no folder behind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from geoseg_cli.main import group

import geoseg
from geoseg.errors import OptionError, OutputExistsError, ResumeError
from geoseg.experiments.pool import shares
from geoseg.experiments.record import SweepRecord, TrialRecord


def sweep(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["sweep", *map(str, arguments)])


def error_of(result: Result) -> str:
    lines = result.stderr.strip().splitlines()
    assert result.exit_code not in (0, 3)
    assert sum(line.startswith("Error") for line in lines) == 1
    return lines[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grid", "train.no_such=1,2"], "train.no_such: "),
        (["--grid", "train.loss=ce,no_such"], "train.loss: no loss is called 'no_such'"),
        (["--grid", "train.learning_rate=-1"], "train.learning_rate: "),
        (
            ["--grid", "train.seed=1,2"],
            "say how many with --seeds, and the first one with --set train.seed=0",
        ),
        (["--grid", "train.loss"], "--grid train.loss: expected PATH=VALUE,VALUE"),
        (["--grid", "train.loss=ce", "--set", "train.epochs=none"], "train.epochs: "),
        (["--seeds", "0"], "--seeds"),
        (["--budget", "soon"], "--budget soon: expected a time above 0, as in 90m or 2h"),
        (["--folds", "2"], "folds is 2, expected 3 or more"),
        (["--folds", "3"], "2 groups of images cannot make 3 folds"),
        (["--random", "0"], "--random"),
        (["--set", "train.monitor=iou/no_such"], "train.monitor is 'iou/no_such', expected"),
        (["--set", "data.images=none/*.tif"], "none/*.tif"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_trial(
    toy: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    output = tmp_path / "sweep"
    assert said in error_of(sweep(toy, "-o", output, *arguments))
    assert not output.exists()


def test_stages_are_checked_before_the_first_trial(toy: Path, tmp_path: Path) -> None:
    stages = tmp_path / "stages.yaml"
    stages.write_text("stages: [{name: a, grid: {train.loss: [ce]}}, {name: b, grid: {train.epochs: [0]}}]")
    assert "train.epochs: " in error_of(sweep(toy, "-o", tmp_path / "sweep", "--stages", stages))
    both = error_of(sweep(toy, "-o", tmp_path / "sweep", "--stages", stages, "--grid", "train.loss=ce"))
    assert "--stages says what varies, and --grid is another way to; leave one out" in both


def test_a_folder_of_something_else_is_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match="holds files and no sweep; choose another output="):
        geoseg.sweep(toy, output=tmp_path, grid={"train.loss": ["ce"]})
    scene_and_labels = [tmp_path / "images" / "a.tif"]
    with pytest.raises(OptionError, match="expected the configuration of a training"):
        geoseg.sweep(scene_and_labels[0], output=tmp_path / "sweep")


def test_a_sweep_of_another_configuration_is_refused(toy: Path, tmp_path: Path) -> None:
    from geoseg.experiments.configuration import base_settings

    output = tmp_path / "sweep"
    output.mkdir()
    known = SweepRecord(
        name="sweep", created_by="tests", score="val/mean_iou", goal="max",
        base=base_settings(geoseg.Config.read(toy), ()),
        trials=(TrialRecord(trial="t0001", stage="grid", parameters={}, seed=0, fold=None, settings="x"),),
    )  # fmt: skip
    known.write(output)
    with pytest.raises(
        ResumeError, match=r"holds a sweep with train.epochs 2, this one has 3; choose another"
    ):
        geoseg.sweep(toy, output=output, changes=["train.epochs=3"])
    blocks = "data.split={method: blocks, size: 16, buffer: 2}"
    replace(known, base=base_settings(geoseg.Config.read(toy, [blocks]), ())).write(output)
    with pytest.raises(ResumeError, match="holds a sweep with folds None, this one has 3"):
        geoseg.sweep(toy, output=output, folds=3, changes=[blocks])


def test_trials_at_once_share_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert shares(0, 1) == {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert shares(0, 2) == {"OMP_NUM_THREADS": str(max(1, cores // 2)), "CUDA_VISIBLE_DEVICES": "4"}
    assert shares(3, 4)["CUDA_VISIBLE_DEVICES"] == "7"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in shares(0, 2), "what a person has set counts"
