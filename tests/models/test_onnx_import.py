"""Networks of other programs as ONNX: what is made of them answers as they do, or one line says why not."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from click.testing import CliRunner
from geoseg_cli.main import group
from torch import nn

from geoseg.errors import ModelError
from geoseg.grid.legend import Legend
from geoseg.models.card_file import read_card
from geoseg.models.importing import import_model
from geoseg.models.model import Model
from geoseg.models.onnx_network import read_onnx
from geoseg.models.start import start_from
from tests.marks import few

onnx = pytest.importorskip("onnx")

BANDS = ("blue", "green", "red", "nir")
THREE = Legend.parse("background,cloud,shadow")
OPTIONS = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
NAMES: dict[str, Any] = {"architecture": "Unet", "encoder": "resnet18", "decoder_options": OPTIONS}
KEPT: dict[str, Any] = {"do_constant_folding": False}
"""Of torch's export: batch normalisations stay, and so do the names of weights."""


class Holding(nn.Module):
    """A network in a class of somebody's training program, with what that does before and after it."""

    def __init__(
        self,
        model: nn.Module,
        before: Callable[[Any], Any] = lambda x: x,
        after: Callable[[Any], Any] = lambda x: x,
    ) -> None:
        super().__init__()
        self.model, self._before, self._after = model, before, after

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._after(self.model(self._before(image)))
        return result


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A U-Net of which every number is random."""
    torch.manual_seed(3)
    made: nn.Module = smp.Unet(
        "resnet18",
        encoder_weights=None,
        in_channels=4,
        classes=3,
        **{**OPTIONS, "decoder_channels": (16, 8, 8)},
    )
    for tensor in made.state_dict().values():
        if tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    return made.eval()


def written(path: Path, network: nn.Module, shape: tuple[int, ...] = (1, 4, 64, 64), **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dtype = next(network.parameters()).dtype
        torch.onnx.export(network.eval(), (torch.zeros(shape, dtype=dtype),), path, dynamo=False, **options)
    return path


@pytest.fixture(scope="module")
def kept(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("kept") / "kept.onnx", Holding(network), **KEPT)


@pytest.fixture(scope="module")
def folded(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("folded") / "folded.onnx", network)


def taken(path: Path, **options: Any) -> Model:
    return import_model(path, **{"bands": BANDS, "classes": THREE, "tile_size": 64, **NAMES, **options})


def off(ours: nn.Module, theirs: nn.Module, scale: float = 1.0) -> float:
    image = scale * torch.randn(2, 4, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = ours(image), theirs(image)
    return float((found - expected).abs().max() / expected.abs().max())


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as refused:
        taken(path, **options)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 600
    assert path.name in said
    return said


def test_weights_of_a_file_that_kept_their_names(kept: Path, network: nn.Module) -> None:
    made = taken(
        kept,
        dtype="float32",
        scale=[1],
        mean=[0.25],
        std=[0.5],
        source="me",
        licence="CC0-1.0",
    )
    assert off(made.network, network) == 0  # the same numbers, by the same code
    card = made.card
    assert (card.band_names, card.classes.names, card.task) == (BANDS, THREE.names, "multiclass")
    assert (set(card.mean), set(card.std), card.dtype) == ({0.25}, {0.5}, "float32")
    beginning = card.beginning
    assert beginning is not None
    assert (beginning.weights, beginning.of, beginning.source, beginning.licence, beginning.folded) == (
        "kept.onnx",
        "network",
        "me",
        "CC0-1.0",
        False,
    )
    assert beginning.sha256 == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert "written by pytorch" in made.notes[0]
    assert "on random images its output is that of the file, which ends in logits" in made.notes[-1]


def test_batch_normalisations_that_were_folded(folded: Path, network: nn.Module) -> None:
    """What torch exports by default: names are lost, and layers are found by their order."""
    assert not any("BatchNormalization" in node.operation for node in read_onnx(folded).nodes)
    made = taken(folded)
    assert off(made.network, network) < 1e-5
    assert "16 batch normalisations are folded into the convolutions" in made.notes[1]
    assert made.card.beginning is not None
    assert made.card.beginning.folded


@pytest.mark.parametrize("encoder", few(["tu-tf_efficientnet_lite0", "densenet121"]))
def test_layers_in_other_orders(encoder: str, tmp_path: Path) -> None:
    """A batch normalisation before its convolution stays; depthwise convolutions and ReLU6 are found."""
    torch.manual_seed(1)
    options: dict[str, Any] = {"encoder_depth": 3, "decoder_channels": (8, 8, 8)}
    theirs: nn.Module = smp.Unet(encoder, encoder_weights=None, in_channels=4, classes=3, **options).eval()
    for tensor in theirs.state_dict().values():
        if tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    made = taken(
        written(tmp_path / "f.onnx", theirs),
        encoder=encoder,
        decoder_options={"encoder_depth": 3, "decoder_channels": [8, 8, 8]},
    )
    assert off(made.network, theirs) < 1e-4
    assert "batch normalisations are folded" in made.notes[1]


def test_a_network_in_halves_is_compared_in_float32(network: nn.Module, tmp_path: Path) -> None:
    half: nn.Module = smp.Unet("resnet18", encoder_weights=None, in_channels=4, classes=3, **OPTIONS).eval()
    half.load_state_dict(network.state_dict())
    half.half()
    path = written(tmp_path / "half.onnx", half, **KEPT)
    assert {tensor.data_type for tensor in onnx.load(path).graph.initializer} == {onnx.TensorProto.FLOAT16}
    made = taken(path)
    assert off(made.network, half.float()) == 0
    assert "ends in logits" in made.notes[-1]


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"])
@pytest.mark.parametrize("raw", [True, False])
def test_numbers_of_every_type_however_they_are_stored(kind: str, raw: bool, tmp_path: Path) -> None:
    """The package onnx is the oracle."""
    numbers = np.random.default_rng(0).normal(size=(3, 2, 5)).astype(np.float32)
    tensor = onnx.helper.make_tensor("w", getattr(onnx.TensorProto, kind), numbers.shape, numbers.ravel())
    if raw:
        tensor = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), "w")
    assert tensor.HasField("raw_data") == raw
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "n.onnx")
    expected = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    found = read_onnx(tmp_path / "n.onnx").tensors["w"]
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def with_numbers_beside(source: Path, folder: Path) -> Path:
    found = onnx.load(source)
    path = folder / "m.onnx"
    onnx.save(found, path, save_as_external_data=True, location="m.data", size_threshold=0)
    return path


def test_numbers_in_a_file_beside_it(kept: Path, network: nn.Module, tmp_path: Path) -> None:
    """As torch's newer way exports them."""
    path = with_numbers_beside(kept, tmp_path)
    assert path.stat().st_size < kept.stat().st_size / 10
    assert off(taken(path).network, network) == 0
    numbers = tmp_path / "m.data"
    numbers.write_bytes(numbers.read_bytes()[:-10])
    assert "m.data beside it is cut off" in refusal(path)
    numbers.unlink()
    assert "its weights are in 'm.data', expected a file in the same folder" in refusal(path)


@pytest.mark.parametrize("place", ["../m.data", "{outside}/m.data", "linked.data", "."])
def test_numbers_elsewhere_are_not_opened(kept: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "in").mkdir()
    path = with_numbers_beside(kept, tmp_path / "in")
    (tmp_path / "in" / "m.data").rename(tmp_path / "m.data")
    (tmp_path / "in" / "linked.data").symlink_to(tmp_path / "m.data")
    found = onnx.load(path, load_external_data=False)
    for tensor in found.graph.initializer:
        tensor.external_data[0].value = place.format(outside=tmp_path)
    path.write_bytes(found.SerializeToString())
    assert "expected a file in the same folder" in refusal(path)


@pytest.mark.long
def test_probabilities_are_geoseg_s_own_affair(network: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path / "s.onnx", Holding(network, after=lambda x: x.softmax(1)), **KEPT)
    made = taken(path)
    assert off(made.network, network) == 0
    assert "ends in a softmax" in made.notes[-1]
    assert 'ends in a softmax, found task="multilabel"; pass task="multiclass"' in refusal(
        path, task="multilabel"
    )
    path = written(tmp_path / "g.onnx", Holding(network, after=torch.sigmoid), **KEPT)
    assert 'pass task="multilabel"' in refusal(path)
    assert taken(path, task="multilabel").card.task == "multilabel"
    path = written(tmp_path / "c.onnx", Holding(network, after=lambda x: x.argmax(1, keepdim=True)), **KEPT)
    assert "of whole numbers, expected logits or probabilities" in refusal(path)


@pytest.mark.long
def test_a_file_that_normalises_its_input_itself(network: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path / "n.onnx", Holding(network, before=lambda x: (x / 255 - 0.5) / 0.25), **KEPT)
    made = taken(path, mean=[0.5], std=[0.25])
    assert off(made.network, network) == 0
    assert "normalises its input itself, as given by scale=, mean= and std=" in str(made.notes[-1])
    for given in ({}, {"mean": 0.5, "std": [0.2]}):
        said = refusal(path, **given)
        assert "its output for random images is not that of Unet resnet18" in said
        assert "before its first convolution the file has Div, Sub, Div" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": BANDS[:3]}, "takes 4 bands, bands= names 3"),
        ({"classes": Legend.parse("a,b")}, "has 3 output channels, classes= names 2"),
        ({"encoder": None}, "does not name its encoder; name it with encoder="),
        ({"encoder": "resnet34"}, "not those of Unet resnet34: encoder.layer1.2"),
        ({"decoder_options": {**OPTIONS, "decoder_channels": [32, 8, 8]}}, "has shape"),
        (
            {"decoder_options": {**OPTIONS, "decoder_interpolation": "bilinear"}},
            "pass the decoder_options= that it was built with",
        ),
    ],
)
def test_another_network_than_the_one_named(kept: Path, options: dict[str, Any], words: str) -> None:
    assert words in refusal(kept, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"encoder": "resnet34"},
            "has 17 convolutions under names .* the network named has 23; pass the architecture=",
        ),
        (
            {"decoder_options": {**OPTIONS, "decoder_channels": [32, 8, 8]}},
            r"has shape \[16, 192, 3, 3\], expected",
        ),
    ],
)
def test_names_that_are_lost_and_another_network(folded: Path, options: dict[str, Any], words: str) -> None:
    assert re.search(words, refusal(folded, **options))


def test_what_no_order_tells(tmp_path: Path) -> None:
    """Linear layers lose the names of their weights when they are exported, and are not looked for."""
    made = smp.Segformer("mit_b0", encoder_weights=None, in_channels=3, classes=3).eval()
    path = written(tmp_path / "s.onnx", made, (1, 3, 64, 64))
    said = refusal(path, architecture="Segformer", encoder="mit_b0", decoder_options={}, bands=BANDS[:3])
    assert "are lost, and they" in said
    assert "torch.save(model.state_dict(), 'weights.pth')" in said


def test_images_with_their_bands_last(tmp_path: Path) -> None:
    """As Keras has them: no network of torch is behind it."""
    made = Holding(
        nn.Conv2d(4, 3, 1), before=lambda x: x.permute(0, 3, 1, 2), after=lambda x: x.permute(0, 2, 3, 1)
    )
    path = written(tmp_path / "k.onnx", made, (1, 64, 64, 4))
    assert (
        "takes images (batch, row, col, band), [1, 64, 64, 4], expected (batch, band, row, col)"
        in refusal(path)
    )


def test_what_geoseg_exported_is_no_foreign_network(tmp_path: Path, kept: Path) -> None:
    taken(kept).export(tmp_path / "m.onnx")
    assert "is a model that geoseg exported: predict with it as it is" in refusal(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="make a model file of another one with `geoseg model import`"):
        Model.open(kept)


def _twice(found: Any) -> None:
    found.graph.initializer.append(found.graph.initializer[0])


def _short(found: Any) -> None:
    found.graph.initializer[0].raw_data = found.graph.initializer[0].raw_data[:-4]


def _huge(found: Any) -> None:
    found.graph.initializer[0].dims[0] = 2**62


def _two_inputs(found: Any) -> None:
    found.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, [1]))


def _vast(found: Any) -> None:
    for edge in found.graph.input[0].type.tensor_type.shape.dim[2:]:
        edge.dim_value = 2**40


def _foreign_operation(found: Any) -> None:
    found.graph.node[-1].op_type = "Nyet"


def _not_a_number(found: Any) -> None:
    tensor = next(t for t in found.graph.initializer if t.name.endswith("segmentation_head.0.weight"))
    tensor.raw_data = np.full(tensor.dims, np.nan, np.float32).tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_twice, "are present twice"),
        (_short, "bytes, expected"),
        (_huge, "bytes, expected"),
        (_two_inputs, r"'more' \[1\], expected one image"),
        (_vast, "expected images of at most 67108864 values"),
        (_foreign_operation, "cannot be read: No conversion rule found for operations: Nyet"),
        (_not_a_number, "is not that of Unet"),
    ],
)
def test_files_that_no_exporter_writes(
    kept: Path, tmp_path: Path, change: Callable[[Any], None], words: str
) -> None:
    found = onnx.load(kept)
    change(found)
    path = tmp_path / "m.onnx"
    path.write_bytes(found.SerializeToString())
    assert re.search(words, refusal(path))


def test_damaged_files_are_one_line(kept: Path, tmp_path: Path) -> None:
    data, path, chance = kept.read_bytes(), tmp_path / "m.onnx", random.Random(0)
    for length in (0, 1, 7, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        refusal(path)
    for content in (b"no model", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40, b"\x3a\x00"):
        path.write_bytes(content)
        refusal(path)
    for _ in range(40):  # in what is not numbers: names, operations, lengths
        changed = bytearray(data)
        changed[chance.randrange(3000)] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with contextlib.suppress(ModelError):  # names may be others now, and nothing else
            read_onnx(path)


def test_what_a_card_does_not_hold_is_one_line(kept: Path) -> None:
    with pytest.raises(ModelError, match=r"^card: beginning.licence: .* 1000 characters") as refused:
        taken(kept, licence="long " * 300)
    assert "\n" not in str(refused.value)


@pytest.mark.long
def test_a_training_begins_with_it(kept: Path, network: nn.Module, tmp_path: Path) -> None:
    taken(kept, licence="Apache-2.0").save(tmp_path / "m.safetensors")
    new: dict[str, Any] = {
        **NAMES,
        "bands": ["red", "green", "swir"],
        "classes": Legend.parse("a,b"),
        "tile_size": 64,
    }
    model = Model.new(**new)
    notes = start_from(model, tmp_path / "m.safetensors")
    own, theirs = model.network.state_dict(), network.state_dict()
    ends = {"encoder.conv1.weight", "segmentation_head.0.weight", "segmentation_head.0.bias"}
    called = [
        name for name in own if not name.endswith("num_batches_tracked") and not re.search("layer[34]", name)
    ]
    assert all(torch.equal(own[name], theirs[name]) for name in called if name not in ends)
    first = theirs["encoder.conv1.weight"]
    made = torch.stack([first[:, 2], first[:, 1], first.mean(dim=1)], dim=1) * 4 / 3
    torch.testing.assert_close(own["encoder.conv1.weight"], made, rtol=0, atol=1e-6)
    assert "filters of the first layer: red: red, green: green, swir: mean of all" in notes
    beginning = model.card.beginning
    assert beginning is not None
    assert (beginning.licence, beginning.source) == ("Apache-2.0", "begun from kept.onnx")


def test_the_command_line(kept: Path, network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    arguments = ["model", "import", str(kept), "-o", str(path), "--tile-size", "64", "--encoder", "resnet18"]
    arguments += ["--decoder-options", '{"encoder_depth": 3, "decoder_channels": [16, 8, 8]}', "--scale", "1"]
    arguments += [
        "--architecture",
        "unet",
        "--bands",
        ",".join(BANDS),
        "--classes",
        "a,b,c",
        "--dtype",
        "float32",
    ]
    arguments += ["--source", "somebody", "--licence", "Apache-2.0"]
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.stderr
    assert "its output is that of the file" in result.stderr
    assert "network weights kept.onnx (somebody), licence: Apache-2.0" in result.stderr
    assert off(Model.open(path).network, network) == 0
    assert read_card(path).beginning == Model.open(path).card.beginning
    refused = CliRunner().invoke(group, [*arguments, "--overwrite", "--encoder", "resnet34"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert off(Model.open(path).network, network) == 0
