"""The fused pass on the CPU gives what the stitcher and the decision of tensors give, up to rounding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.engine.decision import Decision
from geoseg.engine.mosaic import Deciding, Mosaic, decided
from geoseg.engine.stitch import Stitcher
from geoseg.errors import StitchError
from geoseg.grid.legend import NODATA, Task
from geoseg.grid.tiling import Tiling
from geoseg.raster.band_encoding import Storage

CPU = torch.device("cpu")
Expected = tuple[
    npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32], bool, npt.NDArray[np.float32]
]


@st.composite
def tilings(draw: st.DrawFn) -> tuple[Tiling, tuple[int, int]]:
    size = draw(st.integers(1, 20))
    shape = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    return Tiling(size=size, overlap=draw(st.integers(0, size // 2))), shape


def tensors(
    tiling: Tiling,
    shape: tuple[int, int],
    deciding: Deciding,
    tiles: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    storage: Storage,
) -> Expected:
    """All tiles stitched and decided as tensors."""
    rows, cols = tiling.starts(shape[0]), tiling.starts(shape[1])
    padded = max(shape[0], tiling.size), max(shape[1], tiling.size)
    stitcher = Stitcher(tiling, padded, tiles.shape[1], padded[0], CPU)
    places = [(i, j) for i in range(len(rows)) for j in range(len(cols))]
    for place, tile in zip(places, tiles, strict=True):
        stitcher.add(place, torch.from_numpy(tile))
    means = stitcher.finish(padded[0])
    decide = Decision(deciding.task, deciding.channels, deciding.thresholds, CPU)
    codes, confidence, has_nan = decide(means, torch.from_numpy(valid))
    stored = decide.stored(means, torch.from_numpy(valid), storage)
    return codes.numpy(), confidence.numpy(), stored.numpy(), bool(has_nan), means.numpy()


@given(
    tilings(),
    st.sampled_from(["multiclass", "binary", "multilabel"]),
    st.integers(1, 5),
    st.sampled_from([None, "uint8", "float16", "float32"]),
    st.sampled_from([0.0, 0.3, 0.95]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_it_is_the_stitcher_and_the_decision(
    plan: tuple[Tiling, tuple[int, int]],
    task: Task,
    channels: int,
    storage: Storage | None,
    share: float,
    has_nan: bool,
    seed: int,
) -> None:
    tiling, shape = plan
    random = np.random.default_rng(seed)
    channels = 1 if task == "binary" else channels
    deciding = Deciding(
        task=task,
        channels=(1,) if task == "binary" else tuple(random.permutation(250)[:channels].tolist()),
        thresholds=None if task == "multiclass" else random.random(channels).tolist(),
    )
    rows, cols = tiling.starts(shape[0]), tiling.starts(shape[1])
    padded = max(shape[0], tiling.size), max(shape[1], tiling.size)
    # Few values, so that classes are equally probable at times.
    tiles = (
        random.integers(0, 5, (len(rows) * len(cols), channels, tiling.size, tiling.size)).astype("f4") / 4
    )
    if has_nan:
        tiles[random.integers(len(tiles)), 0, 0, 0] = np.nan
    valid = random.random(padded) >= share
    expected = tensors(tiling, padded, deciding, tiles, valid, storage or "float32")
    # Strips of one tile row, as small as they can be: rows are open as long as tiles reach into them.
    mosaic = Mosaic(tiling, padded, deciding, tiling.size, keep=storage is not None)
    found, stored = [], []
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            tile = tiles[i * len(cols) + j]
            if valid[row : row + tiling.size, col : col + tiling.size].any():
                mosaic.add((i, j), tile, valid, (row, col))
            else:
                mosaic.skip((i, j))
        stop = rows[i + 1] if i + 1 < len(rows) else padded[0]
        done = mosaic.finish(stop, slice(0, stop - row), slice(0, padded[1]))
        assert (done.shares is None) == (storage is None)
        if storage is not None and done.shares is not None and not done.has_nan:
            stored.append(deciding.stored(done.shares, valid[row:stop], storage))
            again = decided(done.shares, valid[row:stop], deciding)
            assert np.array_equal(again.codes, done.codes)
            assert np.array_equal(again.confidence, done.confidence)
        found.append(done)
    assert any(each.has_nan for each in found) == expected[3]
    if expected[3]:
        return
    codes, confidence = (
        np.concatenate([getattr(each, name) for each in found], axis=-2) for name in ("codes", "confidence")
    )
    assert np.array_equal(codes == NODATA, expected[0] == NODATA)
    assert np.abs(confidence.astype(int) - expected[1]).max() <= 1
    # Within rounding of a threshold, or of another class, either answer is right.
    close = np.abs(expected[4] - np.sort(expected[4], axis=0)[-2:-1]) < 1e-6 if channels > 1 else False
    if task != "multiclass":
        close = np.abs(expected[4] - np.array(deciding.thresholds)[:, None, None]) < 1e-6
    assert np.array_equal(np.where(np.any(close), 0, codes), np.where(np.any(close), 0, expected[0]))
    if storage is not None:
        joined = np.concatenate(stored, axis=-2)
        assert joined.dtype == expected[2].dtype
        off = 1 if storage == "uint8" else 1e-3 if storage == "float16" else 1e-6
        np.testing.assert_allclose(joined.astype(float), expected[2].astype(float), rtol=0, atol=off)


def test_of_equally_probable_classes_the_first_is_written() -> None:
    deciding = Deciding(task="multiclass", channels=(7, 3, 5))
    mosaic = Mosaic(Tiling(size=2, overlap=0), (2, 2), deciding, 2)
    shares = np.zeros((3, 2, 2), np.float32)
    shares[:, 0, 0], shares[1:, 0, 1], shares[2, 1, 0], shares[:2, 1, 1] = 1 / 3, 1 / 2, 1, 1 / 2
    mosaic.add((0, 0), shares, np.ones((2, 2), bool), (0, 0))
    done = mosaic.finish(2, slice(0, 2), slice(0, 2))
    assert done.codes.tolist() == [[7, 3], [5, 7]]
    assert done.confidence.tolist() == [[85, 127], [254, 127]]


def test_rows_wait_for_all_of_their_tiles() -> None:
    deciding = Deciding(task="multiclass", channels=(1, 2))
    mosaic = Mosaic(Tiling(size=4, overlap=2), (6, 6), deciding, 6)
    wanted = np.ones((6, 6), bool)
    mosaic.add((0, 0), np.full((2, 4, 4), 0.5, np.float32), wanted, (0, 0))
    with pytest.raises(StitchError, match="rows 0 to 2"):
        mosaic.finish(2, slice(0, 2), slice(0, 6))
    mosaic.skip((0, 1))
    done = mosaic.finish(2, slice(0, 2), slice(1, 6))
    assert done.codes.tolist() == [[1, NODATA, NODATA, NODATA, NODATA]] * 2
