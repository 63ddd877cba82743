"""Where the time goes: every second has a place, and nothing is measured where nobody asked."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.engine import clock
from geoseg.engine.clock import Clock
from geoseg.engine.compiled import check_compiler
from geoseg.errors import OptionError
from geoseg.grid.tiling import Tiling
from geoseg.raster.array_scene import ArraySource
from tests.engine.test_symmetries import PLAIN, TTA, Lopsided, engine_for


def test_a_clock_that_is_off_measures_nothing() -> None:
    off = Clock()
    assert isinstance(off.stage("model"), nullcontext)
    assert off.profile(3.0) is None


class Ticks:
    """A time that moves by what the code under it asks for."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_seconds_are_added_up_by_stage_and_the_rest_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks()
    monkeypatch.setattr(clock, "time", ticks)
    found = Clock(torch.device("cpu"))
    for stage, seconds in (("model", 2.0), ("read", 1.5), ("model", 3.0), ("stitch", 0.5), ("upload", 0.25)):
        with found.stage(stage):  # type: ignore[arg-type]
            ticks.now += seconds
    with pytest.raises(ZeroDivisionError), found.stage("write"):
        ticks.now += 0.125
        raise ZeroDivisionError
    assert found.profile(6.0) == {
        "read": 1.5, "upload": 0.25, "model": 5.0, "stitch": 0.5, "write": 0.125, "idle": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("settings", [PLAIN, TTA], ids=["plain", "tta"])
def test_the_engine_puts_its_time_into_stages(settings: Any) -> None:
    source = ArraySource.of(np.random.default_rng(0).integers(0, 256, (1, 120, 90), dtype=np.uint8))
    engine = engine_for(Lopsided(), source, Tiling(size=16, overlap=4), settings)
    engine.network.clock = Clock(torch.device("cpu"))
    started = time.perf_counter()
    results = list(engine.run())
    seconds = time.perf_counter() - started
    profile = engine.clock.profile(seconds)
    assert profile is not None
    assert all(profile[stage] > 0 for stage in ("read", "upload", "model", "stitch"))
    assert profile["write"] == 0
    assert sum(profile[stage] for stage in ("upload", "model", "stitch", "idle")) == pytest.approx(seconds)
    plain = list(engine_for(Lopsided(), source, Tiling(size=16, overlap=4), settings).run())
    assert [r.codes.tobytes() for r in results] == [r.codes.tobytes() for r in plain]


def test_what_is_tried_out_before_a_run_is_no_part_of_it() -> None:
    """Compiling would count as the model's time otherwise, and the stages be more than the run."""
    source = ArraySource.of(np.full((1, 20, 20), 9, dtype=np.uint8))
    engine = engine_for(Lopsided(), source, Tiling(size=16, overlap=4), PLAIN)
    engine.network.clock = Clock(torch.device("cpu"))
    engine.network.try_out(1, (16, 16))
    assert engine.clock.profile(0.0) == dict.fromkeys(
        ("read", "upload", "model", "stitch", "write", "idle"), 0.0
    )
    list(engine.run())
    profile = engine.clock.profile(0.0)
    assert profile is not None
    assert profile["model"] > 0


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_compiling_is_for_cuda(device: str) -> None:
    with pytest.raises(OptionError, match=f"compile=True is for cuda, found {device}; leave it out"):
        check_compiler(device)
    check_compiler("cuda")
