"""Samplers: everything once, or at random as a pure function of the seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import lightning
import numpy as np
import numpy.typing as npt
import pytest
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.class_index import ClassIndex
from geoseg.datasets.dataset import Pair
from geoseg.datasets.labelled_samplers import BalancedSampler, ShuffledGridSampler, WholeSampler
from geoseg.datasets.sampler import Kind, RandomSampler, training_sampler
from geoseg.datasets.series import Share, TrainingSampler
from geoseg.datasets.statistics import measure
from geoseg.errors import DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.process_state import quiet_lightning
from tests.datasets.in_memory import labelled


@dataclass(frozen=True)
class Place:
    """A grid without pixels."""

    grid: Grid


def places(*shapes: tuple[int, int]) -> list[Place]:
    return [Place(Grid(height=h, width=w, transform=Affine.identity())) for h, w in shapes]


SHAPES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4)


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
    ranks = [Share(whole, rank, world) for rank in range(world)]
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
    with pytest.raises(DataError, match="nothing to sample"):
        RandomSampler([], 4)
    with pytest.raises(OptionError, match="rank is 2 of 2"):
        Share(RandomSampler(scenes, 4), rank=2, world=2)
    with pytest.raises(OptionError, match="at least 1"):
        RandomSampler(scenes, 0)


def codes_of(*shapes: tuple[int, int], unlabelled: float = 0.0) -> list[npt.NDArray[Any]]:
    """Codes 0, 1 and, in one corner of the first, a rare 2; 255 outside of the first `1 - unlabelled` rows."""
    random = np.random.default_rng(1)
    images = [random.integers(0, 2, shape) for shape in shapes]
    images[0][5:9, 2:7] = 2
    for codes in images:
        codes[round(len(codes) * (1 - unlabelled)) :] = 255
    return images


def measured(codes: list[npt.NDArray[Any]]) -> tuple[list[Pair], ClassIndex]:
    pairs = [labelled(each) for each in codes]
    return pairs, measure(pairs).index


PAIRS, INDEX = measured(codes_of((300, 200), (64, 64), (20, 400), unlabelled=0.5))
KINDS: tuple[Kind, ...] = get_args(Kind)
Make = Callable[..., TrainingSampler]


def make(
    kind: Kind, size: int | tuple[int, int] = 48, length: int | None = None, **more: Any
) -> TrainingSampler:
    return training_sampler(kind, PAIRS, size, length, index=INDEX, **more)


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.integers(0, 2**70),
    st.integers(0, 5),
    st.integers(1, 4),
    st.integers(1, 40),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_law_11_holds_for_every_kind(
    kind: Kind, seed: int, epoch: int, world: int, length: int, size: tuple[int, int]
) -> None:
    whole = make(kind, size, length, seed=seed)
    whole.set_epoch(epoch)
    series = list(whole)
    assert series == list(make(kind, size, length, seed=seed)) or epoch
    ranks = [Share(whole, rank, world) for rank in range(world)]
    for sampler in ranks:
        sampler.set_epoch(epoch)
    shared_out = [place for step in zip(*ranks, strict=True) for place in step]
    assert shared_out[:length] == series, "the ranks share out one series"
    middle = length // 2
    whole.set_epoch(epoch, first_step=middle)
    assert list(whole) == series[middle:]
    assert [whole.draw(epoch, step) for step in reversed(range(length))] == series[::-1], "no order matters"
    assert len(whole) == length


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_epochs_of_every_kind_differ(kind: Kind) -> None:
    first, other = make(kind, 16, 40, seed=1), make(kind, 16, 40, seed=2)
    series = list(first)
    assert list(other) != series
    first.set_epoch(1)
    assert list(first) != series


@pytest.mark.parametrize("kind", KINDS)
@given(st.tuples(st.integers(1, 330), st.integers(1, 330)), st.integers(0, 99))
def test_windows_lie_on_their_image_where_it_is_large_enough_and_meet_labelled_cells(
    kind: Kind, size: tuple[int, int], seed: int
) -> None:
    for index, window in make(kind, size, 20, seed=seed):
        assert window.shape == size
        height, width = PAIRS[index].grid.shape
        assert 0 <= window.row <= max(0, height - size[0])
        assert 0 <= window.col <= max(0, width - size[1])
        cells = INDEX.images[index]
        met = [cells.window(int(i), int(j)).intersection(window) for i, j in np.argwhere(cells.labelled)]
        assert any(met)
        # Cells are labelled to the last row but one of theirs: a window of a cell's edge may see the rest only.
        if kind == "balanced" and min(size) >= cells.edge:
            assert (PAIRS[index].mask(window) >= 0).any()


def test_every_position_that_meets_a_labelled_cell_is_equally_likely() -> None:
    codes = np.full((64, 70), 255)
    codes[10, 40], codes[40, 66] = 0, 1
    pairs, index = measured_two(codes)
    counts = Counter(w for _, w in RandomSampler(pairs, 30, 40_000, index=index, seed=0))
    labelled_cells = [Window(row=0, col=32, height=32, width=32), Window(row=32, col=64, height=32, width=6)]
    expected = {
        window
        for row in range(35)
        for col in range(41)
        for window in [Window(row=row, col=col, height=30, width=30)]
        if any(window.intersection(cell) for cell in labelled_cells)
    }
    assert set(counts) == expected
    assert len(expected) < 35 * 41
    mean = 40_000 / len(expected)
    assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


def measured_two(codes: npt.NDArray[Any]) -> tuple[list[Pair], ClassIndex]:
    """One pair of two classes."""
    pairs = [labelled(codes, count=2)]
    return pairs, measure(pairs).index


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balanced_draws_classes_by_their_share_to_the_power(balance: float) -> None:
    # Each class in a cell of its own, far from the others, so that a window tells which class was drawn.
    codes = np.full((32, 32 * 16), 255)
    codes[:, :32] = 0
    codes[:16, 32 * 5 : 32 * 6] = 1
    codes[3, 32 * 10 + 7] = 2
    _, index = measured([codes])
    drawn = Counter(
        next(kind for kind, cell in enumerate((0, 5, 10)) if window.col <= cell * 32 < window.col + 32)
        for _, window in BalancedSampler(index, 32, 6000, balance=balance, seed=3)
    )
    pixels = np.array([1024, 512, 1])
    likely = (pixels / pixels.sum()) ** (1 - balance)
    likely /= likely.sum()
    for kind in range(3):
        expected = 6000 * likely[kind]
        assert abs(drawn[kind] - expected) < 5 * expected**0.5 + 1
    assert drawn[2] or balance == 0, "the rare class is really drawn"


def test_balanced_windows_hold_the_class_they_were_drawn_for() -> None:
    codes = codes_of((500, 400), (90, 33))
    pairs, index = measured(codes)
    pixels = index.pixels
    hits = [
        bool((pairs[i].mask(window) == 2).any())
        for i, window in BalancedSampler(index, 64, 3000, balance=1, seed=0)
    ]
    assert pixels[2] / pixels.sum() < 2e-4
    assert np.mean(hits) > 1 / 3, "alike, and now and then beside another class"
    random = [(pairs[i].mask(w) == 2).any() for i, w in RandomSampler(pairs, 64, 3000, index=index, seed=0)]
    assert np.mean(random) < 0.02


def test_balanced_cells_are_drawn_by_their_pixels_and_positions_evenly() -> None:
    codes = np.full((96, 96), 255)
    codes[:32, :32] = 0  # 1024 px in one cell
    codes[64:72, 64:96] = 0  # 256 px in another
    codes[0, 0] = 1
    _, index = measured_two(codes)
    windows = [w for _, w in BalancedSampler(index, (40, 32), 8000, balance=0, seed=0)]
    counts = Counter((w.row, w.col) for w in windows)
    assert set(counts) == {(0, 0), *((row, 64) for row in range(56, 57))}
    assert abs(counts[0, 0] / 8000 - 0.8) < 0.03
    inside = Counter(w.row for _, w in BalancedSampler(index, (16, 32), 8000, balance=0, seed=0))
    assert set(inside) == {*range(17), *range(64, 81)}, "a window smaller than its cell lies in it"


def test_the_shuffled_grid_sees_every_labelled_pixel_once_an_epoch_in_any_order() -> None:
    sampler = ShuffledGridSampler(INDEX, 50)
    series = list(sampler)
    tiling = Tiling(size=50, overlap=0)
    everything = {(i, window) for i, pair in enumerate(PAIRS) for window in tiling.windows(pair.grid.shape)}
    assert len(series) == len(set(series)) == len(sampler)
    assert set(series) < everything, "tiles without labels are left out"
    for index, pair in enumerate(PAIRS):
        seen = np.zeros(pair.grid.shape, dtype=bool)
        for _, window in (place for place in series if place[0] == index):
            part = window.within(pair.grid.shape)
            assert part is not None
            seen[part.slices] = True
        mask = pair.mask(Window(row=0, col=0, height=seen.shape[0], width=seen.shape[1]))
        assert seen[mask >= 0].all()
    sampler.set_epoch(1)
    assert set(sampler) == set(series)
    assert list(sampler) != series


def test_whole_images_come_once_an_epoch_and_are_cropped_or_padded() -> None:
    codes = [*codes_of((300, 200), (64, 64), (20, 400)), np.full((64, 64), 255)]
    _, index = measured(codes)
    sampler = WholeSampler(index, (64, 80))
    windows = {}
    for epoch in range(40):
        sampler.set_epoch(epoch)
        series = list(sampler)
        assert sorted(i for i, _ in series) == [0, 1, 2], "an image without labels teaches nothing"
        for i, window in series:
            windows.setdefault(i, set()).add((window.row, window.col))
            assert window.shape == (64, 80)
    assert windows[1] == {(0, 0)}
    assert len(windows[0]) > 35, "another crop each time"
    assert {row for row, _ in windows[2]} == {0}
    # More than once an epoch: every image n times before any comes n + 1 times.
    twice = Counter(i for i, _ in WholeSampler(index, 64, 7))
    assert sorted(twice.values()) == [2, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_labelled_and_another_index_are_refused(kind: Kind) -> None:
    pairs, index = measured(codes_of((64, 64)))
    with pytest.raises(DataError, match="not one of these 3 images"):
        training_sampler(kind, PAIRS, 32, None, index=index)
    empty = ClassIndex.of({name: np.zeros_like(array) for name, array in index.arrays.items()} | {
        name: index.arrays[name] for name in ("shape", "edge")
    })  # fmt: skip
    with pytest.raises(DataError, match="nothing to sample from"):
        training_sampler(kind, pairs, 32, None, index=empty)
    with pytest.raises(OptionError, match="size is"):
        training_sampler(kind, pairs, (32, 0), None, index=index)
    with pytest.raises(OptionError, match="length is 0"):
        training_sampler(kind, pairs, 32, 0, index=index)
    with pytest.raises(OptionError, match="rank is 3 of 3"):
        Share(training_sampler(kind, pairs, 32, None, index=index), rank=3, world=3)
    with pytest.raises(OptionError, match=r"balance is 1\.5"):
        training_sampler("balanced", pairs, 32, None, index=index, balance=1.5)


def test_without_a_length_an_epoch_covers_what_is_labelled_once() -> None:
    pairs, index = measured(codes_of((320, 320), unlabelled=0.5))
    assert {len(training_sampler(kind, pairs, 32, None, index=index)) for kind in KINDS[:3]} == {50}
    assert len(RandomSampler(pairs, 32)) == 100
    assert len(Share(training_sampler("random", pairs, 32, None, index=index), 0, 3)) == 17
