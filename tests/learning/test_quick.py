"""Training without a configuration: what a scene and its labels say by themselves."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg.errors import ConfigError, DataError, OptionError
from geoseg.learning.config import Config
from geoseg.learning.quick import LabelChoices, quick_config
from tests.toys import WriteRaster


@pytest.fixture
def scene(tmp_path: Path, write_raster: WriteRaster) -> Path:
    pixels = np.random.default_rng(0).integers(0, 200, (3, 160, 200)).astype(np.uint8)
    return write_raster(tmp_path / "my [best] scene.tif", pixels)


def polygons(path: Path, **attributes: list[object]) -> Path:
    count = len(next(iter(attributes.values()))) if attributes else 1
    boxes = [shapely.box(500_000 + 300 * i, 3_999_000, 500_200 + 300 * i, 3_999_900) for i in range(count)]
    gpd.GeoDataFrame(attributes, geometry=boxes, crs="EPSG:32652").to_file(path, engine="pyogrio")
    return path


def test_names_become_codes_from_1(scene: Path, tmp_path: Path) -> None:
    labels = polygons(tmp_path / "l.gpkg", kind=["water", "forest", "water"])
    config = quick_config(scene, labels, LabelChoices(class_field="kind"))
    data = config.data
    assert {code: c.name for code, c in data.classes.items()} == {1: "forest", 2: "water"}
    assert data.task == "multiclass"
    assert data.bands == ("band_1", "band_2", "band_3")
    assert data.split.method == "blocks"
    assert data.labels.unlabelled == "ignored"
    assert config.model.gsd_m == pytest.approx(10, rel=1e-3)
    assert config.train.chip_size == 64
    assert (config.model.encoder, config.model.encoder_weights) == ("tu-tf_efficientnet_lite0", "packaged")
    assert [str(p) for p in config.data_root.glob(data.images or "")] == [str(scene.resolve())]


def test_integer_codes_are_kept(scene: Path, tmp_path: Path, write_raster: WriteRaster) -> None:
    labels = polygons(tmp_path / "l.gpkg", code=[30, 10])
    config = quick_config(scene, labels, LabelChoices(class_field="code"))
    assert sorted(config.data.classes) == [10, 30]
    codes = np.random.default_rng(0).choice([7, 9, 200], (160, 200)).astype(np.uint8)
    raster = write_raster(tmp_path / "codes.tif", codes)
    assert sorted(quick_config(scene, raster).data.classes) == [7, 9, 200]


def test_one_class_needs_to_be_told_what_the_rest_is(scene: Path, tmp_path: Path) -> None:
    labels = polygons(tmp_path / "buildings.gpkg")
    with pytest.raises(DataError, match=r"one class \(buildings\).*unlabelled=\"background\""):
        quick_config(scene, labels)
    data = quick_config(scene, labels, LabelChoices(background=True)).data
    assert data.task == "binary"
    assert data.legend.names == ("background", "buildings")
    assert data.labels.unlabelled == 0


def test_a_background_is_a_class_of_its_own(scene: Path, tmp_path: Path) -> None:
    labels = polygons(tmp_path / "l.gpkg", code=[0, 1])
    data = quick_config(scene, labels, LabelChoices(class_field="code", background=True)).data
    assert data.legend.codes == (0, 1, 2)
    assert data.meanings.code(0) == 1


def test_values_are_replaced_and_the_whole_reads_back(scene: Path, tmp_path: Path) -> None:
    labels = polygons(tmp_path / "l.gpkg", kind=["a", "b"])
    choices = LabelChoices(class_field="kind")
    config = quick_config(scene, labels, choices, ["model.encoder=resnet18", "train.loss=ce"])
    assert config.model.encoder == "resnet18"
    assert config.train.loss.terms == "ce"
    assert Config.of(config.fields(), "again", tmp_path) == config
    with pytest.raises(ConfigError, match="train.epohcs: is not a known key"):
        quick_config(scene, labels, choices, ["train.epohcs=3"])
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        quick_config(scene, labels, choices, ["train.epochs"])


def test_run_lengths_need_a_configuration(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("ImageId,EncodedPixels\n")
    with pytest.raises(OptionError, match="need a configuration"):
        quick_config(scene, tmp_path / "train.csv")


def test_a_forgotten_class_field_lists_the_attributes(
    scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No advice that would make one class of all."""
    labels = polygons(tmp_path / "l.gpkg", kind=["water", "forest", "water"], id=[7, 8, 9], note=[None] * 3)
    with pytest.raises(OptionError) as caught:
        quick_config(scene, labels)
    assert str(caught.value) == (
        f"{labels}: class_field= is not given, so that all features are of one class, l; its attributes are "
        "kind (forest, water), id (7, 8, 9), note; name the one that holds the class with class_field="
    )
    assert quick_config(scene, labels, LabelChoices(background=True)).data.task == "binary"
    assert "its attributes are kind (forest, water), id (7, 8, 9), note" in caplog.text


def test_codes_that_geoseg_wrote_are_the_classes(scene: Path, tmp_path: Path) -> None:
    labels = polygons(
        tmp_path / "l.gpkg", class_code=[30, 10, 30, 30], class_name=["sea", "forest", "water", "water"]
    )
    data = quick_config(scene, labels).data
    assert {code: c.name for code, c in data.classes.items()} == {10: "forest", 30: "water"}
    assert data.labels.class_field == "class_code"  # type: ignore[union-attr]


def test_how_labels_are_read_is_in_the_configuration(
    scene: Path, tmp_path: Path, write_raster: WriteRaster
) -> None:
    labels = polygons(tmp_path / "l.shp", kind=["a", "b"])
    choices = LabelChoices(class_field="kind", overlap="last", encoding="cp949")
    form = quick_config(scene, labels, choices).data.labels
    assert (form.overlap, form.encoding) == ("last", "cp949")  # type: ignore[union-attr]
    bands = np.random.default_rng(0).choice([7, 9, 200], (4, 160, 200)).astype(np.uint8)
    bands[2] = 1 + (bands[2] > 7)
    raster = write_raster(tmp_path / "codes.tif", bands)
    data = quick_config(scene, raster, LabelChoices(band=3)).data
    assert (sorted(data.classes), data.labels.band) == ([1, 2], 3)  # type: ignore[union-attr]
