"""The picture on grids of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine

from geoseg.demo.preview import Preview, draw, fitted, paint, round_length
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import ClassMap

LEGEND = Legend.parse("water=#0000ff,forest=#00ff00")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(1.0, 1), (1.99, 1), (2, 2), (4.9, 2), (5, 5), (999, 500), (1000, 1000), (1706, 1000), (0.03, 0.02)],
)
def test_round_lengths(limit: float, expected: float) -> None:
    assert round_length(limit) == pytest.approx(expected)


def test_no_data_and_unknown_codes_are_white() -> None:
    codes = np.array([[1, 2, 7, 1]], np.uint8)
    valid = np.array([[True, True, True, False]])
    grid = Grid(height=1, width=4, transform=Affine.identity())
    painted = paint(ClassMap(codes=codes, valid=valid, grid=grid, legend=None), LEGEND)
    np.testing.assert_array_equal(painted[0], [[0, 0, 255], [0, 255, 0], [255] * 3, [255] * 3])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 700), (1500, 20)])
@pytest.mark.parametrize("crs", [None, "EPSG:32652"])
def test_it_is_drawn_at_any_size_with_and_without_a_crs(height: int, width: int, crs: str | None) -> None:
    from rasterio.crs import CRS

    wkt = None if crs is None else CRS.from_string(crs).to_wkt()
    transform = Affine(10, 0, 332740, 0, -10, 3837710)
    codes = np.ones((height, width), np.uint8)
    nothing_valid = np.zeros((height, width), bool)
    class_map = ClassMap(
        codes=codes,
        valid=nothing_valid,
        grid=Grid(height=height, width=width, transform=transform, crs=wkt),
        legend=LEGEND,
    )
    colors = np.zeros((height, width, 3), np.uint8)
    preview = Preview(
        colors=colors,
        class_map=class_map,
        reference=class_map,
        held_back=nothing_valid,
        legend=LEGEND,
        title="title",
        subtitle="subtitle",
        names=("scene", "reference", "map"),
        credit="credit",
    )
    figure = draw(preview)
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any(word.endswith((" m", " km")) for word in words) == (crs is not None)
    assert {"water", "forest", "0.0%"} <= set(words)
    found = {text.get_text() for text in figure.texts}
    assert {"title", "subtitle", "credit", "scene", "reference", "map"} <= found


@pytest.mark.parametrize(("height", "width"), [(7, 5), (30, 100), (61, 31)])
def test_an_image_that_is_too_large_becomes_the_means_of_squares(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    found = fitted(image, 30)
    longest = max(height, width)
    if longest <= 30:
        times = 30 // longest
        np.testing.assert_array_equal(found, np.kron(image, np.ones((times, times, 1), np.uint8)))
        return
    edge = -(-longest // 30)
    assert found.shape == (height // edge, width // edge, 3)
    for row, col in np.ndindex(*found.shape[:2]):
        square = image[row * edge : (row + 1) * edge, col * edge : (col + 1) * edge].astype(float)
        np.testing.assert_allclose(found[row, col], square.mean(axis=(0, 1)), atol=0.51)
