"""Models calibrated on scenes: every way to predict divides by the temperature, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch
import xarray
from click.testing import CliRunner, Result
from geoseg_cli.main import group

import geoseg
from geoseg.errors import DataError, MismatchError, ModelError, OptionError
from geoseg.inference import machine
from geoseg.models.model import Model
from tests.inference.test_quantize import write
from tests.oracle import Pointwise, pointwise_model, right_logits

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
SURE = 4


def over_confident(task: str = "multiclass", codes: tuple[int, ...] = (3, 5, 9), **changes: object) -> Model:
    """A pointwise model whose logits are four times too large for the labels of `labels_of`."""
    model = pointwise_model(3, codes, task=task, **changes)
    for parameter in model.network.parameters():
        parameter.data *= SURE
    return model


def labels_of(model: Model, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Codes drawn from what the model would say if it were as sure as it should be."""
    random, logits = np.random.default_rng(1), right_logits(model, pixels) / SURE
    if model.card.task == "multiclass":
        odds = np.exp(logits) / np.exp(logits).sum(axis=0)
        drawn = (random.random(odds.shape[1:]) > odds.cumsum(axis=0)).sum(axis=0)
        return np.asarray(np.array(model.card.channels)[np.minimum(drawn, len(odds) - 1)], dtype=np.uint8)
    present = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    return np.asarray(present[0] if model.card.task == "binary" else present)


@pytest.fixture
def pixels() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (3, 80, 90), dtype=np.uint8)


def calibrated(model: Model, pixels: npt.NDArray[np.uint8], folder: Path) -> tuple[Model, Path, Path]:
    scene = write(folder / "scene.tif", pixels)
    labels = write(folder / "labels.tif", labels_of(model, pixels))
    return geoseg.calibrate(model, [scene], labels=[labels]), scene, labels


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments])


def test_every_way_to_predict_divides_by_it(
    pixels: npt.NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = over_confident()
    made, scene, labels = calibrated(model, pixels, tmp_path)
    assert model.card.temperature is None
    assert isinstance(made.card.temperature, float)
    assert made.card.temperature == pytest.approx(SURE, rel=0.15)
    assert made.network is model.network
    logits = right_logits(made, pixels) / made.card.temperature
    odds = np.exp(logits) / np.exp(logits).sum(axis=0)
    plain = geoseg.predict(scene, model, **FP32)
    lazy = xarray.DataArray(
        dask.array.from_array(pixels, chunks=(3, 40, 40)), dims=("band", "y", "x"), name="scene"
    )
    found = {"openvino": geoseg.predict(scene, made, **FP32), "lazy": geoseg.predict(lazy, made, **FP32)}
    with monkeypatch.context() as patch:
        patch.setattr(machine, "with_runtime", lambda settings, *_: settings)
        found["torch"] = geoseg.predict(scene, made, **FP32)
    for name, result in found.items():
        assert np.abs(result["confidence"].to_numpy() - odds.max(axis=0)).max() <= 0.6 / 254, name
        np.testing.assert_array_equal(result["landcover"], plain["landcover"], name)
    # What a calibrated model is evaluated to is what its card says.
    kept = made.card.calibration
    assert kept is not None
    scored = geoseg.evaluate(made, scene=scene, reference=labels, **FP32)
    assert scored.calibration is not None
    assert scored.calibration.expected_error == pytest.approx(kept.ece, abs=2e-3)
    assert f"divided  by {made.card.temperature:.4g}; calibration error {kept.ece_before:.4f} before" in repr(
        made
    )


def test_layers_of_a_network_in_another_order_find_their_labels(
    pixels: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    """Each channel has its own temperature, whatever the order of its code."""
    model = pointwise_model(3, (3, 5, 9), task="multilabel")
    labels = labels_of(over_confident("multilabel"), pixels)
    order, factors = [2, 0, 1], torch.tensor([2.0, 4.0, 8.0])
    turned = Pointwise(3, 3, 1)
    turned.load_state_dict(
        {
            key: value[order] * factors.view(-1, *[1] * (value.ndim - 1))
            for key, value in model.network.state_dict().items()
        }
    )
    other = Model(model.card.changed(channels=[9, 3, 5]), turned.eval())
    scene, codes = write(tmp_path / "scene.tif", pixels), write(tmp_path / "labels.tif", labels)
    found = geoseg.calibrate(other, [scene], labels=[codes]).card
    assert found.temperature == pytest.approx((2.0, 4.0, 8.0), rel=0.2)
    straight = geoseg.calibrate(model, [scene], labels=[codes]).card
    assert straight.temperature == pytest.approx((1.0, 1.0, 1.0), rel=0.2)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_whole_images_and_other_tasks(pixels: npt.NDArray[np.uint8], tmp_path: Path, task: str) -> None:
    codes = (0, 1) if task == "binary" else (3, 5, 9)
    made, scene, _ = calibrated(over_confident(task, codes, image_size=(80, 90)), pixels, tmp_path)
    assert made.card.divisor == pytest.approx(SURE if task == "binary" else (SURE,) * 3, rel=0.2)
    before = geoseg.predict(scene, over_confident(task, codes, image_size=(80, 90)), **FP32)
    np.testing.assert_array_equal(geoseg.predict(scene, made, **FP32)["landcover"], before["landcover"])


@pytest.mark.long
def test_the_command_writes_the_same_weights_with_a_temperature(
    model_file: Path, scene_file: Path, pixels: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    """Random labels: the network is too sure of everything. An export has the temperature, too."""
    model = Model.open(model_file)
    scene = geoseg.Scene.open(scene_file)
    codes = np.random.default_rng(0).choice(model.card.classes.codes, scene.grid.shape).astype(np.uint8)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(
        tmp_path / "labels.tif", "w", height=codes.shape[0], width=codes.shape[1],
        crs=scene.grid.crs, transform=scene.grid.transform, **profile,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    output = tmp_path / "calibrated.safetensors"
    result = cli(
        "model", "calibrate", model_file, scene_file, "--labels", tmp_path / "labels.tif", "-o", output
    )
    assert result.exit_code == 0, result.stderr
    assert "; calibration error " in result.stderr
    made = Model.open(output)
    assert made.card.weights_sha256 == model.card.weights_sha256
    assert isinstance(made.card.temperature, float)
    assert made.card.temperature > 1
    python = geoseg.calibrate(model_file, [scene_file], labels=[tmp_path / "labels.tif"])
    assert python.card.temperature == made.card.temperature
    assert python.card.calibration == made.card.calibration
    made.export(tmp_path / "m.xml")
    found, exported = (
        np.nan_to_num(geoseg.predict(scene_file, path, **FP32)["confidence"].to_numpy())
        for path in (output, tmp_path / "m.xml")
    )
    assert np.abs(found - exported).max() <= 1.5 / 254
    assert (found < geoseg.predict(scene_file, model_file, **FP32)["confidence"].to_numpy()).mean() > 0.5
    with pytest.raises(ModelError, match=r"an exported model is not changed; calibrate the \.safetensors"):
        geoseg.calibrate(tmp_path / "m.xml", [scene_file], labels=[tmp_path / "labels.tif"])
    again = cli(
        "model", "calibrate", model_file, scene_file, "--labels", tmp_path / "labels.tif", "-o", output
    )
    assert (again.exit_code, again.stderr.count("\n")) == (4, 1)


def test_what_cannot_be_calibrated_is_refused_in_one_line(
    pixels: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    model = over_confident()
    scene = write(tmp_path / "scene.tif", pixels)
    codes = labels_of(model, pixels)
    labels = write(tmp_path / "labels.tif", codes)
    with pytest.raises(OptionError, match="labels are 2 files for 1 scene"):
        geoseg.calibrate(model, [scene], labels=[labels, labels])
    with pytest.raises(OptionError, match="expected at least one scene, and its labels"):
        geoseg.calibrate(model, [], labels=[])
    with pytest.raises(MismatchError):
        geoseg.calibrate(model, [np.zeros((5, 99, 99), dtype=np.uint8)], labels=[labels])
    codes[10:] = 255
    few = write(tmp_path / "few.tif", codes)
    with pytest.raises(
        DataError, match=r"few\.tif: found 900 labelled pixels, expected at least 1000; pass more"
    ):
        geoseg.calibrate(model, [scene], labels=[few])
