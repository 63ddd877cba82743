import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.scene import Scene
from geoseg.raster.source import Source


@given(
    height=st.integers(1, 12), width=st.integers(1, 12), row=st.integers(-9, 11), col=st.integers(-9, 11),
    rows=st.integers(1, 25), cols=st.integers(1, 25), crop=st.booleans(),
)  # fmt: skip
def test_an_array_and_its_file_are_the_same_source(write, height, width, row, col, rows, cols, crop):
    pixels = np.random.default_rng(0).normal(size=(3, height, width)).astype("float32")
    pixels[1, 0, 0] = np.nan
    pixels[2, -1, -1] = -9999
    file: Source = Scene.open(write("a.tif", pixels, nodata=-9999))
    array: Source = ArraySource.of(pixels, grid=file.grid, nodata=-9999)
    for choose in (None, [3, 1]):
        if choose:
            file, array = (s.select(choose, validity_band=None) for s in (file, array))
        if crop and height > 1:
            inner = Window(row=1, col=0, height=height - 1, width=width)
            file, array = file.crop(inner), array.crop(inner)
            crop = False
        window = Window(row=row, col=col, height=rows, width=cols)
        one, other = file.read(window), array.read(window)
        assert np.array_equal(one.pixels, other.pixels, equal_nan=True)
        assert np.array_equal(one.valid, other.valid)
        for name in ("grid", "dtype", "count", "names", "bands", "scale", "offset", "alpha_band"):
            assert getattr(file, name) == getattr(array, name)


def test_what_the_caller_knows_of_validity_counts():
    pixels = np.array([[[1.0, np.nan, 3.0]], [[0.0, 1.0, 1.0]]])
    source = ArraySource.of(pixels, valid=np.array([[True, True, False]]), names=["a", None])
    whole = Window(row=0, col=0, height=1, width=3)
    assert source.read(whole).valid.tolist() == [[True, False, False]]
    chosen = source.select(["a"], validity_band=2)
    assert chosen.read(whole).valid.tolist() == [[False, False, False]]
    assert chosen.names == ("a",)


def test_reading_does_not_give_the_array_away():
    pixels = np.zeros((1, 2, 2))
    ArraySource.of(pixels).read(Window(row=0, col=0, height=2, width=2)).pixels[:] = 1
    assert not pixels.any()


def test_what_does_not_go_together_is_refused():
    array = np.zeros((2, 3, 4))
    grid = Grid(height=4, width=3, transform=Affine.identity())
    for call, reason in [
        (lambda: ArraySource.of(np.zeros((2, 0, 4))), "without an empty axis"),
        (lambda: ArraySource.of(np.zeros(3)), "expected \\(band, row, col\\)"),
        (lambda: ArraySource.of(array.astype(complex)), "expected real numbers"),
        (lambda: ArraySource.of(array, grid=grid), "grid of"),
        (lambda: ArraySource.of(array, valid=np.ones((4, 3), bool)), "valid of"),
        (lambda: ArraySource.of(array, names=["a"]), "1 name for an array"),
    ]:
        with pytest.raises(SceneError, match=reason):
            call()
    source = ArraySource.of(array)
    with pytest.raises(OptionError, match="extends beyond"):
        source.crop(Window(row=-1, col=0, height=2, width=2))
    with pytest.raises(OptionError, match="no band 3"):
        source.select([3], validity_band=None)
    with pytest.raises(OptionError, match="as data and as validity"):
        source.select([1], validity_band=1)
