"""The exact rule: every band finite, not all of them no data, alpha above 0, masks where they are stored."""

import math

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp as Color

from geoseg.grid.window import Window
from geoseg.raster.scene import Scene
from geoseg.raster.validity import usable, values_of


def _read(scene):
    return scene.read(Window(row=0, col=0, height=scene.grid.height, width=scene.grid.width))


def _naive(pixels, nodata, alpha, mask):
    """The rule in Python, pixel by pixel."""
    height, width = pixels.shape[1:]
    valid = np.ones((height, width), dtype=bool)
    for row in range(height):
        for col in range(width):
            values = pixels[:, row, col].tolist()
            if not all(map(math.isfinite, values)) or all(value == nodata for value in values):
                valid[row, col] = False
            if alpha is not None and alpha[row, col] == 0:
                valid[row, col] = False
            if mask is not None and not mask[row, col]:
                valid[row, col] = False
    return valid


# The oracle warns where a file has alpha and no data; geoseg lets both count.
@pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning")
@given(
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"]),
    nodata=st.sampled_from([None, 0, 3, math.nan]), count=st.sampled_from([1, 3]),
    with_alpha=st.booleans(), with_mask=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_every_combination_equals_the_rule_written_out(
    write, dtype, nodata, count, with_alpha, with_mask, seed
):
    rng = np.random.default_rng(seed)
    if not dtype.startswith("f") and nodata is not None and math.isnan(nodata):
        nodata = None
    pixels = rng.integers(0, 5, (count, 6, 7)).astype(dtype)
    if dtype.startswith("f"):
        pixels[rng.random(pixels.shape) < 0.1] = np.nan
        pixels[rng.random(pixels.shape) < 0.1] = np.inf
        pixels[rng.random(pixels.shape) < 0.1] = -np.inf
    alpha = rng.integers(0, 3, (6, 7)).astype(dtype) if with_alpha else None
    mask = rng.random((6, 7)) < 0.7 if with_mask else None
    stored = pixels if alpha is None else np.concatenate([pixels, alpha[None]])

    options = {
        "photometric": "rgb" if count == 3 else "minisblack",
        **({"alpha": "yes"} if with_alpha else {}),
    }
    path = write("a.tif", stored, nodata=nodata, mask=mask, **options)
    scene = Scene.open(path)
    chip = _read(scene)
    assert scene.count == count
    assert np.array_equal(chip.pixels, pixels, equal_nan=True)
    assert np.array_equal(chip.valid, _naive(pixels, nodata, alpha, mask))
    with rasterio.open(path) as dataset:
        assert (chip.valid <= (dataset.dataset_mask() > 0)).all()


def test_untagged_nan_and_inf_are_not_valid(write):
    pixels = np.array([[[1, np.nan, np.inf, -np.inf]], [[np.nan, 1, 1, 1]]], dtype="float32")
    scene = Scene.open(write("a.tif", pixels))
    assert not _read(scene).valid.any()
    assert _read(scene.select([2], validity_band=None)).valid.tolist() == [[False, True, True, True]]


@pytest.mark.parametrize("nodata", [-3.4028234663852886e38, -3.40282306074e38, 0.1, -9999.0, 1e-40])
def test_a_float_nodata_value_is_found_despite_its_rounding(write, nodata):
    pixels = np.array([[[nodata, 1, nodata / 2]]], dtype="float32")
    path = write("a.tif", pixels, nodata=float(np.float32(nodata)))
    chip = _read(Scene.open(path))
    assert chip.valid.tolist() == [[False, True, True]]
    assert usable(pixels, [values_of(nodata)], [pixels.dtype]).tolist() == [[False, True, True]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_data_is_found_a_few_units_in_the_last_place_off(dtype):
    exact = np.array(-9999.1, dtype=dtype)
    unit = np.spacing(abs(exact))
    pixels = (exact + unit * np.array([[[-3, -1, 0, 1, 3, 100, -100]]])).astype(dtype)
    assert usable(pixels, [(float(exact),)], [pixels.dtype]).tolist() == [[False] * 5 + [True] * 2]


def test_nodata_that_the_dtype_cannot_hold_excludes_nothing():
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16)
    for nodata in (-9999, 0.5, 256, math.nan, math.inf, 1e300):
        assert usable(pixels, [values_of(nodata)], [pixels.dtype]).all()


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_the_largest_integers_are_found_though_they_arrive_as_doubles(dtype):
    limits = np.iinfo(dtype)
    pixels = np.array([[[limits.min, 5, limits.max - 1, limits.max]]], dtype=dtype)
    assert usable(pixels, [(float(limits.max),)], [pixels.dtype]).tolist() == [[True, True, True, False]]
    assert usable(pixels, [(float(limits.min),)], [pixels.dtype]).tolist() == [[False, True, True, True]]


def test_nodata_of_each_band_counts_for_that_band(write, tmp_path):
    write("a.tif", np.array([[[1, 2, 3]]], dtype="uint8"))
    band = (
        '<VRTRasterBand dataType="Byte" band="{0}"><NoDataValue>{0}</NoDataValue><SimpleSource>'
        '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )
    vrt = tmp_path / "each.vrt"
    head = '<VRTDataset rasterXSize="3" rasterYSize="1"><GeoTransform>0,1,0,9,0,-1</GeoTransform>'
    vrt.write_text(head + band.format(1) + band.format(2) + "</VRTDataset>")
    assert _read(Scene.open(vrt)).valid.tolist() == [[False, False, True]]


def test_a_mask_file_beside_the_scene_counts(write, tmp_path):
    mask = np.array([[True, False, True]])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        path = write("a.tif", np.ones((2, 1, 3), "uint8"), mask=mask)
    assert (tmp_path / "a.tif.msk").exists()
    assert np.array_equal(_read(Scene.open(path)).valid, mask)


def test_a_mask_and_nodata_both_count(write):
    mask = np.array([[True, False, True]])
    scene = Scene.open(write("a.tif", np.array([[[0, 1, 1]]], "uint8"), nodata=0, mask=mask))
    assert _read(scene).valid.tolist() == [[False, False, True]]


def test_masks_do_not_count_where_alpha_is_read_as_data(write):
    pixels = np.zeros((4, 1, 3), "uint8")
    colors = [Color.red, Color.green, Color.blue, Color.alpha]
    for mask in (None, np.array([[True, False, True]])):
        path = write("a.tif", pixels, mask=mask, setup=lambda d: setattr(d, "colorinterp", colors))
        scene = Scene.open(path)
        assert not _read(scene).valid.any()
        assert _read(scene.select([1, 2, 3, 4], validity_band=None)).valid.all()
