"""What this machine computes with is known without torch, and is what torch says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from geoseg.engine import devices
from geoseg.engine.devices import check_devices, choose_device, cpu_threads, gpu_names, why_no_gpu
from geoseg.engine.settings import Settings
from geoseg.errors import OptionError

SCRIPT = """
import sys
from geoseg.engine import devices
from geoseg.engine.memory import fitted_to_memory, free_memory
from geoseg.storage.process_memory import resident
from geoseg.engine.settings import with_fastest_batch
from geoseg.engine.compiled import check_compiler
from geoseg.engine.clock import Clock
from geoseg.engine.settings import Settings
devices._driver_is_there = lambda: False
auto = Settings.choose("auto", "fp32", None, (3, 3))
assert fitted_to_memory(auto, lambda tiles: None) == auto
with Clock("cpu").stage("model"):
    free_memory(), resident()
devices.check_devices(auto.device, 2)
print(auto.device, auto.threads, "torch" in sys.modules)
import torch
print(torch.get_num_threads())
"""


@pytest.mark.long
def test_without_a_driver_torch_is_not_imported_and_the_threads_are_its_own() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    device, threads, imported, of_torch = run.stdout.split()
    assert (device, imported) == ("cpu", "False")
    assert threads == of_torch


@pytest.mark.parametrize(
    ("said", "threads"), [("3", 3), (" 5 ", 5), ("4,2", 4), ("0", None), ("-1", None), ("many", None)]
)
def test_threads_are_those_of_the_environment(
    said: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert 1 <= cpu_threads() <= (os.cpu_count() or 1) if threads is None else cpu_threads() == threads


def test_threads_that_torch_was_given_count() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(7)
        assert Settings.choose("cpu", "fp32", 1, (1, 1)).threads == 7
    finally:
        torch.set_num_threads(before)


def test_a_core_counts_once_however_many_threads_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 6}, raising=False)
    monkeypatch.setattr(devices, "_core_of", lambda cpu: str(cpu % 4))
    assert cpu_threads() == 3


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_without_torch_is_refused_with_what_to_do(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(devices, "_driver_is_there", lambda: True)
    assert choose_device("auto") == "cpu"
    assert gpu_names() == []
    needs = "GPUs need the package torch, which is not installed (pip install torch)"
    assert why_no_gpu() == needs
    with pytest.raises(OptionError) as refusal:
        choose_device(device)
    assert str(refusal.value) == f"device {device} cannot be used: {needs}; choose cpu"


def test_torch_is_asked_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_driver_is_there", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"number {i}")
    assert choose_device("auto") == "cuda"
    assert gpu_names() == ["number 0", "number 1"]
    assert why_no_gpu() is None
    check_devices("cuda", 2)
    with pytest.raises(OptionError, match="devices is 3, but of cuda this machine has 2"):
        check_devices("cuda", 3)
