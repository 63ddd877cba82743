"""The data part of a configuration: what short forms mean, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from geoseg.datasets.description import DataConfig
from geoseg.datasets.label_config import ColorsConfig, RunLengthsConfig, VectorConfig, form_of
from geoseg.datasets.split_config import GivenSplit
from geoseg.labels.label import UNKNOWN
from tests.datasets.sets import description


def data(**changes: Any) -> DataConfig:
    return DataConfig.model_validate(description(**changes))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("labels/*.tif", "codes"), ("labels/*.PNG", "codes"), ("a.gpkg", "vector"), ("a.GeoJSON", "vector"),
        ("a.shp", "vector"), ("a.fgb", "vector"), ("a.parquet", "vector"), ("train.csv", "run_lengths"), ("", "codes"),
    ],
)  # fmt: skip
def test_the_ending_says_the_form(name: str, form: str) -> None:
    assert form_of(name) == form
    assert data(labels=name or {}, images=None, table="t.csv").labels.form == form


def test_fields_of_labels_go_with_their_form() -> None:
    assert isinstance(data(labels={"files": "a.gpkg", "layer": ["a", "b"]}).labels, VectorConfig)
    assert isinstance(data(labels={"files": "a.png", "form": "colors", "tolerance": 9}).labels, ColorsConfig)
    runs = data(labels={"files": "a.csv", "size": [1400, 2100], "content": [107, 0, 426, 640]}).labels
    assert isinstance(runs, RunLengthsConfig)
    assert runs.content == (107, 0, 426, 640)
    with pytest.raises(ValidationError, match="tolerance"):
        data(labels={"files": "a.tif", "tolerance": 9})


def test_lists_of_groups_are_a_given_split() -> None:
    assert data(split={"train": [0], "val": ["b"]}).split == GivenSplit(train=(0,), val=("b",))


def test_a_built_in_legend_brings_its_colours() -> None:
    read = data(classes="deepglobe", ignore=["#010203"], labels={"files": "*.png", "form": "colors"})
    assert read.legend.names == ("urban", "agriculture", "rangeland", "forest", "water", "barren")
    assert read.meanings.code_of["#00ffff"] == read.legend.codes[0] == 1
    assert read.meanings.code_of["#000000"] == read.meanings.code_of["#010203"] == UNKNOWN, (
        "unknown is no class"
    )
    assert data(classes="deepglobe", ignore=[]).ignore == (0,), "also as a raster of codes"
    assert DataConfig.model_validate(read.model_dump(mode="json", exclude_none=True)) == read


@pytest.mark.parametrize(
    "wrong", [{"labels": 5}, {"ignore": 7}, {"labels": None}, {"classes": ["deepglobe"]}]
)
def test_what_is_wrong_beside_a_built_in_legend_is_refused_as_ever(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        data(**{"classes": "deepglobe", "ignore": []} | wrong)


def test_each_form_has_its_own_word_for_a_class() -> None:
    classes = {3: {"name": "Dense Forest", "color": "#00FF00"}, 4: "water"}

    def words(form: str, **fields: Any) -> set[Any]:
        labels = {"files": "x", "form": form, **fields}
        return {
            v
            for v, code in data(classes=classes, ignore=[], labels=labels).meanings.code_of.items()
            if code == 3
        }

    assert words("codes") == {3}
    assert words("colors") == {"#00ff00"}
    assert words("vector") == {3, "dense forest"}
    assert words("run_lengths") == {"dense forest"}
    told = {3: {"name": "forest", "labels": ["Wald", 7]}, 4: "water"}
    assert data(classes=told, labels="a.gpkg").meanings.code(" WALD ") == 3


def test_a_binary_task_has_a_background_and_one_channel() -> None:
    read = data(task="binary", classes={1: "roof"}, ignore=[])
    assert read.legend.codes == (0, 1)
    assert read.channels == (1,)
    assert read.meanings.code_of == {0: 0, 1: 1}


def test_what_is_unlabelled_is_ignored_or_a_class() -> None:
    assert data(labels="a.gpkg").meanings.unlabelled == UNKNOWN
    assert data(labels={"files": "a.gpkg", "unlabelled": 2}).meanings.unlabelled == 2
    with pytest.raises(
        ValidationError, match=r"labels.unlabelled is 5, expected ignored or one of the classes 1, 2"
    ):
        data(labels={"files": "a.gpkg", "unlabelled": 5})
    multilabel = {"task": "multilabel", "ignore": []}
    assert data(labels={"files": "a.gpkg", "unlabelled": 0}, **multilabel).meanings.unlabelled == 0
    with pytest.raises(ValidationError, match="expected ignored, or 0 for absent"):
        data(labels={"files": "a.gpkg", "unlabelled": 1}, **multilabel)


@pytest.mark.parametrize(
    "split",
    [
        {"method": "fraction", "val": 0},
        {"method": "fraction", "val": 1},
        {"method": "blocks", "val": 0.5, "test": 0.5},
        {"method": "blocks", "size": 0},
        {"method": "blocks", "buffer": -1},
        {"method": "every", "n": 1},
        {"method": "folds", "k": 1},
        {"method": "folds", "k": 2, "test": True},
        {"method": "folds", "k": 3, "fold": 3},
        {"method": "block_folds", "k": 3, "val": 0.2},
        {"method": "column", "n": 3},
        {"train": [1, "1"], "val": [2]},
    ],
)
def test_splits_that_cannot_be_are_refused(split: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="split"):
        data(split=split, images=None, table="t.csv")


@pytest.mark.parametrize(
    "split",
    [
        {"method": "fraction"},
        {"method": "blocks", "size": 64, "buffer": 8},
        {"method": "every", "n": 3, "first": 1},
        {"method": "folds", "k": 5, "fold": 4},
        {"method": "block_folds", "k": 5, "fold": 4, "size": 9, "buffer": 2, "test": True},
        {"train": ["a"], "val": [1], "test": [2]},
    ],
)
def test_what_is_written_down_reads_back_the_same(split: dict[str, Any]) -> None:
    read = data(
        split=split,
        labels={"files": "a.csv", "size": [4, 5]},
        classes={1: "a", 7: {"name": "b", "labels": ["x"]}},
    )
    assert DataConfig.model_validate(read.model_dump(mode="json", exclude_none=True)) == read
