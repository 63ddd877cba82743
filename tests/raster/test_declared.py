"""What a person says about validity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.declared import Declared, nodata_of
from geoseg.raster.scene import Scene
from geoseg.raster.validity import equal, nodata_words, usable


def _valid(source):
    return source.read(Window(row=0, col=0, height=source.grid.height, width=source.grid.width)).valid


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (None, None), (0, ((0.0,),)), ("-9999", ((-9999.0,),)), ("none", ((),)), ("nan", ((),)), (np.nan, ((),)),
        ("0,0,none", ((0.0,), (0.0,), ())), ((0, None, 5), ((0.0,), (), (5.0,))), ("0/255", ((0.0, 255.0),)),
        ([[0, 255], 3], ((0.0, 255.0), (3.0,))), (np.int16(-9999), ((-9999.0,),)), (np.array([1, 2]), ((1.0,), (2.0,))),
        ("-3.4e38", ((-3.4e38,),)), (" 0 , 5 ", ((0.0,), (5.0,))),
    ],
)  # fmt: skip
def test_no_data_as_people_write_it(given_, expected):
    assert nodata_of(given_) == expected


@pytest.mark.parametrize("bad", ["", "x", "1,,2", "1;2", (), {}, "0x10", True, "--nodata"])
def test_what_is_no_number_is_refused_in_one_line(bad):
    with pytest.raises(OptionError, match=r"^nodata is .*expected a number, none, or one for each band"):
        nodata_of(bad)


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=3, unique=True).map(tuple),
        min_size=1, max_size=5,
    ).map(tuple)
)  # fmt: skip
def test_words_are_read_as_what_they_stand_for(values):
    words = nodata_of(nodata_words(values))
    expected = values[:1] if len(set(values)) == 1 else values
    assert [len(each) for each in words] == [len(each) for each in expected]
    for found, meant in zip(sum(words, ()), sum(expected, ()), strict=True):
        assert found == meant or (abs(meant) > 3e38 and equal(np.array([meant]), found, np.dtype("float64")))


@pytest.mark.parametrize("wrong", [{"rule": "some"}, {"alpha": 0}, {"alpha": "4"}, {"alpha": True}])
def test_other_wrong_words_are_refused(wrong):
    with pytest.raises(OptionError, match="expected"):
        Declared(**wrong)


def test_it_replaces_what_the_file_declares_and_leaves_masks_alone(write):
    pixels = np.array([[[0, 1, 2, 3]]], "uint8")
    mask = np.array([[True, True, True, False]])
    path = write("a.tif", pixels, nodata=0, mask=mask)
    assert _valid(Scene.open(path)).tolist() == [[False, True, True, False]]
    for nodata, valid in (("2", [True, True, False, False]), ("none", [True, True, True, False])):
        assert _valid(Scene.open(path).declared(Declared(nodata=nodata_of(nodata)))).tolist() == [valid]


def test_the_tag_of_all_bands_counts_together_and_is_replaced(write):
    """As GDAL keeps it: NODATA_VALUES, a number for each band, no data where all bands have theirs."""
    pixels = np.array([[[0, 0, 1, 5]], [[0, 7, 0, 6]], [[0, 0, 0, 7]]], "uint8")
    for declared in (None, 0):
        path = write("a.tif", pixels, nodata=declared, setup=lambda d: d.update_tags(NODATA_VALUES="0 0 0"))
        scene = Scene.open(path)
        assert _valid(scene).tolist() == [[False, True, True, True]]
        assert _valid(scene.select([3], validity_band=None))[0, 3]
        said = scene.declared(Declared(nodata=nodata_of("5,6,7")))
        assert _valid(said).tolist() == [[True, True, True, False]]


def test_a_value_for_each_band_in_the_order_of_the_scene(write):
    pixels = np.array([[[1, 0, 0]], [[2, 2, 0]], [[3, 0, 3]]], "uint8")
    said = Declared(nodata=nodata_of("1,none,3"))
    for source in (Scene.open(write("a.tif", pixels)), ArraySource.of(pixels)):
        source = source.declared(said)
        assert _valid(source).tolist() == [[False, True, False]]
        assert _valid(source.select([2], validity_band=None)).all()
        assert _valid(source.select([3, 2], validity_band=None)).tolist() == [[False, True, False]]
        assert _valid(source.declared(Declared(nodata=said.nodata, rule="all"))).tolist() == [
            [False, True, True]
        ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Declared(nodata=((0.0,), (1.0,))), "has 3 bands, and nodata= has 2 values"),
        (Declared(nodata=((-9999.0,),)), "nodata=.-9999. is no number of uint8"),
        (Declared(nodata=((0.5,),)), "nodata=.0.5. is no number of uint8"),
        (Declared(alpha=4), "has no band 4"),
    ],
)
def test_what_a_scene_cannot_mean_is_refused(write, said, reason):
    pixels = np.ones((3, 4, 4), "uint8")
    for source in (Scene.open(write("a.tif", pixels)), ArraySource.of(pixels)):
        with pytest.raises(OptionError, match=reason):
            source.declared(said)


def test_alpha_by_number_and_none(write):
    pixels = np.array([[[1, 2]], [[0, 5]]], "uint8")
    for source in (Scene.open(write("a.tif", pixels)), ArraySource.of(pixels)):
        by_number = source.declared(Declared(alpha=2))
        assert (by_number.bands, by_number.validity_band, by_number.alpha_band) == ((1,), 2, 2)
        assert _valid(by_number).tolist() == [[False, True]]
        assert _valid(source.declared(Declared(alpha="none"))).all()


@given(
    count=st.integers(1, 4), seed=st.integers(0, 999), rule=st.sampled_from([None, "all", "any"]),
    shared=st.booleans(),
)  # fmt: skip
def test_the_rule_of_several_bands_written_out(count, seed, rule, shared):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 3, (count, 4, 5)).astype("int16")
    values = (
        [(0.0,)] * count
        if shared
        else [((), (0.0,), (1.0,), (0.0, 2.0))[i] for i in rng.integers(0, 4, count)]
    )
    together = rule == "all" or (rule is None and len(set(values)) == 1)
    found = usable(pixels, values, [np.dtype("int16")] * count, rule)
    for row in range(4):
        for col in range(5):
            held = [pixels[i, row, col] in values[i] for i in range(count) if values[i]]
            absent = (bool(held) and all(held)) if together else any(held)
            assert found[row, col] == (not absent)
