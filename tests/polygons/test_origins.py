"""The origin of a region is the scene that most of its pixels come from."""

from __future__ import annotations

import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from geoseg.grid.grid import Grid
from geoseg.polygons.features import Features
from geoseg.polygons.origins import Origin
from geoseg.polygons.stream import Wanted, polygonize_strips
from geoseg.polygons.strips import MapRows

ORIGINS = tuple(
    Origin(f"{name}.tif", date) for name, date in zip("abc", ("2024-05-01", None, "2023-01-31"), strict=True)
)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 9)),
    rows=st.integers(1, 5),
    workers=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**16),
)
def test_it_is_that_of_most_pixels_however_the_map_is_cut(
    shape: tuple[int, int], rows: int, workers: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 2, shape).astype(np.uint8)
    valid = generator.random(shape) < 0.9
    origin = generator.integers(0, len(ORIGINS), shape).astype(np.uint32)
    grid = Grid(height=shape[0], width=shape[1], transform=Affine.identity())
    whole = MapRows(codes=codes, valid=valid, origin=origin)
    wanted = Wanted(grid=grid, origins=ORIGINS)

    found = Features.joined(list(polygonize_strips([whole], wanted, workers=workers, rows=rows)))

    expected = {}
    for code in (0, 1):
        regions, count = label(valid & (codes == code))
        for region in range(1, count + 1):
            inside = regions == region
            last = int(np.flatnonzero(inside.ravel())[-1])
            expected[last] = int(np.bincount(origin[inside], minlength=3).argmax())
    assert found.last is not None
    assert found.origin is not None
    assert found.last.tolist() == sorted(expected)
    assert found.origin.tolist() == [expected[last] for last in sorted(expected)]


def test_polygons_say_scene_and_date() -> None:
    codes = np.array([[0, 1, 2]], np.uint8)
    origin = np.array([[2, 1, 0]], np.uint32)
    grid = Grid(height=1, width=3, transform=Affine.identity())
    strips = [MapRows(codes=codes, valid=codes < 9, origin=origin)]

    frame = Features.joined(list(polygonize_strips(strips, Wanted(grid=grid, origins=ORIGINS)))).attributes()

    assert frame["scene"].to_pylist() == ["c.tif", "b.tif", "a.tif"]
    assert frame["date"].to_pylist() == ["2023-01-31", None, "2024-05-01"]
