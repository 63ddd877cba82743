"""What a type checker knows of the results of public functions; checked by mypy in `make check`, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import geopandas
import xarray

import geoseg


def dataset_or_path(scene: Any, model: geoseg.Model, output: Path | None) -> None:
    assert_type(geoseg.predict("scene.tif", "m.safetensors"), xarray.Dataset)
    assert_type(
        geoseg.predict(scene, model, bands=["red"], probabilities=True, progress=False), xarray.Dataset
    )
    assert_type(geoseg.predict(["b4.tif", "b3.tif"], model, resolution=20.0), xarray.Dataset)
    assert_type(
        geoseg.predict(
            "scene.tif", model, output="m.tif", confidence="c.tif", probabilities=Path("p.tif"), storage="float16",
            overwrite=True, resume=False, profile=True, bounds=(0, 0, 1, 1), batch_size="auto", alpha="none",
        ),
        Path,
    )  # fmt: skip
    assert_type(geoseg.predict(scene, model, output=output), xarray.Dataset | Path)


def frame_or_path(scene: Any, model: geoseg.Model, output: Path | None) -> None:
    assert_type(geoseg.segment("scene.tif", model, min_area="1 ha", device="cpu"), geopandas.GeoDataFrame)
    assert_type(geoseg.segment(scene, model, output="l.gpkg", raster="m.tif", layer="a", smooth=True), Path)
    assert_type(geoseg.vectorize("m.tif", simplify="1 px"), geopandas.GeoDataFrame)
    assert_type(geoseg.vectorize("m.tif", output=Path("l.gpkg"), append=True), Path)
    assert_type(geoseg.rasterize("l.gpkg", like="m.tif"), xarray.DataArray)
    assert_type(geoseg.rasterize("l.gpkg", like="m.tif", output="m.tif"), Path)


def what_is_about_files_needs_an_output(scene: Any, model: geoseg.Model) -> None:
    geoseg.predict(scene, model, overwrite=True)  # type: ignore[call-overload]
    geoseg.predict(scene, model, probabilities="p.tif")  # type: ignore[call-overload]
    geoseg.predict(scene, model, output="m.tif", probabilities=True)  # type: ignore[call-overload]
    geoseg.predict(scene, model, bands="red", tile_sise=256)  # type: ignore[call-overload]
    geoseg.segment(scene, model, raster="m.tif")  # type: ignore[call-overload]
    geoseg.segment(scene, model, append=True)  # type: ignore[call-overload]


def models() -> None:
    made = geoseg.Model.new(architecture="Unet", encoder="resnet18", bands=["red"], classes="water,land")
    assert_type(made, geoseg.Model)
    assert_type(geoseg.import_model("w.pth", bands=["red"], classes=["water", "land"]), geoseg.Model)
    assert_type(geoseg.calibrate(made, ["scene.tif"], labels=["labels.tif"]), geoseg.Model)
    assert_type(geoseg.quantize(made, ["scene.tif"]), geoseg.Model)
    assert_type(geoseg.report("run", output="page.html"), Path)


def quality_of_a_map_or_of_data(config: geoseg.Config, pairs: list[tuple[Path, Path]]) -> None:
    assert_type(geoseg.check("map.gpkg", profile="clc2024"), geoseg.PolygonQuality)
    assert_type(geoseg.check("map.gpkg or config.yaml"), geoseg.PolygonQuality | geoseg.DataQuality)
    assert_type(geoseg.check("images", labels=Path("masks"), nodata=0), geoseg.DataQuality)
    assert_type(geoseg.check(["a.tif", "b.tif"], labels=["a.gpkg", "b.gpkg"]), geoseg.DataQuality)
    assert_type(geoseg.check(pairs, unlabelled="background"), geoseg.DataQuality)
    assert_type(geoseg.check(config, output="data.html", overwrite=True), geoseg.DataQuality)
    geoseg.check(config, profile="clc2024")  # type: ignore[call-overload]
    geoseg.check("images", labels="masks", profile="clc2024")  # type: ignore[call-overload]
