"""Laws 4 and 7: polygons and class map are the same thing said twice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from affine import Affine
from hypothesis import example, given
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.errors import ClassMapError
from geoseg.polygons.rings import Rings
from geoseg.polygons.runs import Runs, find_regions
from geoseg.polygons.trace import trace
from geoseg.polygons.wkb import write_wkb
from tests.strategies import ADVERSARIES, Map, affines, drawn, maps, tiny_maps

Polygons = npt.NDArray[np.object_]


def polygons_of(rings: Rings, transform: Affine | None = None) -> Polygons:
    buffer, offset = write_wkb(rings, transform or Affine.identity())
    return shapely.from_wkb([buffer[a:b].tobytes() for a, b in pairwise(offset)])


def traced(m: Map) -> tuple[Runs, Rings, Polygons]:
    runs = find_regions(m.codes, m.valid)
    rings = trace(runs)
    return runs, rings, polygons_of(rings)


def region_raster(polygons: Polygons, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """GDAL's idea of which polygon (1-based) covers each pixel; 0 for none."""
    if len(polygons) == 0:
        return np.zeros(shape, np.int32)
    return rasterize([(p, i) for i, p in enumerate(polygons, start=1)], out_shape=shape, dtype=np.int32)


def check_laws(m: Map) -> None:
    runs, rings, polygons = traced(m)

    regions = region_raster(polygons, m.codes.shape)
    np.testing.assert_array_equal(regions > 0, m.valid)
    np.testing.assert_array_equal(runs.code[regions[m.valid] - 1], m.codes[m.valid])

    assert shapely.is_valid(polygons).all(), shapely.is_valid_reason(polygons)
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == m.valid.sum()
    pixels = np.bincount(regions.ravel(), minlength=runs.count + 1)[1:]
    np.testing.assert_array_equal(shapely.area(polygons), pixels)

    labels = [ndimage.label(m.valid & (m.codes == code))[1] for code in np.unique(m.codes[m.valid])]
    assert len(polygons) == sum(labels)

    check_order(rings, regions)
    check_vertices(rings, m)


def check_order(rings: Rings, regions: npt.NDArray[Any]) -> None:
    """Features by last pixel, rings from their top-left-most corner, the shell and then holes by theirs."""
    flat = regions.ravel()
    last = [np.flatnonzero(flat == i)[-1] for i in range(1, len(rings.polygon_first))]
    assert last == sorted(last)
    for polygon in range(len(rings.polygon_first) - 1):
        firsts = []
        for ring in range(rings.polygon_first[polygon], rings.polygon_first[polygon + 1]):
            corners = rings.corner[rings.ring_first[ring] : rings.ring_first[ring + 1]]
            keys = [(row, col) for col, row in corners.tolist()]
            assert keys[0] == min(keys)
            assert len(set(keys)) == len(keys), "a ring passes a corner twice"
            down_first = corners[1, 0] == corners[0, 0]
            assert down_first == (ring == rings.polygon_first[polygon]), "shell and hole run the wrong way"
            firsts.append(keys[0])
        assert firsts == sorted(firsts)


def check_vertices(rings: Rings, m: Map) -> None:
    """Every vertex is a turn or a junction of three or more regions; every junction on a ring is a vertex."""
    codes = np.pad(np.where(m.valid, m.codes.astype(int), -1), 1, constant_values=-1)
    for begin, stop in pairwise(rings.ring_first):
        corners = rings.corner[begin:stop]
        before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
        for previous, corner, following in zip(before, corners, after, strict=True):
            assert (previous != corner).sum() == 1, "an edge is not along the lattice"
            turns = (previous != following).all()
            col, row = corner
            assert turns or len(np.unique(codes[row : row + 2, col : col + 2])) >= 3


@pytest.mark.parametrize("rows", ADVERSARIES.values(), ids=ADVERSARIES)
def test_laws_hold_on_adversaries(rows: tuple[str, ...]) -> None:
    m = drawn(rows)
    for turns in range(4):  # a tracer's cases are not symmetric
        check_laws(Map(codes=np.rot90(m.codes, turns).copy(), valid=np.rot90(m.valid, turns).copy()))


@given(maps())
def test_laws_hold_on_maps(m: Map) -> None:
    check_laws(m)


@given(tiny_maps)
def test_laws_hold_on_tiny_maps(m: Map) -> None:
    check_laws(m)


@given(maps(most=12), affines())
@example(drawn(("12", "11")), Affine(10, 0, 500000, 0, -10, 5400000))
@example(drawn(("12", "11")), Affine(10, 0, 500000, 0, 10, 5400000))
def test_the_affine_is_applied_once_and_exactly(m: Map, transform: Affine) -> None:
    rings = trace(find_regions(m.codes, m.valid))
    world = polygons_of(rings, transform)
    expected = {transform @ (int(col), int(row)) for col, row in rings.corner}
    assert {tuple(xy) for xy in shapely.get_coordinates(world).tolist()} == expected
    assert shapely.is_valid(world).all()
    shells = shapely.get_exterior_ring(world)
    assert shapely.is_ccw(shells).all()
    starts = [transform @ (int(col), int(row)) for col, row in rings.corner[_shell_starts(rings)]]
    assert shapely.get_coordinates(shapely.get_point(shells, 0)).tolist() == [list(xy) for xy in starts]
    holes = [hole for polygon in world for hole in polygon.interiors]
    assert not shapely.is_ccw(holes).any()


def _shell_starts(rings: Rings) -> npt.NDArray[np.int64]:
    return rings.ring_first[rings.polygon_first[:-1]]


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_codes_of_any_integer_type(dtype: str) -> None:
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**62)), min(info.max, 2**62)
    codes = np.array([[low, high], [low, low]], dtype)
    runs = find_regions(codes, np.ones((2, 2), np.bool_))
    assert runs.code.tolist() == [high, low]


def test_the_code_under_no_data_does_not_matter() -> None:
    m = drawn(("1.1", "..1"))
    runs = find_regions(np.where(m.valid, m.codes, [[9, 1, 7], [1, 2, 3]]), m.valid)
    assert runs.code.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 2)), "float64, expected integer"),
        (np.full((2, 2), 2**63, np.uint64), "expected at most"),
        (np.zeros((2, 3), np.uint8), "the same for both"),
        (np.zeros((2,), np.uint8), "the same for both"),
    ],
)
def test_unusable_maps_are_refused(codes: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(ClassMapError, match=message):
        find_regions(codes, np.ones((2, 2), np.bool_))


@pytest.mark.long
def test_wide_indices_give_the_same_rings() -> None:
    """Rasters of more than 2**31 runs or vertices are numbered with 64 bits."""
    m = drawn(ADVERSARIES["framed checkerboard"])
    runs = find_regions(m.codes, m.valid)
    wide = Runs(
        width=runs.width,
        first=runs.first,
        start=runs.start,
        region=runs.region.astype(np.int64),
        code=runs.code,
    )
    np.testing.assert_array_equal(trace(wide).corner, trace(runs).corner)
