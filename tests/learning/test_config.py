"""Configurations: what is wrong is said in one line that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geoseg.errors import ConfigError
from geoseg.learning.config import Config
from geoseg.learning.schedules import OneCycle, Poly

GOOD = """
data:
  root: ${TEST_DATA_ROOT}/set
  images: "*.tif"
  labels: "*.png"
  bands: [red]
  classes: {1: {name: water, labels: [1, 2]}, 3: {name: land, color: "#FFFFFF"}}
  split: {train: [0], val: [1]}
train: {epochs: 3}
"""


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_DATA_ROOT", str(tmp_path / "elsewhere"))


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return Config.read(path)


def test_a_short_file_is_a_whole_configuration(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.train.batch_size == 8
    assert config.data.legend.codes == (1, 3)
    assert config.data.legend[3].color == "#ffffff"
    assert config.data.meanings.code_of == {1: 1, 2: 1, 3: 3}


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ([], (256, 256)),
        (["train.chip_size=64"], (64, 64)),
        (["data.image_size=[96, 128]", "data.fit=resize"], (96, 128)),
        (["data.image_size=[96, 128]", "data.fit=crop"], (96, 128)),
        (["data.image_size=[96, 128]", "data.fit=resize", "train.chip_size=64"], (64, 64)),
        (
            ["data.image_size=[64, 64]", "data.fit=pad", "train.chip_size=64", "train.sampling=whole"],
            (64, 64),
        ),
    ],
)
def test_chips_are_whole_images_of_one_size_unless_a_smaller_edge_is_given(
    tmp_path: Path, changes: list[str], shape: tuple[int, int]
) -> None:
    (tmp_path / "config.yaml").write_text(GOOD)
    config = Config.read(tmp_path / "config.yaml", changes)
    assert config.chip_shape == shape
    assert config.model.tile_size == max(config.data.image_size or shape)


@pytest.mark.parametrize(
    ("data", "train", "said"),
    [
        (
            {"fit": "crop"},
            {},
            r"chip_size is 64, and data.fit crop makes chips of data.image_size, 96 x 128 px",
        ),
        ({"fit": "pad"}, {}, r"chip_size is 64, and data.fit pad makes chips"),
        ({"fit": "resize"}, {"sampling": "whole"}, r"chip_size is 64, and train.sampling whole takes images"),
        (
            {"fit": "resize"},
            {"chip_size": 128},
            r"chip_size is 128, larger than data.image_size, 96 x 128 px",
        ),
    ],
)
def test_an_edge_of_chips_that_would_be_ignored_is_refused(
    tmp_path: Path, data: dict[str, str], train: dict[str, object], said: str
) -> None:
    """Chips were of the images' size, whatever the edge, and memory was checked for the edge."""
    path = tmp_path / "config.yaml"
    path.write_text(GOOD)
    wanted = {"data": {"image_size": [96, 128], **data}, "train": {"chip_size": 64, **train}}
    changes = [f"{part}.{key}={value}" for part, fields in wanted.items() for key, value in fields.items()]
    with pytest.raises(ConfigError, match=said) as refusal:
        Config.read(path, changes)
    assert "\n" not in str(refusal.value)


def test_the_root_is_relative_to_the_file_and_its_words_are_kept(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.data_root == tmp_path / "elsewhere" / "set"
    assert config.data.root == "${TEST_DATA_ROOT}/set"
    assert read(tmp_path, GOOD.replace("${TEST_DATA_ROOT}", "data")).data_root == tmp_path / "data" / "set"


def test_the_resolved_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    again = read(tmp_path, yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
    assert again == config


def test_weights_of_codes_read_back_as_they_were_written(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD.replace("epochs: 3", "epochs: 3, loss: {class_weights: {1: 0.5, 3: 2}}"))
    assert config.fields()["train"]["loss"]["class_weights"] == {1: 0.5, 3: 2.0}
    assert read(tmp_path, yaml.safe_dump(config.fields())) == config


def test_what_follows_from_task_and_optimizer_is_filled_in(tmp_path: Path) -> None:
    train = read(tmp_path, GOOD).train
    assert train.loss.terms == "ce + dice"
    assert train.weight_decay == 0.01
    assert train.schedule == OneCycle(warm_up=0.3)
    text = GOOD.replace("epochs: 3", "epochs: 3, loss: focal, optimizer: SGD, schedule: poly")
    config = read(tmp_path, text)
    assert (config.train.loss.terms, config.train.loss.focal_gamma) == ("focal", 2.0)
    assert (config.train.optimizer.name, config.train.weight_decay) == ("sgd", 0.0)
    assert config.train.schedule == Poly(power=0.9)
    assert read(tmp_path, yaml.safe_dump(config.fields())) == config
    binary = GOOD.replace(
        '{1: {name: water, labels: [1, 2]}, 3: {name: land, color: "#FFFFFF"}}', "{1: water}"
    )
    assert (
        read(tmp_path, binary.replace("  bands:", "  task: binary\n  bands:")).train.loss.terms
        == "bce + dice"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 3", "epochs: 0", "train.epochs: input should be greater than or equal to 1, found 0"),
        ("epochs: 3", "epochs: three", "train.epochs: .*integer.* found 'three'"),
        ("epochs: 3", "epochs: 3, epohcs: 4", "train.epohcs: is not a known key"),
        ("bands: [red]", "", "data.bands: is missing"),
        ("name: land", "name: water", "data: the legend repeats a name"),
        ("#FFFFFF", "white", "data: colour of class 'land' is 'white'"),
        ("3: {name", "255: {name", "data.classes"),
        ("labels: [1, 2]", "labels: [1, 3]", "label value 3 means two classes"),
        ("val: [1]", "val: [0]", "data.split: group 0 stands in two splits"),
        ("val: [1]", "val: []", "data.split.val"),
        ("bands: [red]", "bands: [red]\n  band_numbers: [1, 2]", "band_numbers has 2 numbers for 1 band"),
        ("epochs: 3", "epochs: 3, loss: {class_weights: {1: 1}}", "name every class code"),
        ("epochs: 3", "epochs: 3, keep: last, patience: 2", "train.patience is 2, .* and train.keep is last"),
        ("epochs: 3", "epochs: 3, loss: ce + dise", "train.loss: no loss is called 'dise', expected ce, bce"),
        ("epochs: 3", "epochs: 3, loss: {terms: ce ce}", "train.loss: 'ce ce' is not a loss"),
        ("epochs: 3", "epochs: 3, loss: bce", "train.loss: bce is not for multiclass tasks, expected ce"),
        ("epochs: 3", "epochs: 3, loss: [ce]", "train.loss: expected text such as 0.7"),
        ("epochs: 3", "epochs: 3, loss: {cross_entropy: 1}", "train.loss.cross_entropy: is not a known key"),
        (
            "epochs: 3",
            "epochs: 3, loss: {terms: dice, class_weights: 1}",
            "class_weights is of ce, bce, focal",
        ),
        (
            "epochs: 3",
            "epochs: 3, optimizer: sgdd",
            "train.optimizer: no optimizer is called 'sgdd', expected",
        ),
        (
            "epochs: 3",
            "epochs: 3, optimizer: {name: sgd, momentun: 1}",
            "sgd: momentun is none of its options",
        ),
        ("epochs: 3", "epochs: 3, optimizer: 5", "train.optimizer: expected the name"),
        (
            "epochs: 3",
            "epochs: 3, optimizer: rprop, weight_decay: 1",
            "weight_decay is 1, and rprop has none",
        ),
        (
            "epochs: 3",
            "epochs: 3, schedule: cosin",
            "train.schedule: name is 'cosin', expected one of 'constant'",
        ),
        (
            "epochs: 3",
            "epochs: 3, schedule: {name: poly, factor: 1}",
            "train.schedule.factor: is not a known key",
        ),
        ("epochs: 3", "epochs: 3, schedule: 5", "train.schedule: expected the name"),
        ("TEST_DATA_ROOT", "TEST_DATA_NOT_SET", "environment variable TEST_DATA_NOT_SET"),
        ("data:", "data: [", "is not YAML"),
        ("epochs: 3", "epochs: 3, batch_size: 1.0e+9", r"train.batch_size: .* 65536, found 1000000000\.0"),
        ("epochs: 3", "epochs: 3, chip_size: 1000000000", "train.chip_size: .* 32768, found 1000000000"),
        ("epochs: 3", "epochs: 3, workers: 100000", "train.workers: .* 256"),
        ("epochs: 3", "epochs: 3, threads: 100000", "train.threads: .* 1024"),
        ("epochs: 3", "epochs: 3, accumulate: 1000000000", "train.accumulate"),
        ("epochs: 3", "epochs: 3, chips_per_epoch: 1000000000000", "train.chips_per_epoch"),
        ("epochs: 3", "epochs: 10000000000", "train.epochs"),
        ("epochs: 3", "epochs: 3, learning_rate: 1.0e300", "train.learning_rate"),
        ("epochs: 3", 'epochs: !!int "abc"', "'abc' is not a valid int in line"),
        ("epochs: 3", "epochs: 2024-13-45", "'2024-13-45' is not a valid timestamp in line"),
        pytest.param("epochs: 3", "epochs: " + "9" * 5000, "a number of 5,000 characters", id="digits"),
        pytest.param("epochs: 3", "epochs: " + "[" * 5000, "nested more than 100 deep", id="brackets"),
        pytest.param("epochs: 3", "epochs: &a [*a]", "contains itself", id="itself"),
        ("data:", "data: !!python/object/apply:os.getcwd []\nmore:", "is not YAML"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=said) as refusal:
        read(tmp_path, GOOD.replace(old, new))
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "config.yaml") in str(refusal.value)


def test_a_value_of_set_is_read_within_the_same_bounds(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(GOOD)
    for value, said in (
        ("&a [*a]", "contains itself"),
        ("[" * 5000, "nested more than 100 deep"),
        ("9" * 5000, "a number of 5,000 characters"),
        ("2024-13-45", "is not a valid timestamp"),
    ):
        with pytest.raises(ConfigError, match=rf"^changes=\['train.epochs=.*{said}") as refusal:
            Config.read(tmp_path / "config.yaml", [f"train.epochs={value}"])
        assert len(str(refusal.value)) < 300


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="holds a list"):
        read(tmp_path, "[1, 2]")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is not YAML"):
        Config.read(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read(tmp_path, "#" * 2**21)


def test_the_korea_recipe_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSEG_DATA", "/data")
    config = Config.read(Path(__file__).parents[2] / "examples" / "recipes" / "korea.yaml")
    assert config.data.split.train == (0, 1)
    assert config.data.split.val == (3, 4, 5)
    assert config.data.split.test == (2, 6)
