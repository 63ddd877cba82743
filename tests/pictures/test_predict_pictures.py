"""Folders of pictures become folders of masks, each what `predict` makes of the picture alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image

import geoseg
from geoseg.errors import GeosegError, OptionError, OutputBusyError, OutputExistsError, SceneError
from geoseg.grid.legend import Legend
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import Writing
from geoseg.models.model import Model
from geoseg.pictures.predict_pictures import PicturesReport, write_masks
from geoseg.raster.handles import open_quietly
from geoseg.storage.lock import locked
from tests.engine.test_engine import Greedy
from tests.oracle import Pointwise, pointwise_model

FP32 = {"precision": "fp32", "device": "cpu", "batch_size": 4}
SHAPES = {"a.jpg": (40, 50), "b.JPEG": (33, 20), "c.png": (48, 48), "d.tif": (70, 100), "e.png": (9, 150)}


def colours(shape: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Smooth pictures, (row, col, band)."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(coarse.resize(shape[::-1], Image.Resampling.BILINEAR))


@pytest.fixture(scope="module")
def model(model_file: Path) -> Model:
    """Read once for all of these tests."""
    return Model.open(model_file)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Pictures of several formats and sizes: one with georeference, one partly transparent; and what is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, (name, shape) in enumerate(SHAPES.items()):
        pixels = colours(shape, seed)
        if name == "d.tif":
            profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
            place = Affine(10, 0, 500000, 0, -10, 5400000)
            with rasterio.open(
                folder / name, "w", height=shape[0], width=shape[1], transform=place, **profile
            ) as f:
                f.write(np.moveaxis(pixels, -1, 0))
        elif name == "e.png":
            alpha = np.where(np.arange(shape[1]) < 60, 0, 255)[None].repeat(shape[0], axis=0)
            Image.fromarray(np.dstack([pixels, alpha]).astype(np.uint8)).save(folder / name)
        else:
            Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / "._a.jpg").write_bytes(b"what another system leaves")
    (folder / "more").mkdir()
    return folder


def read(path: Path) -> npt.NDArray[np.uint8]:
    with open_quietly(path) as file:
        assert file.count == 1
        codes: npt.NDArray[np.uint8] = file.read(1)
    return codes


Predict = Callable[..., PicturesReport]


def test_the_profile_adds_up_and_changes_nothing(images: Path, tmp_path: Path) -> None:
    model = pointwise_model(3)
    plain = geoseg.predict_pictures(images, model, output=tmp_path / "plain", **FP32)
    options = FP32 | {"profile": True}
    watched = geoseg.predict_pictures(images, model, output=tmp_path / "watched", **options)
    assert plain.profile is None
    assert watched.profile is not None
    on_device = [watched.profile[name] for name in ("upload", "model", "stitch", "idle")]
    assert sum(on_device) == pytest.approx(watched.seconds, rel=1e-6)
    assert min(watched.profile[name] for name in ("read", "upload", "model", "stitch", "write")) > 0
    assert sum("profile: " in line for line in watched.lines()) == 1
    for mask in (tmp_path / "plain").glob("*.png"):
        assert mask.read_bytes() == (tmp_path / "watched" / mask.name).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
@pytest.mark.parametrize("size", [None, (64, 96)])
def test_each_mask_is_what_predict_makes_of_the_picture_alone(
    images: Path, tmp_path: Path, task: str, size: tuple[int, int] | None
) -> None:
    legend = {"binary": "roof", "multiclass": "water,forest,town", "multilabel": "open water,forest"}[task]
    model = Model.new(
        architecture="Unet",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=Legend.parse(legend),
        task=task,
        decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
        tile_size=64,
        overlap=16,
    )
    model.card = model.card.changed(image_size=size)
    report = geoseg.predict_pictures(images, model, output=tmp_path / "masks", **FP32)
    assert sorted(report.done) == sorted(SHAPES)
    assert report.exit_code == 0
    assert report.pixels == sum(rows * cols for rows, cols in SHAPES.values())
    seen = set()
    for name in SHAPES:
        expected = geoseg.predict(images / name, model, **FP32)["landcover"].to_numpy()
        layers = expected if task == "multilabel" else expected[None]
        endings = (".open_water.png", ".forest.png") if task == "multilabel" else (".png",)
        for layer, ending in zip(layers, endings, strict=True):
            found = read(tmp_path / "masks" / (Path(name).stem + ending))
            np.testing.assert_array_equal(found, layer)
            seen |= set(np.unique(found).tolist())
    assert seen >= {0, 1, 255} if task != "multiclass" else {1, 2, 255}
    files = {path.name for path in (tmp_path / "masks").iterdir()} - {".geoseg"}
    assert len(files) == len(SHAPES) * (2 if task == "multilabel" else 1)


def test_a_mask_has_codes_as_numbers_and_the_legends_colours(
    images: Path, tmp_path: Path, model: Model
) -> None:
    geoseg.predict_pictures(images / "e.png", model, output=tmp_path / "masks", **FP32)
    with open_quietly(tmp_path / "masks" / "e.png") as file:
        table = file.colormap(1)
        assert file.dtypes == ("uint8",)
    assert [table[code] for code in (1, 2, 3)] == [(0, 0, 255, 255), (34, 139, 34, 255), (255, 0, 0, 255)]
    assert table[255][3] == 0
    shown = np.asarray(Image.open(tmp_path / "masks" / "e.png").convert("RGBA"))
    assert (shown[:, :60, 3] == 0).all()
    assert (shown[:, 60:, 3] == 255).all()


def test_what_cannot_be_read_is_named_and_the_others_are_done(
    images: Path, tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (images / "a.jpg").read_bytes()
    (images / "a.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "c.png").write_bytes(b"no picture at all")
    Image.fromarray(colours((20, 20), 0)[..., 0]).save(images / "grey.png")
    report = geoseg.predict_pictures(images, model, output=tmp_path / "masks", **FP32)
    assert [name for name, _ in report.failed] == ["a.jpg", "c.png", "grey.png"]
    assert all(str(images / name) in reason and reason in caplog.text for name, reason in report.failed)
    assert report.exit_code == 3
    assert sorted(report.done) == ["b.JPEG", "d.tif", "e.png"]
    assert {path.name for path in (tmp_path / "masks").glob("*.png")} == {"b.png", "d.png", "e.png"}
    (images / "a.jpg").write_bytes(whole)
    again = geoseg.predict_pictures(images, model, output=tmp_path / "masks", **FP32)
    assert (again.done, again.skipped) == (("a.jpg",), 3)
    assert (tmp_path / "masks" / "a.png").exists()


def test_a_damaged_part_is_no_data_when_asked(images: Path, tmp_path: Path, model: Model) -> None:
    with open_quietly(
        images / "d.tif", "w", driver="GTiff", count=3, height=64, width=64, dtype="uint8", tiled=True,
        blockxsize=16, blockysize=16, compress="deflate",
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8))
    data = (images / "d.tif").read_bytes()
    middle = len(data) // 2
    (images / "d.tif").write_bytes(data[:middle] + b"\xff" * 900 + data[middle + 900 :])
    report = geoseg.predict_pictures(images / "d.tif", model, output=tmp_path / "stop", **FP32)
    assert [name for name, _ in report.failed] == ["d.tif"]
    options = {"precision": "fp32", "device": "cpu", "on_error": "nodata"}
    report = geoseg.predict_pictures(images / "d.tif", model, output=tmp_path / "masks", **options)
    assert (report.damaged, report.exit_code) == (("d.tif",), 3)
    lost = read(tmp_path / "masks" / "d.png") == 255
    assert 0 < lost.mean() < 0.5


def test_memory_that_runs_out_makes_smaller_batches_and_the_same_masks(
    images: Path, tmp_path: Path, model: Model
) -> None:
    plenty = geoseg.predict_pictures(images, model, output=tmp_path / "plenty", **FP32)
    scarce = Model(model.card, Greedy(model.network, 2))
    report = geoseg.predict_pictures(images, scarce, output=tmp_path / "scarce", **FP32)
    assert (plenty.shrunk, report.shrunk) == ((), (2,))
    assert any("the batch size went down to 2" in line for line in report.lines())
    for path in (tmp_path / "plenty").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "scarce" / path.name).read_bytes()


class Dying(torch.nn.Module):
    """Is interrupted before a call."""

    def __init__(self, inner: torch.nn.Module, calls: int) -> None:
        super().__init__()
        self.inner, self.calls = inner, calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        result: torch.Tensor = self.inner(x)
        return result


@pytest.mark.parametrize("calls", [0, 2])
def test_what_was_done_before_a_kill_is_not_done_again(
    images: Path, tmp_path: Path, model: Model, calls: int
) -> None:
    options = {"precision": "fp32", "device": "cpu", "batch_size": 2}
    geoseg.predict_pictures(images, model, output=tmp_path / "whole", **options)
    masks = tmp_path / "masks"
    with pytest.raises(KeyboardInterrupt):
        geoseg.predict_pictures(
            images, Model(model.card, Dying(model.network, calls)), output=masks, **options
        )
    # Renamed, but not recorded: that is how a kill between the two leaves it.
    for path in (tmp_path / "whole").glob("e*.png"):
        (masks / path.name).write_bytes(b"another try's own")
    before = {path.name: path.stat().st_mtime_ns for path in masks.glob("*.png")}
    journal = [json.loads(line) for line in (masks / ".geoseg" / "journal.jsonl").read_text().splitlines()]
    done = {name for entry in journal for name in entry.get("done", {})}
    assert "e.png" not in done
    report = geoseg.predict_pictures(images, model, output=masks, **options)
    assert report.skipped == len(done)
    assert set(report.done) == set(SHAPES) - done
    for path in (tmp_path / "whole").glob("*.png"):
        assert path.read_bytes() == (masks / path.name).read_bytes()
    for name in done:
        mask = Path(name).with_suffix(".png").name
        assert (masks / mask).stat().st_mtime_ns == before[mask]


def test_only_new_changed_and_missing_pictures_are_done_by_the_next_run(
    images: Path, tmp_path: Path, model: Model
) -> None:
    masks = tmp_path / "masks"
    geoseg.predict_pictures(images, model, output=masks, **FP32)
    assert geoseg.predict_pictures(images, model, output=masks, **FP32).skipped == 5
    Image.fromarray(colours((30, 30), 9)).save(images / "z.png")
    Image.fromarray(colours((30, 30), 8)).save(images / "c.png")
    os.utime(images / "c.png", ns=(1, 1))
    (masks / "a.png").unlink()
    report = geoseg.predict_pictures(images, model, output=masks, **FP32)
    assert (set(report.done), report.skipped) == ({"a.jpg", "c.png", "z.png"}, 3)
    assert read(masks / "c.png").shape == (30, 30)


@pytest.mark.long
def test_masks_of_others_are_not_replaced_unless_asked(images: Path, tmp_path: Path, model: Model) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "a.png").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"already has a\.png; pass overwrite=True"):
        geoseg.predict_pictures(images, model, output=masks, **FP32)
    assert (masks / "a.png").read_text() == "precious"
    geoseg.predict_pictures(images, model, output=masks, **FP32, overwrite=True)
    first = read(masks / "a.png")
    other = {"precision": "fp32", "device": "cpu", "tile_size": 32, "overlap": 0}
    with pytest.raises(OutputExistsError, match="holds the record of masks with .* pass overwrite=True"):
        geoseg.predict_pictures(images, model, output=masks, **other)
    np.testing.assert_array_equal(read(masks / "a.png"), first)
    report = geoseg.predict_pictures(images, model, output=masks, **other, overwrite=True)
    assert len(report.done) == 5
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        geoseg.predict_pictures(images, model, output=masks, **other, resume=False)


def test_names_that_cannot_be_are_refused_before_the_work(images: Path, tmp_path: Path, model: Model) -> None:
    with pytest.raises(
        OptionError, match="holds the pictures, and masks need another folder; choose another output="
    ):
        geoseg.predict_pictures(images, model, output=images, **FP32)
    Image.fromarray(colours((30, 30), 9)).save(images / "a.png")
    with pytest.raises(OptionError, match=r"a\.jpg and a\.png would both have a mask a\.png"):
        geoseg.predict_pictures(images, model, output=tmp_path / "masks", **FP32)
    (images / "more" / "a.jpg").write_bytes(b"")
    with pytest.raises(OptionError, match=r"more/a\.jpg and .*a\.jpg have the same name"):
        geoseg.predict_pictures([images, images / "more"], model, output=tmp_path / "masks", **FP32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match="empty: holds no pictures, expected files that end in"):
        geoseg.predict_pictures(tmp_path / "empty", model, output=tmp_path / "masks", **FP32)
    for options, said in (
        (PredictOptions(resolution=3), "resolution= is for scenes of several files"),
        (PredictOptions(bounds=(0, 0, 1, 1)), "bounds= and clip= are for scenes"),
    ):
        with pytest.raises(OptionError, match=said):
            write_masks(images, model, tmp_path / "masks", (options, Writing()), None)
    assert not (tmp_path / "masks").exists()


def test_one_run_at_a_time_writes_into_a_folder(images: Path, tmp_path: Path, model: Model) -> None:
    (tmp_path / "masks" / ".geoseg").mkdir(parents=True)
    with (
        locked(tmp_path / "masks" / ".geoseg" / "lock", tmp_path),
        pytest.raises(OutputBusyError, match="in use"),
    ):
        geoseg.predict_pictures(images, model, output=tmp_path / "masks", **FP32)


def test_regions_that_the_card_calls_too_small_are_not_in_the_masks(tmp_path: Path) -> None:
    model = pointwise_model(codes=(0, 1), task="binary", min_regions=(4,))
    assert isinstance(model.network, Pointwise)
    model.network.weight.data = torch.tensor([40.0, 0, 0]).view(1, 3, 1, 1)
    model.network.bias = torch.nn.Parameter(torch.zeros(1))
    wanted = np.zeros((12, 14), dtype=np.uint8)
    wanted[2:4, 2:4] = 1  # just large enough
    small = wanted.copy()
    small[8, 8:11] = 1
    Image.fromarray(np.dstack([small * 255] * 3)).save(tmp_path / "a.png")
    geoseg.predict_pictures(tmp_path / "a.png", model, output=tmp_path / "masks", **FP32)
    np.testing.assert_array_equal(read(tmp_path / "masks" / "a.png"), wanted)
    alone = geoseg.predict(tmp_path / "a.png", model, **FP32)["landcover"].to_numpy()
    np.testing.assert_array_equal(alone, wanted)


def test_a_network_that_gives_no_numbers_is_a_failure_of_the_picture(tmp_path: Path) -> None:
    model = pointwise_model()
    assert isinstance(model.network, Pointwise)
    model.network.weight.data = torch.full((3, 3, 1, 1), torch.nan)
    Image.fromarray(colours((9, 9), 0)).save(tmp_path / "a.png")
    report = geoseg.predict_pictures(tmp_path / "a.png", model, output=tmp_path / "masks", **FP32)
    ((name, reason),) = report.failed
    assert name == "a.png"
    assert "is not a number in fp32, where the scene holds nothing unusual" in reason
    assert not list((tmp_path / "masks").glob("*.png"))


def test_a_model_that_cannot_take_the_tiles_is_refused(images: Path, tmp_path: Path) -> None:
    model = Model.new(
        architecture="FPN",
        encoder="tu-mobilenetv3_small_050",
        bands=["red", "green", "blue"],
        classes=Legend.parse("a,b"),
    )
    with pytest.raises(GeosegError, match="100 .*expected a multiple of 32"):
        geoseg.predict_pictures(images, model, output=tmp_path / "masks", tile_size=100)


def test_photos_of_people(shared: Path, tmp_path: Path, model: Model) -> None:
    """Real photos of different sizes, one batch of all of them."""
    options = {"precision": "fp32", "device": "cpu", "batch_size": 500}
    names = sorted((shared / "people" / "images").iterdir())[:6]
    report = geoseg.predict_pictures(names, model, output=tmp_path / "masks", **options)
    assert len(report.done) == 6
    assert report.settings["batch_size"] > 6
    few = {"precision": "fp32", "device": "cpu", "batch_size": 4}
    for path in names[:1]:
        alone = geoseg.predict(path, model, **few)["landcover"].to_numpy()
        same = read(tmp_path / "masks" / f"{path.stem}.png") == alone
        assert same.mean() > 0.9999
