"""Samplers: everything once, or at random as a pure function of the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.sampler import GridSampler, RandomSampler
from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.learning.surroundings import quiet_lightning


@dataclass(frozen=True)
class Place:
    """A grid without pixels."""

    grid: Grid


def places(*shapes: tuple[int, int]) -> list[Place]:
    return [Place(Grid(height=h, width=w, transform=Affine.identity())) for h, w in shapes]


SHAPES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4)


@given(SHAPES, st.integers(1, 20), st.data())
def test_the_grid_covers_every_pixel_and_repeats_no_window(
    shapes: list[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(-(-size // 2), size))
    sampler = GridSampler(places(*shapes), size, stride)
    windows = list(sampler)
    assert len(windows) == len(sampler) == len(set(windows))
    hits = [np.zeros(shape, dtype=int) for shape in shapes]
    for index, window in windows:
        part = window.within(shapes[index])
        assert part is not None
        hits[index][part.slices] += 1
    assert all(hit.all() for hit in hits)


def test_the_grid_keeps_to_its_region_of_interest() -> None:
    roi = Window(row=10, col=5, height=8, width=6)
    windows = list(GridSampler(places((40, 40), (12, 40), (4, 4)), 4, roi=roi))
    assert all(w.within((40, 40)) == w and w.row >= 10 and w.col >= 5 for _, w in windows)
    assert Counter(index for index, _ in windows) == {0: 4, 1: 2}


@given(SHAPES, st.integers(1, 50), st.integers(0, 2**40))
def test_random_windows_lie_on_their_scene_where_it_is_large_enough(
    shapes: list[tuple[int, int]], size: int, seed: int
) -> None:
    for index, window in RandomSampler(places(*shapes), size, 20, seed=seed):
        height, width = shapes[index]
        assert 0 <= window.row <= max(0, height - size)
        assert 0 <= window.col <= max(0, width - size)
        assert window.shape == (size, size)


@given(st.integers(0, 2**70), st.integers(0, 5), st.integers(1, 4), st.integers(1, 30))
def test_law_11_a_window_is_a_function_of_seed_epoch_step_rank_and_world(
    seed: int, epoch: int, world: int, length: int
) -> None:
    scenes = places((30, 50), (9, 9), (64, 20))
    whole = RandomSampler(scenes, 8, length, seed=seed)
    whole.set_epoch(epoch)
    series = list(whole)
    assert series == list(whole), "iterating changes nothing"
    ranks = [RandomSampler(scenes, 8, length, seed=seed, rank=rank, world=world) for rank in range(world)]
    for sampler in ranks:
        sampler.set_epoch(epoch)
    shared_out = [window for step in zip(*ranks, strict=True) for window in step]
    assert shared_out[:length] == series, "the ranks share out one series"
    middle = length // 2
    whole.set_epoch(epoch, first_step=middle)
    assert list(whole) == series[middle:], "a run that continues sees what it would have seen"
    assert len(whole) == length


def test_seeds_and_epochs_differ_and_a_generator_only_supplies_the_seed() -> None:
    scenes = places((100, 100))

    def draw(sampler: RandomSampler, epoch: int = 0) -> list[tuple[int, Window]]:
        sampler.set_epoch(epoch)
        return list(sampler)

    first = draw(RandomSampler(scenes, 8, 10, seed=1))
    assert draw(RandomSampler(scenes, 8, 10, seed=2)) != first
    assert draw(RandomSampler(scenes, 8, 10, seed=1), epoch=1) != first
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    assert draw(RandomSampler(scenes, 8, 10, generator=generator)) == first
    assert torch.equal(generator.get_state(), state)
    torch.rand(5, generator=generator)
    assert draw(RandomSampler(scenes, 8, 10, generator=generator)) == first


def test_every_position_is_equally_likely() -> None:
    # 2 x 3 positions on the first scene, 1 on the second (it is smaller), 5 on the third.
    sampler = RandomSampler(places((5, 6), (3, 2), (4, 8)), 4, 24_000, seed=0)
    counts = Counter(sampler)
    assert len(counts) == 12
    assert all(abs(count - 2000) < 5 * 2000**0.5 for count in counts.values())


def test_random_windows_keep_to_the_region_of_interest() -> None:
    roi = [Window(row=10, col=20, height=6, width=7), None, Window(row=500, col=0, height=5, width=5)]
    windows = list(RandomSampler(places((40, 40), (10, 10), (40, 40)), 6, 300, roi=roi, seed=0))
    assert {index for index, _ in windows} == {0, 1}
    assert {(w.row, w.col) for index, w in windows if index == 0} == {(10, 20), (10, 21)}


class _Recorder(lightning.LightningModule):  # type: ignore[misc]
    """Keeps the windows it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[list[int]]] = []

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen[-1] += batch.tolist()
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def corner(place: tuple[int, Window]) -> list[int]:
    index, window = place
    return [index, window.row, window.col]


class _Places(torch.utils.data.Dataset[torch.Tensor]):
    """Gives back what it is asked for."""

    def __getitem__(self, place: tuple[int, Window]) -> torch.Tensor:
        return torch.tensor(corner(place))


def test_lightning_draws_every_epoch_anew_and_as_the_sampler_alone_would(tmp_path: Path) -> None:
    sampler = RandomSampler(places((90, 90)), 8, 6, seed=5)
    module = _Recorder()
    chips = torch.utils.data.DataLoader(_Places(), batch_size=2, sampler=sampler)
    with quiet_lightning():
        lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
        ).fit(module, chips)
    assert module.seen == [[corner(sampler.draw(epoch, step)) for step in range(6)] for epoch in (0, 1)]
    assert module.seen[0] != module.seen[1]


def test_what_cannot_be_sampled_is_refused() -> None:
    scenes = places((10, 10))
    outside = Window(row=20, col=20, height=5, width=5)
    with pytest.raises(DataError, match="nothing to sample"):
        RandomSampler(scenes, 4, roi=outside)
    with pytest.raises(DataError, match="nothing to sample"):
        RandomSampler([], 4)
    with pytest.raises(OptionError, match="rank is 2 of 2"):
        RandomSampler(scenes, 4, rank=2, world=2)
    with pytest.raises(OptionError, match="at least 1"):
        RandomSampler(scenes, 0)
    with pytest.raises(OptionError, match="2 regions of interest for 1 scenes"):
        GridSampler(scenes, 4, roi=[None, None])
    with pytest.raises(OptionError, match="overlap"):
        GridSampler(scenes, 4, stride=1)
