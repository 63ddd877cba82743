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
    with pytest.raises(DataError, match=r"one class \(buildings\).*--unlabelled background"):
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
