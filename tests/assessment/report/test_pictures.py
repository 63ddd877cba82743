"""Pictures are decoded again: every pixel has its class's own colour, or says that there is none."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from geoseg.assessment.report.pictures import Look, differences, painted
from geoseg.datasets.dataset import IGNORED
from geoseg.grid.legend import Legend
from geoseg.models.model import Model

COLORS = ((200, 30, 30), (30, 160, 60), (20, 60, 220))
MASKS = arrays.arrays(
    np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([IGNORED, 0, 1, 2])
)


def decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/webp;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


@given(MASKS)
def test_every_class_has_its_colour_and_nothing_is_see_through(mask: np.ndarray) -> None:
    found = decoded(painted(mask, COLORS))
    for place in np.ndindex(mask.shape):
        if mask[place] < 0:
            assert found[place][3] == 0
        else:
            assert tuple(found[place]) == (*COLORS[mask[place]], 255)


def test_colours_of_classes_that_overlap_are_mixed() -> None:
    layers = np.array([[[1, 1, 0, IGNORED]], [[0, 1, 0, IGNORED]]])
    found = decoded(painted(layers, COLORS[:2]))[0]
    assert tuple(found[0]) == (*COLORS[0], 255)
    assert tuple(found[1]) == (115, 95, 45, 255)
    assert 0 < found[2][3] < 60, "labelled, but as nothing"
    assert found[3][3] == 0


@given(MASKS, st.randoms(use_true_random=False))
def test_red_is_where_maps_differ(mask: np.ndarray, random) -> None:
    predicted = np.array([random.choice([0, 1, 2]) for _ in range(mask.size)]).reshape(mask.shape)
    found = decoded(differences(mask, predicted))
    for place in np.ndindex(mask.shape):
        red, green, _, alpha = (int(value) for value in found[place])
        assert (alpha == 0) == (mask[place] < 0)
        if mask[place] >= 0:
            assert (red > green + 50) == (mask[place] != predicted[place])


def test_more_wrong_classes_are_a_stronger_red() -> None:
    reference = np.array([[[0, 0, 0]], [[0, 0, IGNORED]]])
    predicted = np.array([[[0, 1, 1]], [[0, 1, 1]]])
    alphas = decoded(differences(reference, predicted))[0, :, 3]
    assert alphas[0] < alphas[2] < alphas[1] == 255


def test_large_pictures_become_small() -> None:
    uri = painted(np.zeros((1000, 500), dtype=np.int64), COLORS)
    assert decoded(uri).shape == (384, 192, 4)


def a_card(bands: tuple[str, ...]):
    return Model.new(
        architecture="Unet", encoder="tu-mobilenetv3_small_050", bands=bands, classes=Legend.parse("a,b"),
        tile_size=32, decoder_options={"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    ).card  # fmt: skip


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("nir", "Red", "green", "blue"), (1, 2, 3)),
        (("b1", "b2", "b3", "b4"), (0, 1, 2)),
        (("sar", "dem"), (0,)),
    ],
)
def test_natural_colours_where_bands_say_so(bands: tuple[str, ...], shown: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (len(bands), 40, 50)).astype(np.uint8)
    valid = np.ones((40, 50), dtype=bool)
    valid[:10] = False
    look = Look.of(a_card(bands), pixels, valid)
    assert look.bands == shown
    assert (set(look.low), set(look.high)) == ({0.0}, {255.0}), "bytes are shown as they are"
    found = decoded(look.photo(pixels, valid))
    assert (found[:10, :, 3] == 0).all()
    assert (found[10:, :, 3] == 255).all()


def test_other_numbers_are_stretched_between_percentiles_of_valid_pixels() -> None:
    pixels = np.linspace(1000, 3000, 2000).reshape(1, 40, 50)
    valid = np.ones((40, 50), dtype=bool)
    pixels[0, 0, :5], valid[0, :5] = -9999, False
    look = Look.of(a_card(("dem",)), pixels, valid)
    low, high = np.percentile(pixels[0][valid], (2, 98))
    assert (look.low, look.high) == ((low,), (high,))
    constant = Look.of(a_card(("dem",)), np.full((1, 4, 4), 7.5), np.zeros((4, 4), dtype=bool))
    assert decoded(constant.photo(np.full((1, 4, 4), 7.5), np.zeros((4, 4), dtype=bool)))[..., 3].max() == 0
