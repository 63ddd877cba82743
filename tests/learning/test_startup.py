"""What `geoseg train` loads before it has looked at the data: what is wrong with them is to be said soon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
sys.modules["geoseg.learning.fitting"] = None  # what trains is not found when its time has come
from geoseg.learning.config import Config
from geoseg.learning.training_run import train_run
try:
    train_run(Config.read(sys.argv[1]), sys.argv[2])
except ImportError as error:
    assert "geoseg.learning.fitting" in str(error), error
    print(*{name.split(".")[0] for name in sys.modules}, *{"torch._dynamo", "torch._inductor"} & set(sys.modules))
"""
LATER = {
    "dask",
    "geopandas",
    "kornia",
    "lightning",
    "matplotlib",
    "numba",
    "pandas",
    "scipy",
    "sklearn",
    "tensorboard",
    "torch._dynamo",
    "torch._inductor",
    "torchgeo",
    "torchmetrics",
    "xarray",
}


@pytest.mark.long
def test_the_data_are_looked_at_before_anything_is_loaded_that_trains(toy: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, toy, tmp_path / "run"]
    run = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert "torch" in loaded, run.stderr
    assert not loaded & LATER


@pytest.mark.long
def test_what_shows_curves_is_loaded_when_there_are_some(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from geoseg.learning.monitor import ScoredClasses
from geoseg.learning.records import Extent, Records
from geoseg.learning.state import TrainingPosition
Records(Path(sys.argv[1]), ScoredClasses(names=("water",)), Extent(epochs=1, steps=1), TrainingPosition())
print("tensorboard" in sys.modules)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "False\n"), run.stderr
