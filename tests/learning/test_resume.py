"""A training that was stopped anywhere ends in the weights of one that never was."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.assessment.report.reading import read_run
from geoseg.errors import OutputError, ResumeError
from geoseg.learning import course as course_module
from geoseg.learning import fitting
from geoseg.learning import training_run as train_module
from geoseg.learning.config import Config
from geoseg.learning.course import Course
from geoseg.learning.records import Records
from geoseg.learning.state import clear_states
from geoseg.learning.train import train
from geoseg.learning.training_run import train_run
from geoseg.models.card_file import read_card
from geoseg.storage.journal import JOURNAL

# Dropout draws from torch's own generator, AdamW and the schedule have a state, two batches make a step.
CHANGES = (
    ("architecture: Unet", "architecture: FPN"),
    (
        "{encoder_depth: 3, decoder_channels: [16, 8, 8]}",
        "{decoder_pyramid_channels: 32, decoder_segmentation_channels: 32, decoder_dropout: 0.5}",
    ),
    (
        "threads: 1",
        "threads: 1\n  accumulate: 2\n  freeze_encoder: 1\n  save_minutes: 1.0e-6\n  augment: {brightness: 0.1}\n"
        "  consistency: 0.5",
    ),
    ("epochs: 2", "epochs: 3"),
)
BATCHES = 4  # an epoch


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def config(toy: Path) -> Path:
    text = toy.read_text()
    for old, new in CHANGES:
        assert old in text
        text = text.replace(old, new)
    toy.write_text(text)
    return toy


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What the run that was never stopped came to; filled by the first test that needs it."""
    return {}


def outcome(model: Path) -> tuple[str, list[dict[str, Any]], Any]:
    """Weights, metrics without times, scores in the card."""
    lines = [json.loads(line) for line in (model.parent / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["cpu_seconds"]
    card = read_card(model)
    assert card.training is not None
    return card.weights_sha256, lines, card.training["metrics"]


def compare(expected: dict[str, Any], config: Path, tmp_path: Path, model: Path) -> None:
    if not expected:
        expected["outcome"] = outcome(train(config, output=tmp_path / "whole"))
    assert outcome(model) == expected["outcome"]
    left = sorted(p.name for p in model.parent.iterdir())
    assert left == ["config.yaml", "metrics.jsonl", "model.safetensors", "run.json", "tensorboard"]


Stop = Callable[[pytest.MonkeyPatch], None]


def at_save(number: int, *, before: bool) -> Stop:
    """Die at the n-th saving of the state, before or after it is on the disk."""

    def stop(patch: pytest.MonkeyPatch) -> None:
        count, save = 0, course_module.save_state

        def dying(*arguments: Any) -> None:
            nonlocal count
            count += 1
            if count == number and before:
                raise Killed
            save(*arguments)
            if count == number:
                raise Killed

        patch.setattr(course_module, "save_state", dying)

    return stop


def at_records(epoch: int) -> Stop:
    """Die after the line of metrics of an epoch, before its state is saved."""

    def stop(patch: pytest.MonkeyPatch) -> None:
        write = Records.epoch

        def dying(self: Records, progress: Any, *arguments: Any) -> Any:
            written = write(self, progress, *arguments)
            if progress.epoch == epoch:
                raise Killed
            return written

        patch.setattr(Records, "epoch", dying)

    return stop


@pytest.mark.long
@pytest.mark.parametrize(
    "stop",
    [
        at_save(2, before=False),
        at_save(6, before=True),
        at_records(1),
        *(pytest.param(at_save(n, before=False), marks=pytest.mark.faults) for n in (1, 3, 5, 8)),
        *(pytest.param(at_save(n, before=True), marks=pytest.mark.faults) for n in (1, 2)),
        pytest.param(at_records(3), marks=pytest.mark.faults),
    ],
)
def test_law_9_a_training_that_was_killed_gives_the_same_weights(
    config: Path, tmp_path: Path, expected: dict[str, Any], stop: Stop
) -> None:
    """If Lightning renames its loop's ``epoch_progress``: a training that goes on begins at the first epoch again."""
    with pytest.MonkeyPatch.context() as patch:
        stop(patch)
        with pytest.raises(Killed):
            train(config, output=tmp_path / "run")
    compare(expected, config, tmp_path, train(config, output=tmp_path / "run"))


@pytest.mark.long
def test_law_9_holds_for_another_optimizer_and_a_schedule_that_looks_at_scores(
    config: Path, tmp_path: Path
) -> None:
    text = config.read_text().replace("freeze_encoder: 1", "freeze_encoder: 0")
    text = text.replace("  consistency: 0.5\n", "")  # with it every epoch is better than the last
    added = "  optimizer: {name: rmsprop, momentum: 0.9}\n  monitor: accuracy\n  loss: 0.5*ce + lovasz\n"
    config.write_text(f"{text}{added}  schedule: {{name: plateau, patience: 1, factor: 0.5, warm_up: 0.2}}\n")
    with pytest.MonkeyPatch.context() as patch:
        at_records(3)(patch)  # its score falls to be judged again
        with pytest.raises(Killed):
            train(config, output=tmp_path / "run")
    expected: dict[str, Any] = {}
    compare(expected, config, tmp_path, train(config, output=tmp_path / "run"))
    rates = [line["learning_rate"] for line in expected["outcome"][1]]
    assert rates[-1] < rates[0]


@pytest.mark.long
@pytest.mark.parametrize("moment", ["before", "within"])
def test_a_kill_after_the_model_and_before_the_end_leaves_only_the_end_to_do(
    config: Path, tmp_path: Path, expected: dict[str, Any], moment: str
) -> None:
    run, told = tmp_path / "run", list[Path]()

    def report(model: Path) -> None:
        told.append(model)
        if moment == "before" and len(told) == 1:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        if moment == "within":  # states are gone, the journal is still there
            patch.setattr(train_module, "_forget", lambda folder: (clear_states(folder), killed()))
        train_run(Config.read(config), run, then=report)
    model = run / "model.safetensors"
    assert (run / JOURNAL).exists()
    assert read_run(run).model == model, "a report shows it as finished"
    written = model.stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit", killed)  # nothing is trained, or scored, again
        patch.setattr(train_module, "_finish", killed)
        assert train_run(Config.read(config), run, then=report).model == model
    assert told == [model, model]
    assert model.stat().st_mtime_ns == written
    assert train_run(Config.read(config), run, then=report).before
    assert told == [model, model]
    compare(expected, config, tmp_path, model)


def killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("signum", "batch"),
    [
        (signal.SIGINT, 6),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.faults),
        pytest.param(signal.SIGTERM, 3 * BATCHES, marks=pytest.mark.long),
    ],
)
def test_a_signal_saves_and_ends_and_the_same_command_goes_on(
    config: Path,
    tmp_path: Path,
    expected: dict[str, Any],
    signum: signal.Signals,
    batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, start = 0, Course.on_train_batch_start

    def signalled(self: Course, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == batch:
            os.kill(os.getpid(), signum)
        start(self, *arguments)

    monkeypatch.setattr(Course, "on_train_batch_start", signalled)
    wanted = SystemExit if signum == signal.SIGTERM else KeyboardInterrupt
    with pytest.raises(wanted) as stop:
        train(config, output=tmp_path / "run")
    if isinstance(stop.value, SystemExit):
        assert stop.value.code == 143
    assert list((tmp_path / "run").glob("state-*.ckpt"))
    compare(expected, config, tmp_path, train(config, output=tmp_path / "run"))


@pytest.mark.long
def test_a_signal_while_an_epoch_is_scored_loses_nothing_either(
    config: Path, tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Course._score

    def signalled(self: Course, trainer: Any, network: torch.nn.Module) -> Any:
        if self.progress.epoch == 1 and self.state is None and not (tmp_path / "sent").exists():
            (tmp_path / "sent").touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return score(self, trainer, network)

    monkeypatch.setattr(Course, "_score", signalled)
    with pytest.raises(SystemExit):
        train(config, output=tmp_path / "run")
    compare(expected, config, tmp_path, train(config, output=tmp_path / "run"))


def begun(config: Path, folder: Path) -> None:
    """A run that died after its second saving."""
    with pytest.MonkeyPatch.context() as patch:
        at_save(2, before=False)(patch)
        with pytest.raises(Killed):
            train(config, output=folder)


@pytest.mark.long
def test_another_configuration_or_other_data_are_refused_with_the_difference(
    config: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    folder, text = tmp_path / "run", config.read_text()
    begun(config, folder)
    config.write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    with pytest.raises(
        ResumeError,
        match=r"train.learning_rate 0.01, this command has train.learning_rate 0.02.*resume=False",
    ):
        train(config, output=folder)
    config.write_text(text.replace("save_minutes: 1.0e-6", "save_minutes: 5"))
    image = config.parent / "images" / "b.tif"
    status = image.stat()
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(ResumeError, match=r"b\.tif"):
        train(config, output=folder)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    compare(expected, config, tmp_path, train(config, output=folder))


@pytest.mark.long
def test_fresh_begins_anew(config: Path, tmp_path: Path, expected: dict[str, Any]) -> None:
    folder = tmp_path / "run"
    begun(config, folder)
    text = config.read_text()
    config.write_text(text.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    model = train(config, output=folder, resume=False)
    assert len(outcome(model)[1]) == 3
    # A finished run is replaced only when asked, and only by a whole one.
    config.write_text(text)
    before = model.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        at_save(2, before=False)(patch)
        with pytest.raises(Killed):
            train(config, output=folder, overwrite=True)
    assert model.read_bytes() == before
    compare(expected, config, tmp_path, train(config, output=folder, overwrite=True))


def test_a_state_that_cannot_be_saved_stops_the_training(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Course.on_train_batch_start

    def blocked(self: Course, *arguments: Any) -> None:
        (self.folder / f"state-{2:010d}.part").mkdir(exist_ok=True)
        start(self, *arguments)

    monkeypatch.setattr(Course, "on_train_batch_start", blocked)
    with pytest.raises(OutputError, match="cannot be saved"):
        train(config, output=tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()
