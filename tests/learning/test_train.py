"""Training, small but whole: it learns, it repeats itself, it says what went wrong."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml

from geoseg.assessment.report import report
from geoseg.datasets.dataset import IGNORED
from geoseg.datasets.opening import open_data
from geoseg.datasets.splits import with_card
from geoseg.errors import ConfigError, DataError, ModelError, OptionError, OutputExistsError
from geoseg.grid.tiling import Tiling
from geoseg.learning import training_run as train_module
from geoseg.learning.config import Config
from geoseg.learning.loss_text import parse
from geoseg.learning.losses import Loss
from geoseg.learning.metrics import Confusion
from geoseg.learning.preparation import prepare_training
from geoseg.learning.sampling import sampler_of
from geoseg.learning.scoring import Scorer
from geoseg.learning.train import train
from geoseg.learning.training_run import TrainOptions, train_run
from geoseg.models.card_file import read_card
from geoseg.models.model import Model
from tests.toys import WriteRaster

SLIM_FPN = "{decoder_pyramid_channels: 32, decoder_segmentation_channels: 32, decoder_dropout: 0.5}"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_run_learns_two_classes_and_leaves_a_model_file_that_opens(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(toy, "epochs: 2", "epochs: 6")
    run = tmp_path / "run"
    path = train(toy, output=run)
    assert capfd.readouterr() == ("", ""), "a library is silent unless asked"
    assert path == run / "model.safetensors"
    assert sorted(p.name for p in run.iterdir()) == [
        "config.yaml",
        "metrics.jsonl",
        "model.safetensors",
        "run.json",
        "tensorboard",
    ]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["step"] == 24
    assert lines[-1]["loss"] < lines[0]["loss"]
    card = Model.open(path).card
    best = max(line["val_mean_iou"] for line in lines)
    assert best > 0.9, "a band tells the classes apart"
    training = card.training
    assert training is not None
    assert training["metrics"]["val"]["mean_iou"] == pytest.approx(best)  # type: ignore[call-overload, index]
    assert training["images"] == {"train": ["a"], "val": ["b"], "test": []}
    assert card.channels == (10, 20)
    assert card.band_names == ("blue", "green")
    assert 100 < card.mean[0] < 180
    statistics = [v for k, v in Model.open(path).network.state_dict().items() if k.endswith("running_mean")]
    assert any(value.any() for value in statistics), "a network trains in training mode, not as it was opened"
    # The resolved configuration is a configuration.
    assert Config.read(run / "config.yaml").train == Config.read(toy).train


@pytest.mark.long
def test_batch_statistics_stay_as_they_are_where_so_configured(toy: Path, tmp_path: Path) -> None:
    edit(toy, "threads: 1", "threads: 1\n  batch_statistics: false")
    network = Model.open(train(toy, output=tmp_path / "run")).network.state_dict()
    assert not any(value.any() for name, value in network.items() if name.endswith("running_mean"))
    assert all((value == 1).all() for name, value in network.items() if name.endswith("running_var"))
    assert any((value != 1).any() for name, value in network.items() if name.endswith("bn1.weight"))


@pytest.mark.long
def test_law_11_the_same_seed_gives_the_same_weights(toy: Path, tmp_path: Path) -> None:
    # A network with dropout, which draws from torch's own generator.
    edit(toy, "architecture: Unet", "architecture: FPN")
    edit(toy, "{encoder_depth: 3, decoder_channels: [16, 8, 8]}", SLIM_FPN)
    first = read_card(train(toy, output=tmp_path / "first")).weights_sha256
    torch.rand(3)  # nothing depends on the state of torch's generator
    assert read_card(train(toy, output=tmp_path / "second")).weights_sha256 == first
    edit(toy, "threads: 1", "threads: 1\n  seed: 1")
    assert read_card(train(toy, output=tmp_path / "third")).weights_sha256 != first


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.long
def test_the_same_call_after_a_finished_run_changes_nothing_and_another_is_refused(
    toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(toy, "epochs: 2", "epochs: 1")
    path = train(toy, output=tmp_path / "run")
    before = stamps(tmp_path / "run")
    edit(toy, "threads: 1", "threads: 1\n  save_minutes: 3")  # of no consequence
    assert train(toy, output=tmp_path / "run") == path
    assert train_run(Config.read(toy), tmp_path / "run").before
    with pytest.raises(OutputExistsError, match=r"trained with train\.seed 0, .* has 5; .*overwrite=True"):
        train(toy, output=tmp_path / "run", changes=["train.seed=5"])
    with pytest.raises(OutputExistsError, match="already exists; pass overwrite=True"):
        train(toy, output=tmp_path / "run", resume=False)
    with pytest.raises(OptionError, match="no finished training that epochs could be added to"):
        train(toy, output=tmp_path / "other", extend=True)
    assert not (tmp_path / "other").exists()
    image = toy.parent / "images" / "b.tif"
    os.utime(image, ns=(1, 1))
    with pytest.raises(OutputExistsError, match=r"trained with file .*b\.tif"):
        train(toy, output=tmp_path / "run")
    assert stamps(tmp_path / "run") == before
    caplog.set_level(logging.INFO, "geoseg")
    train(toy, output=tmp_path / "run", overwrite=True, changes=["train.keep=last"])
    assert "scoring the last epoch on the validation images" in caplog.text
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    assert any(r.getMessage().startswith("epoch 1 of 1: loss ") for r in caplog.records)


@pytest.mark.long
def test_a_finished_run_goes_on_to_more_epochs_from_its_best_one(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = train(toy, output=run)
    first, lines = read_card(path), (run / "metrics.jsonl").read_text().splitlines()
    more = ["train.epochs=4", "train.learning_rate=0.002"]
    with pytest.raises(OutputExistsError, match=r"trained for 2 epochs; pass extend=True to go on to 4"):
        train(toy, output=run, changes=more)
    with pytest.raises(OutputExistsError, match=r"trained with train\.seed 0"):
        train(toy, output=run, extend=True, changes=[*more, "train.seed=1"])
    with pytest.raises(OutputExistsError, match=r"trained with train\.learning_rate 0\.01"):
        train(toy, output=run, extend=True, changes=more[1:])
    assert read_card(path) == first
    extended = shutil.copytree(run, tmp_path / "again")
    trained = train_run(Config.read(toy, more), run, TrainOptions(extend=True))
    assert not trained.before
    now = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (run / "metrics.jsonl").read_text().splitlines()[:2] == lines
    assert [line["epoch"] for line in now] == [1, 2, 3, 4]
    assert now[2]["learning_rate"] <= 0.002
    card = read_card(path)
    assert card.training is not None
    kept = max(line["val_mean_iou"] for line in now)
    assert card.training["metrics"]["val"]["mean_iou"] == pytest.approx(kept)  # type: ignore[call-overload, index]
    assert train_run(Config.read(toy, more), run, TrainOptions(extend=True)).before
    assert train_run(Config.read(toy, more), run).before
    # Killed in between it ends in the same weights.
    for moment in ("settle", "_finish"):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(train_module, moment, killed)
            train(toy, output=extended, extend=True, changes=more)
        assert read_card(extended / "model.safetensors") == first
    for changes, extend in ((more, True), ([], False)):
        with pytest.raises(
            OutputExistsError, match=r"is finished, and epochs were being added to it; .*overwrite=True"
        ):
            train(toy, output=extended, extend=extend, changes=changes, resume=False)
    assert read_card(extended / "model.safetensors") == first
    again = train(toy, output=extended, extend=True, changes=more)
    assert read_card(again).weights_sha256 == card.weights_sha256
    assert sorted(p.name for p in extended.iterdir()) == sorted(p.name for p in run.iterdir())


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.long
def test_the_best_epoch_stays_where_more_epochs_bring_no_better_one(toy: Path, tmp_path: Path) -> None:
    path = train(toy, output=tmp_path / "run")
    first = read_card(path)
    # A rate that changes nothing.
    more = ["train.epochs=3", "train.learning_rate=1.0e-30", "train.patience=1"]
    train(toy, output=tmp_path / "run", extend=True, changes=more)
    assert read_card(path).weights_sha256 == first.weights_sha256


@pytest.mark.long
@pytest.mark.parametrize(("chips", "batch"), [(9, 4), (5, 2), (1, 8)])
def test_a_single_chip_that_is_left_over_ends_no_epoch(
    toy: Path, tmp_path: Path, chips: int, batch: int
) -> None:
    """All of the encoder: a chip of 32 px is one pixel at its end, of which no statistics can be taken."""
    changes = [
        "train.epochs=1", f"train.chips_per_epoch={chips}", f"train.batch_size={batch}",
        "model.decoder_options={decoder_channels: [16, 8, 8, 8, 8]}",
    ]  # fmt: skip
    assert train(toy, output=tmp_path / "run", changes=changes).exists()


@pytest.mark.long
def test_batches_of_one_chip_are_refused_where_they_cannot_be_learned_from(toy: Path, tmp_path: Path) -> None:
    changes = [
        "train.epochs=1", "train.chips_per_epoch=2", "train.batch_size=1",
        "model.decoder_options={decoder_channels: [16, 8, 8, 8, 8]}",
    ]  # fmt: skip
    for sizes, advice in (
        ([], "train.chip_size"),
        (["data.image_size=[32, 32]", "data.fit=pad"], "data.image_size"),
    ):
        said = rf"chip of 32 x 32 px.*a larger {advice}, or train\.batch_statistics: false"
        with pytest.raises(ConfigError, match=said):
            train(toy, output=tmp_path / "run", changes=[*changes, *sizes])
    # What it advises works.
    train(toy, output=tmp_path / "run", changes=[*changes, "train.batch_statistics=false"])
    changes[2] = "train.batch_size=2"
    train(toy, output=tmp_path / "other", changes=changes)


@pytest.mark.parametrize("name", ["m.pt", "m.ONNX", "m.ckpt"])
def test_models_of_other_kinds_are_no_names_of_runs(toy: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        OptionError, match=f"{name}: is the name of another kind of model, expected a folder, or"
    ):
        train(toy, output=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_configuration_may_be_a_mapping(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.parent)
    fields = yaml.safe_load(toy.read_text())
    path = train(fields, output="run", changes=["train.epochs=1", "train.chips_per_epoch=4"])
    assert read_card(path).classes.names == ("left", "right")
    assert fields["train"]["epochs"] == 2, "what was passed is as it was"
    for arguments, named, said in (
        ((fields,), {}, "found no output, expected the folder of the run"),
        (("a.tif", "b.tif"), {}, "found no output"),
        (
            ("a.tif",),
            {"output": "new"},
            "expected train.config, output=.*, or train.pairs, output=",
        ),
        ((fields,), {"output": "new", "class_field": "kind"}, "class_field is for a scene and its labels"),
        (
            (fields,),
            {"output": "new", "unlabelled": "background"},
            "unlabelled is for a scene and its labels",
        ),
        (
            ("a.tif", "b.tif"),
            {"output": "new", "unlabelled": "x"},
            "unlabelled is 'x', expected ignored or background",
        ),
        (
            (toy, "labels.gpkg"),
            {"output": "new"},
            "says where its labels are, and found labels.gpkg beside it",
        ),
        (
            (Config.read(toy),),
            {"output": "new", "resolution": 3},
            "data.resolution=3 is for files and mappings",
        ),
    ):
        with pytest.raises(OptionError, match=said):
            train(*arguments, **named)
    assert not Path("new").exists()


@pytest.mark.long
def test_a_trial_of_everything_keeps_nothing_and_tells_how_far_it_is(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, str]] = []
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert train(toy, fast_dev_run=True, progress=lambda *call: calls.append(call)) is None
    assert sorted(tmp_path.rglob("*")) == before
    assert [done for done, _, what in calls if "loss" in what] == list(range(1, calls[0][1] + 1))
    assert calls[-1][2].startswith("epoch 1 of 1, scoring ")


def test_settings_of_torch_lightning_and_logging_are_as_before(toy: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    edit(toy, "epochs: 2", "epochs: 1")
    train(toy, output=tmp_path / "run")
    assert torch.get_num_threads() == threads
    assert {name: logging.getLogger(name).level for name in levels} == levels


def test_a_loss_that_is_not_finite_stops_with_step_and_images(toy: Path, tmp_path: Path) -> None:
    far = ["train.learning_rate=1.0e+6", "train.weight_decay=1", "train.chips_per_epoch=40"]
    with pytest.raises(DataError, match=r"the loss is (nan|inf) at step \d+ on chips of a; .*learning_rate"):
        train(Config.read(toy, far), output=tmp_path / "run")


def test_an_output_that_is_not_finite_stops_with_the_epoch(toy: Path, tmp_path: Path) -> None:
    edit(toy, "learning_rate: 0.01", "learning_rate: 1.0e+6")
    with pytest.raises(
        DataError, match=r"is not a number after epoch 1 of the training; lower train\.learning_rate$"
    ):
        train(toy, output=tmp_path / "run")


def test_what_is_wrong_is_found_before_the_first_step(toy: Path, tmp_path: Path) -> None:
    with rasterio.open(toy.parent / "labels" / "b.tif", "r+") as file:
        file.write(np.full((1, 48, 64), 77, dtype=np.uint8))
    with pytest.raises(DataError, match=r"b.tif: holds label codes 77, expected 0, 10, 20"):
        train(toy, output=tmp_path / "run")
    edit(toy, "device: cpu", "device: cuda")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="device cuda cannot be used"):
            train(toy, output=tmp_path / "refused")
        assert not (tmp_path / "refused").exists()


def test_memory_is_checked_for_the_chips_that_are_drawn(toy: Path) -> None:
    """Images of one size are the chips, of whatever size these would be otherwise."""
    edit(toy, "  chip_size: 32\n", "")
    changes = ["data.image_size=[32768, 32768]", "data.fit=resize", "train.batch_size=64"]
    with pytest.raises(ConfigError, match="a step of 64 x 32768 x 32768 px needs"):
        prepare_training(Config.read(toy, changes))


@pytest.mark.long
def test_smaller_chips_are_cut_out_of_resized_images(toy: Path, tmp_path: Path) -> None:
    changes = ["data.image_size=[96, 96]", "data.fit=resize", "train.sampling=random", "train.chip_size=32"]
    run = prepare_training(Config.read(toy, changes))
    windows = [window for _, window in sampler_of(run)]
    assert {(window.height, window.width) for window in windows} == {(32, 32)}
    assert max(window.row for window in windows) > 32
    model = Model.open(train(Config.read(toy, changes), output=tmp_path / "run"))
    assert model.card.image_size == (96, 96)


@pytest.mark.long
def test_it_trains_on_real_patches(shared: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "examples" / "recipes" / "korea.yaml").read_text()
    for old, new in (
        ("${GEOSEG_DATA}", str(shared)),
        ("train: [0, 1]", "train: [5]"),
        ("val: [3, 4, 5]", "val: [6]"),
        ("test: [2, 6]", "test: []"),
        ("epochs: 5", "epochs: 1"),
        ("chips_per_epoch: 320", "chips_per_epoch: 8"),
        ("chip_size: 256", "chip_size: 64"),
        ("batch_size: 8", "batch_size: 4"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "korea.yaml").write_text(text)
    model = Model.open(train(tmp_path / "korea.yaml", output=tmp_path / "run"))
    assert model.card.band_names == ("blue", "green", "red")
    assert model.card.channels == (10, 30, 50, 70, 100)
    assert model.card.gsd_m == 10


class Pointwise(torch.nn.Module):
    """A network that looks at one pixel at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.weight[0] * image[:, 0], self.weight[1] * image[:, 0]], dim=1)


@pytest.mark.parametrize(("size", "overlap"), [(16, 0), (16, 8), (40, 7), (64, 16), (100, 50)])
def test_scores_of_a_pointwise_network_do_not_depend_on_the_tiles(
    toy: Path, model: Model, size: int, overlap: int
) -> None:
    card = model.card
    config = Config.read(toy)
    (pair,) = with_card(open_data(config.data, config.data_root, card).splits, card)["val"]
    scorer = Scorer(tiling=Tiling(size=size, overlap=overlap), device="cpu", precision="fp32", loss=Loss())
    found = scorer.image(Pointwise(), pair)
    with rasterio.open(toy.parent / "images" / "b.tif") as file:
        first = file.read(1)
    with rasterio.open(toy.parent / "labels" / "b.tif") as file:
        labels = file.read(1)
    reference = np.select([labels == 10, labels == 20], [0, 1], -1)
    expected = Confusion.of(reference, (first * pair.gain[0] + pair.bias[0] <= 0).astype(np.int64), 2)
    assert np.array_equal(found.confusion.counts, expected.counts)
    logits = torch.tensor(
        np.stack([first, -1.0 * first]) * pair.gain[0] + [[[pair.bias[0]]], [[-pair.bias[0]]]]
    )
    whole = Loss(terms=parse("ce"))(
        logits[None], torch.tensor(reference)[None].where(torch.tensor(reference) >= 0, IGNORED)
    )
    entropy = replace(scorer, loss=Loss(terms=parse("ce"))).image(Pointwise(), pair)
    assert entropy.loss == pytest.approx(float(whole), rel=1e-4)
    twice = found + found
    assert np.array_equal(twice.confusion.counts, 2 * expected.counts)
    assert twice.loss == pytest.approx(found.loss)


LITE = [
    "model.encoder=tu-tf_efficientnet_lite0",
    "model.encoder_weights=packaged",
    "train.epochs=1",
    "train.chips_per_epoch=4",
]


@pytest.mark.long
def test_a_training_from_packaged_weights_feeds_what_they_ask_for_and_says_so(
    toy: Path, tmp_path: Path
) -> None:
    two = Config.read(toy, LITE)
    run = prepare_training(two)
    card, statistics = run.model.card, run.statistics
    # The mean of its own, and ImageNet's spread as these weights see it.
    assert card.mean == pytest.approx(statistics.mean)
    assert card.std == pytest.approx([std * (128 / 255) / 0.226 for std in statistics.std])
    assert run.fingerprint["begun from"] == card.beginning.sha256  # type: ignore[union-attr]
    path = train(two, output=tmp_path / "run")
    beginning = Model.open(path).card.beginning
    assert beginning is not None
    assert (beginning.weights, beginning.licence) == ("packaged", "Apache-2.0")
    page = report(tmp_path / "run").read_text()
    assert "begun from encoder weights packaged (EfficientNet-Lite0, trained on ImageNet)" in page
    assert "licence: Apache-2.0" in page


def test_bytes_of_red_green_and_blue_are_fed_as_packaged_weights_ask_for(
    toy: Path, tmp_path: Path, write_raster: WriteRaster
) -> None:
    for stem, at_col in (("a", 0), ("b", 100)):
        image = np.random.default_rng(1).integers(1, 255, (3, 48, 64), dtype=np.uint8)
        write_raster(tmp_path / "images" / f"{stem}.tif", image, at_col=at_col, photometric="MINISBLACK")
    card = prepare_training(Config.read(toy, [*LITE, "data.bands=[blue, red, green]"])).model.card
    gains, biases = card.normalisation()
    assert gains == pytest.approx([1 / 128] * 3)
    assert biases == pytest.approx([-127 / 128] * 3)


@pytest.mark.long
def test_a_training_begins_with_a_model_file_of_other_bands_and_classes(
    toy: Path, tmp_path: Path, small: dict[str, Any]
) -> None:
    Model.new(**{**small, "bands": ["green", "red", "nir"]}, seed=5).save(tmp_path / "start.safetensors")
    config = Config.read(toy, ["model.start=start.safetensors", "train.epochs=1"])
    filters = "encoder.model.conv_stem.weight"
    begun = prepare_training(config).model.network.state_dict()
    first = Model.open(tmp_path / "start.safetensors").network.state_dict()[filters]
    expected = torch.stack([first.mean(dim=1), first[:, 0]], dim=1) * 3 / 2  # blue is not known, green is
    torch.testing.assert_close(begun[filters], expected)
    beginning = Model.open(train(config, output=tmp_path / "run")).card.beginning
    assert beginning is not None
    assert (beginning.weights, beginning.of) == ("start.safetensors", "network")


def test_the_network_of_a_model_file_is_taken_where_none_is_named(
    toy: Path, tmp_path: Path, small: dict[str, Any]
) -> None:
    options = {"encoder_depth": 3, "decoder_channels": [24, 12, 6], "decoder_interpolation": "bilinear"}
    start = Model.new(**{**small, "architecture": "UnetPlusPlus", "decoder_options": options}, seed=5)
    start.save(tmp_path / "start.safetensors")
    fields = yaml.safe_load(toy.read_text())
    fields["model"] = {"name": "next", "start": "start.safetensors", "tile_size": 32}
    config = Config.of(fields, "next", toy.parent)
    assert Config.of(config.fields(), "again", toy.parent) == config
    begun = prepare_training(config).model
    assert (begun.card.architecture, begun.card.encoder) == ("UnetPlusPlus", start.card.encoder)
    assert begun.card.decoder_options == start.card.decoder_options
    own, theirs = begun.network.state_dict(), start.network.state_dict()
    for name in theirs:
        assert name.startswith("segmentation_head") or torch.equal(own[name], theirs[name]), name
    fields["model"]["encoder"] = "resnet18"
    with pytest.raises(
        ModelError, match="its architecture is UnetPlusPlus, the new model's is Unet; set model.arch"
    ):
        prepare_training(Config.of(fields, "another", toy.parent))


def test_folded_batch_normalisations_keep_their_statistics_or_that_is_said(
    toy: Path, tmp_path: Path, small: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    start = Model.new(**small)
    start.card = start.card.changed(beginning={"weights": "x.onnx", "of": "network", "folded": True})
    start.save(tmp_path / "start.safetensors")
    for statistics, said in (("true", True), ("false", False)):
        caplog.clear()
        settings = ["model.start=start.safetensors", f"train.batch_statistics={statistics}"]
        beginning = prepare_training(Config.read(toy, settings)).model.card.beginning
        assert ("set train.batch_statistics to false" in caplog.text) == said
        assert beginning is not None
        assert beginning.folded != said


def test_a_file_of_weights_is_seen_from_the_configuration(toy: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(f"{toy.parent / 'w' / 'e.pth'}: cannot be read")):
        prepare_training(Config.read(toy, ["model.encoder_weights=w/e.pth"]))
