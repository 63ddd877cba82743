"""A whole run of `geoseg predict` loads nothing that it does not need: it has to start fast on small machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from geoseg.inference.options import PredictOptions
from geoseg.inference.predict import predict
from geoseg.models.model import Model
from tests.test_floors import NOT_FOR_PREDICTING

ALSO = (
    "jinja2",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
    "shapely",
    "segmentation_models_pytorch",
    "sklearn",
    "timm",
    "torchmetrics",
    "torchvision",
    "xarray",
)

SCRIPT = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from geoseg_cli.main import group
scene, folder, *models = sys.argv[1:]
for model in models:
    output = folder + "/" + model.rpartition(".")[2] + ".tif"
    group(["predict", scene, "-m", model, "-o", output, "--precision", "fp32", "-q"], standalone_mode=False)
print(*sorted({name.split(".")[0] for name in sys.modules}), *({"openvino.tools.ovc"} & set(sys.modules)))
import openvino
assert "openvino.tools.ovc" not in sys.modules
from openvino.tools.ovc import convert_model  # what asks for the converter gets it
assert sys.modules["openvino.tools.ovc"].__file__ and convert_model is not openvino.convert_model
import geoseg
for model in models:
    geoseg.predict(scene, model, options=geoseg.PredictOptions(precision="fp32"))
"""


def test_without_torch_kept_and_exported_models_predict_the_same_and_nothing_else_is_loaded(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    options = PredictOptions(device="cpu", precision="fp32")
    predict(
        scene_file, model_file, options=options, output=tmp_path / "c.tif"
    )  # which keeps the network converted
    Model.open(model_file).export(tmp_path / "m.xml")
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        *map(str, (scene_file, tmp_path, model_file, tmp_path / "m.xml")),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not set(run.stdout.split()) & {*NOT_FOR_PREDICTING, *ALSO, "openvino.tools.ovc"}
    expected = (tmp_path / "c.tif").read_bytes()
    assert (tmp_path / "safetensors.tif").read_bytes() == (tmp_path / "xml.tif").read_bytes() == expected


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
