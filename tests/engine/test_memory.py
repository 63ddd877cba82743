"""Batches that the machine's memory would not hold are made smaller before they are run."""

from __future__ import annotations

import mmap
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import geoseg.engine.memory as module
from geoseg.engine.memory import check_memory, fitted_to_memory, free_memory
from geoseg.engine.settings import Settings
from geoseg.errors import OptionError
from geoseg.storage.process_memory import peak, resident

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of its memory in /proc")
CPU = Settings(device="cpu", precision="fp32", batch_size=500, threads=1)
MEGABYTE = 2**20


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """A made-up machine with 4 GB free, where a tile needs 100 MB."""
    state: dict[str, int | None] = {
        "resident": 1000 * MEGABYTE,
        "peak": 1000 * MEGABYTE,
        "free": 4000 * MEGABYTE,
    }
    monkeypatch.setattr(module, "resident", lambda: state["resident"])
    monkeypatch.setattr(module, "peak", lambda: state["peak"])
    monkeypatch.setattr(module, "free_memory", lambda: state["free"])
    return state


def test_a_batch_is_as_large_as_the_memory_allows(
    system: dict[str, int | None], caplog: pytest.LogCaptureFixture
) -> None:
    def run(tiles: int) -> None:
        system["peak"] = (1000 + 100 * tiles) * MEGABYTE

    fitted = fitted_to_memory(CPU, run)
    assert fitted.batch_size == 28, "0.7 * 4000 / 100, and 500 are 18 batches of it"
    assert "a batch of 500 would need about 52 GB and 4 GB are free: the batch size is 28" in caplog.text
    caplog.clear()
    system["free"] = 80_000 * MEGABYTE
    assert fitted_to_memory(CPU, run) == CPU
    system["free"] = 0
    assert fitted_to_memory(CPU, run).batch_size == 4, "what was tried is known to fit"


def test_nothing_is_run_where_nothing_can_be_learnt(system: dict[str, int | None]) -> None:
    def run(tiles: int) -> None:
        raise AssertionError(tiles)

    for settings in (
        Settings(device="cpu", precision="fp32", batch_size=32, threads=1),
        Settings(device="cuda", precision="fp32", batch_size=500, threads=1),
    ):
        assert fitted_to_memory(settings, run) == settings
    system["resident"] = None
    assert fitted_to_memory(CPU, run) == CPU


@pytest.fixture
def network() -> nn.Module:
    """Sixteen features of the image's own size, and back: 20 numbers a px and band or more."""
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1))


def test_a_batch_that_no_memory_holds_is_refused_before_it_is_there(
    system: dict[str, int | None], network: nn.Module
) -> None:
    """32768 x 32768 px of 3 bands are 12.9 GB, of 3 and 16 features 81.6 GB; of what training keeps 77.3 GB."""
    shape = (1, 3, 32768, 32768)
    with pytest.raises(
        OptionError, match=r"1 x 32768 x 32768 px needs at least 94.5 GB, and 4.2 GB .*tile size"
    ):
        check_memory(lambda: network, shape, CPU)
    with pytest.raises(OptionError, match=r"at least 90.2 GB, and .*chip_size or batch_size"):
        check_memory(lambda: network, shape, CPU, training=True)
    with pytest.raises(OptionError, match=r"at least 12.9 GB"):
        check_memory(lambda: network, shape, replace(CPU, device="cuda"))
    with pytest.raises(OptionError, match=r"at least 53.7 GB"):
        check_memory(lambda: network, shape, replace(CPU, precision="bf16"))
    system["free"] = 95_000 * 10**6
    check_memory(lambda: network, shape, CPU)
    check_memory(lambda: network, shape, CPU, training=True)


def test_what_cannot_be_known_is_not_refused(system: dict[str, int | None], network: nn.Module) -> None:
    system["free"] = 0
    check_memory(lambda: network, (8, 3, 512, 512), CPU)
    system["free"] = None
    check_memory(lambda: network, (1, 3, 32768, 32768), CPU)


def test_of_an_exported_model_the_batch_alone_is_counted(system: dict[str, int | None]) -> None:
    check_memory(None, (1, 3, 16384, 16384), CPU)
    with pytest.raises(
        OptionError, match="a batch of 2 x 16384 x 16384 px needs at least 6.4 GB, and 4.2 GB of"
    ):
        check_memory(None, (2, 3, 16384, 16384), CPU)


def test_a_network_that_is_looked_at_stays_as_it_was(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(OptionError):
        check_memory(lambda: network, (64, 3, 32768, 32768), CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())


def test_the_system_tells_what_is_used_and_free() -> None:
    before, most = resident(), peak()
    if before is None or most is None:
        pytest.skip("this sandbox leaves it out")
    free = free_memory()
    assert free is not None
    assert free > 0
    # Asked of the system itself: the heap of a long session may have as much at hand.
    held = np.frombuffer(mmap.mmap(-1, 64 * MEGABYTE), dtype=np.uint8)
    held[:] = 1
    after, highest = resident(), peak()
    assert after is not None
    assert highest is not None
    assert after - before > 50 * MEGABYTE
    assert highest >= max(most, after - MEGABYTE)
    assert held.all()
