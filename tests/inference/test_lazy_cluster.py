"""Lazy scenes on worker processes of a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rioxarray
import torch
import xarray
from distributed import Client, LocalCluster, as_completed

import geoseg
from geoseg.models.model import Model

# Two processes that import torch take half a minute.
pytestmark = pytest.mark.faults

OPTIONS = {"precision": "fp32", "batch_size": 4}


@contextmanager
def two_workers(folder: Path) -> Iterator[Client]:
    """Two processes, each with a thread."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the workers have: the number of threads is part of what makes bytes equal."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lazy(scene: Path, model: Path | Model, chunk: int = 64) -> xarray.Dataset:
    array = rioxarray.open_rasterio(scene, chunks={"x": chunk, "y": chunk}, lock=False)
    result = geoseg.predict(array, model, **OPTIONS)
    assert isinstance(result, xarray.Dataset)
    return result


def eager(scene: Path, model: Path) -> xarray.Dataset:
    result = geoseg.predict(scene, model, **OPTIONS)
    assert isinstance(result, xarray.Dataset)
    return result


def loads() -> int:
    """How many models this process has loaded or unpacked, and holds."""
    from geoseg.inference.worker_models import _MODELS

    return len(_MODELS._things)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_give_the_bytes_of_one(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    expected = eager(scene_file, model_file)
    with two_workers(tmp_path) as client:
        of_file = lazy(scene_file, model_file).compute()
        assert list(client.run(loads).values()) == [1, 1]
        in_memory = lazy(scene_file, Model.open(model_file)).compute()
        assert list(client.run(loads).values()) == [2, 2]
    for found in (of_file, in_memory):
        np.testing.assert_array_equal(found["landcover"], expected["landcover"])
        np.testing.assert_array_equal(found["confidence"], expected["confidence"])


@pytest.mark.usefixtures("one_thread")
def test_a_worker_that_is_killed_changes_nothing(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    """The process that has finished the first block dies with it while others are computed."""
    expected = eager(scene_file, model_file)
    with two_workers(tmp_path) as client:
        blocks = lazy(scene_file, model_file, chunk=25)["landcover"].data.to_delayed()
        futures = client.compute(blocks.ravel().tolist())
        first = next(iter(as_completed(futures)))
        (worker, *_) = client.who_has(first)[first.key]
        os.kill(client.run(os.getpid)[worker], signal.SIGKILL)
        unfinished = sum(not future.done() for future in futures)
        found = client.gather(futures)
    assert unfinished > 0
    rows = [found[i : i + blocks.shape[1]] for i in range(0, len(found), blocks.shape[1])]
    np.testing.assert_array_equal(np.block(rows), expected["landcover"])
