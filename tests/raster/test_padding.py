import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoseg.raster.chip import border_indices


def _oracle(start, length, extent):
    """numpy.pad on the axis itself, each side by its own mode."""
    before, after = max(0, -start), max(0, start + length - extent)
    axis = np.arange(extent)
    axis = np.pad(axis, (before, 0), mode="reflect" if before < extent else "edge")
    tail = np.pad(np.arange(extent), (0, after), mode="reflect" if after < extent else "edge")[extent:]
    return np.concatenate([axis, tail])[start + before :][:length]


@given(extent=st.integers(1, 40), start=st.integers(-60, 39), length=st.integers(1, 120))
def test_equals_numpy_pad(extent, start, length):
    start = min(start, extent - 1)
    length = max(length, 1 - start)
    assert np.array_equal(border_indices(start, length, extent), _oracle(start, length, extent))


@given(extent=st.integers(1, 40), start=st.integers(-200, 200), length=st.integers(1, 120))
def test_stays_on_the_axis_wherever_the_window_lies(extent, start, length):
    indices = border_indices(start, length, extent)
    assert indices.shape == (length,)
    assert indices.min() >= 0
    assert indices.max() < extent
