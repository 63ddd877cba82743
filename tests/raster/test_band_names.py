"""Bands by what they are called: words, and numbers of satellites that count differently."""

from __future__ import annotations

import re

import pytest

from geoseg.errors import OptionError
from geoseg.raster.band_names import find_bands, meanings, only_counted, read_name
from geoseg.raster.source import band_numbers

RGB = ("red", "green", "blue")
RGBN = (*RGB, "nir")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("red", "red"), ("RED", "red"), ("Red band", "red"), ("R", "red"), ("red (665 nm)", "red"),
        ("Red_665nm", "red"), ("Band 4 - Red", "red"), ("B4 (Red)", "red"), ("Band 4: Red (0.636-0.673 µm)", "red"),
        ("red_reflectance", "red"), ("Landsat 8 Red", "red"), ("near infrared", "nir"), ("Near-Infrared", "nir"),
        ("NIR", "nir"), ("nir08", "nir08"), ("SWIR 1", "swir16"), ("swir2", "swir22"), ("swir16", "swir16"),
        ("Red Edge 1", "rededge1"), ("rededge2", "rededge2"), ("red edge", "rededge"), ("Coastal aerosol", "coastal"),
        ("NDVI", None), ("red mask", None), ("Red-Green ratio", None), ("reduced", None), ("赤", None), ("B04", None),
        ("std red", None), ("C band", None), ("Band B", None), ("", None), ("yellow", "yellow"), ("nir 2", "nir2"),
    ],
)  # fmt: skip
def test_words_say_what_a_band_shows(name: str, word: str | None) -> None:
    assert read_name(name).word == word


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("B04", "4"), ("B4", "4"), ("b8a", "8a"), ("Band 4", "4"), ("band_11", "11"), ("SR_B4", "4"), ("sr_band4", "4"),
        ("T33UUP_20200101T100319_B04_10m", "4"), ("LC08_L2SP_192027_20200101_20200113_02_T1_SR_B4", "4"),
        ("B08, central wavelength 842 nm", "8"), ("B4 / B3", None), ("质量 B4", None), ("4", None), ("B04 mask", None),
        ("Nadir_Reflectance_Band1", None), ("B123", None),
    ],
)  # fmt: skip
def test_numbers_are_those_of_a_satellite(name: str, number: str | None) -> None:
    assert read_name(name).number == number


@pytest.mark.parametrize(
    ("wanted", "names", "path", "numbers"),
    [
        (RGBN, ("B02", "B03", "B04", "B08"), "", (3, 2, 1, 4)),
        (RGBN, ("B2", "B3", "B4", "B8"), "", (3, 2, 1, 4)),
        (RGB, ("B2", "B3", "B4"), "", (3, 2, 1)),
        (RGB, ("SR_B4", "SR_B3", "SR_B2"), "", (1, 2, 3)),
        (RGBN, ("SR_B1", "SR_B2", "SR_B3", "SR_B4"), "LE07_L2SP_x.tif", (3, 2, 1, 4)),
        (RGBN, ("SR_B1", "SR_B2", "SR_B3", "SR_B4"), "LT05/stack.tif", (3, 2, 1, 4)),
        (RGBN, ("SR_B2", "SR_B3", "SR_B4", "SR_B5"), "LC09_L2SP_x.tif", (3, 2, 1, 4)),
        (RGBN, ("B02", "B03", "B04", "B05"), "HLS.L30.T33UUP.2020001.tif", (3, 2, 1, 4)),
        (RGBN, ("Blue", "Green", "Red", "Near infrared"), "", (3, 2, 1, 4)),
        (RGB, ("Band 4 - Red", "Band 3 - Green", "Band 2 - Blue"), "", (1, 2, 3)),
        (("B02", "B03", "B04"), RGB, "", (3, 2, 1)),
        (("B2", "B3", "B4", "B8"), ("B02", "B03", "B04", "B08"), "", (1, 2, 3, 4)),
        (("red", "nir"), ("red", "nir08"), "", (1, 2)),
        (("red", "nir"), ("nir08", "nir", "red"), "", (3, 2)),
        (RGB, ("sur_refl_b01", "sur_refl_b02", "sur_refl_b03", "sur_refl_b04"), "", (1, 4, 3)),
        (("blue", "green"), ("GREEN", "Blue", "NDVI"), "", (2, 1)),
    ],
)  # fmt: skip
def test_bands_are_found_by_their_meaning(
    wanted: tuple[str, ...], names: tuple[str, ...], path: str, numbers: tuple[int, ...]
) -> None:
    assert find_bands(wanted, names, path).numbers == numbers
    assert band_numbers(wanted, names, path) == numbers


@pytest.mark.parametrize(
    ("wanted", "names", "doubt"),
    [
        (RGB, ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"), "Landsat 8 and 9 or .* Landsat 4 to 7"),
        (RGBN, ("B2", "B3", "B4", "B5"), "Landsat 8 and 9 or as on Sentinel-2"),
        (("red", "green"), ("red", "Green", "red"), "several of its bands are called red"),
    ],
)
def test_names_that_may_mean_two_things_are_asked_about(
    wanted: tuple[str, ...], names: tuple[str, ...], doubt: str
) -> None:
    found = find_bands(wanted, names)
    assert found.numbers is None
    assert re.search(doubt, found.doubt)
    with pytest.raises(OptionError, match=r"x\.tif: .*use (the names|numbers)"):
        band_numbers(wanted, names, "x.tif")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (RGB, ("Band 1", "Band 2", "Band 3")),  # Landsat 7's, or three bands that were counted
        (RGB, ("B1", "B2", "B3")),
        (RGBN, ("B02", "B03", "B04", "B05")),  # Sentinel-2's red edge is no near infrared
        (RGBN, RGB),
        (RGB, ("VV", "VH", "DEM")),
        (RGB, (None, "green", "blue")),
    ],
)
def test_what_names_do_not_say_is_not_found(wanted: tuple[str, ...], names: tuple[str | None, ...]) -> None:
    assert find_bands(wanted, names).numbers is None


def test_what_was_assumed_is_said() -> None:
    assert find_bands(RGB, ("Red band", "green", "BLUE")).note == ""
    note = find_bands(RGB, ("B02", "B03", "B04")).note
    assert note == "B04, B03, B02 are used as red, green, blue, by the numbers of Sentinel-2"
    assert find_bands(("nir",), ("nir08",)).note == "nir08 is used as nir"


def test_counted_bands_have_no_names() -> None:
    assert only_counted(("Band 1", "Band 2"))
    assert only_counted(("1", "2", "3"))
    assert not only_counted(("B02", "B03"))
    assert not only_counted(("B1", "B2"), "LC08_x.tif")
    assert meanings(("B04", "ndvi", None)) == (frozenset(["red"]), frozenset(), frozenset())
