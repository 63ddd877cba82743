"""Class maps from anywhere."""

import subprocess

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine

from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend, LegendClass
from geoseg.raster.classmap import class_map_sidecars, read_class_map, write_cog
from tests.small_files import Write

LEGEND = Legend(
    classes=(
        LegendClass(code=0, name='a "b" <c> &', color="#010203"),
        LegendClass(code=7, name="Wald é", color="#228b22"),
        LegendClass(code=254, name="Wasser", color="#0000ff"),
    )
)
CODES = np.array([[0, 7, 254], [255, 7, 7]], dtype="uint8")


def _own(path, legend=LEGEND, codes=CODES):
    grid = Grid(height=codes.shape[0], width=codes.shape[1], transform=Affine(2.0, 0, 1, 0, 2.0, 3))
    write_cog(path, [codes], grid, legend=legend, description="land cover", tags={})
    for suffix, text in class_map_sidecars(legend).items():
        name = path.with_suffix(suffix) if suffix == ".qml" else path.with_name(path.name + suffix)
        name.write_text(text)
    return grid


def test_what_geoseg_wrote_comes_back_with_its_legend(tmp_path):
    path = tmp_path / "a.tif"
    grid = _own(path)
    read = read_class_map(path)
    assert np.array_equal(read.codes, CODES)
    assert np.array_equal(read.valid, CODES != 255)
    assert (read.grid, read.legend) == (grid, LEGEND)
    other = Legend.of([(LEGEND.codes[0], "x", "#010203")])
    assert read_class_map(path, legend=other).legend == other.over(LEGEND)


def test_gdal_reads_the_names_beside_the_map(tmp_path):
    """A VRT of it spells out what GDAL understood."""
    _own(tmp_path / "a.tif")
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    assert '<Category>a "b" &lt;c&gt; &amp;</Category>' in text or "&lt;c&gt;" in text
    assert "<Category>Wald é</Category>" in text
    assert text.count("<Category>") + text.count("<Category />") == 255


def test_a_map_without_anything_has_no_legend(write):
    read = read_class_map(write("a.tif", CODES[None]))
    assert read.legend is None
    assert read.valid.all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_every_integer_dtype_with_nodata_zero(write, dtype):
    codes = np.array([[0, 1, 100], [3, 0, 0]]).astype(dtype)
    if dtype.startswith("i"):
        codes[0, 1] = -5
    read = read_class_map(write("a.tif", codes[None], nodata=0))
    assert np.array_equal(read.codes, codes)
    assert read.codes.dtype == dtype
    assert np.array_equal(read.valid, codes != 0)


def test_floats_are_codes_when_they_are_whole(write):
    codes = np.array([[[1, 2, np.nan, 300000]]], dtype="float32")
    read = read_class_map(write("a.tif", codes))
    assert read.codes[read.valid].tolist() == [1, 2, 300000]
    assert read.codes.dtype.kind == "i"
    codes[0, 0, 0] = 1.5
    with pytest.raises(ClassMapError, match=r"holds 1\.5, expected whole numbers"):
        read_class_map(write("a.tif", codes))


def test_a_palette_alone_colours_the_codes_that_are_there(write):
    colors = {1: (255, 0, 0, 255), 2: (0, 255, 0, 255), 3: (0, 0, 255, 255)}
    codes = np.array([[[1, 3, 0, 9]]], dtype="uint8")
    read = read_class_map(write("a.tif", codes, nodata=0, setup=lambda d: d.write_colormap(1, colors)))
    assert [(c.code, c.name, c.color) for c in read.legend.classes] == [
        (1, "class 1", "#ff0000"), (3, "class 3", "#0000ff"), (9, "class 9", "#000000")
    ]  # fmt: skip


def test_category_names_with_palette_colours(write, tmp_path):
    path = write(
        "a.tif", np.array([[[1, 2, 4]]], "uint8"), setup=lambda d: d.write_colormap(1, {1: (255, 0, 0, 255)})
    )
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category/><Category>x</Category>'
        "<Category>x</Category><Category>z &amp; z</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    legend = read_class_map(path).legend
    assert [(c.code, c.name) for c in legend.classes] == [
        (1, "x"),
        (2, "x (2)"),
        (3, "z & z"),
        (4, "class 4"),
    ]
    assert legend[1].color == "#ff0000"


@pytest.mark.parametrize(
    "text",
    [
        "no xml",
        '<!DOCTYPE a [<!ENTITY b "c">]><PAMDataset><PAMRasterBand band="1"><CategoryNames><Category>&b;'
        "</Category></CategoryNames></PAMRasterBand></PAMDataset>",
    ],
)
def test_categories_that_cannot_be_trusted_are_left_out(write, tmp_path, text):
    path = write("a.tif", CODES[None])
    (tmp_path / "a.tif.aux.xml").write_text(text)
    assert read_class_map(path).legend is None


def test_a_damaged_legend_tag_is_named(write):
    path = write("a.tif", CODES[None], setup=lambda d: d.update_tags(GEOSEG_LEGEND="[{]"))
    with pytest.raises(ClassMapError, match="the tag GEOSEG_LEGEND is damaged"):
        read_class_map(path)


def test_what_is_no_class_map_is_refused(write, tmp_path):
    with pytest.raises(
        ClassMapError, match="has 3 bands, expected one band of class codes; .*geoseg predict"
    ):
        read_class_map(write("a.tif", np.ones((3, 2, 2), "uint8")))
    with pytest.raises(ClassMapError, match="cannot be opened"):
        read_class_map(tmp_path / "none.tif")


def test_a_map_larger_than_a_block_row_is_read_whole(write):
    codes = np.random.default_rng(0).integers(0, 9, (1, 1300, 70)).astype("int16")
    path = write("a.tif", codes, tiled=True, blockxsize=64, blockysize=64)
    assert np.array_equal(read_class_map(path).codes, codes[0])


def test_a_stale_sidecar_of_another_file_is_not_read(write, tmp_path):
    path = write("a.tif", CODES[None])
    (tmp_path / "a.aux.xml").write_text("<PAMDataset/>")
    assert read_class_map(path).legend is None


def test_gdalinfo_lists_the_names(tmp_path):
    _own(tmp_path / "a.tif")
    try:
        shown = subprocess.run(["gdalinfo", tmp_path / "a.tif"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        pytest.skip("gdalinfo is not on this machine")
    assert "7: Wald é" in shown


def test_floats_beyond_int32_are_said_to_be_too_large_and_the_advice_works(write: Write) -> None:
    codes = np.array([[[1.0, 3e9]]])
    with pytest.raises(
        ClassMapError, match=r"holds 3000000000 as a float, expected whole numbers up to 2147483647"
    ):
        read_class_map(write("float.tif", codes))
    assert read_class_map(write("int.tif", codes.astype(np.int64))).codes.tolist() == [[1, 3_000_000_000]]
