"""Scale and offset tags: one rule for statistics, training, prediction and the card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.datasets.splits import with_card
from geoseg.datasets.statistics import measure
from geoseg.errors import DataError, MismatchError, SceneError
from geoseg.grid.window import Window
from geoseg.models.match import Match, match
from geoseg.models.scaling import scaling_under, tags_of, unlike_tags
from geoseg.raster.scene import Scene
from tests.datasets.sets import card_of, config_of, description, open_set, write_tif
from tests.oracle import pointwise_card

REFLECTANCE = np.random.default_rng(5).uniform(0.02, 0.6, size=(6, 2, 12, 16))
WHOLE = Window(row=0, col=0, height=12, width=16)
Tags = tuple[Sequence[float], Sequence[float]]


def write_image(path: Path, reflectance: np.ndarray, tags: Tags | None, offset: float = 0.0) -> Path:
    """Store reflectance as a Sentinel-2 product does: (r - offset) * 10000."""
    write_tif(path, np.rint((reflectance - offset) * 10_000).astype(np.uint16))
    if tags is not None:
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = tags
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Labels of six images, which tests write with the tags they want."""
    for number in range(6):
        codes = np.random.default_rng(number).integers(0, 3, size=(12, 16), dtype=np.uint8)
        write_tif(tmp_path / "labels" / f"{number}.tif", codes)
    return tmp_path


OLD: Tags = ((1e-4, 1e-4), (0.0, 0.0))
NEW: Tags = ((1e-4, 1e-4), (-0.1, -0.1))


@pytest.mark.parametrize("tagged", [{0}, {1}, {5}, {1, 2, 3, 4, 5}, {0, 1, 2}])
def test_images_of_which_some_are_tagged_are_refused_by_name(folder: Path, tagged: set[int]) -> None:
    for number in range(6):
        write_image(
            folder / "images" / f"{number}.tif", REFLECTANCE[number], OLD if number in tagged else None
        )
    with pytest.raises(DataError, match=r"scale 0\.0001, offset 0") as got:
        open_set(folder, dtype="uint16")
    assert "\n" not in str(got.value)
    odd = tagged if len(tagged) < 3 else set(range(6)) - tagged
    assert any(f"{number}.tif" in str(got.value) for number in odd)
    assert "-a_scale" in str(got.value)
    left = open_set(folder, dtype="uint16", skip_bad=True)
    assert len({tags_of(pair.image) is None for pairs in left.splits.values() for pair in pairs}) == 1


def test_tags_that_differ_are_brought_to_one_unit(folder: Path) -> None:
    """Before and after Sentinel-2's baseline 04.00: other numbers, the same reflectance, the same input."""
    for number in range(6):
        new = number % 2 == 0
        write_image(
            folder / "images" / f"{number}.tif",
            REFLECTANCE[number],
            NEW if new else OLD,
            -0.1 if new else 0.0,
        )
    opened = open_set(folder, dtype="uint16")
    found = measure(opened.splits["train"])
    trained = np.stack([REFLECTANCE[int(pair.name)] for pair in opened.splits["train"]])
    np.testing.assert_allclose(found.mean, trained.mean(axis=(0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(found.std, trained.std(axis=(0, 2, 3)), atol=1e-4)
    card = card_of(config_of(folder, description()), "uint16").changed(
        mean=found.mean,
        std=found.std,
        scale=found.scaling.scale,
        offset=found.scaling.offset,
        value_range=found.value_range,
    )
    low, high = (
        (trained.min() - found.scaling.offset[0]) * 1e4,
        (trained.max() - found.scaling.offset[0]) * 1e4,
    )
    np.testing.assert_allclose(found.value_range, (low, high), atol=0.51)
    for pairs in with_card(opened.splits, card).values():
        for pair in pairs:
            expected = (REFLECTANCE[int(pair.name)] - np.reshape(found.mean, (-1, 1, 1))) / np.reshape(
                found.std, (-1, 1, 1)
            )
            np.testing.assert_allclose(pair.sample(WHOLE)["image"].numpy(), expected, atol=2e-3)
            np.testing.assert_allclose(inputs(match(pair.image, card)), expected, atol=2e-3)


def inputs(found: Match) -> np.ndarray:
    """What the network sees of a scene."""
    gain, bias = (np.reshape(numbers, (-1, 1, 1)) for numbers in (found.gain, found.bias))
    height, width = found.source.grid.shape
    pixels: np.ndarray = found.source.read(Window(row=0, col=0, height=height, width=width)).pixels * gain
    return pixels + bias


def test_untagged_images_are_measured_as_stored_and_tags_of_a_scene_do_not_count_then(folder: Path) -> None:
    for number in range(6):
        write_image(folder / "images" / f"{number}.tif", REFLECTANCE[number], None)
    found = measure(open_set(folder, dtype="uint16").splits["train"])
    assert found.scaling.scale == (1.0, 1.0)
    card = card_of(config_of(folder, description()), "uint16").changed(
        mean=found.mean, std=found.std, value_range=found.value_range
    )
    assert not card.has_units
    plain = match(Scene.open(folder / "images" / "0.tif"), card)
    tagged = match(Scene.open(write_image(folder / "t.tif", REFLECTANCE[0], NEW)), card)
    np.testing.assert_array_equal(inputs(plain), inputs(tagged))
    assert any("its tags (scale 0.0001, offset -0.1) are ignored" in note for note in tagged.notes)
    assert not any("tags" in note for note in plain.notes)


def test_a_message_about_a_tag_names_it(tmp_path: Path) -> None:
    wrong = Scene.open(write_image(tmp_path / "s.tif", REFLECTANCE[0], ((0.01, 0.01), (0.0, 0.0))))
    card = pointwise_card(2, dtype="uint16", value_range=(0, 10000), scale=[1e-4] * 2)
    with pytest.raises(
        MismatchError, match=r"tags \(scale 0\.01, offset 0\) make .* expects 0 to 1;.*-a_scale"
    ):
        match(wrong, card)
    floats = {"dtype": "float32", "value_range": (0, 1), "scale": [1.0] * 2}
    right = Scene.open(write_image(tmp_path / "t.tif", REFLECTANCE[0], OLD))
    with pytest.raises(
        MismatchError, match=r"tagged with scale 0\.0001, offset 0, .*-unscale -ot Float32 applies"
    ):
        match(right, pointwise_card(2, **floats))
    with pytest.raises(MismatchError, match=r"as stored \(0\.\d+ by its tags: scale 0\.0001"):
        match(right, pointwise_card(2, dtype="uint16", value_range=(0, 1), scale=[1.0] * 2))
    with pytest.raises(SceneError, match="its tags scale 0, offset 0 make"):
        match(Scene.open(write_image(tmp_path / "z.tif", REFLECTANCE[0], ((0.0, 0.0), (0.0, 0.0)))), card)


def test_a_band_without_tags_has_the_cards(tmp_path: Path) -> None:
    scene = Scene.open(write_image(tmp_path / "s.tif", REFLECTANCE[0], ((2e-4, 1.0), (0.0, 0.0))))
    card = pointwise_card(2, dtype="uint16", value_range=(0, 10000), scale=[1e-4] * 2, offset=[0.0, -0.1])
    assert scaling_under(card, scene).scale == (2e-4, 1e-4)
    assert scaling_under(card, scene).offset == (0.0, -0.1)
    (note,) = (note for note in match(scene, card).notes if note.startswith("its tags"))
    assert note.startswith(
        "its tags (scales 0.0002 1, offset 0) are applied, and bands without tags (green) are scaled as the model "
        "expects;"
    )
    learned = card.changed(scale=[1e-4, 1.0], offset=[0.0, 0.0])
    assert not any(note.startswith("its tags") for note in match(scene, learned).notes), (
        "it learned from such ones"
    )
    assert tags_of(scene.select([2], validity_band=None)) is None
    all_tagged = Scene.open(write_image(tmp_path / "t.tif", REFLECTANCE[0], OLD))
    assert list(unlike_tags([all_tagged, scene])) == [scene.path]


def test_tags_do_not_replace_how_a_foreign_network_was_fed(tmp_path: Path) -> None:
    """x / 3000 is no unit: tags of reflectance put in its place would make the input three times too small."""
    card = pointwise_card(
        2, dtype="uint16", value_range=(0, 10000), scale=[1 / 3000] * 2, mean=[0.0] * 2, std=[1.0] * 2,
        units="stored",
    )  # fmt: skip
    scene = Scene.open(write_image(tmp_path / "s.tif", REFLECTANCE[0], OLD))
    np.testing.assert_allclose(inputs(match(scene, card)), REFLECTANCE[0] * 10_000 / 3000, atol=1e-3)
