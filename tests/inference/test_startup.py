"""A whole run of `geoseg predict` loads nothing that it does not need: it has to start fast on small machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.test_floors import NOT_FOR_PREDICTING

ALSO = (
    "jinja2",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
    "shapely",
    "sklearn",
    "torchmetrics",
    "xarray",
)

SCRIPT = """
import sys
from geoseg_cli.main import group
group(sys.argv[1:], standalone_mode=False)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_a_run_loads_nothing_it_does_not_need(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    arguments = ["predict", scene_file, "-m", model_file, "-o", tmp_path / "c.tif", "--device", "cpu", "-q"]
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "torch" in loaded
    assert not loaded & {*NOT_FOR_PREDICTING, *ALSO}
