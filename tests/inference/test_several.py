"""One scene computed by several processes: the bytes of one, errors and deaths told, nothing left running."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg.errors import GeosegError, OptionError, SceneError
from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import PredictOutputs, Writing, predict_file
from geoseg.inference.prepare import prepare_job
from geoseg.inference.several import parts
from geoseg.storage.journal import JOURNAL
from geoseg.storage.run_record import RunRecord

ROWS: dict[str, Any] = {"device": "cpu", "precision": "fp32", "tile_size": 32, "overlap": 8, "batch_size": 4}
"""Strips of one row of tiles, so that there are several."""


def job_options(devices: int, *, profile: bool = False) -> PredictOptions:
    return PredictOptions(**ROWS, devices=devices, profile=profile)


def run(scene: Path, model: Path, output: Path, devices: int, done: list[tuple[int, int]]) -> RunRecord:
    """Predict with all products; `done` follows the progress."""
    return predict_file(
        prepare_job(scene, model, job_options(devices, profile=True)),
        PredictOutputs(
            classes=output,
            confidence=output.with_suffix(".confidence.tif"),
            probabilities=output.with_suffix(".p.tif"),
        ),
        Writing(),
        lambda now, total, _: done.append((now, total)),
    )


@given(count=st.integers(1, 50), several=st.integers(1, 20))
def test_parts_share_everything_out(count: int, several: int) -> None:
    shared = parts(count, several)
    assert [index for part in shared for index in part] == list(range(count))
    sizes = {len(part) for part in shared}
    assert 0 not in sizes
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(shared) == min(count, several)


@pytest.mark.long
def test_several_processes_give_the_bytes_of_one(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    names = "map.tif", "map.confidence.tif", "map.p.tif"
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    done: list[tuple[int, int]] = []
    run(scene_file, model_file, one / names[0], 1, [])
    report = run(scene_file, model_file, two / names[0], 2, done)
    for name in names:
        assert (two / name).read_bytes() == (one / name).read_bytes(), name
    assert [total for _, total in done] == [150] * len(done)
    assert done[-1][0] == 150
    assert sorted(done) == done
    assert report.profile is not None
    assert report.notes[-1].startswith("2 processes computed")


@pytest.mark.long
def test_a_process_that_dies_is_told_and_its_work_goes_on(model_file: Path, tmp_path: Path) -> None:
    """Killed in the middle; what is left is computed by this process, to the same bytes."""
    whole, output = tmp_path / "whole.tif", tmp_path / "map.tif"
    scene = np.random.default_rng(5).integers(0, 255, (3, 1500, 100), dtype=np.uint8)
    geoseg.predict(scene, model_file, output=whole, **ROWS)

    calls = itertools.count()

    def kill_one(*_: object) -> None:
        if next(calls) == 3:  # of 63 strips; one process has noted its first strip then
            for process in multiprocessing.active_children():
                os.kill(process.pid or 0, signal.SIGKILL)

    job = prepare_job(scene, model_file, job_options(2))
    with pytest.raises(
        GeosegError, match=r"a process of this run was ended \(SIGKILL\).*run the same command"
    ):
        predict_file(job, PredictOutputs(classes=output), Writing(), kill_one)
    assert not output.exists()
    noted = (tmp_path / "map.tif.geoseg-part" / JOURNAL).read_text()
    assert '"strip"' in noted
    done: list[tuple[int, int]] = []
    again = prepare_job(scene, model_file, job_options(1))
    predict_file(
        again, PredictOutputs(classes=output), Writing(), lambda now, total, _: done.append((now, total))
    )
    assert output.read_bytes() == whole.read_bytes()
    assert done[-1] == (1500, 1500)
    assert done[0][0] > 24  # more than a first strip: some were there


@pytest.mark.long
def test_what_a_process_meets_is_raised_here(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    broken, output = tmp_path / "broken.tif", tmp_path / "map.tif"
    data = scene_file.read_bytes()
    middle = len(data) // 2
    broken.write_bytes(data[:middle] + b"\xff" * 9000 + data[middle + 9000 :])
    with pytest.raises(SceneError, match=r"broken\.tif.*damaged"):
        geoseg.predict(broken, model_file, output=output, **ROWS, devices=2)
    assert not output.exists()
    found = []
    for devices in (1, 2):
        options = replace(job_options(devices), on_error="nodata")
        path = tmp_path / f"map{devices}.tif"
        report = predict_file(
            prepare_job(broken, model_file, options), PredictOutputs(classes=path), Writing()
        )
        found.append((report.damaged, path.read_bytes()))
    assert found[0] == found[1]
    assert found[0][0]


def test_several_are_refused_where_one_computes(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"devices is 2, but several need an output.*leave devices= out"):
        geoseg.predict(scene_file, model_file, **ROWS, devices=2)
    pixels = np.random.default_rng(2).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    lazy = xarray.DataArray(dask.array.from_array(pixels), dims=("band", "y", "x"))
    with pytest.raises(OptionError, match="a lazy array is computed in this process"):
        geoseg.predict(lazy, model_file, **ROWS, devices=2, output=tmp_path / "map.tif")
    with pytest.raises(OptionError, match="devices is 0, expected 1 to 64"):
        PredictOptions(devices=0)
