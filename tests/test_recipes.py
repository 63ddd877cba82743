"""The recipes: each is read, and runs on the data it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geoseg.learning.config import Config
from geoseg.learning.training_run import TrainOptions, train_run
from geoseg.models.card_file import read_card

FOLDER = Path(__file__).parents[1] / "examples" / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

# Smaller networks and chips: what a recipe says of its data, its loss and its scores stays as it is.
SMALL = ("train.batch_size=2", "train.precision=fp32", "train.device=cpu", "train.threads=1")
UNET = (
    "model.encoder=tu-mobilenetv3_small_050",
    "model.decoder_options={decoder_channels: [16, 8, 8, 8, 8]}",
)
CHANGES = {
    "deepglobe": (*UNET, "train.chip_size=256"),
    "clouds": (*UNET, "data.image_size=[64, 64]"),
    "clouds-early-stop": (*UNET, "data.image_size=[64, 64]"),
    "people": (*UNET, "data.image_size=[64, 64]"),
}
VARIANTS = {
    "deepglobe-published": (
        "deepglobe",
        (
            "model.architecture=Unet2015",
            "model.encoder=published",
            "train.optimizer=rmsprop",
            "train.loss=ce",
            "model.decoder_options={decoder_channels: [4, 4, 4]}",
            "train.schedule=constant",
            "train.augment=symmetries",
        ),
    ),
    "people-linknet": ("people", ("model.architecture=Linknet", UNET[0], "data.image_size=[64, 64]")),
    "roofs-control": ("roofs", (*UNET, "train.augment=none", "train.chip_size=64")),
}


def cases() -> dict[str, tuple[str, tuple[str, ...]]]:
    own = {name: (name, CHANGES.get(name, (*UNET, "train.chip_size=64"))) for name in RECIPES}
    return own | VARIANTS


def test_there_is_a_recipe_for_each_project() -> None:
    projects = {"deepglobe", "clouds", "clouds-early-stop", "people", "roofs"}
    assert set(RECIPES) == projects | {"korea", "aberystwyth", "kampala", "concise", "hls", "zion"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_how_to_run_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    assert f"geoseg train examples/recipes/{name}.yaml -o runs/{name}" in text
    changes = re.findall(r"--set (?:\"([^\"]+)\"|(\S+))", text)
    for quoted, bare in changes:
        key = (quoted or bare).partition("=")[0]
        assert key.split(".")[0] in ("data", "model", "train")
    config = Config.read(FOLDER / f"{name}.yaml")
    assert config.data_root.parent == tmp_path.resolve()


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(cases()))
def test_a_recipe_runs_on_its_data(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, changes = cases()[name]
    monkeypatch.setenv("GEOSEG_DATA", str(shared))
    config = Config.read(FOLDER / f"{recipe}.yaml", [*SMALL, *changes])
    card = read_card(train_run(config, tmp_path / "run", TrainOptions(dev_run=True)).model)
    training = card.training or {}
    scores = training["metrics"]
    assert isinstance(scores, dict)
    assert scores["val"]["accuracy"] is not None
    assert [c.name for c in card.legend if c.name != "background"] == [
        c.name for code, c in sorted(config.data.classes.items()) if c.name != "background"
    ]
    if recipe == "deepglobe":
        assert set(scores["val"]) >= {"mean_iou", "mean_iou_without"}
    if recipe == "clouds":
        assert card.thresholds is not None
        assert len(card.thresholds) == 4
    if recipe == "roofs":
        assert "278" not in str(training["images"])
