"""The tiles of a block are those of the scene."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.tiling import Tiling
from geoseg.inference.block_plan import Axis


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size = draw(st.integers(1, 24))
    chunks = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=6)))
    tiling = Tiling(size=size, overlap=draw(st.integers(0, size // 2)))
    return Axis(length=sum(chunks), tiling=tiling, chunks=chunks)


@given(axis=axes())
def test_alone_a_block_has_the_tiles_and_the_weights_that_it_has_in_the_scene(axis: Axis) -> None:
    tiling, margin = axis.tiling, axis.tiling.margin
    whole = axis.length + 2 * margin
    starts, tapers = tiling.starts(whole), tiling.tapers(whole)
    for block in range(len(axis.chunks)):
        span = axis.span(block)
        # As the engine sees it: places in the scene with its margin.
        first, stop, origin = span.block.start + margin, span.block.stop + margin, span.start + margin
        touching = [i for i, start in enumerate(starts) if start < stop and start + tiling.size > first]
        alone = tiling.starts(span.length)
        assert [origin + start for start in alone] == [starts[i] for i in touching]
        assert len(alone) == span.tiles
        own = tiling.tapers(span.length)
        for i, start in enumerate(alone):
            inside = slice(
                max(first - origin - start, 0), min(stop - origin - start, tiling.size)
            )  # the block's part of the tile
            np.testing.assert_array_equal(own[i][inside], tapers[touching[i]][inside])
        # What the engine calls the scene, between the margins, holds the block.
        assert margin <= first - origin
        assert stop - origin <= span.length - margin


@given(axis=axes())
def test_what_a_block_needs_lies_in_its_sources(axis: Axis) -> None:
    covered = []
    for block in range(len(axis.chunks)):
        span = axis.span(block)
        sources = axis.sources(span)
        assert axis.edges[sources[0]] <= span.needed.start < axis.edges[sources[0] + 1]
        assert axis.edges[sources[-1]] < span.needed.stop <= axis.edges[sources[-1] + 1]
        shown = axis.shown(span)
        assert len(shown) == span.length
        assert (shown.min(), shown.max()) == (0, span.needed.stop - span.needed.start - 1)
        covered += range(span.block.start, span.block.stop)
    assert covered == list(range(axis.length))


@pytest.mark.parametrize(("chunk", "often"), [(64, 4.0), (256, 1.75), (4096, 1.0)])
def test_small_chunks_repeat_tiles(chunk: int, often: float) -> None:
    """A plan of tiles every 48 px: a chunk of 64 px is touched by 2 or 3 of them."""
    axis = Axis(length=4096, tiling=Tiling(size=64, overlap=16), chunks=(chunk,) * (4096 // chunk))
    assert axis.repeats == pytest.approx(np.sqrt(often), abs=0.35)
