"""The index of where classes are, against counting pixels one cell at a time."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.class_index import Cells, ClassIndex, kinds_of
from geoseg.datasets.dataset import IGNORED, Channels
from geoseg.grid.window import Window

SHAPES = st.tuples(st.integers(1, 150), st.integers(1, 150))


def random_mask(shape: tuple[int, int], classes: int, seed: int, *, layered: bool) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(seed)
    sizes = (classes, *shape) if layered else shape
    mask = random.integers(0, 2 if layered else classes, sizes)
    mask[random.random(sizes) < 0.5] = IGNORED
    return mask


def filled(mask: npt.NDArray[np.int64], kinds: int, block: tuple[int, int]) -> Cells:
    """Cells that were shown a mask block by block."""
    height, width = mask.shape[-2:]
    cells = Cells.empty((height, width), kinds)
    for row in range(0, height, block[0]):
        for col in range(0, width, block[1]):
            window = Window(
                row=row, col=col, height=min(block[0], height - row), width=min(block[1], width - col)
            )
            cells.add(window, mask[..., *window.slices])
    return cells


@given(SHAPES, st.integers(1, 4), st.integers(0, 99), st.booleans(), st.tuples(*[st.integers(20, 200)] * 2))
def test_law_a_cell_counts_its_labelled_pixels_whatever_the_blocks(
    shape: tuple[int, int], classes: int, seed: int, layered: bool, block: tuple[int, int]
) -> None:
    mask = random_mask(shape, classes, seed, layered=layered)
    kinds = classes + 1 if layered else classes
    cells = filled(mask, kinds, block)
    assert cells.counts.shape == (kinds, *cells.labelled.shape)
    for row, col in np.ndindex(cells.labelled.shape):
        part = mask[..., *cells.window(row, col).slices]
        if layered:
            labelled = (part >= 0).any(axis=0)
            expected = [(part[k] == 1).sum() for k in range(classes)]
            expected.append((labelled & ~(part == 1).any(axis=0)).sum())
        else:
            labelled = part >= 0
            expected = [(part == k).sum() for k in range(classes)]
        assert cells.counts[:, row, col].tolist() == expected
        assert cells.labelled[row, col] == labelled.sum()


@given(SHAPES, st.tuples(st.integers(1, 170), st.integers(1, 170)), st.integers(0, 99), st.data())
def test_law_a_window_meets_a_labelled_cell_or_not(
    shape: tuple[int, int], size: tuple[int, int], seed: int, data: st.DataObject
) -> None:
    cells = Cells.empty(shape, 2)
    cells.labelled[...] = np.random.default_rng(seed).random(cells.labelled.shape) < 0.2
    row = data.draw(st.integers(0, max(0, shape[0] - size[0])))
    col = data.draw(st.integers(0, max(0, shape[1] - size[1])))
    window = Window(row=row, col=col, height=size[0], width=size[1])
    expected = any(
        cells.window(int(i), int(j)).intersection(window) is not None for i, j in np.argwhere(cells.labelled)
    )
    assert cells.meet(np.array([row]), np.array([col]), size).tolist() == [[expected]]


def test_an_index_comes_back_from_plain_arrays() -> None:
    masks = [
        random_mask(shape, 3, seed, layered=False) for seed, shape in enumerate([(40, 90), (33, 7), (1, 1)])
    ]
    index = ClassIndex(images=tuple(filled(mask, 3, (512, 512)) for mask in masks))
    file = io.BytesIO()
    np.savez(file, **index.arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        again = ClassIndex.of(stored)
    for one, other in zip(index.images, again.images, strict=True):
        assert (one.shape, one.edge) == (other.shape, other.edge)
        assert np.array_equal(one.counts, other.counts)
        assert np.array_equal(one.labelled, other.labelled)
    assert again.pixels.tolist() == [sum((mask == kind).sum() for mask in masks) for kind in range(3)]


@pytest.mark.parametrize("shape", [(256, 256), (11_000, 11_000), (200_000, 150_000), (3_000_000, 40)])
def test_an_index_stays_small(shape: tuple[int, int]) -> None:
    cells = Cells.empty(shape, 7)
    assert cells.counts.nbytes + cells.labelled.nbytes < 2.2e6
    assert cells.edge >= 32


@pytest.mark.parametrize(("task", "kinds"), [("multiclass", 2), ("binary", 2), ("multilabel", 3)])
def test_kinds_are_the_values_of_a_mask_and_none_of_several_classes(task: str, kinds: int) -> None:
    codes = (1,) if task == "binary" else (4, 9)
    assert kinds_of(Channels(codes=codes, task=task)) == kinds  # type: ignore[arg-type]
