"""Batches are the same whoever reads them."""

from __future__ import annotations

import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.datasets import loading
from geoseg.datasets.dataset import Channels, Chips, Pair
from geoseg.datasets.loading import ChipLoader, StartMethod, loader
from geoseg.datasets.sampler import RandomSampler
from geoseg.errors import SceneError
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.label import Meanings
from geoseg.raster.cache import cache_limit, limited_cache
from geoseg.raster.scene import Scene

Batches = list[dict[str, torch.Tensor]]


@pytest.fixture
def pairs(tmp_path: Path, write_raster: Any) -> tuple[Pair, ...]:
    random = np.random.default_rng(5)
    made = []
    for name in "ab":
        image = random.integers(0, 255, (2, 90, 70), dtype=np.uint8)
        codes = random.integers(0, 3, (90, 70), dtype=np.uint8)
        scene = Scene.open(write_raster(tmp_path / f"{name}.tif", image, compress="deflate"))
        path = write_raster(tmp_path / f"{name}_labels.tif", codes)
        labels = CodedLabels.open(path, scene.grid, Meanings(codes=(0, 1, 2), code_of={0: 0, 1: 1, 2: 2}))
        channels = Channels(codes=(0, 1, 2))
        made.append(
            Pair(name=name, image=scene, labels=labels, channels=channels, gain=(0.5, 2.0), bias=(0.0, 1.0))
        )
    return tuple(made)


@contextmanager
def forking_allowed() -> Iterator[None]:
    """From Python 3.12 on, forking a process with threads warns; what they lock here is free at that moment."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning
        )
        yield


def two_epochs(batches: ChipLoader, sampler: RandomSampler) -> Batches:
    """A whole epoch, then the rest of the next one after 3 windows, by the same workers."""
    seen = []
    for epoch, first_step in ((4, 0), (5, 3)):
        sampler.set_epoch(epoch, first_step)
        with forking_allowed():
            seen += list(batches)
    return seen


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "workers"),
    [
        ("fork", 1),
        ("fork", 2),
        ("forkserver", 1),
        ("forkserver", 2),
        ("spawn", 1),
        pytest.param("spawn", 2, marks=pytest.mark.long),  # each of them imports everything anew
    ],
)
def test_law_batches_are_the_same_for_every_number_of_workers_and_way_to_start(
    pairs: tuple[Pair, ...], method: StartMethod, workers: int
) -> None:
    sampler = RandomSampler(pairs, 32, 7, seed=2)
    # Read here first: a forked worker must not go on with the handles of this process.
    expected = two_epochs(loader(Chips(pairs), sampler, 2), sampler)
    found = two_epochs(loader(Chips(pairs), sampler, 2, workers=workers, start_method=method), sampler)
    assert [len(batch["scene"]) for batch in expected] == [2, 2, 2, 1, 2, 2]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in other)
    places = [sampler.draw(4, step) for step in range(7)] + [sampler.draw(5, step) for step in range(3, 7)]
    assert torch.cat([batch["scene"] for batch in found]).tolist() == [index for index, _ in places]
    assert torch.equal(
        torch.cat([batch["image"] for batch in found]),
        torch.stack([pairs[index].sample(window)["image"] for index, window in places]),
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_the_data_stays_one_line(pairs: tuple[Pair, ...], workers: int) -> None:
    sampler = RandomSampler(pairs[:1], 32, 4, seed=0)
    batches = loader(Chips(pairs[:1]), sampler, 2, workers=workers, start_method="fork")
    Path(pairs[0].image.path).unlink()
    with forking_allowed(), pytest.raises(SceneError, match=r"a\.tif: cannot be opened") as caught:
        list(batches)
    assert "\n" not in str(caught.value)


def test_an_epoch_that_breaks_off_can_be_repeated(pairs: tuple[Pair, ...]) -> None:
    sampler = RandomSampler(pairs[:1], 32, 4, seed=0)
    batches = loader(Chips(pairs[:1]), sampler, 2, workers=1, start_method="fork")
    expected = list(loader(Chips(pairs[:1]), sampler, 2))
    path = Path(pairs[0].image.path)
    path.rename(path.with_suffix(".away"))
    with forking_allowed(), pytest.raises(SceneError):
        list(batches)
    path.with_suffix(".away").rename(path)
    with forking_allowed():
        found = list(batches)
    assert len(found) == len(batches) == 2
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(found, expected, strict=True))
    batches.close()


class _Settings(torch.utils.data.Dataset[torch.Tensor]):
    """What a worker is set to."""

    def __getitem__(self, _place: object) -> Any:
        return torch.tensor([torch.get_num_threads(), cache_limit()])


def test_workers_have_one_thread_and_share_a_bounded_cache(pairs: tuple[Pair, ...]) -> None:
    sampler = RandomSampler(pairs, 32, 2, seed=0)
    with limited_cache(64), forking_allowed():
        found = list(loader(_Settings(), sampler, 1, workers=2, start_method="fork"))  # type: ignore[arg-type]
        assert cache_limit() == 64 * 2**20, "this process keeps what it has"
    assert [batch.tolist() for batch in found] == [[[1, 64 * 2**20]]] * 2


def test_a_limit_of_memory_limits_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (800 * 2**20, 2**40))
    with limited_cache(1000):
        assert loading._cache_megabytes(2) == 50
        assert loading._cache_megabytes(100) == 16
    with limited_cache(10):
        assert loading._cache_megabytes(1) == 20
