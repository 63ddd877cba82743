"""Law 9 for lazy arrays: a script that is killed goes on where it was when it is run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import names, wait_for_strips

pytestmark = pytest.mark.faults

SCRIPT = """
import signal
import sys

import numpy as np
import rioxarray

import geoseg

# A test run in the background ignores SIGINT, and its children inherit that; a person's terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)
scene, model, output = sys.argv[1:]
made = []  # several threads add to it


def counted(block):
    made.append(None)
    return block


array = rioxarray.open_rasterio(scene, chunks={"x": 128, "y": 64})
array = array.copy(data=array.data.map_blocks(counted, dtype=array.dtype, meta=np.empty((0, 0, 0), array.dtype)))
options = {"precision": "fp32", "tile_size": 64, "overlap": 16, "batch_size": 11}
geoseg.predict(array, model, **options, output=output)
print(len(made))
"""


def start(job: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, job / "scene.tif", job / "m.safetensors", output]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def made_by(process: subprocess.Popen[str]) -> int:
    """Wait for the script's end, and say how many chunks it computed."""
    told, _ = process.communicate()
    assert process.returncode == 0
    return int(told)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_the_same_script_goes_on_and_ends_in_the_same_bytes(
    job: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    clean, folder = tmp_path / "clean", tmp_path / "again"
    clean.mkdir()
    folder.mkdir()
    whole = made_by(start(job, clean / "l.tif"))
    stopped = start(job, folder / "l.tif")
    wait_for_strips(stopped.pid, folder / "l.tif", 10)
    os.kill(stopped.pid, sent)
    stopped.communicate()
    assert stopped.returncode == -sent
    assert "l.tif" not in names(folder)
    rest = made_by(start(job, folder / "l.tif"))
    assert names(folder) == names(clean)
    assert (folder / "l.tif").read_bytes() == (clean / "l.tif").read_bytes()
    assert rest <= 0.8 * whole
