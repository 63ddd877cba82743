"""Labels brought to another size are those of the nearest pixel, window by window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN
from geoseg.labels.resized_labels import ResizedLabels


@dataclass
class Codes:
    """Labels in memory, that must not be asked for more than the image has."""

    codes: npt.NDArray[np.uint8]
    path: str = "codes"

    @property
    def layered(self) -> bool:
        return self.codes.ndim == 3

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        assert window.within(self.codes.shape[-2:]) == window
        return self.codes[..., *window.slices].copy()


SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 30))


@given(SHAPES, SHAPES, st.integers(-5, 25), st.integers(-5, 25), st.integers(1, 12), st.booleans())
def test_each_pixel_has_the_label_under_its_centre(
    stored: tuple[int, int], shape: tuple[int, int], row: int, col: int, edge: int, layered: bool
) -> None:
    codes = np.random.default_rng(0).integers(0, 250, size=(2, *stored), dtype=np.uint8)
    if not layered:
        codes = codes[0]
    labels = ResizedLabels(labels=Codes(codes), stored=stored, shape=shape)
    assert labels.layered == layered
    found = labels.read(Window(row=row, col=col, height=edge, width=edge))
    for layer, expected in zip(np.atleast_3d(found.T).T, np.atleast_3d(codes.T).T, strict=True):
        for r in range(edge):
            for c in range(edge):
                inside = 0 <= row + r < shape[0] and 0 <= col + c < shape[1]
                at = (
                    (2 * (row + r) + 1) * stored[0] // (2 * shape[0]),
                    (2 * (col + c) + 1) * stored[1] // (2 * shape[1]),
                )
                assert layer[r, c] == (expected[at] if inside else UNKNOWN)


@pytest.mark.parametrize("shape", [(64, 64), (100, 37), (17, 300), (183, 276)])
def test_pillow_agrees(shape: tuple[int, int]) -> None:
    codes = np.random.default_rng(1).integers(0, 250, size=(183, 276), dtype=np.uint8)
    labels = ResizedLabels(labels=Codes(codes), stored=(183, 276), shape=shape)
    found = labels.read(Window(row=0, col=0, height=shape[0], width=shape[1]))
    expected = np.asarray(Image.fromarray(codes).resize(shape[::-1], Image.Resampling.NEAREST))
    # Where a centre lies on the border of two pixels, Pillow takes the other one.
    assert (found == expected).mean() > 0.95
