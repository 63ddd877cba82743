"""Training on a list of images with their labels, and on a torchgeo dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import from_origin

import geoseg
from geoseg.datasets.dataset import IGNORED, Chips
from geoseg.datasets.loading import loader
from geoseg.datasets.sampler import RandomSampler
from geoseg.errors import ConfigError, DataError, OptionError
from geoseg.grid.legend import Legend
from geoseg.learning.config import Config
from geoseg.learning.preparation import prepare_training
from geoseg.learning.quick import LabelChoices
from geoseg.learning.quick_pairs import are_pairs, pairs_config, torchgeo_config
from geoseg.models.card_file import read_card
from tests.datasets.test_torchgeo import Codes, Images

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in GeoDataFrame.drop is deprecated")

SHAPE = (64, 96)
TWO_STEPS = ("train.epochs=1", "train.chips_per_epoch=4")
QUICK = ("train.batch_size=2", "train.workers=0", "train.augment=none", "model.encoder_weights=none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images apart from each other, and codes 0, 3 and 7 that their first band follows."""
    path, random = tmp_path_factory.mktemp("files"), np.random.default_rng(3)
    for number, name in enumerate("abc"):
        codes = np.kron(random.choice([0, 3, 7], (8, 12)), np.ones((8, 8))).astype(np.uint8)
        pixels = random.integers(1, 900, (3, *SHAPE)).astype(np.float32) + 1000 * codes.astype(np.float32)
        profile = {
            "driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "crs": CRS.from_epsg(32652),
            "transform": from_origin(500_000 + 2000 * number, 4_000_000, 10, 10),
        }  # fmt: skip
        for kind, array in (("image", pixels), ("codes", codes[None])):
            with rasterio.open(
                path / f"{kind}_{name}.tif", "w", count=len(array), dtype=array.dtype, **profile
            ) as f:
                f.write(array)
    return path


def pairs_in(folder: Path) -> list[tuple[Path, Path]]:
    return [(folder / f"image_{name}.tif", folder / f"codes_{name}.tif") for name in "abc"]


@pytest.mark.long
def test_two_steps_on_a_torchgeo_dataset_are_those_on_its_files(folder: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"classes": "none,water,forest=#228b22", "changes": [*QUICK, *TWO_STEPS]}
    dataset = Images(folder) & Codes(folder)
    theirs = read_card(geoseg.train(dataset, output=tmp_path / "theirs.safetensors", **more))
    ours = read_card(geoseg.train(pairs_in(folder), output=tmp_path / "ours.safetensors", **more))
    assert theirs.weights_sha256 == ours.weights_sha256
    assert (theirs.mean, theirs.std, theirs.dtype) == (ours.mean, ours.std, "float32")
    assert [(c.code, c.name) for c in ours.legend] == [(0, "none"), (3, "water"), (7, "forest")]
    assert theirs.legend == ours.legend
    assert ours.training is not None
    assert ours.training["metrics"]["val"]
    assert Config.read(tmp_path / "ours.run" / "config.yaml").data.pairs == tuple(
        (f"image_{name}.tif", f"codes_{name}.tif") for name in "abc"
    )


def test_zero_in_masks_of_torchgeo_is_unlabelled_unless_it_is_said_to_be_a_class(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = Images(folder) & Codes(folder)
    with caplog.at_level(logging.WARNING):
        config, entries = torchgeo_config(dataset, LabelChoices())
    assert sorted(config.data.classes) == [3, 7]
    assert "0 in the masks is taken for unlabelled" in caplog.text
    pair = prepare_training(config, given=entries).splits["train"][0]
    assert pair.name == entries[0].key == "image_a"
    config, _ = torchgeo_config(dataset, LabelChoices(background=True))
    assert sorted(config.data.classes) == [0, 3, 7]
    config, _ = torchgeo_config(dataset, LabelChoices(classes=Legend.parse("none,water,forest")))
    assert {code: each.name for code, each in config.data.classes.items()} == {
        0: "none", 3: "water", 7: "forest",
    }  # fmt: skip
    with pytest.raises(OptionError, match="layer is for files of labels"):
        torchgeo_config(dataset, LabelChoices(layer="a"))


def test_pairs_are_listed_in_the_configuration_and_split_as_their_number_allows(folder: Path) -> None:
    few = pairs_config(pairs_in(folder), LabelChoices())
    assert few.data_root == folder.resolve()
    assert few.data.split.method == "blocks"
    assert few.data.images is few.data.table is few.data.labels.files is None
    many = pairs_config(pairs_in(folder) * 4, LabelChoices())
    assert many.data.split.method == "fraction"
    assert are_pairs(pairs_in(folder))
    assert not are_pairs([folder / "red.tif", folder / "nir.tif"])
    assert not are_pairs(["ab", "cd"])


def test_a_change_of_one_configuration_is_not_in_the_next(folder: Path) -> None:
    changed = pairs_config(pairs_in(folder), LabelChoices(), ["data.split.size=16"])
    assert changed.fields()["data"]["split"]["size"] == 16
    following = pairs_config(pairs_in(folder), LabelChoices())
    assert following.fields()["data"]["split"].get("size") != 16


def test_pairs_that_cannot_be_are_refused_in_a_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="labels of two forms"):
        pairs_config([*pairs_in(folder), (folder / "image_a.tif", tmp_path / "l.gpkg")], LabelChoices())
    config = pairs_config(pairs_in(folder), LabelChoices())
    fields = config.fields()
    fields["data"]["pairs"][1] = ["image_b.tif", "gone.tif"]
    with pytest.raises(DataError, match=r"data.pairs: 1 of 6 names lead to no file \(gone.tif\)"):
        prepare_training(Config.of(fields, "c", folder))
    fields["data"]["pairs"][1] = fields["data"]["pairs"][0]
    with pytest.raises(DataError, match=r"names .*image_a.tif twice"):
        prepare_training(Config.of(fields, "c", folder))
    fields["data"]["images"] = "image_*.tif"
    with pytest.raises(ConfigError, match="images .a pattern., table or pairs"):
        Config.of(fields, "c", folder)


def test_grey_masks_are_no_codes(tmp_path: Path) -> None:
    """Values of several masks are classes together; each alone has few enough."""
    pairs = []
    for number in (0, 1):
        paths = tmp_path / f"image_{number}.png", tmp_path / f"mask_{number}.png"
        Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(paths[0])
        grey = np.arange(128).repeat(2).reshape(16, 16) + 128 * number
        Image.fromarray(grey.astype(np.uint8)).save(paths[1])
        pairs.append(paths)
    with pytest.raises(DataError, match="256 different values, expected fewer than 255 codes; grey masks"):
        pairs_config(pairs, LabelChoices())


def test_a_check_of_a_torchgeo_dataset_is_that_of_its_files(folder: Path) -> None:
    ours = geoseg.check(pairs_in(folder), progress=False, classes="0,3,7")
    theirs = geoseg.check(Images(folder) & Codes(folder), progress=False, classes="0,3,7")
    assert ours.classes["pixels"].tolist() == theirs.classes["pixels"].tolist()
    assert ours.bands["mean"].tolist() == pytest.approx(theirs.bands["mean"].tolist())


def test_a_loop_of_ones_own_gets_the_same_batches_of_an_epoch_every_time(folder: Path) -> None:
    pairs = prepare_training(pairs_config(pairs_in(folder), LabelChoices())).splits["train"]
    sampler = RandomSampler(pairs, 32, 4, seed=1)
    batches, seen = loader(Chips(pairs), sampler, 2), []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        seen.append([batch["image"] for batch in batches])
        assert seen[-1][0].shape == (2, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(seen[0], seen[2], strict=True))
    assert not torch.equal(seen[0][0], seen[1][0])
    assert IGNORED in {int(v) for batch in batches for v in batch["mask"].unique()}, "other splits' blocks"
