"""Blocks of an image: every pixel in one split at most, every class in training."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.datasets.block_split import NONE, BlockArea, Lattice, assign, buffer_of, folds_of
from geoseg.datasets.split_config import SPLITS, BlockFoldSplit, BlockSplit
from geoseg.grid.window import Window

LATTICES = st.builds(
    lambda height, width, size: Lattice(shape=(height, width), size=size),
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 10),
)  # fmt: skip


def random_owners(seed: int, blocks: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """Owners of blocks, each a fair draw: Hypothesis likes all of them alike."""
    return tuple(map(tuple, np.random.default_rng(seed).integers(NONE, 3, size=blocks).tolist()))


def areas_and_windows(lattice: Lattice) -> st.SearchStrategy[tuple[BlockArea, Window]]:
    """Areas of a lattice, each with a window that meets the image and may stick out of it."""
    height, width = lattice.shape
    return st.builds(
        lambda seed, split, buffer, row, col, down, right: (
            BlockArea(
                lattice=lattice, owners=random_owners(seed, lattice.blocks), split=split, buffer=buffer
            ),
            Window(row=row, col=col, height=max(1, down - row), width=max(1, right - col)),
        ),
        st.integers(0, 2**32), st.integers(0, 2), st.integers(0, 6),
        st.integers(-8, height - 1), st.integers(-8, width - 1), st.integers(1, height + 8), st.integers(1, width + 8),
    )  # fmt: skip


def owner_of_pixels(area: BlockArea) -> npt.NDArray[np.int64]:
    """(row, col): owner of each pixel of the image, one at a time."""
    height, width = area.lattice.shape
    rows, cols = area.lattice.blocks
    size = area.lattice.size
    return np.array(
        [
            [area.owners[min(row // size, rows - 1)][min(col // size, cols - 1)] for col in range(width)]
            for row in range(height)
        ]
    )


@given(LATTICES.flatmap(areas_and_windows))
@settings(max_examples=120)
def test_a_pixel_counts_where_no_other_split_is_near(place: tuple[BlockArea, Window]) -> None:
    area, window = place
    owners, buffer = owner_of_pixels(area), area.buffer
    expected = np.zeros(window.shape, dtype=bool)
    for r in range(window.row, window.row_stop):
        for c in range(window.col, window.col_stop):
            if not (0 <= r < owners.shape[0] and 0 <= c < owners.shape[1]):
                continue
            near = owners[max(0, r - buffer) : r + buffer + 1, max(0, c - buffer) : c + buffer + 1]
            alone = not ((near != area.split) & (near != NONE)).any()
            expected[r - window.row, c - window.col] = owners[r, c] == area.split and alone
    found = area.inside(window)
    assert found.dtype == bool
    assert np.array_equal(found, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(area)).inside(window), expected)


@given(LATTICES.flatmap(areas_and_windows))
@settings(max_examples=60)
def test_with_what_has_no_label_it_is_what_is_far_from_other_splits(place: tuple[BlockArea, Window]) -> None:
    area, _ = place
    whole = Window(row=0, col=0, height=area.lattice.shape[0], width=area.lattice.shape[1])
    owners = owner_of_pixels(area)
    ours = np.isin(owners, (area.split, NONE))
    buffer = area.buffer
    expected = np.array(
        [
            [
                ours[max(0, r - buffer) : r + buffer + 1, max(0, c - buffer) : c + buffer + 1].all()
                for c in range(whole.width)
            ]
            for r in range(whole.height)
        ]
    )
    assert np.array_equal(area.with_unlabelled().inside(whole), expected)


@given(LATTICES)
def test_blocks_are_square_but_for_the_last(lattice: Lattice) -> None:
    for axis, length in enumerate(lattice.shape):
        counts = np.bincount(lattice.block(np.arange(length), axis), minlength=lattice.blocks[axis])
        assert len(counts) == lattice.blocks[axis]
        assert (counts[:-1] == lattice.size).all()
        assert counts[-1] < 1.5 * lattice.size + 1
        assert len(counts) == 1 or counts[-1] >= lattice.size // 2
        assert lattice.block(np.array([-5, length + 5]), axis).tolist() == [0, len(counts) - 1]


def test_a_block_is_a_sixth_of_the_shorter_edge_by_default() -> None:
    assert Lattice.of(BlockSplit(), (600, 900)).size == 100
    assert Lattice.of(BlockSplit(), (600, 900)).blocks == (6, 9)
    assert Lattice.of(BlockSplit(size=7), (600, 900)).size == 7
    assert Lattice.of(BlockSplit(), (3, 3)).size == 1


COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.sampled_from([0, 0, 0, 1, 7, 100, 5000]))
)


@given(COUNTS, st.sampled_from([0.1, 0.3, 0.5]), st.sampled_from([0, 0.2]), st.integers(0, 9))
def test_every_class_trains_and_blocks_without_labels_belong_to_none(
    counts: npt.NDArray[np.int64], val: float, test: float, seed: int
) -> None:
    split = BlockSplit(val=val, test=test, seed=seed)
    owners = assign(counts, split, "image")
    assert owners.shape == counts.shape[:2]
    assert np.array_equal(owners == NONE, ~counts.any(axis=2))
    assert np.array_equal(counts[owners == 0].any(axis=0), counts.any(axis=(0, 1)))
    assert test or not (owners == 2).any()
    assert np.array_equal(assign(counts, split, "image"), owners)


@given(COUNTS)
def test_a_class_validates_that_training_can_spare(counts: npt.NDArray[np.int64]) -> None:
    owners = assign(counts, BlockSplit(), "image")
    train, val = counts[owners == 0] > 0, counts[owners == 1] > 0
    for c in range(counts.shape[2]):
        if not val[:, c].any():
            spare = [
                block
                for block in np.flatnonzero(train[:, c])
                if np.delete(train, block, axis=0)[:, train[block]].any(axis=0).all()
            ]
            assert not spare


def test_shares_are_of_the_labelled_pixels_of_each_class() -> None:
    random = np.random.default_rng(0)
    # Four classes, each at home in a part of the image, a third of the blocks without labels.
    weights = random.dirichlet(np.full(4, 0.3), size=(12, 12))
    counts = (weights * random.integers(0, 1000, (12, 12, 1))).astype(np.int64)
    counts[random.random((12, 12)) < 0.33] = 0
    owners = assign(counts, BlockSplit(val=0.25, test=0.15), "image")
    total = counts.sum(axis=(0, 1))
    for place, share in ((1, 0.25), (2, 0.15)):
        assert counts[owners == place].sum(axis=0) / total == pytest.approx(share, abs=0.05)


def test_a_block_stays_in_training_that_alone_has_a_class_however_well_it_would_validate() -> None:
    counts = np.zeros((1, 6, 4), dtype=np.int64)
    counts[0, :, 1:] = 10
    counts[0, 0] = 9, 50, 50, 50
    for seed in range(20):
        assert assign(counts, BlockSplit(val=0.6, seed=seed), "image")[0, 0] == 0


def test_seed_and_name_choose_other_blocks() -> None:
    counts = np.full((6, 6, 2), 50)

    def chosen(name: str = "a", **fields: Any) -> bytes:
        return assign(counts, BlockSplit(**fields), name).tobytes()

    assert len({chosen(), chosen(seed=1), chosen(name="b")}) == 3
    assert (np.frombuffer(chosen(), dtype=np.intp) == 1).sum() == 7, "0.2 of 36"


FOLDS = st.builds(
    lambda k, seed, test: BlockFoldSplit(k=k, seed=seed, test=test),
    st.integers(3, 6), st.integers(0, 9), st.booleans(),
)  # fmt: skip


@given(COUNTS, FOLDS)
def test_every_labelled_block_is_held_back_exactly_once(
    counts: npt.NDArray[np.int64], split: BlockFoldSplit
) -> None:
    folds = [split.model_copy(update={"fold": fold}) for fold in range(split.k)]
    owners = np.stack([assign(counts, fold, "image") for fold in folds])
    labelled = counts.any(axis=2)
    assert np.array_equal((owners == NONE).all(axis=0), ~labelled)
    assert np.array_equal((owners == NONE).any(axis=0), ~labelled)
    held = owners == SPLITS.index("test" if split.test else "val")
    assert np.array_equal(held.sum(axis=0), labelled)
    if split.test:  # each block validates once, too, and what validates is what the next fold holds back
        assert np.array_equal(owners == SPLITS.index("val"), np.roll(held, -1, axis=0))
    assert np.ptp(held.sum(axis=(1, 2))) <= 1
    # A pure function of counts, seed and name.
    assert np.array_equal(np.stack([assign(counts.copy(), fold, "image") for fold in folds]), owners)


@given(LATTICES, st.integers(3, 4), st.none() | st.integers(0, 4), st.integers(0, 2**32))
@settings(max_examples=60)
def test_no_training_pixel_is_within_the_buffer_of_a_held_back_block(
    lattice: Lattice, k: int, buffer: int | None, seed: int
) -> None:
    counts = np.random.default_rng(seed).integers(0, 3, (*lattice.blocks, 2))
    split = BlockFoldSplit(k=k, fold=seed % k, test=True, buffer=buffer)
    owners = tuple(map(tuple, assign(counts, split, "image").tolist()))
    reach = buffer_of(split, lattice)
    assert reach == (max(1, lattice.size // 10) if buffer is None else buffer)
    area = BlockArea(lattice=lattice, owners=owners, split=SPLITS.index("train"), buffer=reach)
    pixels = owner_of_pixels(area)
    trains = area.inside(Window(row=0, col=0, height=lattice.shape[0], width=lattice.shape[1]))
    for row, col in np.argwhere(pixels == SPLITS.index("test")):
        near = trains[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
        assert not near.any()


def test_folds_are_alike_in_their_classes() -> None:
    """A rare class in six blocks of thirty-six: two in each of three folds."""
    counts = np.zeros((6, 6, 2), dtype=np.int64)
    counts[..., 0] = 100
    counts[[0, 1, 2, 3, 4, 5], [5, 0, 3, 3, 1, 2], 1] = 10
    folds = folds_of(counts, BlockFoldSplit(k=3), "image")
    assert [int(counts[folds == fold, 1].sum()) for fold in range(3)] == [20, 20, 20]
    assert np.bincount(folds.ravel()).tolist() == [12, 12, 12]
    other = folds_of(counts, BlockFoldSplit(k=3), "other")
    assert not np.array_equal(folds, other)
