"""`geoseg train` passes on what it was told, and says in one line what is wrong with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import yaml
from click.testing import CliRunner, Result
from geoseg_cli.main import group

from geoseg.models.card_file import read_card
from geoseg.models.model import Model
from tests.toys import WriteRaster

SMALL = [
    "--set", "model.encoder=tu-mobilenetv3_small_050",
    "--set", "model.decoder_options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "--set", "model.tile_size=64",
    "--set", "train.epochs=1",
    "--set", "train.chips_per_epoch=8",
    "--set", "train.chip_size=32",
    "--set", "train.batch_size=4",
    "--set", "train.threads=1",
]  # fmt: skip


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["train", *map(str, arguments)])


def error_of(result: Result) -> str:
    lines = result.stderr.strip().splitlines()
    assert result.exit_code != 0
    assert lines[-1].startswith("Error: ")
    assert sum(line.startswith("Error") for line in lines) == 1
    return lines[-1]


@pytest.fixture
def scene(tmp_path: Path, write_raster: WriteRaster) -> Path:
    """160 x 160 px whose left half is dark."""
    pixels = np.random.default_rng(0).integers(0, 60, (2, 160, 160))
    pixels[..., 80:] += 150
    return write_raster(tmp_path / "scene.tif", pixels.astype(np.uint8))


@pytest.fixture
def polygons(tmp_path: Path) -> Path:
    """Squares of 100 m all over the scene, of two classes, in another CRS."""
    boxes, kinds = [], []
    for row in range(7):
        for col in range(7):
            west, north = 500_000 + 20 + 225 * col, 4_000_000 - 20 - 225 * row
            if not west < 500_800 < west + 100:
                boxes.append(shapely.box(west, north - 100, west + 100, north))
                kinds.append("dark" if west < 500_800 else "bright")
    frame = gpd.GeoDataFrame({"kind": kinds}, geometry=boxes, crs="EPSG:32652").to_crs("EPSG:4326")
    frame.to_file(tmp_path / "labels.gpkg", engine="pyogrio")
    return tmp_path / "labels.gpkg"


def test_polygons_and_a_scene_are_enough(scene: Path, polygons: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    result = train(scene, polygons, "--class-field", "kind", "-o", output, *SMALL)
    assert result.exit_code == 0, result.stderr
    assert f"Wrote {output}" in result.stderr
    card = read_card(output)
    assert card.classes.names == ("bright", "dark")
    assert card.training is not None
    assert set(card.training["metrics"]) == {"val", "test"}  # type: ignore[arg-type]
    assert str(tmp_path) not in card.to_json(), "a card does not tell where its data lay"
    assert sorted(p.name for p in (tmp_path / "m.run").iterdir()) == [
        "config.yaml",
        "curves.png",
        "metrics.jsonl",
        "report.html",
        "run.json",
        "tensorboard",
    ]
    scores = [line.split() for line in result.stderr.splitlines()[-4:]]
    assert scores[0] == ["validation", "pixels", "test", "pixels"]
    metrics = card.training["metrics"]
    for line, name in zip(scores[1:3], ("bright", "dark"), strict=True):
        iou = [f"{metrics[split]['iou'][name]:.3f}" for split in ("val", "test")]  # type: ignore[index, call-overload]
        assert [line[0], line[1], line[3]] == [name, *iou]
    story = json.loads((tmp_path / "m.run" / "run.json").read_text())
    for column, split in ((2, "val"), (4, "test")):
        pixels = np.sum(story["scores"][split]["confusion"], axis=1)
        assert [int(line[column].replace(",", "")) for line in scores[1:3]] == pixels.tolist()
    means = [f"{metrics[split]['mean_iou']:.3f}" for split in ("val", "test")]  # type: ignore[index, call-overload]
    assert scores[3] == ["mean", *means]
    assert result.stderr.splitlines()[0] == f"Training with {scene} and {polygons}"
    assert "epoch 1 of 1: loss" in result.stderr
    same = train(scene, polygons, "--class-field", "kind", "-o", output, *SMALL)
    assert same.exit_code == 0, same.stderr
    assert f"{output}: finished before" in same.stderr
    assert same.stderr.splitlines()[-4:] == result.stderr.splitlines()[-4:]
    other = train(scene, polygons, "--class-field", "kind", "-o", output, *SMALL, "--set", "train.seed=1")
    assert "already exists, trained with train.seed 0" in error_of(other)
    # What was done can be done again from the configuration it leaves.
    again = train(tmp_path / "m.run" / "config.yaml", "-o", tmp_path / "again")
    assert again.exit_code == 0, again.stderr
    assert read_card(tmp_path / "again" / "model.safetensors").weights_sha256 == card.weights_sha256


@pytest.fixture
def codes(tmp_path: Path, write_raster: WriteRaster) -> Path:
    """Labels of the scene as a raster: 10 left, 20 right, 30 in a corner."""
    labels = np.full((160, 160), 10)
    labels[:, 80:] = 20
    labels[:20, :20] = 30
    return write_raster(tmp_path / "codes.tif", labels.astype(np.uint8))


def printed(*arguments: str | Path) -> dict[str, Any]:
    result = train(*arguments, "-o", "run", "--print-config")
    assert result.exit_code == 0, result.stderr
    data: dict[str, Any] = yaml.safe_load(result.stdout)["data"]
    return data


def test_classes_are_chosen_named_and_coloured_on_the_command_line(
    scene: Path, polygons: Path, codes: Path
) -> None:
    named = (scene, polygons, "--class-field", "kind", "--classes", "Dark=#228b22,bright=#AABBCC")
    assert printed(*named)["classes"] == {
        1: {"name": "Dark", "color": "#228b22", "labels": ["dark"]},
        2: {"name": "bright", "color": "#aabbcc", "labels": ["bright"]},
    }
    counted = printed(scene, codes, "--classes", "wood=#228b22,town=#ff0000,lake=#0000ff")["classes"]
    assert {code: (each["name"], each["color"], each["labels"]) for code, each in counted.items()} == {
        10: ("wood", "#228b22", [10]),
        20: ("town", "#ff0000", [20]),
        30: ("lake", "#0000ff", [30]),
    }
    two = printed(scene, codes, "--classes", "20=#ff0000,10")
    assert (sorted(two["classes"]), two["ignore"]) == ([10, 20], [30])
    one = (scene, codes, "--classes", "30", "--unlabelled", "background")
    assert (printed(*one)["task"], printed(*one)["ignore"]) == ("binary", [10, 20])
    for wanted in ("wood,town", "wood,town,lake,10"):
        message = error_of(train(scene, codes, "--classes", wanted, "-o", "run"))
        assert "holds no class wood, expected names among class 10, class 20, class 30" in message
    message = error_of(train(scene, polygons, "--class-field", "kind", "--classes", "a,b", "-o", "run"))
    assert message.endswith("holds no class a, expected names among bright, dark")


@pytest.mark.long
def test_undeclared_no_data_is_refused_until_it_is_declared(
    polygons: Path, tmp_path: Path, write_raster: WriteRaster
) -> None:
    """A mean of -2e36 was trained without a word. The line to add is taken as it is printed."""
    pixels = np.random.default_rng(0).normal(0.2, 0.05, (2, 160, 160)).astype(np.float32)
    pixels[..., 80:] += 0.3
    pixels[:, 30:50] = np.finfo(np.float32).min
    scene, output = write_raster(tmp_path / "f.tif", pixels), tmp_path / "m.safetensors"
    command = (scene, polygons, "--class-field", "kind", "-o", output, *SMALL)
    message = error_of(train(*command))
    assert message.startswith(f"Error: 1 of 1 image cannot be used: {scene}, 12.5 % of its pixels: ")
    assert "hold -3.4028235e+38 and count as data; set data.nodata to -3.4028235e+38 (--nodata" in message
    assert not output.exists()
    advice = re.search(r"\((--nodata [^)]*)\)", message)
    assert advice is not None
    declared = train(*command, *advice[1].split())
    assert declared.exit_code == 0, declared.stderr
    means = read_card(output).mean
    assert means is not None
    assert all(0.2 < mean < 0.5 for mean in means), means

    config = tmp_path / "m.run" / "config.yaml"
    fields = yaml.safe_load(config.read_text())
    del fields["data"]["nodata"]
    config.write_text(yaml.safe_dump(fields))
    message = error_of(train(config, "-o", tmp_path / "again", "--fast-dev-run"))
    assert "set data.nodata to -3.4028235e+38 (--nodata" in message


def test_a_part_of_a_setting_is_changed_and_the_rest_stays(scene: Path, codes: Path, toy: Path) -> None:
    before = printed(scene, codes)["classes"]
    changed = printed(scene, codes, "--set", "data.classes.10.name=wood")["classes"]
    assert changed == {**before, 10: {**before[10], "name": "wood"}}
    text = toy.read_text().replace("20: {name: right}", "20: right")
    toy.write_text(f"{text}  schedule: cosine\n  optimizer: sgd\n  augment: upright\n")
    sets = [
        "data.classes.20.color=#00ff00", "train.schedule.warm_up=0.1", "train.optimizer.momentum=0.5",
        "train.augment.rotate=15", "train.loss.label_smoothing=0.1", "data.labels.band=1", "data.bands.1=nir",
    ]  # fmt: skip
    result = train(toy, "-o", "run", "--print-config", *(part for each in sets for part in ("--set", each)))
    fields = yaml.safe_load(result.stdout)
    assert fields["data"]["classes"][20] == {"name": "right", "color": "#00ff00"}
    assert fields["data"]["classes"][10] == {"name": "left", "color": "#d7301f"}
    assert fields["train"]["schedule"] == {"name": "cosine", "warm_up": 0.1}
    assert fields["train"]["optimizer"] == {"name": "sgd", "momentum": 0.5}
    assert fields["train"]["augment"]["symmetries"] == "horizontal"
    assert fields["train"]["augment"]["rotate"] == 15
    assert (fields["data"]["labels"]["files"], fields["data"]["bands"]) == ("labels/*.tif", ["blue", "nir"])
    for change, said in (
        ("train.epochs.more=1", "train.epochs is 2 and has no more; give it its whole value"),
        ("data.bands.9=red", "data.bands is a list of 2 and has no 9"),
    ):
        assert said in error_of(train(toy, "-o", "run", "--set", change))


@pytest.mark.long
def test_one_class_with_background_is_a_binary_model(scene: Path, tmp_path: Path) -> None:
    box = shapely.box(500_000, 3_998_400, 500_800, 4_000_000)
    gpd.GeoDataFrame(geometry=[box], crs="EPSG:32652").to_file(tmp_path / "dark.gpkg", engine="pyogrio")
    arguments = (scene, tmp_path / "dark.gpkg", "-o", tmp_path / "m.safetensors", *SMALL)
    assert "--unlabelled background" in error_of(train(*arguments))
    result = train(*arguments, "--unlabelled", "background")
    assert result.exit_code == 0, result.stderr
    model = Model.open(tmp_path / "m.safetensors")
    assert model.card.task == "binary"
    assert model.card.channels == (1,)


@pytest.mark.long
def test_a_multilabel_model_learns_classes_that_overlap(scene: Path, tmp_path: Path) -> None:
    boxes = [
        shapely.box(500_000, 3_998_400, 500_800, 4_000_000),
        shapely.box(500_000, 3_999_200, 501_600, 4_000_000),
    ]
    frame = gpd.GeoDataFrame({"kind": ["dark", "north"]}, geometry=boxes, crs="EPSG:32652")
    frame.to_file(tmp_path / "l.gpkg", engine="pyogrio")
    (tmp_path / "c.yaml").write_text(
        """
data:
  task: multilabel
  images: scene.tif
  labels: {files: l.gpkg, class_field: kind, unlabelled: 0}
  bands: [a, b]
  classes: {1: dark, 2: north}
  split: {method: blocks, size: 40}
train: {epochs: 1}
"""
    )
    result = train(tmp_path / "c.yaml", "-o", tmp_path / "run", *SMALL)
    assert result.exit_code == 0, result.stderr
    card = read_card(tmp_path / "run" / "model.safetensors")
    assert card.task == "multilabel"
    assert set(card.training["metrics"]["val"]["iou"]) == {"dark", "north"}  # type: ignore[index, call-overload]


def test_the_configuration_is_printed_and_values_are_replaced(toy: Path, tmp_path: Path) -> None:
    result = train(toy, "-o", tmp_path / "run", "--print-config", "--set", "train.epochs=7")
    assert result.exit_code == 0
    fields = yaml.safe_load(result.stdout)
    assert fields["train"]["epochs"] == 7
    assert fields["train"]["save_minutes"] == 10
    assert not (tmp_path / "run").exists()


def test_a_dev_run_keeps_nothing(toy: Path, tmp_path: Path) -> None:
    result = train(toy, "-o", tmp_path / "run", "--fast-dev-run")
    assert result.exit_code == 0, result.stderr
    assert "Everything works" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_numbers_are_found_where_they_are_left_open(toy: Path, tmp_path: Path) -> None:
    result = train(
        toy, "-o", tmp_path / "run", "--set", "train.batch_size=auto", "--set", "train.learning_rate=auto",
        "--set", "train.patience=1", "--set", "train.monitor=loss",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = re.search(r"learning rate (\S+)", result.stderr)
    assert found is not None
    settled = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]
    assert 1e-6 < float(settled["learning_rate"]) < 1
    assert settled["batch_size"] == 8


@pytest.mark.long
def test_a_report_that_cannot_be_written_does_not_lose_the_model(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    result = train(toy, "-o", tmp_path / "run", "--set", "train.epochs=1")
    model = tmp_path / "run" / "model.safetensors"
    assert result.stderr.count("its bands have no names") == 1
    assert error_of(result).startswith(f"Error: the model is finished ({model}), but not its report: ")
    assert result.exit_code == 1
    assert read_card(model).training is not None
    assert "the same command, or geoseg report" in result.stderr
    assert "already exists" not in error_of(train(toy, "-o", tmp_path / "run", "--set", "train.epochs=1"))
    (tmp_path / "run" / "report.html").rmdir()
    page = tmp_path / "run" / "report.html"
    again = CliRunner().invoke(group, ["report", str(model), "--overwrite"])
    assert again.exit_code == 0, again.stderr
    assert again.stderr == f"Wrote {page}\n", "what is said of the data belongs to the training"
    page.unlink()
    same = train(toy, "-o", tmp_path / "run", "--set", "train.epochs=1")
    assert same.exit_code == 0, same.stderr
    assert "reading images" in same.stderr
    assert "epoch" not in same.stderr.partition("IoU of")[0], "only the report was missing"
    assert page.exists()
    other = CliRunner().invoke(group, ["report", str(model.parent), "-o", str(tmp_path / "other.html"), "-q"])
    assert (other.exit_code, other.stderr) == (0, "")
    assert (tmp_path / "other.html").read_bytes() == (tmp_path / "run" / "report.html").read_bytes()
    assert "is not a run" in error_of(CliRunner().invoke(group, ["report", str(tmp_path)]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml", "-o", "run"], "does not exist"),
        (["{toy}", "-o", "run", "--class-field", "kind"], "--class-field is for SCENE LABELS"),
        (["{toy}", "-o", "run", "--unlabelled", "background"], "--unlabelled is for SCENE LABELS"),
        (["{toy}", "-o", "run", "--classes", "a,b"], "--classes is for SCENE LABELS"),
        (["{toy}", "-o", "run", "--extend"], "no finished training that epochs could be added to"),
        (["{scene}", "-o", "run"], "expected one configuration (.yaml) or a scene and its labels, found 1"),
        (["{toy}", "-o", "run", "--set", "train"], "expected KEY=VALUE"),
        (["{toy}", "-o", "run", "--set", "train.epochs=none"], "train.epochs"),
        (["{toy}", "-o", "run", "--set", "train.monitor=miou"], "train.monitor is 'miou', expected mean_iou"),
        (["{toy}", "-o", "run", "--set", "train.batch_size=0"], "train.batch_size"),
        (["{toy}", "-o", "s3://bucket/run"], "local file system"),
        (["{toy}", "-o", "none/m.safetensors"], "does not exist"),
    ],
)
def test_what_is_wrong_is_one_line(
    toy: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(toy=toy, scene=scene) for argument in arguments]
    assert said in error_of(train(*filled))
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_folds_are_printed_as_a_table(scene: Path, polygons: Path, tmp_path: Path) -> None:
    output = tmp_path / "folds"
    command = (scene, polygons, "--class-field", "kind", "-o", output, "--folds", "3", *SMALL)
    result = train(*command)
    assert result.exit_code == 0, result.stderr
    table = json.loads((output / "folds.json").read_text())
    lines = result.stderr.splitlines()
    at = lines.index("IoU of what 3 folds of blocks held back:")
    assert lines[at + 1].split() == ["pooled", "mean", "deviation", "lowest", "highest"]
    found = {line.split()[0]: line.split()[1:] for line in lines[at + 2 : at + 6]}
    assert list(found) == ["bright", "dark", "mean", "accuracy"]
    scores = [each["scores"]["mean_iou"] for each in table["scores"]]
    over = [table[key]["mean_iou"] for key in ("pooled", "mean", "std")]
    numbers = (*over, min(scores), max(scores))
    assert found["mean"] == [f"{number:.3f}" for number in numbers]
    assert [line.split()[1:3] for line in lines[at + 6 : at + 9]] == [
        [str(number), f"{score:.3f}"] for number, score in enumerate(scores, start=1)
    ]
    assert lines[at + 6].endswith("  scene")
    assert all((output / f"fold-{number}" / "report.html").exists() for number in (1, 2, 3))
    again = train(*command)
    assert again.exit_code == 0
    assert again.stderr.count("finished before") == 3


def test_folds_are_a_number_or_groups(scene: Path, polygons: Path, tmp_path: Path) -> None:
    arguments = (scene, polygons, "--class-field", "kind", "-o", tmp_path / "folds", *SMALL)
    assert "'many' is neither a number nor groups" in error_of(train(*arguments, "--folds", "many"))
    assert "1 group of images cannot make 3 folds" in error_of(train(*arguments, "--folds", "groups"))
    assert "folds is 2, expected 3 or more" in error_of(train(*arguments, "--folds", "2"))
    assert not (tmp_path / "folds").exists()
