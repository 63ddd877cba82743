"""Rows read by several threads are those that one reads; no block is decoded twice."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from geoseg.engine.plan import Plan
from geoseg.engine.rows import RowReader, _shares
from geoseg.errors import SceneError
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.scene import Scene


@given(st.integers(-20, 40), st.integers(1, 200), st.integers(1, 120), st.integers(1, 40), st.integers(1, 9))
def test_shares_are_cut_between_blocks_and_hold_pixels_of_their_own(
    first: int, extent: int, length: int, block: int, count: int
) -> None:
    first = min(first, length - 1)
    stop = max(first + extent, 1)
    shares = _shares((first, stop), length, block, count)
    assert 1 <= len(shares) <= count
    assert (shares[0][0], shares[-1][1]) == (first, stop)
    for (_, end), (begin, _) in pairwise(shares):
        assert end == begin
        assert end % block == 0
    for begin, end in shares:
        assert begin < end
        assert max(begin, 0) < min(end, length)


LAYOUTS = {
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "strips": {"blockysize": 8},
    "one block": {"tiled": True, "blockxsize": 256, "blockysize": 256},
}


@pytest.fixture(params=LAYOUTS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    path = tmp_path / "s.tif"
    pixels = np.random.default_rng(0).integers(0, 9, (2, 150, 130), dtype=np.uint8)
    profile = {"driver": "GTiff", "count": 2, "height": 150, "width": 130, "dtype": "uint8", "nodata": 0}
    transform = from_origin(500, 900, 10, 10)
    with rasterio.open(
        path, "w", transform=transform, compress="deflate", **profile, **LAYOUTS[request.param]
    ) as file:
        file.write(pixels)
    return Scene.open(path)


class Watched:
    """A scene that remembers what each thread read, and cannot read some rows."""

    def __init__(self, inner: Scene, broken: Window | None = None) -> None:
        self.inner, self.broken = inner, broken
        self.grid, self.count, self.dtype, self.block_shape = (
            inner.grid, inner.count, inner.dtype, inner.block_shape,
        )  # fmt: skip
        self.reads: list[tuple[str, Window]] = []

    def read(self, window: Window) -> Chip:
        self.reads.append((threading.current_thread().name, window))
        if self.broken is not None and window.intersection(self.broken):
            raise SceneError("broken block")
        return self.inner.read(window)


def rows_of(
    scene: Scene, threads: int, broken: Window | None = None
) -> tuple[list[Chip], RowReader, Watched]:
    plan = Plan.of(scene.grid.shape, Tiling(size=40, overlap=10), 3)
    watched = Watched(scene, broken)
    reader = RowReader(watched, plan, tolerant=broken is not None, threads=threads)  # type: ignore[arg-type]
    chips = [reader.read(strip.start - plan.margin, strip.read_stop - plan.margin) for strip in plan.strips]
    reader.close()
    return chips, reader, watched


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_several_threads_read_what_one_reads(scene: Scene, threads: int) -> None:
    alone, _, _ = rows_of(scene, 1)
    several, _, watched = rows_of(scene, threads)
    for ours, theirs in zip(several, alone, strict=True):
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        np.testing.assert_array_equal(ours.valid, theirs.valid)
    names = {name for name, _ in watched.reads if name.startswith("geoseg-decode")}
    assert bool(names) == (scene.block_shape[0] < 150 and scene.block_shape[1] <= 130)
    inside = np.zeros(scene.grid.shape, dtype=int)
    for _, window in watched.reads:
        part = window.within(scene.grid.shape)
        if part is not None:  # rows below the scene are reflected
            inside[part.slices] += 1
    assert (inside == 1).all()
    assert not [t for t in threading.enumerate() if t.name.startswith("geoseg-decode")]


def test_what_cannot_be_read_is_no_data_in_several_threads_too(scene: Scene) -> None:
    broken = Window(row=20, col=70, height=1, width=1)
    alone, one, _ = rows_of(scene, 1, broken)
    several, many, _ = rows_of(scene, 3, broken)
    assert one.damaged == many.damaged != []
    for ours, theirs in zip(several, alone, strict=True):
        np.testing.assert_array_equal(ours.valid, theirs.valid)
        np.testing.assert_array_equal(ours.pixels[:, ours.valid], theirs.pixels[:, theirs.valid])
