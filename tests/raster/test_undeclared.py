"""What looks like no data and was not declared is noticed; what is data is not."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp as Color

from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.declared import Declared, nodata_of
from geoseg.raster.look import alpha_of, look_at
from geoseg.raster.sample import sample
from geoseg.raster.scene import Scene
from geoseg.raster.undeclared import Watch
from geoseg.raster.validity import NoData

FLOAT_MIN = float(np.finfo("float32").min)


def _data(
    dtype: str, low: float, high: float, count: int = 3, shape: tuple[int, int] = (40, 50)
) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (count, *shape)).astype(dtype)


def _source(pixels: np.ndarray, said: Declared | None = None) -> ArraySource:
    source = ArraySource.of(pixels)
    return source if said is None else source.declared(said)


@pytest.mark.parametrize(
    ("dtype", "high", "value", "words"),
    [
        ("float32", 0.5, FLOAT_MIN, "-3.4028235e+38"),
        ("float32", 0.5, -FLOAT_MIN, "3.4028235e+38"),
        ("float32", 0.5, 1e20, "1.0000000200408773e+20"),
        ("float64", 0.5, float(np.finfo("float64").min), "-1.7976931348623157e+308"),
        ("float32", 0.5, -9999, "-9999"),
        ("float32", 0.5, -999, "-999"),
        ("int16", 9000, -9999, "-9999"),
        ("int16", 9000, -32768, "-32768"),
        ("int16", 9000, 32767, "32767"),
        ("int32", 9000, -(2**31), "-2147483648"),
        ("uint16", 9000, 65535, "65535"),
        ("int8", 50, -128, "-128"),
    ],
)
def test_a_number_far_from_all_others_is_noticed_and_the_line_to_add_is_right(dtype, high, value, words):
    pixels = _data(dtype, 0.01 if dtype.startswith("f") else 1, high)
    pixels[:, 3:5, 10:20] = value
    (note,) = look_at(_source(pixels)).notes
    assert note == (
        f'20 px (1.0 %) hold {words} and count as data; pass nodata="{words}", or nodata="none" if they are data'
    )
    declared = _source(pixels, Declared(nodata=nodata_of(words)))
    assert (~declared.read(Window(row=0, col=0, height=40, width=50)).valid).sum() == 20
    assert look_at(declared).notes == ()
    assert look_at(_source(pixels, Declared(nodata=nodata_of("none")))).notes == ()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 0, 256), ("uint16", 0, 65536), ("int16", -32768, 32768), ("float32", -1e4, 1e4), ("int8", -128, 128),
        ("float32", -11000, 9000), ("int16", -10000, 8000), ("float32", 1e5, 1e12),
    ],
)  # fmt: skip
def test_data_that_reaches_so_far_is_data(dtype, low, high):
    pixels = _data(dtype, low, high)
    if low <= -9999:
        pixels[:, 4, 4] = -9999
    assert look_at(_source(pixels)).notes == ()


def test_a_few_saturated_pixels_are_data():
    pixels = _data("uint16", 1, 60000)
    pixels[:, 3:5, 10:20] = 65535
    assert look_at(_source(pixels)).notes == ()


def test_where_only_some_bands_hold_it_the_rule_is_part_of_the_line():
    pixels = _data("int16", 1, 9000)
    pixels[1, :4] = -9999
    (note,) = look_at(_source(pixels)).notes
    assert "200 px (10.0 %) hold -9999" in note
    assert 'pass nodata="-9999" and nodata_rule="any", or' in str(note)
    said = _source(pixels, Declared(nodata=((-9999.0,),), rule="any"))
    assert (~said.read(Window(row=0, col=0, height=40, width=50)).valid).sum() == 200
    (note,) = look_at(_source(pixels, Declared(nodata=((-9999.0,),)))).notes
    assert note == (
        "-9999 is no data where all bands have it: 200 px (10.0 %) that have it in some bands only count as data; "
        'nodata_rule="any" makes them no data'
    )


def test_what_the_file_declares_stays_in_the_line(write):
    pixels = _data("int16", 1, 9000)
    pixels[:, :4], pixels[:, 4:8] = 0, -9999
    (note,) = look_at(Scene.open(write("a.tif", pixels, nodata=0))).notes
    assert 'pass nodata="0/-9999", or nodata="0" if they are data' in str(note)
    scene = Scene.open(write("a.tif", pixels, nodata=0)).declared(Declared(nodata=nodata_of("0/-9999")))
    assert (~scene.read(Window(row=0, col=0, height=40, width=50)).valid).sum() == 400


@pytest.mark.parametrize("turned", [False, True])
def test_a_block_of_zeros_at_the_border_is_noticed(turned):
    pixels = _data("uint16", 1, 9000, shape=(80, 80))
    rows, cols = np.indices((80, 80))
    outside = rows + cols < 40 if turned else cols < 8
    pixels[:, outside] = 0
    pixels[:, 60:64, 60:64] = 0  # no border: a shadow
    (note,) = look_at(_source(pixels)).notes
    count = int(outside.sum())
    assert str(note).startswith(
        f"{count:,} px ({count / 64:.1f} %) at the border are 0 in all bands and count as data; pass"
    )
    assert 'nodata="0", or nodata="none"' in str(note)


def test_zeros_that_are_few_inside_or_in_some_bands_are_data():
    inside, some, few = (_data("uint16", 1, 9000, shape=(80, 80)) for _ in range(3))
    inside[:, 20:60, 20:60] = 0
    some[:2, :, :20] = 0
    few[:, :1, :50] = 0
    for pixels in (inside, some, few):
        assert look_at(_source(pixels)).notes == ()


def test_what_is_no_data_already_is_not_noticed(write):
    pixels = _data("float32", 1, 2)
    pixels[:, :10] = np.nan
    assert look_at(_source(pixels)).notes == ()
    pixels[:, :10] = 0
    assert look_at(Scene.open(write("a.tif", pixels, nodata=0))).notes == ()
    mask = np.ones((40, 50), bool)
    mask[:10] = False
    assert look_at(Scene.open(write("b.tif", pixels, mask=mask))).notes == ()


@given(
    shape=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    block=st.sampled_from([(1, 0), (256, 256), (512, 512)]),
)
def test_a_sample_has_the_borders_and_costs_no_more_than_it_may(shape, block):
    from geoseg.raster.sample import _parts

    rows, cols = _parts(shape, (block[0], block[1] or shape[1]))
    for parts, length in ((rows, shape[0]), (cols, shape[1])):
        assert parts[0][0] == 0 or len(parts) == 1
        assert parts[-1][1] == length or len(parts) == 1
        assert all(0 <= start < stop <= length for start, stop in parts)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(parts))
    read = sum(b - a for a, b in rows) * sum(b - a for a, b in cols)
    assert read <= max(2**20, shape[0] * shape[1] // 16) * 1.6


def test_of_a_large_scene_blocks_are_looked_at(write):
    pixels = np.random.default_rng(0).integers(1, 200, (1, 2500, 2600), dtype=np.uint8)
    pixels[:, :, :600] = 0
    scene = Scene.open(write("a.tif", pixels, tiled=True, blockxsize=256, blockysize=256))
    look = sample(scene)
    assert not look.whole
    assert look.valid.size < 1.2 * 2**20
    (note,) = look_at(scene).notes
    share = float(str(note).split("about ")[1].split(" %")[0])
    assert abs(share - 100 * 600 / 2600) < 12
    assert "of the pixels at the border are 0" in note


def test_what_passes_in_windows_is_what_is_seen_at_once():
    pixels = _data("float32", 0.1, 0.5, shape=(60, 60))
    pixels[:, :20, :5], pixels[1, 30:33], pixels[0, 40, 40] = FLOAT_MIN, -9999, 9999
    no_data = NoData(values=((),) * 3, dtypes=(np.dtype("float32"),) * 3)
    once, parts = Watch(no_data), Watch(no_data)
    valid = np.ones((60, 60), bool)
    once.add(pixels, valid)
    for row in range(0, 60, 7):
        parts.add(pixels[:, row : row + 7], valid[row : row + 7])
    assert once.suspects() == parts.suspects()
    assert [(s.value, s.bands, s.pixels, s.apart) for s in once.suspects()] == [
        (-9999.0, (1,), 180, True), (FLOAT_MIN, (0, 1, 2), 100, False),
    ]  # fmt: skip


def _alpha(write, plane: np.ndarray, name: str | None = None) -> Scene:
    pixels = _data("uint8", 1, 250, 4)
    pixels[3] = plane

    def setup(dataset):
        dataset.colorinterp = [Color.red, Color.green, Color.blue, Color.alpha]
        if name:
            dataset.descriptions = ("", "", "", name)

    return Scene.open(write("a.tif", pixels, setup=setup))


NIR = np.where(np.arange(2000).reshape(40, 50) < 1000, 0, np.arange(2000).reshape(40, 50) % 250).astype(
    "uint8"
)
MASK = np.where(np.arange(2000).reshape(40, 50) < 1000, 0, 255).astype("uint8")


@pytest.mark.parametrize("name", ["nir", "NIR", "Near Infrared", "B8", "ndvi", "dsm"])
def test_a_band_with_a_name_that_is_not_alpha_is_data_whatever_its_tag(write, name):
    for plane in (NIR, MASK):
        scene = _alpha(write, plane, name)
        assert (scene.bands, scene.alpha_band, scene.validity_band) == ((1, 2, 3, 4), None, None)


@pytest.mark.parametrize("name", [None, "alpha", "Alpha", "alpha channel", "Band 4", "band_04", "mask"])
def test_a_band_tagged_alpha_without_another_name_is_validity_where_it_looks_so(write, name):
    scene = _alpha(write, MASK, name)
    assert alpha_of(scene) == (4, None)
    assert scene.read(Window(row=0, col=0, height=40, width=50)).valid.sum() == 1000


def test_an_alpha_of_many_numbers_is_taken_for_data_and_that_is_said(write):
    number, note = alpha_of(_alpha(write, NIR))
    assert number is None
    assert note == (
        "band 4 is tagged alpha and takes 249 values from 1 to 249: it is taken for data and leaves no pixel out; pass "
        'alpha=4 if it says which pixels are valid, alpha="none" if not'
    )
    for said, expected in ((4, 4), ("none", None)):
        assert alpha_of(_alpha(write, NIR).declared(Declared(alpha=said))) == (expected, None)


def test_a_soft_edge_is_validity_and_that_is_said(write):
    soft = MASK.copy()
    soft[20, :] = np.arange(50) * 5 + 1
    number, note = alpha_of(_alpha(write, soft))
    assert number == 4
    assert "takes 51 values" in note
    assert '(50.0 % are not); pass alpha="none"' in str(note)
