"""What is learned from pixels without a label: where, from whom, and how much."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.datasets.block_split import NONE, BlockArea, Lattice
from geoseg.datasets.dataset import IGNORED, Channels, Chips
from geoseg.datasets.series import TrainingSampler
from geoseg.errors import ConfigError
from geoseg.grid.legend import Task
from geoseg.grid.window import Window
from geoseg.learning.batches import Batches
from geoseg.learning.config import Config
from geoseg.learning.consistency import SURE, AnyPlace, disagreement, unlabelled, weight_at
from geoseg.learning.preparation import prepare_training
from geoseg.learning.train import train
from tests.datasets.in_memory import pair_of


def by_hand(logits: np.ndarray, teacher: np.ndarray, counts: np.ndarray, task: str) -> float:
    """The definition, pixel by pixel in float64."""
    total, number = 0.0, 0
    for n, row, col in np.ndindex(counts.shape):
        if not counts[n, row, col]:
            continue
        own, theirs = logits[n, :, row, col], teacher[n, :, row, col]
        if task == "multiclass":
            number += 1
            shares = np.exp(theirs) / np.exp(theirs).sum()
            if shares.max() >= SURE:
                total -= own[shares.argmax()] - np.log(np.exp(own).sum())
            continue
        for mine, chance in zip(own, 1 / (1 + np.exp(-theirs)), strict=True):
            number += 1
            if max(chance, 1 - chance) >= SURE:
                total += np.log1p(np.exp(-mine if chance > 0.5 else mine))
    return total / max(1, number)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([("multiclass", 3), ("binary", 1), ("multilabel", 2)]),
    st.floats(0, 1),
)
def test_it_is_the_cross_entropy_with_what_is_sure(seed: int, kind: tuple[Task, int], share: float) -> None:
    task, channels = kind
    generator = np.random.default_rng(seed)
    logits, teacher = generator.normal(0, 4, (2, 2, channels, 3, 4))
    counts = generator.random((2, 3, 4)) < share
    found = disagreement(torch.tensor(logits), torch.tensor(teacher), torch.tensor(counts), task)
    assert float(found) == pytest.approx(by_hand(logits, teacher, counts, task), rel=1e-5, abs=1e-6)


def test_the_teacher_learns_nothing_from_it() -> None:
    logits, teacher = torch.zeros(1, 2, 2, 2, requires_grad=True), torch.zeros(1, 2, 2, 2)
    teacher[:, 0] = 9
    teacher.requires_grad_()
    disagreement(logits, teacher, torch.ones(1, 2, 2, dtype=torch.bool), "multiclass").backward()
    assert teacher.grad is None
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0


def test_masks_tell_what_is_in_no_other_split_and_nothing_of_labels(toy: Path) -> None:
    pairs = prepare_training(Config.read(toy)).splits["train"]
    for pair, other in zip(pairs, unlabelled(pairs), strict=True):
        window = Window(row=-3, col=-3, height=pair.grid.height + 6, width=pair.grid.width + 6)
        _, valid, mask = other.read(window)
        inside = valid if pair.area is None else valid & pair.area.with_unlabelled().inside(window)
        assert np.array_equal(mask, np.where(inside, 0, IGNORED))
        assert inside.any()


def test_blocks_without_a_label_are_looked_at(tmp_path: Path) -> None:
    """Two of three rows of blocks have no label; the buffer keeps the distance to the validation block alone."""
    channels = Channels(codes=(1, 2), task="multiclass")
    codes = np.zeros((60, 40), dtype=np.uint8)
    lattice = Lattice(shape=(60, 40), size=20)
    area = BlockArea(lattice=lattice, owners=((0, 1), (NONE, NONE), (NONE, NONE)), split=0, buffer=2)
    pair = pair_of(np.ones((1, 60, 40), dtype=np.uint8), codes, channels, area=area)
    _, _, mask = unlabelled([pair])[0].read(Window(row=0, col=0, height=60, width=40))
    expected = np.zeros((60, 40), dtype=int)
    expected[:22, 18:] = IGNORED
    assert np.array_equal(mask, expected)


def test_places_are_anywhere_in_the_second_half_of_the_list(toy: Path) -> None:
    pairs = prepare_training(Config.read(toy)).splits["train"]
    sampler = AnyPlace(pairs, 32, 50, first=len(pairs), seed=0)
    chips = Chips([*pairs, *unlabelled(pairs)])
    found = {sampler.draw(0, step) for step in range(50)}
    assert {index for index, _ in found} == set(range(len(pairs), 2 * len(pairs)))
    assert len(found) > 20
    assert all(set(np.unique(chips[place]["mask"])) <= {0, IGNORED} for place in found)


class Counting(TrainingSampler):
    """Draws its steps."""

    def __init__(self, length: int, index: int) -> None:
        super().__init__(length)
        self._index = index

    def draw(self, epoch: int, step: int) -> tuple[int, Window]:
        return self._index, Window(row=epoch, col=step, height=1, width=1)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 3))
def test_a_batch_is_labelled_chips_and_as_many_others(length: int, size: int, accumulate: int) -> None:
    alone = Batches(Counting(length, 0), size, accumulate)
    both = Batches(Counting(length, 0), size, accumulate, beside=Counting(length, 1))
    assert (both.count, len(both), both.size) == (alone.count, 2 * len(alone), 2 * size)
    both.begin(2)
    everything: Sequence[tuple[int, Window]] = list(both)
    for number in range(alone.count):
        own = alone.batch(2, number)
        # As a loader cuts the series: all batches but the last are of one size.
        batch = everything[number * both.size : (number + 1) * both.size]
        assert batch == both.batch(2, number)
        assert batch[: len(own)] == own
        assert [index for index, _ in batch[len(own) :]] == [1] * len(own)


def test_its_weight_rises_over_the_first_quarter() -> None:
    assert [weight_at(done, 2.0) for done in (0, 0.125, 0.25, 1)] == [0, 1, 2, 2]


@pytest.mark.long
def test_it_takes_part_in_a_training(toy: Path, tmp_path: Path) -> None:
    def losses(weight: float) -> list[float]:
        folder = tmp_path / str(weight)
        train(Config.read(toy, [f"train.consistency={weight}", "train.epochs=4"]), output=folder)
        return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]

    # As many chips either way: they are part of the statistics of a batch.
    hardly, much = losses(1e-9), losses(5.0)
    assert hardly != much


@pytest.mark.parametrize(
    ("change", "said"),
    [("train.average=0", "needs averaged weights"), ("train.batch_size=auto", "needs a train.batch_size")],
)
def test_what_it_needs_is_said(toy: Path, change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config.read(toy, ["train.consistency=1", change])
