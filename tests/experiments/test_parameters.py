"""Grids and stages say what varies; what is wrong with them is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.experiments.configuration import Base, digest
from geoseg.experiments.parameters import combinations, parse_grid, value_text
from geoseg.experiments.run import parse_time
from geoseg.experiments.stages import stages_of, texts_of

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(-1e6, 1e6)
    | st.text("abz_ +*-#,:'\"é", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(PLAIN)
def test_a_value_comes_back_from_its_text(value: object) -> None:
    text = value_text(value)
    assert "\n" not in text
    assert yaml.safe_load(text) == value


def test_a_grid_is_said_as_text_or_as_lists() -> None:
    said = parse_grid(
        ["train.loss=bce + dice,ce,ce", "train.optimizer={name: sgd, momentum: 0.9},adamw", "train.epochs=5"]
    )
    assert said == {
        "train.loss": ("bce + dice", "ce"),
        "train.optimizer": ("{name: sgd, momentum: 0.9}", "adamw"),
        "train.epochs": ("5",),
    }
    lists = {
        "train.loss": ["bce + dice", "ce"],
        "train.optimizer": [{"name": "sgd", "momentum": 0.9}, "adamw"],
        "train.epochs": [5],
    }
    assert parse_grid(lists) == said
    assert len(combinations(said)) == 4
    assert combinations({}) == [{}]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (["train.loss"], 'grid=["train.loss"]|expected PATH=VALUE,VALUE'),
        (["train.loss="], "expected PATH=VALUE,VALUE"),
        (["train..loss=ce"], "expected PATH=VALUE,VALUE"),
        (["train.loss=ce", "train.loss=dice"], "stands twice"),
        (["train.seed=1,2"], "train.seed does not vary like a setting.*seeds="),
        (["train.loss=[ce"], "its values are not YAML"),
        ({"train.loss": "ce"}, "has 'ce', expected a list of values"),
        ({"train.loss": []}, "expected a list of values"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(grid: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said) as refusal:
        parse_grid(grid)
    assert "\n" not in str(refusal.value)


def test_random_combinations_are_the_same_in_every_call() -> None:
    grid = {"a": range(10), "b": range(10)}
    (stage,) = stages_of({key: list(values) for key, values in grid.items()}, None, 7)
    (again,) = stages_of({key: list(values) for key, values in grid.items()}, None, 7)
    assert stage == again
    assert (stage.name, len(stage.values)) == ("random", 7)
    (all_of_them,) = stages_of({"a": [1, 2]}, None, 7)
    assert [dict(each) for each in all_of_them.values] == [{"a": "1"}, {"a": "2"}]


STAGES = """
stages:
  - name: encoder
    choices:
      - {model.encoder: resnet18, model.encoder_weights: none}
      - {model.encoder: tu-tf_efficientnet_lite0, model.encoder_weights: packaged}
    grid: {model.architecture: [Unet, FPN]}
  - name: loss
    grid: {train.loss: [ce, dice]}
"""


def test_stages_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "stages.yaml"
    path.write_text(STAGES)
    encoder, loss = stages_of((), path, None)
    assert (encoder.name, loss.name) == ("encoder", "loss")
    assert len(encoder.values) == 4
    assert encoder.values[1] == {
        "model.encoder": "resnet18", "model.encoder_weights": "none", "model.architecture": "FPN"
    }  # fmt: skip
    assert texts_of([encoder, loss])["train.loss"] == ["ce", "dice"]
    assert stages_of((), yaml.safe_load(STAGES), None) == [encoder, loss]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "holds no stages, expected a list under the key stages"),
        ("stages: [{grid: {a: [1]}}]", "stage 1: expected a name, and a grid or choices"),
        (
            "stages: [{name: a, gird: {a: [1]}}]",
            "stage 1: gird is not known, expected name, grid and choices",
        ),
        ("stages: [{name: a, grid: [1]}]", "its grid is no mapping"),
        ("stages: [{name: a, choices: {a: 1}}]", "its choices are no list of mappings"),
        ("stages: [{name: a, grid: {train.seed: [1]}}]", "stage 1: train.seed does not vary"),
        ("stages: [{name: a, choices: [{train.seed: 1}]}]", "train.seed does not vary"),
        ("stages: [{name: a}, {name: a}]", "two stages are called a"),
        ("stages: [", "is not YAML"),
    ],
)
def test_stages_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "stages.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=said) as refusal:
        stages_of((), path, None)
    assert "\n" not in str(refusal.value)


def test_stages_take_the_place_of_a_grid(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="stages= says what varies, and grid= is another way to"):
        stages_of(["a=1"], tmp_path / "none.yaml", None)
    with pytest.raises(OptionError, match="cannot be read"):
        stages_of((), tmp_path / "none.yaml", None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("1.5 d", 129600), (30, 30), (None, None)]
)
def test_a_time_is_seconds_or_has_a_unit(text: Any, seconds: float | None) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1h", "two hours", "1w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="expected a time above 0, as in 90m or 2h"):
        parse_time(text)


@pytest.mark.parametrize("name", ["roofs", "augmentation"])
def test_the_examples_are_stages_that_the_recipe_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    examples = Path(__file__).parents[2] / "examples"
    stages = stages_of((), examples / "sweeps" / f"{name}.yaml", None)
    base = Base(source=examples / "recipes" / "roofs.yaml")
    digests = [digest(base.config(values)) for stage in stages for values in stage.values]
    first = len(stages[0].values)
    assert len(set(digests[:first])) == first
    assert digest(base.config()) in digests, "the recipe as it is stands among them"
    splits: list[Any] = [base.config(values).data.split for stage in stages for values in stage.values]
    assert len({(tuple(split.val), tuple(split.test)) for split in splits}) == 1, (
        "all are scored on the same images"
    )
