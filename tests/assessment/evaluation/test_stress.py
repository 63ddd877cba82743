"""Stress: changed pixels against numpy, and scores against predictions of files that hold the changed pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from scipy import ndimage

import geoseg
from geoseg.assessment.evaluation.stress import BLURS, LIGHTS, SHIFTS, Change, StressedSource, changes_of
from geoseg.errors import OptionError
from geoseg.grid.window import Window
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import prepare_job
from geoseg.raster.array_scene import ArraySource
from tests.oracle import pointwise_model

CHANGES = [
    Change(name="shift", shift=3),
    Change(name="blur", blur=1.0),
    Change(name="light", light=((1.2, 5.0), (0.5, 0.0))),
    Change(name="band", replaced=(1, 7.0)),
]


def source_of(seed: int, shape: tuple[int, int], dtype: str = "uint8") -> ArraySource:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 200, (2, *shape)).astype(dtype)
    return ArraySource.of(pixels, valid=random.random(shape) < 0.8)


def whole(source: Any) -> Any:
    height, width = source.grid.shape
    return source.read(Window(row=0, col=0, height=height, width=width))


@given(st.integers(0, 99), st.sampled_from(CHANGES), st.data())
def test_a_window_and_a_crop_are_parts_of_the_whole(seed: int, change: Change, data: st.DataObject) -> None:
    source = StressedSource(source=source_of(seed, (23, 31)), change=change)
    row, col = data.draw(st.integers(0, 22)), data.draw(st.integers(0, 30))
    window = Window(
        row=row,
        col=col,
        height=data.draw(st.integers(1, 23 - row)),
        width=data.draw(st.integers(1, 31 - col)),
    )
    expected, found, cropped = whole(source), source.read(window), whole(source.crop(window))
    for chip in (found, cropped):
        assert np.array_equal(chip.valid, expected.valid[window.slices])
        assert np.array_equal(chip.pixels, expected.pixels[:, *window.slices])


def test_a_shift_moves_pixels_and_validity_down_and_to_the_right() -> None:
    source = source_of(1, (20, 20))
    before, after = whole(source), whole(StressedSource(source=source, change=CHANGES[0]))
    assert np.array_equal(after.valid[3:, 3:], before.valid[:-3, :-3])
    known = after.valid[3:, 3:]
    assert np.array_equal(after.pixels[:, 3:, 3:][:, known], before.pixels[:, :-3, :-3][:, known])


def test_a_blur_is_the_mean_over_valid_pixels() -> None:
    source = source_of(2, (40, 40), "float32")
    before, after = whole(source), whole(StressedSource(source=source, change=CHANGES[1]))
    inside = slice(4, -4)  # away from the border, which reflects
    weight = ndimage.gaussian_filter(before.valid.astype(float), 1, truncate=3)
    for band in range(2):
        sums = ndimage.gaussian_filter(
            np.where(before.valid, before.pixels[band], 0).astype(float), 1, truncate=3
        )
        mean = np.where(before.valid, sums / weight, 0)
        assert after.pixels[band, inside, inside] == pytest.approx(mean[inside, inside], abs=1e-3)
    assert np.array_equal(after.valid, before.valid)


def test_light_is_rounded_and_clipped_in_whole_numbers() -> None:
    source = source_of(3, (9, 9))
    before, after = whole(source), whole(StressedSource(source=source, change=CHANGES[2]))
    expected = np.clip(np.rint(before.pixels[0] * 1.2 + 5), 0, 255)
    assert np.array_equal(after.pixels[0][after.valid], expected[before.valid])
    assert after.pixels.dtype == np.uint8


def scene_file(path: Path, pixels: npt.NDArray[Any]) -> Path:
    profile = {
        "driver": "GTiff", "height": pixels.shape[1], "width": pixels.shape[2], "count": len(pixels),
        "dtype": pixels.dtype, "crs": "EPSG:32652", "transform": from_origin(5e5, 4e6, 10, 10),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        file.descriptions = ("red", "green")
    return path


def test_the_scores_are_those_of_predictions_of_changed_files(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(random.random((2, 90, 80)), (0, 3, 3))
    pixels = (40 + 200 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    scene = scene_file(tmp_path / "scene.tif", pixels)
    model = pointwise_model(2)
    job = prepare_job(scene, model, PredictOptions())
    changes = changes_of(job.match, job.card)
    assert len(changes) == len(SHIFTS) + len(BLURS) + len(LIGHTS) + 2
    truth = geoseg.predict(scene, model, output=tmp_path / "truth.tif")

    found = geoseg.evaluate(model, scene=scene, reference=truth, stress=True)

    assert found.scores["mean_iou"]["value"] == 1
    table = found.stress_table.set_index("change")
    assert list(table.index) == [each.name for each in changes]
    reference = geoseg.predict(scene, model)["landcover"].values
    for change in changes[::4]:
        changed = whole(StressedSource(source=job.source, change=change)).pixels
        again = geoseg.predict(scene_file(tmp_path / "changed.tif", changed), model, force=True)
        assert table.loc[change.name, "accuracy"] == pytest.approx(
            (again["landcover"].values == reference).mean()
        )
    assert table.loc["without green", "mean_iou"] < 1
    assert [row["change"] for row in found.to_dict()["stress"]] == list(table.index)
    assert sum(line.startswith("shifted by") for line in found.lines()) == len(SHIFTS)


def test_a_fifth_brighter_is_a_fifth_more_of_the_physical_value(tmp_path: Path) -> None:
    scene = scene_file(tmp_path / "scene.tif", source_of(7, (30, 30)).pixels)
    job = prepare_job(scene, pointwise_model(2, offset=[-0.1, 0.2]), PredictOptions())
    (change,) = [each for each in changes_of(job.match, job.card) if each.name == "20% brighter"]
    assert change.light is not None
    stored = 120.0
    for (factor, summand), scale, offset in zip(change.light, job.card.scale, job.card.offset, strict=True):
        brighter = (stored * factor + summand) * scale + offset
        assert brighter == pytest.approx(1.2 * (stored * scale + offset))


def test_without_a_band_the_network_sees_zero_there(tmp_path: Path) -> None:
    scene = scene_file(tmp_path / "scene.tif", source_of(5, (30, 30)).pixels)
    job = prepare_job(scene, pointwise_model(2), PredictOptions())
    for change in changes_of(job.match, job.card):
        if change.replaced is not None:
            band, value = change.replaced
            assert value * job.match.gain[band] + job.match.bias[band] == pytest.approx(0, abs=1e-6)


def test_stress_is_for_models(tmp_path: Path) -> None:
    truth = scene_file(tmp_path / "truth.tif", source_of(6, (30, 30)).pixels)
    with pytest.raises(OptionError, match="stress is for models"):
        geoseg.evaluate(np.ones((30, 30), np.uint8), reference=truth, stress=True)
