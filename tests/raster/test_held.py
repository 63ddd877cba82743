"""A held source reads what its source reads, and decodes it once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.scene import Scene
from geoseg.raster.wrapped_source import HeldSource


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.lists(
        st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 12), st.integers(1, 12)), min_size=1
    ),
    st.permutations([1, 2, 3]),
)
def test_every_window_is_the_sources(
    height: int, width: int, windows: list[tuple[int, int, int, int]], bands: list[int]
) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (3, height, width), dtype=np.uint8)
    source = ArraySource.of(pixels, valid=generator.random((height, width)) > 0.3, names=["a", "b", "c"])
    kept = HeldSource(source=source).select(bands[:2], validity_band=bands[2])
    plain = source.select(bands[:2], validity_band=bands[2])
    assert (kept.names, kept.grid, kept.dtype) == (plain.names, plain.grid, plain.dtype)
    for row, col, rows, cols in windows:
        window = Window(row=row, col=col, height=rows, width=cols)
        ours, theirs = kept.read(window), plain.read(window)
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        np.testing.assert_array_equal(ours.valid, theirs.valid)


def test_a_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((20, 30, 3), 7, dtype=np.uint8)).save(tmp_path / "a.png")
    kept = HeldSource(source=Scene.open(tmp_path / "a.png"))
    decoded = []
    read = Scene.read_inside

    def counted(self: Scene, window: Window) -> object:
        decoded.append(window)
        return read(self, window)

    monkeypatch.setattr(Scene, "read_inside", counted)
    for row in (3, -2, 0):
        assert kept.read(Window(row=row, col=0, height=20, width=30)).pixels.max() == 7
    assert decoded == [Window(row=0, col=0, height=20, width=30)]


def test_what_is_whole_of_a_damaged_picture_is_read(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (256, 64), dtype=np.uint8)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 3 // 4])
    kept = HeldSource(source=Scene.open(tmp_path / "a.jpg"))
    top = kept.read(Window(row=0, col=0, height=8, width=64))
    assert top.pixels.std() > 10
    with pytest.raises(SceneError, match="damaged or incomplete"):
        kept.read(Window(row=0, col=0, height=256, width=64))
