"""A whole run of `geoseg predict` loads nothing that it does not need: it has to start fast on small machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geoseg.inference.predict import predict
from geoseg.models.model import Model
from geoseg.pictures.predict_pictures import predict_pictures
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
scene, pictures, folder, *models = sys.argv[1:]
for model in models:
    name = folder + "/" + model.rpartition("/")[2].replace(".", "_")
    how = ["-m", model, "--precision", "fp32", "-q"]
    group(["predict", scene, "-o", name + ".tif", *how], standalone_mode=False)
    group(["predict", pictures, "-o", name + "-masks", *how], standalone_mode=False)
    table = ["--submission", name + ".csv", "--size", "20x30", "--content", "3,2,30,31"]
    group(["predict", pictures, *table, *how], standalone_mode=False)
print(*sorted({name.split(".")[0] for name in sys.modules}), *({"openvino.tools.ovc"} & set(sys.modules)))
import openvino
assert "openvino.tools.ovc" not in sys.modules
from openvino.tools.ovc import convert_model  # what asks for the converter gets it
assert sys.modules["openvino.tools.ovc"].__file__ and convert_model is not openvino.convert_model
import geoseg
for model in models:
    geoseg.predict(scene, model, precision="fp32")
"""


@pytest.mark.long
def test_without_torch_kept_and_exported_models_predict_the_same_and_nothing_else_is_loaded(
    scene_file: Path, model_file: Path, tmp_path: Path
) -> None:
    """Scenes and pictures, in tiles and, of models that see them so, whole.

    If OpenVINO imports its converter from elsewhere: every prediction on a CPU takes a second longer to start, and asks
    the internet. If it asks the stand-in for more, that is loaded: the same.
    """
    options = {"device": "cpu", "precision": "fp32"}
    (tmp_path / "pictures").mkdir()
    for seed, shape in enumerate(((40, 50), (70, 33))):
        pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        pixels[:9, :9, 3] = 0  # no data
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{seed}.png")
    whole = Model.open(model_file)
    whole.card = whole.card.changed(image_size=(64, 96))
    whole.save(tmp_path / "whole.safetensors")
    (tmp_path / "here").mkdir()
    for model in (model_file, tmp_path / "whole.safetensors"):
        name = str(tmp_path / "here" / model.stem)
        # Which keeps the network converted.
        predict(scene_file, model, **options, output=f"{name}.tif")
        predict_pictures(tmp_path / "pictures", model, output=f"{name}-masks", **options)
        form = {"size": (20, 30), "content": (3, 2, 30, 31)}
        predict_pictures(tmp_path / "pictures", model, submission=f"{name}.csv", **form, **options)
    Model.open(model_file).export(tmp_path / "m.xml")
    (tmp_path / "there").mkdir()
    models = model_file, tmp_path / "m.xml", tmp_path / "whole.safetensors"
    folders = scene_file, tmp_path / "pictures", tmp_path / "there"
    command = [sys.executable, "-c", SCRIPT, *map(str, (*folders, *models))]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not set(run.stdout.split()) & {*NOT_FOR_PREDICTING, *ALSO, "openvino.tools.ovc"}
    for model in models:
        for written in (".tif", ".csv", "-masks/0.png", "-masks/1.png"):
            ours = tmp_path / "there" / (model.name.replace(".", "_") + written)
            assert ours.read_bytes() == (tmp_path / "here" / (model.stem + written)).read_bytes(), ours


@pytest.mark.long
def test_what_asks_for_the_compiler_gets_it() -> None:
    """It is stood in for while smp is imported, and whoever was given the stand-in calls the real one.

    If torch renames ``torch._dynamo``, or torchvision asks it for more while it is imported: predicting with torch
    takes a second longer to start, or torchvision cannot be imported.
    """
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
from torch._dynamo.exc import TorchDynamoException  # what geoseg.engine.compiled catches
def fails(*_):
    raise ValueError
try:
    torch.compile(lambda x: x + 1, backend=fails)(torch.ones(2))
except TorchDynamoException:
    print("refused")
from torchvision import tv_tensors
image = tv_tensors.Image(torch.ones(3, 2, 2))
assert isinstance(tv_tensors.wrap(torch.zeros(3, 2, 2), like=image), tv_tensors.Image)  # kept from being compiled
from geoseg.models.smp import _without_compiler
with _without_compiler():
    assert torch._dynamo is sys.modules["torch._dynamo"]
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "4.0\nrefused\n"), run.stderr


@pytest.mark.long
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
