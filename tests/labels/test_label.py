"""What all forms of labels share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, Meanings, on_image, one_hot

windows = st.builds(
    Window,
    row=st.integers(-9, 9),
    col=st.integers(-9, 9),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (2, 20),
        (2.0, 20),
        (np.uint8(2), 20),
        ("2", 20),
        (True, 10),
        (" Forest ", 30),
        ("FOREST", 30),
        (9, UNKNOWN),
        (2.5, None),
        ("sea", None),
        (None, None),
    ],
)
def test_a_value_is_read_as_a_number_or_as_a_name(value: object, code: int | None) -> None:
    meanings = Meanings(codes=(10, 20, 30), code_of={1: 10, 2: 20, "forest": 30, 9: UNKNOWN})
    assert meanings.code(value) == code


@pytest.mark.parametrize("value", [1.5, np.float32(1.5), "1.5", " 1.5\n"])
def test_levels_that_are_no_whole_numbers_are_classes_of_that_name(value: object) -> None:
    assert Meanings(codes=(1, 2), code_of={"1.5": 1, 2: 2}).code(value) == 1


def test_one_hot_layers_keep_the_order_and_what_is_unknown() -> None:
    codes = np.array([[3, 7, UNKNOWN, 5]], dtype=np.uint8)
    layers = one_hot(codes, (3, 5, 7))
    assert layers.dtype == np.uint8
    np.testing.assert_array_equal(layers[:, 0], [[1, 0, UNKNOWN, 0], [0, 0, UNKNOWN, 1], [0, 1, UNKNOWN, 0]])


@given(windows, st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_on_image_is_true_exactly_on_the_image(window: Window, shape: tuple[int, int]) -> None:
    expected = [
        [0 <= row < shape[0] and 0 <= col < shape[1] for col in range(window.col, window.col_stop)]
        for row in range(window.row, window.row_stop)
    ]
    np.testing.assert_array_equal(on_image(window, shape), expected)
