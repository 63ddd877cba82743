"""`geoseg model new` and `import`, and what `geoseg info` says about the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from click.testing import CliRunner, Result
from geoseg_cli.main import group

import geoseg
from geoseg.models.importing import import_model

CHIP = torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))


def new(*arguments: str) -> Result:
    small = ["--encoder", "tu-mobilenetv3_small_100", "--tile-size", "64"]
    return CliRunner().invoke(group, ["model", "new", *small, *arguments])


def test_a_model_file_is_made_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    result = new(
        *["--bands", "red,green,blue,nir", "--classes", "water,forest=#228B22", "--dtype", "uint16"],
        *["--value-range", "0", "10000", "--gsd", "10", "--overlap", "8", "--name", "mine", "-o", str(path)],
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert str(path) in result.stderr
    card = geoseg.Model.open(path).card
    assert card.band_names == ("red", "green", "blue", "nir")
    assert (card.classes[2].name, card.classes[2].color) == ("forest", "#228b22")
    assert (card.dtype, card.value_range, card.gsd_m, card.name) == ("uint16", (0, 10000), 10, "mine")
    assert (card.tile.size, card.tile.overlap) == (64, 8)

    described = CliRunner().invoke(group, ["info", str(path), "--json"])
    assert json.loads(described.stdout)["card"]["name"] == "mine"
    assert "forest" in CliRunner().invoke(group, ["info", str(path)]).stdout


@pytest.mark.parametrize(
    ("task", "classes", "legend", "channels"),
    [
        ("binary", "roof=#ff0000", {0: "background", 1: "roof"}, (1,)),
        ("binary", "ground,roof=#ff0000", {0: "ground", 1: "roof"}, (1,)),
        ("multilabel", "cloud,snow", {1: "cloud", 2: "snow"}, (1, 2)),
        ("multilabel", "cloud", {1: "cloud"}, (1,)),
    ],
)
def test_a_model_of_each_task(
    tmp_path: Path, task: str, classes: str, legend: dict[int, str], channels: tuple[int, ...]
) -> None:
    path = tmp_path / "m.safetensors"
    result = new("--task", task, "--bands", "a", "--classes", classes, "-o", str(path))
    assert result.exit_code == 0, result.stderr
    card = geoseg.Model.open(path).card
    assert (card.task, card.channels) == (task, channels)
    assert {c.code: c.name for c in card.legend} == legend
    assert task != "binary" or card.classes[1].color == "#ff0000"


def test_a_model_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    arguments = ["--bands", "a", "--classes", "x,y", "-q", "-o", str(path)]
    assert new(*arguments).exit_code == 0
    before = path.read_bytes()
    refused = new(*arguments, "--seed", "1")
    assert (refused.exit_code, refused.stderr.count("\n")) == (4, 1)
    assert path.read_bytes() == before
    assert new(*arguments, "--seed", "1", "--overwrite").exit_code == 0
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--bands", "a", "--classes", "x,y", "--architecture", "Nyet"], 1, "Nyet"),
        (["--bands", "a", "--classes", "x,y", "--encoder", "nyet"], 1, "nyet"),
        (["--bands", "a", "--classes", "x,y", "--overlap", "40"], 1, "overlap"),
        (["--bands", "a", "--classes", "x,x"], 2, "repeats a name"),
        (["--bands", "a", "--classes", "x", "--value-range", "5", "1"], 1, "value_range"),
        (["--classes", "x"], 2, "--bands"),
        (["--bands", "a", "--classes", "x,y,z", "--task", "binary"], 1, "a binary task has one class"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    result = new(*arguments, "-o", str(tmp_path / "m.safetensors"))
    assert (result.exit_code, result.stderr.count("\n")) == (exit_code, 1)
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


def imported(weights: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["model", "import", str(weights), "--tile-size", "64", *arguments])


@pytest.fixture
def unet() -> torch.nn.Module:
    made: torch.nn.Module = smp.Unet("tu-test_resnet", encoder_weights=None, in_channels=4, classes=3).eval()
    return made


def test_weights_from_elsewhere_become_what_the_library_makes_of_them(
    tmp_path: Path, unet: torch.nn.Module
) -> None:
    torch.save({"state_dict": unet.state_dict()}, tmp_path / "w.pth")
    path = tmp_path / "m.safetensors"
    result = imported(
        tmp_path / "w.pth",
        *["--architecture", "unet", "--encoder", "tu-test_resnet", "--bands", "red,green,blue,nir"],
        *["--classes", "water,forest=#228B22,town", "--dtype", "uint16", "--value-range", "0", "10000"],
        *["--scale", "1/3000", "--mean", "0.5,0.4,0.3,0.2", "--std", "0.25", "--gsd", "10", "--name", "mine"],
        *["-o", str(path)],
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "normalisation as given" in result.stderr
    model = geoseg.Model.open(path)
    assert torch.equal(model.network(CHIP), unet(CHIP))
    ours = import_model(
        tmp_path / "w.pth",
        architecture="Unet",
        encoder="tu-test_resnet",
        bands=["red", "green", "blue", "nir"],
        classes=geoseg.Legend.parse("water,forest=#228B22,town"),
        dtype="uint16",
        value_range=(0, 10000),
        scale=[1 / 3000],
        mean=[0.5, 0.4, 0.3, 0.2],
        std=[0.25],
        gsd_m=10,
        tile_size=64,
        name="mine",
    )
    assert model.card.changed(weights_sha256="", created_by="") == ours.card.changed(created_by="")
    assert set(model.card.scale) == {1 / 3000}


def test_a_folder_needs_no_words_about_its_network(tmp_path: Path, unet: torch.nn.Module) -> None:
    unet.save_pretrained(tmp_path / "folder")
    arguments = ["--bands", "a,b,c,d", "--classes", "x,y,z", "-o", str(tmp_path / "m.safetensors")]
    result = imported(tmp_path / "folder", *arguments)
    assert result.exit_code == 0, result.stderr
    assert "assumed" in result.stderr
    assert torch.equal(geoseg.Model.open(tmp_path / "m.safetensors").network(CHIP), unet(CHIP))
    refused = imported(tmp_path / "folder", *arguments)
    assert (refused.exit_code, refused.stderr.count("\n")) == (4, 1)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--bands", "a,b", "--classes", "x,y,z"], 1, "takes 4 bands, --bands names 2"),
        (["--bands", "a,b,c,d", "--classes", "x,y"], 1, "3 output channels, --classes names 2"),
        (["--bands", "a,b,c,d", "--classes", "x,y,z", "--scale", "1/0"], 2, "no list of numbers"),
        (["--bands", "a,b,c,d", "--classes", "x,y,z", "--mean", "1,2"], 2, "--mean has 2 numbers"),
        (["--bands", "a,b,c,d", "--classes", "x,y,z", "--decoder-options", "[1]"], 2, "no JSON object"),
        (["--bands", "a,b,c,d", "--classes", "x,y,z", "--overlap", "40"], 1, "overlap"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, unet: torch.nn.Module, arguments: list[str], exit_code: int, words: str
) -> None:
    unet.save_pretrained(tmp_path / "folder")
    result = imported(tmp_path / "folder", *arguments, "-o", str(tmp_path / "m.safetensors"))
    assert (result.exit_code, result.stderr.count("\n")) == (exit_code, 1), result.stderr
    assert words in result.stderr
    assert not (tmp_path / "m.safetensors").exists()
