"""Law 2 for probabilities in memory, against a naive float64 loop."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.stitch import Stitcher
from geoseg.errors import StitchError
from geoseg.grid.tiling import Tiling

CPU = torch.device("cpu")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, 16))
    tiling = Tiling(size=size, overlap=draw(st.integers(0, size // 2)))
    shape = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    return Plan.of(shape, tiling, draw(st.integers(1, 9)))


def naive(plan: Plan, tiles: dict[tuple[int, int], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Weighted mean pixel by pixel, with the taper written out and the division done."""
    size, overlap = plan.tiling.size, plan.tiling.overlap
    inside = [
        min(1.0, (k + 0.5) / overlap, (size - k - 0.5) / overlap) if overlap else 1.0 for k in range(size)
    ]
    ramp = [math.sin(math.pi / 2 * share) ** 2 for share in inside]
    height, width = plan.padded
    channels = next(iter(tiles.values())).shape[0]
    total, weight = np.zeros((channels, height, width)), np.zeros((height, width))
    for (row, col), tile in tiles.items():
        for r in range(size):
            for c in range(size):
                if row + r < height and col + c < width:
                    total[:, row + r, col + c] += tile[:, r, c] * ramp[r] * ramp[c]
                    weight[row + r, col + c] += ramp[r] * ramp[c]
    return total / weight


def streamed(
    plan: Plan, tiles: dict[tuple[int, int], npt.NDArray[np.float64]], start: int = 0
) -> list[torch.Tensor]:
    """Run a plan strip by strip, as the engine does."""
    rows, cols = tile_starts(plan.shape, plan.tiling)
    channels = next(iter(tiles.values())).shape[0]
    depth = max(strip.read_stop - strip.start for strip in plan.strips)
    stitcher = Stitcher(plan.tiling, plan.padded, channels, depth, CPU)
    if start:
        stitcher.resume(plan.strips[start].start, plan.strips[start].tile_rows.start)
    out = []
    for strip in plan.strips[start:]:
        for i in strip.tile_rows:
            for j, col in enumerate(cols):
                stitcher.add((i, j), torch.from_numpy(tiles[rows[i], col].astype(np.float32)))
        out.append(stitcher.finish(strip.stop).clone())
    return out


@given(plans())
def test_strips_cover_the_scene_once_and_finish_only_what_no_later_tile_touches(plan: Plan) -> None:
    assert [strip.start for strip in plan.strips] == [0, *(strip.stop for strip in plan.strips[:-1])]
    assert [row for strip in plan.strips for row in strip.rows] == list(range(plan.shape[0]))
    rows, _ = tile_starts(plan.shape, plan.tiling)
    assert [i for strip in plan.strips for i in strip.tile_rows] == list(range(len(rows)))
    for strip in plan.strips[:-1]:
        assert rows[strip.tile_rows.stop] >= strip.stop


@given(plans(), st.integers(0, 2**32 - 1))
def test_stitching_is_the_weighted_mean(plan: Plan, seed: int) -> None:
    generator = np.random.default_rng(seed)
    tiles = {
        (tile.row, tile.col): generator.random((2, *tile.shape)) for tile in plan.tiling.windows(plan.padded)
    }
    ours = torch.cat(streamed(plan, tiles), dim=1).numpy()
    np.testing.assert_allclose(ours, naive(plan, tiles)[:, : plan.strips[-1].stop], atol=1e-6)


@given(plans(), st.integers(0, 2**32 - 1))
def test_stitching_the_tiles_of_an_array_gives_the_array(plan: Plan, seed: int) -> None:
    array = np.random.default_rng(seed).random((3, *plan.padded))
    tiles = {(t.row, t.col): array[(slice(None), *t.slices)] for t in plan.tiling.windows(plan.padded)}
    ours = torch.cat(streamed(plan, tiles), dim=1).numpy()
    np.testing.assert_allclose(ours, array[:, : plan.strips[-1].stop], atol=1e-6)


@given(plans(), st.integers(0, 2**32 - 1), st.data())
def test_going_on_in_the_middle_gives_equal_bits(plan: Plan, seed: int, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    tiles = {
        (tile.row, tile.col): generator.random((2, *tile.shape)) for tile in plan.tiling.windows(plan.padded)
    }
    whole = streamed(plan, tiles)
    wanted = data.draw(st.integers(0, len(plan.strips) - 1))
    strips = plan.strips
    first = next(i for i in range(wanted + 1) if i == wanted or strips[i].read_stop > strips[wanted].start)
    resumed = streamed(plan, tiles, start=first)[wanted - first :]
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole[wanted:], strict=True))


def test_a_missing_tile_is_an_error_not_a_hole() -> None:
    stitcher = Stitcher(Tiling(size=4, overlap=2), (4, 6), 1, 4, CPU)
    stitcher.add((0, 0), torch.ones(1, 4, 4))
    with pytest.raises(StitchError, match="before all of their tiles"):
        stitcher.finish(4)
