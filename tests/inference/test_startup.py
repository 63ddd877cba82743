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
print(*sorted({name.split(".")[0] for name in sys.modules}), *({"torch._dynamo"} & set(sys.modules)))
"""


def test_a_run_loads_nothing_it_does_not_need(scene_file: Path, model_file: Path, tmp_path: Path) -> None:
    arguments = ["predict", scene_file, "-m", model_file, "-o", tmp_path / "c.tif", "--device", "cpu", "-q"]
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "torch" in loaded
    assert not loaded & {*NOT_FOR_PREDICTING, *ALSO, "torch._dynamo"}


def test_what_asks_for_the_compiler_gets_it() -> None:
    """It is stood in for while smp is imported, and whoever was given the stand-in calls the real one."""
    script = """
import sys
import geoseg.models.smp
assert "torch._dynamo" not in sys.modules
from torchvision.ops import roi_align
import torchvision.ops.roi_align
given = sys.modules["torchvision.ops.roi_align"].is_compile_supported
assert "torch._dynamo" not in sys.modules
import torch, torch._dynamo.utils
assert given("cpu") is torch._dynamo.utils.is_compile_supported("cpu")
assert torch._dynamo.optimize and torch._dynamo.utils.__file__
print(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).sum().item())
from geoseg.models.smp import _without_compiler
with _without_compiler():
    assert torch._dynamo is sys.modules["torch._dynamo"]
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "4.0\n"), run.stderr


def test_an_import_that_needs_more_of_the_compiler_has_it() -> None:
    script = """
import sys
from geoseg.models.smp import _without_compiler
with _without_compiler():
    import torch._dynamo
    assert torch._dynamo.config.__name__ == "torch._dynamo.config"
    from torch._dynamo.utils import is_compile_supported, counters
assert sys.modules["torch._dynamo"].__file__
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
