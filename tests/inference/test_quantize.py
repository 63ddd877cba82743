"""Models in int8: measured on tiles of scenes, stored with the weights, refused where they are not theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import rioxarray
import torch
import xarray
from click.testing import CliRunner, Result
from geoseg_cli.main import group
from PIL import Image

import geoseg
from geoseg.assessment.comparison import compare
from geoseg.engine.network import Network
from geoseg.engine.openvino_network import OpenVinoNetwork, logits_of
from geoseg.engine.settings import Settings
from geoseg.errors import DataError, MismatchError, ModelError, OptionError, OutputExistsError, SceneError
from geoseg.grid.legend import Legend
from geoseg.inference.machine import network_for
from geoseg.inference.measured_tiles import LabelCheck
from geoseg.models.card import Card
from geoseg.models.model import Model
from geoseg.raster.classmap import ClassMap, read_class_map
from tests.korea import MODEL, PATCHES
from tests.marks import few
from tests.oracle import pointwise_card, pointwise_model

INT8 = {"device": "cpu", "precision": "int8", "batch_size": 2}
TILES = {"tile_size": 64, "overlap": 0}
PLAIN = {"device": "cpu", "precision": "fp32", **TILES}


@pytest.fixture(scope="module")
def quantized(model_file: Path, scene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "m8.safetensors"
    geoseg.quantize(Model.open(model_file), [scene_file], tiles=4).save(path)
    return path


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments])


@pytest.mark.long
def test_what_was_measured_lies_in_the_file_beside_the_same_weights(
    quantized: Path, model_file: Path, scene_file: Path
) -> None:
    model, before = Model.open(quantized), Model.open(model_file)
    assert model.card.weights_sha256 == before.card.weights_sha256
    found = model.card.quantization
    assert found is not None
    assert found.tiles == 4
    assert 0 < found.changed < 0.2
    assert "int8     measured on 4 tiles; " in repr(model)
    again = geoseg.quantize(before, [scene_file], tiles=4)
    assert again.card.quantization is not None
    assert again.card.quantization.changed == found.changed
    assert again.int8 is not None
    assert model.int8 is not None
    assert again.int8.weights == model.int8.weights
    assert before.card.quantization is None


def test_info_names_what_was_measured(quantized: Path) -> None:
    described = json.loads(cli("info", quantized, "--json").stdout)["card"]["quantization"]
    model = Model.open(quantized)
    assert model.int8 is not None
    assert described["graph_sha256"] == model.int8.sha256


def test_a_changed_graph_is_refused(quantized: Path, tmp_path: Path) -> None:
    """What is run in int8 is what the card names, or nothing."""
    content = bytearray(quantized.read_bytes())
    at = content.index(b"<?xml")
    content[at + 200] ^= 1
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="its int8 graph is not the one that its card names"):
        Model.open(tmp_path / "m.safetensors")


def test_ranges_of_before_are_left_out(model_file: Path) -> None:
    """Files that hold ranges in place of a graph open, and are measured again for int8."""
    fields = Model.open(model_file).card.model_dump(mode="json")
    fields["quantization"] = {"weights_sha256": "a", "tiles": 1, "changed": 0.1, "ranges": {"x": [0.1, 3]}}
    assert Card.model_validate(fields).quantization is None


def test_changed_is_the_share_of_valid_pixels_with_another_class(tmp_path: Path) -> None:
    """Of a scene that is one tile with two halves: numbers that int8 tells apart, and numbers that it does not."""
    model = pointwise_model(3)
    pixels = np.zeros((3, 64, 64), dtype=np.uint8)
    pixels[:, :32] = np.random.default_rng(0).integers(1, 255, (3, 32, 64))
    valid = np.ones((64, 64), dtype=bool)
    valid[:20] = False
    masked = np.ma.MaskedArray(pixels, mask=np.broadcast_to(~valid, pixels.shape))
    made = geoseg.quantize(model, [masked], tiles=1, tile_size=64, overlap=0)
    found = made.card.quantization
    assert found is not None
    gain, bias = model.card.normalisation()
    inputs = torch.from_numpy(pixels).float() * torch.tensor(gain).view(-1, 1, 1)
    inputs = (inputs + torch.tensor(bias).view(-1, 1, 1)).masked_fill(~torch.from_numpy(valid), 0.0)[None]
    with torch.inference_mode():
        ours = model.network(inputs).argmax(dim=1)[0].numpy()
        assert made.int8 is not None
        theirs = logits_of(made.int8.graph(), [inputs.numpy()], "int8")[0][0].argmax(axis=0)
    assert found.changed == (ours != theirs)[valid].mean()


def lopsided() -> Model:
    """One number between its layers is large, so that steps for it are too coarse for the others."""
    torch.manual_seed(5)
    first, second, last = (torch.nn.Conv2d(*channels, 1) for channels in ((3, 8), (8, 8), (8, 3)))
    with torch.no_grad():
        second.weight[0] *= 3000
        last.weight[:, 0] /= 3000
    network = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), last)
    return Model(pointwise_card(3, (1, 2, 3)), network.eval())


def write(path: Path, bands: npt.NDArray[np.uint8]) -> Path:
    """A raster of bytes on a grid; one band of codes has 255 for no data."""
    layers = bands if bands.ndim == 3 else bands[None]
    count, height, width = layers.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": "uint8",
               "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}  # fmt: skip
    with rasterio.open(path, "w", nodata=255 if bands.ndim == 2 else None, **profile) as file:
        file.write(layers)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Path, Path]:
    """A scene, and as its labels the map that the lopsided network makes of it in fp32; some are not known."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    scene = write(tmp_path / "scene.tif", pixels)
    codes = geoseg.predict(scene, lopsided(), **PLAIN)["landcover"].to_numpy()
    codes[:9] = 255
    return scene, write(tmp_path / "labels.tif", codes)


def test_labels_say_what_int8_costs(labelled: tuple[Path, Path]) -> None:
    """Of a scene that is one tile: the mean IoU of its maps, as they are assessed from anywhere."""
    scene, labels = labelled
    model = geoseg.quantize(lopsided(), [scene], labels=[labels], max_drop=1, **TILES)
    found = model.card.quantization
    assert found is not None
    reference = read_class_map(labels)
    for expected, precision in ((found.mean_iou_fp32, "fp32"), (found.mean_iou, "int8")):
        codes = geoseg.predict(scene, model, **{**PLAIN, "precision": precision})["landcover"]
        made = ClassMap(
            codes=codes.to_numpy(),
            valid=codes.to_numpy() != 255,
            grid=reference.grid,
            legend=model.card.classes,
        )
        assert expected == compare(made, reference).mean_iou
    assert found.mean_iou_fp32 == 1
    assert found.mean_iou is not None
    assert found.mean_iou < 0.9
    assert (found.tiles, found.fp32_layers) == (1, 0)
    assert f"; mean IoU {found.mean_iou:.4f}, in fp32 1.0000\n" in repr(model) + "\n"


def test_layers_go_back_to_fp32_until_int8_is_good_enough(labelled: tuple[Path, Path]) -> None:
    scene, labels = labelled
    said: list[str] = []
    made = geoseg.quantize(
        lopsided(),
        [scene],
        labels=[labels],
        max_drop=0.02,
        **TILES,
        progress=lambda _done, _total, what: said.append(what),
    )
    # In fp32, in int8, and with each of three layers back in fp32.
    assert said[:2] == ["measure", "measure, scored 1 time"]
    assert said.index("compare") > 5
    found = made.card.quantization
    assert found is not None
    assert found.mean_iou is not None
    assert found.mean_iou >= 0.98
    assert 0 < found.fp32_layers < 3
    assert f"; {found.fp32_layers} layers in fp32" in repr(made)
    again = geoseg.predict(scene, made, **{**PLAIN, "precision": "int8"})["landcover"].to_numpy()
    expected = read_class_map(labels).codes
    assert 0 < (again != expected)[expected != 255].mean() < 0.02


def test_labels_that_do_not_fit_are_refused(labelled: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = labelled

    def refused(error: type[Exception], message: str, *files: Path, **how: float) -> None:
        with pytest.raises(error, match=message):
            geoseg.quantize(lopsided(), [scene], labels=files, **how, **TILES)

    refused(OptionError, "labels are 2 files for 1 scene, expected one for each scene", labels, labels)
    refused(OptionError, "the mean IoU may drop by -0.1, expected 0 to 1", labels, max_drop=-0.1)
    codes = read_class_map(labels).codes.astype(np.uint8)
    write(tmp_path / "strange.tif", np.where(codes == 2, np.uint8(7), codes))
    write(tmp_path / "none.tif", np.full_like(codes, 255))
    refused(
        DataError, "holds label codes 7, expected 1, 2, 3, 255; labels have the", tmp_path / "strange.tif"
    )
    refused(SceneError, "no tile has labels, and data in half", tmp_path / "none.tif")
    with pytest.raises(OptionError, match=r"mean IoU of 0\.7000 instead of 0\.8000, .* may lose 0\.05; "):
        LabelCheck(labels=[], max_drop=0.05).allowed(0.7, 0.8)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("size", few([(48, 64), None]))
def test_labels_of_every_task_and_of_whole_images(
    tmp_path: Path, task: str, size: tuple[int, int] | None
) -> None:
    codes = (0, 1) if task == "binary" else (3, 5, 9)
    model = pointwise_model(3, codes, task=task, image_size=size)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 3, 4), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    options = {} if size else PLAIN | {"tile_size": 64}
    scene = write(tmp_path / "scene.tif", pixels)
    labels = write(tmp_path / "labels.tif", geoseg.predict(scene, model, **options)["landcover"].to_numpy())
    measured = {key: value for key, value in options.items() if key in TILES}
    found = geoseg.quantize(model, [scene], labels=[labels], max_drop=0.5, **measured).card.quantization
    assert found is not None
    assert found.mean_iou_fp32 == 1
    assert found.mean_iou is not None
    assert 0.5 < found.mean_iou <= 1


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("size", [None, (48, 64)])
def test_every_task_and_whole_images(scene_file: Path, task: str, size: tuple[int, int] | None) -> None:
    codes = (0, 1) if task == "binary" else (3, 5, 9)
    model = pointwise_model(3, codes, task=task, image_size=size)
    found = geoseg.quantize(model, [scene_file] * 2, tiles=3).card.quantization
    assert found is not None
    assert found.tiles == (2 if size else 3)
    assert found.changed < 0.05


@pytest.mark.long
@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        ("Unet", "mobileone_s0"),
        ("Segformer", "mit_b0"),
        ("Unet", "tu-convnext_atto"),
        ("FPN", "efficientnet-b0"),
    ],
)
def test_networks_of_many_kinds_are_quantized(architecture: str, encoder: str) -> None:
    """Branches that are folded into one layer, attention, layers that normalise by themselves."""
    model = Model.new(
        architecture=architecture, encoder=encoder, bands=("red", "green", "blue"), classes=Legend.parse("a,b"),
        tile_size=64,
    )  # fmt: skip
    pixels = (
        np.random.default_rng(0).integers(0, 255, (3, 10, 10), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    )
    made = geoseg.quantize(model, [pixels], tiles=4)
    quantization = made.card.quantization
    assert quantization is not None
    assert quantization.changed < 0.3  # untrained, which is sure of nothing
    assert made.int8 is not None
    kinds = [op.get_type_name() for op in made.int8.graph().get_ordered_ops()]
    assert kinds.count("FakeQuantize") > 10
    found = geoseg.predict(pixels, made, **INT8)["landcover"].to_numpy()
    plain = geoseg.predict(pixels, made, **{**INT8, "precision": "fp32"})["landcover"].to_numpy()
    assert 0 < (found != plain).mean() < 0.3


@pytest.mark.long
def test_an_encoder_that_is_cut_short_is_quantized(tmp_path: Path) -> None:
    """Its last stages are no part of what is computed."""
    options = {"encoder_depth": 3, "decoder_channels": [64, 32, 16]}
    model = Model.new(
        architecture="Unet", encoder="resnet18", bands=("red", "green", "blue"), classes=Legend.parse("a,b"),
        tile_size=64, decoder_options=options,
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 255, (3, 200, 200), dtype=np.uint8)
    geoseg.quantize(model, [pixels], tiles=4).save(tmp_path / "m.safetensors")
    found = geoseg.predict(pixels, Model.open(tmp_path / "m.safetensors"), **INT8)
    assert found["landcover"].shape == (200, 200)


@pytest.mark.long
def test_tiles_without_data_do_not_count(tmp_path: Path, scene_file: Path, model_file: Path) -> None:
    empty = np.ma.MaskedArray(np.zeros((3, 200, 200), dtype=np.uint8), mask=True)
    with pytest.raises(SceneError, match="no tile has data in half of its pixels"):
        geoseg.quantize(Model.open(model_file), [empty])
    both = geoseg.quantize(Model.open(model_file), [empty, scene_file], tiles=4).card.quantization
    assert both is not None
    assert both.tiles == 2


def test_what_cannot_be_measured_is_refused(scene_file: Path, model_file: Path) -> None:
    model = Model.open(model_file)
    with pytest.raises(OptionError, match="0 tiles of 1 scene, expected at least one of each"):
        geoseg.quantize(model, [scene_file], tiles=0)
    with pytest.raises(MismatchError):
        geoseg.quantize(model, [np.zeros((5, 99, 99), dtype=np.uint8)])

    class Own(torch.nn.Conv2d):
        """May do something else with the next tile."""

    with pytest.raises(OptionError, match="a network of your own is computed by torch, which has no int8"):
        geoseg.quantize(Model(pointwise_card(3), Own(3, 3, 1)), [scene_file])


def test_a_scene_in_int8_in_any_batches(scene_file: Path, tmp_path: Path) -> None:
    model = geoseg.quantize(pointwise_model(3), [scene_file], tile_size=64, overlap=16)
    plain = geoseg.predict(scene_file, model, **{**INT8, "precision": "fp32", "tile_size": 64, "overlap": 16})
    expected, found = plain["landcover"].to_numpy(), []
    for batch_size in (1, 3):
        how = INT8 | {"batch_size": batch_size, "tile_size": 64, "overlap": 16}
        geoseg.predict(scene_file, model, **how, output=tmp_path / f"{batch_size}.tif")
        with rasterio.open(tmp_path / f"{batch_size}.tif") as dataset:
            assert dataset.tags()["GEOSEG_PRECISION"] == "int8"
            found.append(dataset.read(1))
    changed = (found[0] != expected)[expected != 255]
    assert 0 < changed.mean() < 0.05
    assert np.array_equal(found[0] == 255, expected == 255)
    assert np.array_equal(*found)


@pytest.mark.long
def test_a_trained_network_changes_few_pixels_of_a_scene_it_was_not_measured_on(tmp_path: Path) -> None:
    first, second = PATCHES
    made, maps = tmp_path / "m8.safetensors", {}
    measured = cli("model", "quantize", MODEL, first.image, "-b", "1,2,3", "-o", made)
    assert measured.exit_code == 0, measured.stderr
    for precision in ("fp32", "int8"):
        result = cli(
            *(
                "predict",
                second.image,
                "-m",
                made,
                "-b",
                "1,2,3",
                "--precision",
                precision,
                "--device",
                "cpu",
            ),
            *("-o", tmp_path / f"{precision}.tif", "--save-confidence", tmp_path / f"{precision}.sure.tif"),
        )
        assert result.exit_code == 0, result.stderr
        assert f"precision {precision}" in result.stderr
        with (
            rasterio.open(tmp_path / f"{precision}.tif") as codes,
            rasterio.open(tmp_path / f"{precision}.sure.tif") as sure,
        ):
            maps[precision] = codes.read(1), sure.read(1) / 254
    labels = read_class_map(second.labels)
    known = labels.valid & (maps["fp32"][0] != 255)
    changed = (maps["fp32"][0] != maps["int8"][0]) & known
    assert 0 < changed.sum() < 0.01 * known.sum()
    assert np.quantile(maps["fp32"][1][changed], 0.95) < 0.55 < np.median(maps["fp32"][1][known])
    right = {name: (codes == labels.codes)[known].mean() for name, (codes, _) in maps.items()}
    assert abs(right["fp32"] - right["int8"]) < 0.002


def test_lazy_arrays_in_int8(quantized: Path, scene_file: Path) -> None:
    """By chunks of other sizes than tiles; a tile's result depends on the tile alone."""
    eager, lazy = (
        geoseg.predict(rioxarray.open_rasterio(scene_file, chunks=chunks), quantized, **INT8)
        for chunks in (None, {"x": 90, "y": 40})
    )
    assert dask.is_dask_collection(lazy["landcover"].data)
    xarray.testing.assert_identical(lazy.compute(scheduler="threads"), eager)
    plain = geoseg.predict(scene_file, quantized, **{**INT8, "precision": "fp32"})
    assert (plain["landcover"].to_numpy() != eager["landcover"].to_numpy()).any()


@pytest.mark.long
def test_several_processes_in_int8(quantized: Path, scene_file: Path, tmp_path: Path) -> None:
    written = []
    for devices in (1, 2):
        options = INT8 | {"devices": devices}
        files = {"output": tmp_path / f"{devices}.tif", "confidence": tmp_path / f"{devices}.sure.tif"}
        geoseg.predict(scene_file, quantized, **options, **files)
        written.append([path.read_bytes() for path in files.values()])
    assert written[0] == written[1]
    with rasterio.open(tmp_path / "2.tif") as dataset:
        assert dataset.tags()["GEOSEG_PRECISION"] == "int8"


def test_pictures_in_int8(tmp_path: Path) -> None:
    model = pointwise_model(3, (0, 1), task="binary", tile={"size": 32, "overlap": 8})
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for number in range(3):
        pixels = generator.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    model = geoseg.quantize(model, [folder / "0.png"])
    for name, options in (("fp32", {"device": "cpu", "precision": "fp32"}), ("int8", INT8)):
        geoseg.predict_pictures([folder], model, output=tmp_path / name, **options)
    for number in range(3):
        plain, quick = (
            np.asarray(Image.open(tmp_path / name / f"{number}.png")) for name in ("fp32", "int8")
        )
        assert plain.shape == (40, 50)
        assert 0 <= (plain != quick).mean() < 0.05


def test_a_model_that_was_not_measured_is_refused_before_anything_is_written(
    model_file: Path, scene_file: Path, tmp_path: Path
) -> None:
    result = cli(
        *("predict", scene_file, "-m", model_file, "--precision", "int8", "--device", "cpu"),
        *("-o", tmp_path / "m.tif"),
    )
    assert result.exit_code == 1
    assert result.stderr.count("holds no int8 graph; measure it with `geoseg model quantize") == 1
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.long
def test_scenes_that_follow_each_other_share_what_is_compiled(quantized: Path, scene_file: Path) -> None:
    settings = Settings(device="cpu", precision="int8", batch_size=1, threads=1, runtime="openvino")
    scaling = [1.0] * 3, [0.0] * 3

    def compiled(model: Model) -> object:
        network = network_for(model, settings, (64, 64), scaling)
        assert isinstance(network, OpenVinoNetwork)
        return network._compiled

    first = compiled(Model.open(quantized))
    assert compiled(Model.open(quantized)) is first
    other = geoseg.quantize(Model.open(quantized), [scene_file], tiles=1)
    assert compiled(other) is not first
    assert isinstance(network_for(other, replace(settings, runtime="torch"), (64, 64), scaling), Network)


def test_ranges_of_other_weights_are_refused(quantized: Path, scene_file: Path) -> None:
    model = Model.open(quantized)
    with torch.no_grad():
        next(model.network.parameters()).mul_(1.01)
    with pytest.raises(ModelError, match="was made from other weights; measure it"):
        geoseg.predict(scene_file, model, **INT8)


@pytest.mark.long
def test_the_command_measures_and_says_what_it_costs(
    model_file: Path, scene_file: Path, tmp_path: Path
) -> None:
    made, labels = tmp_path / "m8.safetensors", tmp_path / "labels.tif"
    geoseg.predict(scene_file, model_file, output=labels)
    arguments = ("model", "quantize", model_file, scene_file, "--tiles", 2, "-b", "1,2,3", "--labels", labels)
    result = cli(*arguments, "--max-drop", 1, "-o", made)
    assert result.exit_code == 0, result.stderr
    assert "int8     measured on 2 tiles; " in result.stderr
    assert "; mean IoU 0." in result.stderr
    described = json.loads(cli("info", made, "--json").stdout)["card"]["quantization"]
    assert 0 < described["mean_iou"] <= described["mean_iou_fp32"] <= 1
    before = made.read_bytes()
    refused = cli("model", "quantize", model_file, scene_file, "-q", "-o", made)
    assert (refused.exit_code, refused.stderr.count("\n")) == (4, 1)
    assert made.read_bytes() == before
    odd = cli("model", "quantize", model_file, scene_file, "-q", "-o", tmp_path / "m8.pth")
    assert (odd.exit_code, "ends in .safetensors" in odd.stderr) == (1, True)
    assert not (tmp_path / "m8.pth").exists()


@pytest.mark.long
def test_an_exported_model_computes_in_int8_as_the_model_does(
    quantized: Path, scene_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.xml"
    result = cli("model", "export", quantized, "-o", path, "--precision", "int8")
    assert result.exit_code == 0, result.stderr
    assert Model.open(path).digest == Model.open(quantized).digest
    ours, theirs = (geoseg.predict(scene_file, each, **INT8) for each in (path, quantized))
    for name in ("landcover", "confidence"):
        assert np.array_equal(ours[name].values, theirs[name].values, equal_nan=True)
    with pytest.raises(
        ModelError, match="can only predict, on a CPU with precision int8; for everything else take"
    ):
        geoseg.predict(scene_file, path, **{**INT8, "precision": "fp32"})


@pytest.mark.long
def test_an_exported_model_in_int8_is_computed_in_it_unasked(
    quantized: Path, scene_file: Path, tmp_path: Path
) -> None:
    """By `auto`, from files, arrays of dask and pictures; a model file that holds fp32, too, is not."""
    path, auto = tmp_path / "m.xml", INT8 | {"precision": "auto"}
    Model.open(quantized).export(path, precision="int8")
    expected = geoseg.predict(scene_file, quantized, **INT8)
    output = tmp_path / "c.tif"
    geoseg.predict(scene_file, path, **auto, output=output)
    with rasterio.open(tmp_path / "c.tif") as dataset:
        assert dataset.tags()["GEOSEG_PRECISION"] == "int8"
    assert json.loads((tmp_path / "c.tif.run.json").read_text())["settings"]["precision"] == "int8"
    geoseg.predict_pictures([scene_file], path, output=tmp_path / "masks", **auto)
    assert '"precision": "int8"' in (tmp_path / "masks" / ".geoseg" / "journal.jsonl").read_text()
    lazy = geoseg.predict(rioxarray.open_rasterio(scene_file, chunks={"x": 90, "y": 40}), path, **auto)
    assert np.array_equal(lazy["landcover"].to_numpy(), expected["landcover"].to_numpy())
    with pytest.raises(OutputExistsError):  # it is not what this model has made before
        geoseg.predict(scene_file, quantized, **auto, output=output)
    other = tmp_path / "other.tif"
    geoseg.predict(scene_file, quantized, **auto, output=other)
    with rasterio.open(other) as dataset:
        assert dataset.tags()["GEOSEG_PRECISION"] in ("fp32", "bf16")
