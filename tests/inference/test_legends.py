"""`--legend` on what a model writes: other names and colours, the same codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from click.testing import CliRunner
from geoseg_cli.main import group
from PIL import Image

import geoseg
from geoseg.errors import LegendError
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import read_class_map
from geoseg.vector.xarray_maps import legend_of_attributes
from tests.oracle import pointwise_model

NAMES = ["water", "Wald, naß", "town"]


@pytest.fixture
def legend(tmp_path: Path) -> Path:
    path = tmp_path / "legend.txt"
    path.write_text(
        "# QGIS Generated Color Map Export File\nINTERPOLATION:EXACT\n2,1,2,3,255,Wald, naß\n",
        encoding="utf-8",
    )
    return path


def test_a_class_map_and_polygons_carry_the_legend_that_was_asked_for(
    tmp_path: Path, scene_file: Path, model_file: Path, legend: Path
) -> None:
    plain, named, polygons = tmp_path / "plain.tif", tmp_path / "named.tif", tmp_path / "named.gpkg"
    geoseg.predict(scene_file, model_file, output=plain)
    for command, output, more in (("predict", named, []), ("segment", polygons, ["--output-layer", "x"])):
        result = CliRunner().invoke(
            group,
            [
                command,
                str(scene_file),
                "-m",
                str(model_file),
                "-o",
                str(output),
                "--legend",
                str(legend),
                *more,
            ],
        )
        assert result.exit_code == 0, result.stderr
    with rasterio.open(plain) as before, rasterio.open(named) as after:
        np.testing.assert_array_equal(before.read(), after.read())
        assert after.colormap(1)[2] == (1, 2, 3, 255)
        assert after.colormap(1)[1] == (0, 0, 255, 255)
    assert read_class_map(named).legend == geoseg.Legend.parse(
        'water=#0000ff,"Wald, naß"=#010203,town=#ff0000'
    )
    frame = pyogrio.read_dataframe(polygons, layer="x")
    assert set(zip(frame["class_code"], frame["class_name"], strict=True)) <= set(enumerate(NAMES, start=1))
    assert "1,2,3,255" in pyogrio.read_dataframe(polygons, layer="layer_styles")["styleQML"][0]


def test_a_legend_of_some_codes_is_one_thing_to_predict_vectorize_and_rasterize(
    tmp_path: Path, scene_file: Path, model_file: Path, legend: Path
) -> None:
    plain, named, again = tmp_path / "plain.tif", tmp_path / "named.tif", tmp_path / "again.tif"
    geoseg.predict(scene_file, model_file, output=plain)
    geoseg.predict(scene_file, model_file, output=named, legend=legend)
    expected = read_class_map(named).legend
    assert expected is not None
    first, second = tmp_path / "first.gpkg", tmp_path / "second.gpkg"
    geoseg.vectorize(named, output=first)
    geoseg.vectorize(plain, legend=legend, output=second)
    for layer in ("landcover", "layer_styles"):
        ours, theirs = (pyogrio.read_dataframe(path, layer=layer) for path in (first, second))
        columns = ["class_code", "class_name"] if layer == "landcover" else ["styleQML"]
        assert ours[columns].equals(theirs[columns])
    geoseg.vectorize(plain, output=tmp_path / "own.gpkg")
    geoseg.rasterize(tmp_path / "own.gpkg", legend=legend, output=again)
    assert read_class_map(again).legend == expected
    array = geoseg.predict(scene_file, model_file)["landcover"]
    for source in (read_class_map(plain), array):
        frame = geoseg.vectorize(source, legend=legend)
        assert (
            frame["class_name"].tolist()
            == pyogrio.read_dataframe(first, layer="landcover")["class_name"].tolist()
        )


def test_a_legend_of_other_codes_is_named_in_a_line(
    tmp_path: Path, scene_file: Path, model_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strange, known = Legend.of([(7, "ice", None)]), Legend.of([(7, "ice", None), (1, "sea", None)])
    geoseg.predict(scene_file, model_file, output=tmp_path / "map.tif")
    for legend, said in ((strange, 1), (known, 0)):
        for verb, source, target in (
            (geoseg.vectorize, "map.tif", f"{said}.gpkg"), (geoseg.rasterize, f"{said}.gpkg", f"{said}.tif"),
        ):  # fmt: skip
            caplog.clear()
            verb(tmp_path / source, legend=legend, output=tmp_path / target)
            assert caplog.text.count("the legend names codes 7, expected some of 1") == said, verb


def test_some_layers_of_a_multilabel_map_are_called_otherwise(tmp_path: Path, scene_file: Path) -> None:
    model, given = pointwise_model(3, task="multilabel"), Legend.of([(2, "Wald", "#010203")])
    geoseg.predict(scene_file, model, output=tmp_path / "map.tif")
    frame = geoseg.vectorize(tmp_path / "map.tif", legend=given)
    assert set(frame["class_name"]) <= {"class 1", "Wald", "class 3"}
    assert "Wald" in set(frame["class_name"])
    with pytest.raises(LegendError, match="names codes 9, expected some of 1, 2, 3"):
        geoseg.vectorize(tmp_path / "map.tif", legend=Legend.of([(9, "ice", None)]))


def test_arrays_lazy_arrays_and_pictures_carry_it_too(tmp_path: Path, model_file: Path, legend: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    options = {"legend": legend, "precision": "fp32"}
    found = geoseg.predict(pixels, model_file, **options)["landcover"]
    assert "#010203" in found.attrs["flag_colors"].split()
    import xarray

    lazy = xarray.DataArray(pixels, dims=("band", "y", "x")).chunk(x=32)
    same = geoseg.predict(lazy, model_file, **options)["landcover"]
    assert (same.attrs["flag_colors"], same.attrs["flag_meanings"]) == (
        found.attrs["flag_colors"],
        "water Wald,_naß town",
    )
    known = legend_of_attributes(found.attrs)
    assert known is not None
    assert [c.color for c in known.classes] == ["#0000ff", "#010203", "#ff0000"]
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "a.png")
    geoseg.predict_pictures(tmp_path / "a.png", model_file, output=tmp_path / "masks", **options)
    palette = Image.open(tmp_path / "masks" / "a.png").getpalette()
    assert palette is not None
    assert palette[6:9] == [1, 2, 3]


def test_a_legend_of_other_codes_is_refused_before_the_run(scene_file: Path, model_file: Path) -> None:
    with pytest.raises(LegendError, match="names codes 7, expected some of 1, 2, 3"):
        geoseg.predict(scene_file, model_file, legend=Legend.made_up([7]))
