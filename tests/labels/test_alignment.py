"""Labels on other grids: each pixel of the image takes the label pixel its centre lies on."""

from __future__ import annotations

import logging
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels import alignment
from geoseg.labels.alignment import Alignment
from geoseg.raster.scene import Scene
from tests.strategies import affines

UTM = CRS.from_epsg(32633).to_wkt()
IMAGE = Grid(height=60, width=80, transform=Affine(10, 0, 500_000, 0, -10, 5_600_000), crs=UTM)
WHOLE = Window(row=0, col=0, height=60, width=80)


def labels_on(tmp_path: Path, grid: Grid, pixels: np.ndarray | None = None) -> Scene:
    """A file of labels on a grid; every pixel has a number of its own unless they are given."""
    numbers = np.arange(grid.height * grid.width, dtype=np.int32).reshape(grid.shape)
    pixels = numbers if pixels is None else pixels
    path = tmp_path / "labels.tif"
    path.unlink(missing_ok=True)
    profile = {
        "driver": "GTiff",
        "count": 1,
        "height": grid.height,
        "width": grid.width,
        "dtype": pixels.dtype,
    }
    with rasterio.open(path, "w", **profile, transform=grid.transform, crs=grid.crs) as file:
        file.write(pixels, 1)
    return Scene.open(path)


def naive(image: Grid, labels: Scene) -> np.ndarray:
    """Label pixel under each centre, one by one, -1 where there is none."""
    with rasterio.open(labels.path) as file:
        pixels = file.read(1)
    found = np.full(image.shape, -1, dtype=np.int64)
    forth, back = image.transform, ~labels.grid.transform
    for row in range(image.height):
        centres = [forth @ (col + 0.5, row + 0.5) for col in range(image.width)]
        xs, ys = zip(*centres, strict=True)
        if image.crs != labels.grid.crs:
            xs, ys = rasterio.warp.transform(image.crs, labels.grid.crs, xs, ys)
        for col, centre in enumerate(zip(xs, ys, strict=True)):
            at_col, at_row = (math.floor(v + 1e-6) for v in back @ centre)
            if 0 <= at_row < labels.grid.height and 0 <= at_col < labels.grid.width:
                found[row, col] = pixels[at_row, at_col]
    return found


def read(aligned: Alignment, window: Window) -> np.ndarray:
    pixels, known = aligned.read(window)
    assert pixels.shape == known.shape == (1, *window.shape)
    return np.where(known[0], pixels[0].astype(np.int64), -1)


def check(image: Grid, labels: Scene) -> Alignment:
    """Read as the naive loop does, and in windows that stick out as in one piece."""
    aligned = Alignment.of((labels,), image)
    expected = naive(image, labels)
    np.testing.assert_array_equal(
        read(aligned, Window(row=0, col=0, height=image.height, width=image.width)), expected
    )
    again = pickle.loads(pickle.dumps(aligned))
    corner = read(again, Window(row=-2, col=-3, height=12, width=13))
    np.testing.assert_array_equal(corner[2:, 3:], expected[:10, :10])
    return aligned


@given(
    transform=affines(),
    turn=st.sampled_from([0.0, 0.0, 90.0, 180.0, 31.0]),
    scale=st.sampled_from([1.0, 1.0, 0.31, 2.7, -1.0]),
    move=st.tuples(st.floats(-15, 15), st.floats(-15, 15)) | st.sampled_from([(3.0, -4.0), (0.3, 0.0), (0.0, 0.0)]),
)  # fmt: skip
def test_labels_on_any_grid_of_the_same_crs(
    tmp_path: Path, transform: Affine, turn: float, scale: float, move: tuple[float, float]
) -> None:
    image = Grid(height=20, width=24, transform=transform, crs=None)
    other = (
        transform
        @ Affine.translation(*move)
        @ Affine.rotation(turn, (12, 10))
        @ Affine.scale(scale, abs(scale))
    )
    scene = labels_on(tmp_path, Grid(height=22, width=21, transform=other))
    expected = naive(image, scene)
    if (expected >= 0).any():
        differs = read(Alignment.of((scene,), image), Window(row=0, col=0, height=20, width=24)) != expected
        # An offset drawn at half a pixel is a tie that rounding decides.
        assert differs.mean() < (0.02 if move != (3.0, -4.0) else 1e-9)


@pytest.mark.parametrize("epsg", [4326, 3857, 32632, 3035])
def test_labels_in_another_crs(tmp_path: Path, epsg: int) -> None:
    crs = CRS.from_epsg(epsg).to_wkt()
    west, _, east, north = rasterio.warp.transform_bounds(IMAGE.crs, crs, *IMAGE.bounds)
    size = (east - west) / 70
    transform = Affine(size, 0, west + 5.2 * size, 0, -size, north)  # the image's left edge has no label
    labels = labels_on(tmp_path, Grid(height=90, width=80, transform=transform, crs=crs))
    aligned = check(IMAGE, labels)
    assert aligned.shift is None
    assert (read(aligned, WHOLE) == -1).any()


@pytest.mark.parametrize("epsg", [4326, 3857])
def test_a_square_stays_where_it_is_in_the_world(tmp_path: Path, epsg: int) -> None:
    """A 200 m square at (500300, 5599700), drawn in another CRS by its corners."""
    square = (500_300, 5_599_500, 500_500, 5_599_700)
    crs = CRS.from_epsg(epsg).to_wkt()
    west, south, east, north = rasterio.warp.transform_bounds(UTM, crs, *square)
    size = (east - west) / 400  # half a metre
    grid = Grid(
        height=1200,
        width=1200,
        transform=Affine(size, 0, west - 400 * size, 0, -size, north + 400 * size),
        crs=crs,
    )
    pixels = np.zeros(grid.shape, dtype=np.uint8)
    pixels[400 : 400 + round((north - south) / size), 400:800] = 1
    found = read(Alignment.of((labels_on(tmp_path, grid, pixels),), IMAGE), WHOLE)
    expected = np.zeros(IMAGE.shape, dtype=bool)
    expected[30:50, 30:50] = True
    # Parallels and meridians are turned a little against the grid north: its outermost pixels may differ.
    assert (found[32:48, 32:48] == 1).all()
    assert not (found == 1)[~np.pad(expected[28:52, 28:52] | True, ((28, 8), (28, 28)))].any()
    assert abs(int((found == 1).sum()) - 400) < 25


def test_south_up_and_rotated_labels(tmp_path: Path) -> None:
    south_up = Affine(10, 0, 500_000, 0, 10, 5_599_400)
    check(IMAGE, labels_on(tmp_path, Grid(height=60, width=80, transform=south_up, crs=UTM)))
    rotated = Affine.translation(500_100, 5_600_000) @ Affine.rotation(-30) @ Affine.scale(7, -7)
    check(IMAGE, labels_on(tmp_path, Grid(height=70, width=70, transform=rotated, crs=UTM)))


def test_aligned_grids_are_cut_out_by_whole_pixels(tmp_path: Path) -> None:
    t = IMAGE.transform
    labels = labels_on(tmp_path, replace(IMAGE, transform=t @ Affine.translation(-7, 12)))
    aligned = check(IMAGE, labels)
    assert aligned.shift == (-12, 7)


@pytest.mark.parametrize(("offset", "shift"), [(0.3, (0, 0)), (0.7, (0, -1)), (-0.6, (0, 1)), (2.3, (0, -2))])
def test_a_shift_below_a_pixel_takes_the_nearest_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, offset: float, shift: tuple[int, int]
) -> None:
    moved = replace(IMAGE, transform=IMAGE.transform @ Affine.translation(offset, 0))
    labels = labels_on(tmp_path, moved)
    with caplog.at_level(logging.INFO, logger="geoseg"):
        aligned = check(IMAGE, labels)
    assert aligned.shift == shift
    (line,) = caplog.messages
    assert "labels.tif" in line
    assert f"{-offset - shift[1]:.3g} columns" in line


def test_rounded_origins_are_the_same_pixels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moved = replace(IMAGE, transform=IMAGE.transform @ Affine.translation(4e-4, -4e-4))
    with caplog.at_level(logging.INFO, logger="geoseg"):
        assert Alignment.of((labels_on(tmp_path, moved),), IMAGE).shift == (0, 0)
    assert not caplog.messages


def test_labels_without_georeference_need_the_shape_of_the_image(tmp_path: Path, write) -> None:
    numbers = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    plain = Scene.open(write("plain.png", numbers, driver="PNG", crs=None, transform=Affine.identity()))
    image = replace(IMAGE, height=3, width=4)
    np.testing.assert_array_equal(
        read(Alignment.of((plain,), image), Window(row=0, col=0, height=3, width=4)), numbers[0]
    )
    with pytest.raises(DataError, match="3 x 4 px for an image of 60 x 80, and without georeferencing"):
        Alignment.of((plain,), IMAGE)


def test_a_missing_crs_is_taken_from_the_other(tmp_path: Path) -> None:
    labels = labels_on(
        tmp_path, replace(IMAGE, transform=IMAGE.transform @ Affine.translation(-3, 0), crs=None)
    )
    assert Alignment.of((labels,), IMAGE).shift == (0, 3)


def test_a_crs_written_in_another_way_is_the_same(tmp_path: Path) -> None:
    labels = labels_on(tmp_path, IMAGE)
    esri = replace(IMAGE, crs=CRS.from_epsg(32633).to_wkt("WKT1_GDAL"))
    assert Alignment.of((labels,), esri).shift == (0, 0)


@pytest.mark.parametrize(
    ("epsg", "transform"),
    [
        (32633, Affine(10, 0, 600_000, 0, -10, 5_600_000)),
        (32633, Affine(10, 0, 400_000, 0, -10, 5_600_000)),
        (32633, Affine(10, 0, 500_000, 0, -10, 5_601_000)),
        (32633, Affine(10, 0, 500_000, 0, -10, 5_599_000)),
        (4326, Affine(1e-4, 0, 25, 0, -1e-4, 50.5)),
        (3857, Affine(10, 0, 0, 0, -10, 0)),
    ],
)
def test_labels_that_do_not_overlap_are_refused_with_both_extents(
    tmp_path: Path, epsg: int, transform: Affine
) -> None:
    grid = Grid(height=60, width=80, transform=transform, crs=CRS.from_epsg(epsg).to_wkt())
    with pytest.raises(DataError, match="does not overlap its image: labels at") as error:
        Alignment.of((labels_on(tmp_path, grid),), IMAGE)
    message = str(error.value)
    assert "\n" not in message
    assert f"{transform.c:g} " in message
    assert "image " in message


def test_a_local_crs_cannot_be_aligned(tmp_path: Path) -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(DataError, match="CRS cannot be transformed|does not overlap"):
        Alignment.of((labels_on(tmp_path, replace(IMAGE, crs=local)),), IMAGE)


def test_much_finer_labels_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = replace(
        IMAGE, height=600, width=800, transform=IMAGE.transform @ Affine.scale(0.1) @ Affine.translation(3, 1)
    )
    labels = labels_on(tmp_path, fine)
    expected = read(Alignment.of((labels,), IMAGE), WHOLE)
    largest = 0
    inside = Alignment._read_inside

    def watched(self: Alignment, window: Window):
        nonlocal largest
        largest = max(largest, window.height * window.width)
        return inside(self, window)

    monkeypatch.setattr(alignment, "_AT_ONCE", 5000)
    monkeypatch.setattr(Alignment, "_read_inside", watched)
    np.testing.assert_array_equal(read(Alignment.of((labels,), IMAGE), WHOLE), expected)
    assert 1 < largest <= 5000
    np.testing.assert_array_equal(expected, naive(IMAGE, labels))


WGS84 = CRS.from_epsg(4326).to_wkt()


def in_degrees(west: float, width: int, pixel: float = 1.0) -> Grid:
    return Grid(height=20, width=width, transform=Affine(pixel, 0, west, 0, -pixel, 10), crs=WGS84)


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        (in_degrees(-180, 360), in_degrees(0, 360)),  # the world, from -180 and from 0
        (in_degrees(0, 360), in_degrees(-180, 360)),
        (in_degrees(170, 20), in_degrees(-180, 360)),  # over the antimeridian
        (in_degrees(170, 20), in_degrees(-180, 7)),
        (in_degrees(-190, 20, 0.75), in_degrees(165, 30)),
        (in_degrees(350, 30), in_degrees(-3, 9)),
    ],
)
def test_longitudes_that_differ_by_whole_turns_are_one(tmp_path: Path, image: Grid, labels: Grid) -> None:
    scene = labels_on(tmp_path, labels)
    window = Window(row=0, col=0, height=image.height, width=image.width)
    pixels, known = Alignment.of((scene,), image).read(window)
    row, col = np.mgrid[: image.height, : image.width] + 0.5
    lon, lat = image.transform @ (col, row)
    at_col = np.floor((lon - labels.transform.c) % 360 / labels.transform.a).astype(int)
    at_row = np.floor((lat - labels.transform.f) / labels.transform.e).astype(int)
    there = (at_col < labels.width) & (at_row < labels.height)
    assert there.any()
    np.testing.assert_array_equal(known[0], there)
    np.testing.assert_array_equal(pixels[0], np.where(there, at_row * labels.width + at_col, 0))


def test_an_image_in_metres_meets_labels_on_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    utm = CRS.from_epsg(32660).to_wkt()
    image = Grid(height=30, width=40, transform=Affine(10_000, 0, 640_000, 0, -10_000, 500_000), crs=utm)
    window = Window(row=0, col=0, height=30, width=40)
    found = []
    for west in (-180, 0, 175):
        labels = Grid(
            height=40, width=360 if west < 175 else 15, transform=Affine(1, 0, west, 0, -1, 20), crs=WGS84
        )
        lon = np.broadcast_to((np.arange(labels.width) + west) % 360, labels.shape).astype(np.int32)
        scene = labels_on(tmp_path, labels, lon + 1000 * np.arange(40, dtype=np.int32)[:, None])
        pixels, known = Alignment.of((scene,), image).read(window)
        assert known.all()
        found.append(pixels)
    assert np.unique(found[0] % 1000).tolist() == [178, 179, 180, 181]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
