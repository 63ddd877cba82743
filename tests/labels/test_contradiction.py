"""Codes that one file calls otherwise than another: only the name of another class contradicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg.datasets.opening import open_data
from geoseg.errors import ClassMapError, DataError
from geoseg.grid.legend import Legend
from geoseg.labels.contradiction import FileNames, contradiction
from geoseg.labels.conversion import Conversion, convert
from geoseg.learning.quick import quick_config
from geoseg.learning.quick_pairs import pairs_config
from geoseg.raster.legend_file import legend_from_json, legend_to_json
from tests.datasets.sets import card_of, config_of, description, write_set
from tests.oracle import pointwise_model
from tests.toys import WriteRaster

AB = {1: "forest", 2: "water"}
BA = {1: "Water ", 2: "forest"}
RL = {1: "right", 2: "left"}


def tagged(path: Path, names: dict[int, str]) -> Path:
    """Give a raster a legend of its own."""
    with rasterio.open(path, "r+") as file:
        file.update_tags(
            GEOSEG_LEGEND=legend_to_json(Legend.of((c, name, None) for c, name in names.items()))
        )
    return path


@given(order=st.permutations([1, 2, 3, 4]))
def test_exactly_permuted_names_contradict(order: list[int]) -> None:
    names = {1: "a", 2: "b", 3: "c", 4: "d"}
    own = {code: names[other].upper() for code, other in zip(names, order, strict=True)}
    found = contradiction(own, names, "the map")
    assert (found is None) == (order == [1, 2, 3, 4])
    assert contradiction(own, dict(enumerate("wxyz", start=1)), "the map") is None


def test_renamed_merged_and_ambiguous_names_do_not() -> None:
    assert contradiction(BA, AB, "the map") == "its 1 is Water , which is 2 in the map, where 1 is forest"
    assert contradiction(BA, {1: "Wald", 2: "Wasser"}, "the map") is None
    merged = {5: "shrub and grass", 6: "shrub and grass", 1: "forest"}
    means = {5: 2, 6: 2, 1: 1}.get
    assert contradiction({5: "shrub", 6: "grass", 1: "forest"}, merged, "it", means) is None
    assert contradiction({5: "forest", 1: "wood"}, merged, "it", means)
    assert contradiction({1: "other", 2: "other"}, {3: "other"}, "it") is None
    assert (
        contradiction(BA, AB, "it", {2: 1, 1: 255}.get) is None
    )  # of values that are ignored, nothing is said
    files = FileNames()
    assert files.add("x", {1: "Wald", 2: "Wasser"}) is None
    assert files.add("a", AB) is None
    assert "2 in a" in str(files.add("b", BA))


@pytest.fixture
def swapped(tmp_path: Path, write_raster: WriteRaster) -> tuple[Path, Path, Path]:
    """Two maps that are one by their names, and whose codes are swapped; and one without names."""
    codes = np.kron(np.random.default_rng(0).choice([1, 2], (8, 8)), np.ones((16, 16))).astype(np.uint8)
    a, b, plain = (
        write_raster(tmp_path / f"{name}.tif", each, nodata=255)
        for name, each in (("a", codes), ("b", 3 - codes), ("plain", codes))
    )
    return tagged(a, AB), tagged(b, {1: "water", 2: "forest"}), plain


def test_maps_that_contradict_each_other_are_not_compared(swapped: tuple[Path, Path, Path]) -> None:
    a, b, plain = swapped
    words = (
        "b.tif: its 1 is water, which is 2 in .*a.tif, where 1 is forest; write one of them anew .*legend="
    )
    with pytest.raises(ClassMapError, match=words):
        geoseg.compare(a, b)
    with pytest.raises(ClassMapError, match=words):
        geoseg.evaluate([a, b], reference=plain)
    assert geoseg.compare(a, b, legend=Legend.parse("forest,water"))
    assert geoseg.compare(a, tagged(plain, {1: "Wald", 2: "Wasser"}))


def test_polygons_are_read_by_their_names_where_codes_contradict(
    swapped: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    a, b, _ = swapped
    polygons = tmp_path / "b.gpkg"
    geoseg.vectorize(b, output=polygons)
    with pytest.raises(
        DataError, match=r"b.gpkg: its 1 is water, .* names count with class_field=\"class_name\""
    ):
        geoseg.evaluate(a, reference=polygons)
    named = geoseg.evaluate(a, reference=polygons, class_field="class_name")
    coded = geoseg.evaluate(a, reference=polygons, class_labels={"forest": [2], "water": [1]})
    assert named.scores["accuracy"]["value"] == coded.scores["accuracy"]["value"] == 1


def test_only_classes_with_given_labels_are_exempt(swapped: tuple[Path, Path, Path]) -> None:
    a, b, _ = swapped
    with pytest.raises(DataError, match="its 2 is forest, which is 1 in the map, where 2 is water"):
        geoseg.evaluate(a, reference=b, class_labels={"forest": [1]})
    right = geoseg.evaluate(a, reference=b, class_labels={"forest": [2], "water": [1]})
    assert right.scores["accuracy"]["value"] == 1


def test_given_classes_do_not_rename_what_has_names(swapped: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, plain = swapped
    given = Legend.parse("forest,water")
    again, polygons = tmp_path / "again.tif", tmp_path / "b.gpkg"
    for source in (a, plain):
        convert(Conversion(source=source, target=again, legend=given), overwrite=True)
    again.unlink()
    with pytest.raises(
        DataError, match="b.tif: its 1 is water, which is 2 in the given classes, where 1 is forest"
    ):
        convert(Conversion(source=b, target=again, legend=given))
    assert not again.exists()
    geoseg.vectorize(b, output=polygons)
    with pytest.raises(DataError, match='b.gpkg: its 1 is water, .* class_field="class_name"'):
        convert(Conversion(source=polygons, target=again, like=b, legend=given))
    convert(Conversion(source=polygons, target=again, like=b, legend=given, class_field="class_name"))
    with rasterio.open(again) as made, rasterio.open(a) as wanted:
        np.testing.assert_array_equal(made.read(1), wanted.read(1))
        assert legend_from_json(made.tags()["GEOSEG_LEGEND"]).names == ("forest", "water")


@pytest.mark.parametrize(
    ("classes", "first", "second", "words"),
    [
        ({1: "left", 2: "right"}, None, RL, "which is 2 in data.classes, where 1 is left"),
        ({1: "links", 2: "rechts"}, AB, BA, "which is 2 in .*0.tif, where 1 is forest"),
        ({1: "links", 2: "rechts"}, AB, AB, None),
        ({1: {"name": "left", "labels": [2]}, 2: {"name": "right", "labels": [1]}}, None, RL, None),
        ({1: {"name": "left", "labels": [1]}, 2: {"name": "right", "labels": [2]}}, None, RL, None),
    ],
)  # fmt: skip
def test_label_rasters_contradict_the_configuration_or_each_other(
    tmp_path: Path,
    classes: dict[int, object],
    first: dict[int, str] | None,
    second: dict[int, str],
    words: str | None,
) -> None:
    write_set(tmp_path)
    if first is not None:
        tagged(tmp_path / "labels" / "0.tif", first)
    tagged(tmp_path / "labels" / "1.tif", second)
    config = config_of(tmp_path, description(classes=classes))
    if words is None:
        open_data(config.data, config.data_root, card_of(config))
        return
    with pytest.raises(DataError, match=f"1 of 6 images cannot be used: .*1.tif: its 1 is .*{words}; "):
        open_data(config.data, config.data_root, card_of(config))


def test_pairs_without_a_configuration(swapped: tuple[Path, Path, Path], write_raster: WriteRaster) -> None:
    from geoseg.learning.quick import LabelChoices

    a, b, _ = swapped
    scene = write_raster(
        a.parent / "s.tif", np.random.default_rng(0).integers(0, 99, (3, 128, 128)).astype(np.uint8)
    )
    with pytest.raises(
        DataError, match="b.tif: its 1 is water, which is 2 in .*a.tif, where 1 is forest; write"
    ):
        pairs_config([(scene, a), (scene, b)], LabelChoices())


def test_classes_without_a_pixel_are_left_out_of_a_training_in_one_line(
    swapped: tuple[Path, Path, Path], write_raster: WriteRaster, caplog: pytest.LogCaptureFixture
) -> None:
    a, *_ = swapped
    scene = write_raster(
        a.parent / "s.tif", np.random.default_rng(0).integers(0, 99, (3, 128, 128)).astype(np.uint8)
    )
    found = quick_config(scene, tagged(a, AB | {6: "lava"}))
    assert found.data.legend.names == ("forest", "water")
    assert "a.tif: no pixel is labelled as lava; left out of the classes" in caplog.text


def test_labels_of_a_model_have_its_classes(tmp_path: Path, write_raster: WriteRaster) -> None:
    model = pointwise_model(3, (1, 2))
    names = dict(zip(model.card.classes.codes, model.card.classes.names[::-1], strict=True))
    random = np.random.default_rng(0)
    scene = write_raster(tmp_path / "s.tif", random.integers(0, 255, (3, 64, 64)).astype(np.uint8))
    labels = tagged(write_raster(tmp_path / "l.tif", random.integers(1, 3, (64, 64)).astype(np.uint8)), names)
    for verb in (geoseg.calibrate, geoseg.quantize):
        with pytest.raises(
            DataError, match="l.tif: its 1 is .*, which is 2 in the model, where 1 is .*; write it anew"
        ):
            verb(model, [scene], labels=[labels])
