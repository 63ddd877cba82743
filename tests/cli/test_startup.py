"""What whole commands load: start-up is what one waits for on small files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from click.testing import CliRunner
from geoseg_cli.main import group

from geoseg.engine.devices import gpu_names

SCRIPT = """
import json, sys
from geoseg_cli.main import group
for command in json.loads(sys.argv[1]):
    group(command, standalone_mode=False)
    print("loaded:", *sorted({name.split(".")[0] for name in sys.modules}))
"""
NEVER = {"geopandas", "lightning", "matplotlib", "numba", "pandas", "scipy", "torchgeo", "xarray"}
WITHOUT = (
    NEVER | {"torch", "pyogrio", "llvmlite", "pyarrow"},  # info FILE
    NEVER | {"torch", "shapely", "yaml"},  # vectorize
    NEVER | {"torch"},  # rasterize
    {"geopandas", "lightning", "matplotlib", "pandas", "scipy"}
    | (set() if gpu_names() else {"torch"}),  # info
)
"""What each command, one after the other in a process, has no use for."""


def test_commands_load_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    source, output = str(tmp_path / "map.tif"), str(tmp_path / "map.gpkg")
    codes = np.kron(np.array([[1, 2], [2, 3]], np.uint8), np.ones((8, 8), np.uint8))
    profile = {
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 5e5, 0, -10, 5e6),
    }
    with rasterio.open(source, "w", driver="GTiff", width=16, height=16, **profile) as file:
        file.write(codes, 1)
    vectorize = ["vectorize", source, "-o", output, "--overwrite"]
    rasterize = ["rasterize", output, "--like", source, "-o", str(tmp_path / "again.tif"), "--overwrite"]
    for command in (vectorize, rasterize):  # compiles what was not kept
        assert CliRunner().invoke(group, command).exit_code == 0
    commands = [["info", source], vectorize, rasterize, ["info"]]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = [set(line.split()[1:]) for line in run.stdout.splitlines() if line.startswith("loaded:")]
    assert len(found) == len(commands)
    for command, loaded, without in zip(commands, found, WITHOUT, strict=True):
        assert loaded & without == set(), command
