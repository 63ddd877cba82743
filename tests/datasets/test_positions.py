"""Where windows can lie, against trying every position."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.class_index import Cells
from geoseg.datasets.labelled_samplers import Positions
from geoseg.grid.window import Window


@given(
    st.tuples(*[st.integers(1, 40) | st.integers(70, 120)] * 2),
    st.tuples(*[st.integers(1, 40) | st.integers(1, 130)] * 2),
    st.sampled_from([None, 0.0, 0.1, 0.3, 0.3, 0.5, 1.0]),
    st.integers(0, 2**32),
)
def test_law_every_useful_position_has_one_number(
    shape: tuple[int, int], size: tuple[int, int], share: float | None, seed: int
) -> None:
    random = np.random.default_rng(seed)
    cells = None
    if share is not None:
        cells = Cells.empty(shape, 2)
        cells.labelled[...] = random.random(cells.labelled.shape) < share
    expected = set()
    for row in range(max(1, shape[0] - size[0] + 1)):
        for col in range(max(1, shape[1] - size[1] + 1)):
            window = Window(row=row, col=col, height=size[0], width=size[1])
            if cells is not None:
                on_image = window.within(shape)
                assert on_image is not None
                rows = slice(on_image.row // cells.edge, (on_image.row_stop - 1) // cells.edge + 1)
                cols = slice(on_image.col // cells.edge, (on_image.col_stop - 1) // cells.edge + 1)
                if not cells.labelled[rows, cols].any():
                    continue
            expected.add(window)
    positions = Positions(shape, size, cells)
    assert positions.count == len(expected)
    found = [positions.window(number) for number in range(positions.count)]
    assert len(found) == len(set(found))
    assert set(found) == expected
