from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.window import Window

windows = st.builds(
    Window,
    row=st.integers(-20, 20),
    col=st.integers(-20, 20),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
)


def pixels(window: Window) -> set[tuple[int, int]]:
    return {(r, c) for r in range(window.row, window.row_stop) for c in range(window.col, window.col_stop)}


@given(windows, windows)
def test_intersection_is_the_common_pixels(a: Window, b: Window) -> None:
    common = a.intersection(b)
    assert (pixels(common) if common else set()) == pixels(a) & pixels(b)


@given(windows, st.integers(-9, 9), st.integers(-9, 9))
def test_shift_moves_every_pixel(window: Window, rows: int, cols: int) -> None:
    assert pixels(window.shifted(rows, cols)) == {(r + rows, c + cols) for r, c in pixels(window)}


def test_slices_cut_an_array() -> None:
    array = np.arange(20).reshape(4, 5)
    window = Window(row=1, col=2, height=2, width=3)
    np.testing.assert_array_equal(array[window.slices], [[7, 8, 9], [12, 13, 14]])


def test_slices_refuse_what_would_count_from_the_end() -> None:
    with pytest.raises(IndexError, match="outside"):
        _ = Window(row=-1, col=0, height=2, width=2).slices


def test_touching_windows_share_nothing() -> None:
    a = Window(row=0, col=0, height=2, width=2)
    assert a.intersection(a.shifted(2, 0)) is None


@pytest.mark.parametrize("edges", [(0, 1), (1, 0), (-1, 2)])
def test_empty_windows_are_refused(edges: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="empty"):
        Window(row=0, col=0, height=edges[0], width=edges[1])


@pytest.mark.parametrize("value", [1.0, np.int64(1), True, "1"])
def test_only_integers_are_pixels(value: object) -> None:
    with pytest.raises(TypeError, match="expected an int"):
        Window(row=value, col=0, height=1, width=1)  # type: ignore[arg-type]
