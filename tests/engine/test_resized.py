"""Resized images: as torch and Pillow resize them, over the same ground, and without what is not valid."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from geoseg.engine import resized, torch_resize
from geoseg.engine.resize import resize_planes, resize_valid
from geoseg.engine.resized import ResizedSource, resize_chip
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.chip import Chip
from geoseg.raster.scene import Scene

edges = st.integers(1, 24)
shapes = st.tuples(edges, edges)
seeds = st.integers(0, 2**32 - 1)


@given(shapes, shapes, seeds)
def test_planes_are_resized_as_pillow_does(given_shape, wanted, seed) -> None:
    plane = np.random.default_rng(seed).random(given_shape, dtype=np.float32) * 255
    theirs = Image.fromarray(plane).resize(wanted[::-1], Image.Resampling.BILINEAR)
    tensor = torch_resize.resize_planes(torch.from_numpy(plane[None]), wanted)[0].numpy()
    for ours in (resize_planes(plane[None], wanted)[0], tensor):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-2)


def as_torch(planes: npt.NDArray[np.floating], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """torch's interpolation in float64, an axis at a time: of both at once it makes one column of the first row."""
    tensor = torch.from_numpy(planes.astype(np.float64))[None]
    for size in ((tensor.shape[2], shape[1]), shape):
        if tensor.shape[2:] != size and size[1] == 1:
            tensor = tensor.mT
            size = size[::-1]
            tensor = functional.interpolate(
                tensor, size=size, mode="bilinear", align_corners=False, antialias=True
            ).mT
        elif tensor.shape[2:] != size:
            tensor = functional.interpolate(
                tensor, size=size, mode="bilinear", align_corners=False, antialias=True
            )
    return tensor[0].numpy()


@pytest.mark.long
@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    seeds,
    st.sampled_from(["uint8", ">u2", "int32", "float16", "float32", "float64"]),
    st.sampled_from([0.0, 0.4, 1.0]),
)
@example((1, 1), (1, 1), 0, "uint8", 0.0)
@example((1, 40), (40, 1), 0, "uint8", 0.4)
@example((17, 30), (17, 12), 0, "uint8", 0.4)
@example((17, 30), (17, 30), 0, ">u2", 0.4)
def test_arrays_are_resized_as_torch_does(given_shape, wanted, seed, dtype, share) -> None:
    random = np.random.default_rng(seed)
    planes = random.integers(0, 200, (2, *given_shape)).astype(dtype)
    valid = random.random(given_shape) >= share
    expected = as_torch(planes, wanted)
    np.testing.assert_allclose(resize_planes(planes, wanted), expected, rtol=1e-5, atol=1e-4)
    found, there = resize_valid(planes, valid, wanted)
    assert (found.dtype, there.dtype) == (np.float32, np.bool_)
    near = functional.interpolate(
        torch.from_numpy(valid[None, None].astype(np.uint8)), wanted, mode="nearest-exact"
    )
    same = there == (near[0, 0].numpy() > 0)
    # Where the middle of a pixel lies between two, torch takes either of them.
    ties = [
        (2 * np.arange(new) + 1) * old % (2 * new) == 0 for old, new in zip(given_shape, wanted, strict=True)
    ]
    assert (same | ties[0][:, None] | ties[1]).all()
    weight = as_torch(valid[None].astype(float), wanted)
    means = as_torch(planes * valid, wanted) / np.maximum(weight, 1e-12)
    np.testing.assert_allclose(found, np.where(there, means, 0), rtol=1e-4, atol=1e-3)


@given(shapes, shapes, seeds)
def test_a_pixel_without_a_share_counts_for_nothing(given_shape, wanted, seed) -> None:
    """What is not a number stays where it is: a neighbour that it has no share in is a number."""
    plane = np.random.default_rng(seed).random(given_shape, dtype=np.float32)
    row, col = given_shape[0] // 2, given_shape[1] // 2
    hit = np.zeros(given_shape)
    hit[row, col] = 1
    plane[row, col] = np.nan
    found = resize_planes(plane[None], wanted)[0]
    np.testing.assert_array_equal(np.isnan(found), as_torch(hit[None], wanted)[0] > 1e-9)


@given(shapes, shapes, seeds, st.sampled_from(["uint8", "uint16", "float32", "float64"]))
def test_what_is_not_valid_never_counts(given_shape, wanted, seed, dtype) -> None:
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 200, (2, *given_shape))
    valid = random.random(given_shape) > 0.4
    answers = []
    for rubbish in (0, 255, *((np.nan, np.inf) if dtype.startswith("f") else ())):
        pixels = np.where(valid, numbers, rubbish).astype(dtype)
        answers.append(resize_chip(Chip(pixels=pixels, valid=valid), wanted))
    for answer in answers:
        assert answer.pixels.dtype == np.float32
        assert answer.pixels.shape == (2, *wanted)
        assert answer.valid.shape == wanted
        np.testing.assert_array_equal(answer.pixels, answers[0].pixels)
        assert (answer.pixels[:, ~answer.valid] == 0).all()
    # A mean of valid numbers lies among them.
    inside = answers[0].pixels[:, answers[0].valid]
    if valid.any():
        lowest, highest = numbers[:, valid].min(axis=1), numbers[:, valid].max(axis=1)
        assert (inside >= lowest[:, None] - 1e-2).all()
        assert (inside <= highest[:, None] + 1e-2).all()
    rows, cols = (
        [(i + 0.5) * length / count for i in range(count)]
        for length, count in zip(given_shape, wanted, strict=True)
    )
    for row, y in enumerate(rows):
        for col, x in enumerate(cols):
            near = {bool(valid[int(y + dy), int(x + dx)]) for dy, dx in _ties(y, x, given_shape)}
            assert answers[0].valid[row, col] in near


def _ties(y: float, x: float, shape: tuple[int, int]) -> list[tuple[float, float]]:
    """Steps to the pixels that are nearest to a place; several on the line between two."""
    step = 1e-4
    return [
        (dy, dx)
        for dy in (-step, step)
        for dx in (-step, step)
        if 0 <= y + dy < shape[0] and 0 <= x + dx < shape[1]
    ]


@given(shapes, seeds)
def test_its_own_shape_leaves_a_chip_as_it_is(shape, seed) -> None:
    random = np.random.default_rng(seed)
    valid = random.random(shape) > 0.3
    pixels = random.integers(0, 255, (3, *shape), dtype=np.uint8)
    same = resize_chip(Chip(pixels=pixels, valid=valid), shape)
    np.testing.assert_array_equal(same.valid, valid)
    np.testing.assert_array_equal(same.pixels[:, valid], pixels[:, valid].astype(np.float32))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A file of 40 x 60 px, two named bands of uint16, a corner without data."""
    pixels = np.random.default_rng(0).integers(1, 9999, (2, 40, 60), dtype=np.uint16)
    pixels[:, :9, :9] = 0
    profile = {
        "driver": "GTiff", "count": 2, "height": 40, "width": 60, "dtype": "uint16", "nodata": 0,
        "crs": "EPSG:32633", "transform": Affine(10, 2, 500000, 2, -10, 9900000),
    }  # fmt: skip
    with rasterio.open(tmp_path / "s.tif", "w", **profile) as dataset:
        dataset.write(pixels)
        dataset.set_band_description(1, "red")
        dataset.set_band_description(2, "nir")
    return Scene.open(tmp_path / "s.tif")


def test_a_resized_source_lies_over_the_same_ground(scene: Scene) -> None:
    small = ResizedSource(source=scene, shape=(10, 24))
    assert small.grid.shape == (10, 24)
    assert small.grid.crs == scene.grid.crs
    np.testing.assert_allclose(small.grid.transform @ (24, 10), scene.grid.transform @ (60, 40))
    np.testing.assert_allclose(small.grid.transform @ (0, 0), scene.grid.transform @ (0, 0))
    assert ResizedSource(source=scene, shape=(40, 60)).grid == scene.grid
    assert (small.dtype, small.count, small.names) == (np.float32, 2, ("red", "nir"))


def test_reading_a_window_is_cutting_it_out(scene: Scene) -> None:
    small = ResizedSource(source=scene, shape=(20, 24))
    whole = small.read(Window(row=0, col=0, height=20, width=24))
    part = Window(row=3, col=5, height=9, width=11)
    rows, cols = part.slices
    for chip in (small.read(part), small.crop(part).read(Window(row=0, col=0, height=9, width=11))):
        np.testing.assert_array_equal(chip.pixels, whole.pixels[:, rows, cols])
        np.testing.assert_array_equal(chip.valid, whole.valid[rows, cols])
    padded = small.read(Window(row=-2, col=0, height=4, width=24))
    np.testing.assert_array_equal(padded.pixels[:, 0], whole.pixels[:, 2])
    assert small.crop(part).grid == small.grid.cropped(part)


def test_other_bands_are_those_of_the_source(scene: Scene) -> None:
    both = ResizedSource(source=scene, shape=(20, 24))
    one = both.select(["nir"], validity_band=None)
    window = Window(row=0, col=0, height=20, width=24)
    assert one.names == ("nir",)
    np.testing.assert_array_equal(one.read(window).pixels[0], both.read(window).pixels[1])


def test_the_image_is_read_once_and_travels_without_its_pixels(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = Scene.read

    def counted(self: Scene, window: Window) -> Chip:
        nonlocal reads
        reads += 1
        return read(self, window)

    monkeypatch.setattr(Scene, "read", counted)
    resized._resized.cache_clear()
    small = ResizedSource(source=scene, shape=(20, 24))
    for row in range(0, 20, 5):
        small.read(Window(row=row, col=0, height=5, width=24))
    assert reads == 1
    again = pickle.loads(pickle.dumps(small))
    assert len(pickle.dumps(small)) < 5000
    window = Window(row=0, col=0, height=20, width=24)
    np.testing.assert_array_equal(again.read(window).pixels, small.read(window).pixels)


def test_an_array_is_resized_too() -> None:
    grid = Grid(height=8, width=8, transform=Affine.identity())
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    small = ResizedSource(source=ArraySource.of(pixels, grid=grid), shape=(4, 4))
    found = small.read(Window(row=0, col=0, height=4, width=4))
    assert found.valid.all()
    assert found.pixels[0, 0, 0] < found.pixels[0, 3, 3]
