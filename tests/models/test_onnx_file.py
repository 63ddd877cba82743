"""Models exported as ONNX: what the network says, in one file that nothing else is opened for."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from geoseg_cli.main import group
from torch import nn

import geoseg
from geoseg.assessment.describe import describe
from geoseg.engine.openvino_network import logits_of
from geoseg.errors import ModelError, OptionError, OutputError
from geoseg.models import onnx_file
from geoseg.models.card import CARD_KEY
from geoseg.models.card_file import read_card
from geoseg.models.export_notes import ABOUT_KEY
from geoseg.models.exported import write_exported
from geoseg.models.graphs import graph_of
from geoseg.models.model import Model
from tests.marks import few

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def stored(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "m.safetensors"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def exported(stored: Path) -> Path:
    path = stored.with_name("m.onnx")
    result = CliRunner().invoke(group, ["model", "export", str(stored), "-o", str(path)])
    assert result.exit_code == 0, result.stderr
    assert "m.onnx\n" in result.stderr + result.stdout
    assert "exported for 32 x 32 px in fp32 or bf16" in result.stderr + result.stdout
    assert sorted(each.name for each in path.parent.iterdir()) == ["m.onnx", "m.safetensors"]
    return path


def _refusal(path: Path, call: Callable[[Path], object] = Model.open) -> str:
    with pytest.raises(ModelError) as found:
        call(path)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 600
    return str(found.value)


@pytest.mark.parametrize("shape", few([(96, 32), (32, 32), (64, 64)]))
def test_the_logits_are_the_network_s(stored: Path, exported: Path, shape: tuple[int, int]) -> None:
    found, model = Model.open(exported), Model.open(stored)
    assert found.card == model.card == read_card(exported)
    assert found.exported is not None
    image = np.random.default_rng(1).uniform(-1, 1, (1, 2, *shape)).astype(np.float32)
    (ours,) = logits_of(found.exported.graph(shape), [image])
    (xml,) = logits_of(graph_of(model, shape), [image])
    with torch.inference_mode():
        theirs = model.network(torch.from_numpy(image)).numpy()
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert np.array_equal(ours.argmax(1), xml.argmax(1))
    with pytest.raises(
        OptionError, match=r"tiles of 33 x 33 px do not suit it, .* multiples of 32: use 64 x 64"
    ):
        found.check_tile_size(33)


@pytest.mark.long
def test_it_predicts_the_map_of_the_model(stored: Path, exported: Path) -> None:
    scene = np.random.default_rng(2).integers(0, 255, (2, 80, 70), dtype=np.uint8)
    options = {"device": "cpu", "precision": "fp32"}
    ours, theirs = (geoseg.predict(scene, path, **options) for path in (exported, stored))
    assert np.array_equal(ours["landcover"], theirs["landcover"])


def test_other_programs_read_it(exported: Path) -> None:
    """The package onnx is the oracle: one network, checked, its weights in it, and the card among its notes."""
    found = onnx.load(exported, load_external_data=False)
    onnx.checker.check_model(found)
    notes = {each.key: each.value for each in found.metadata_props}
    assert notes == onnx_file.read_notes(exported)
    assert Model.open(exported).card.to_json() == notes[CARD_KEY]
    shapes = [
        [d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in (*found.graph.input, *found.graph.output)
    ]
    assert [each.name for each in (*found.graph.input, *found.graph.output)] == ["image", "logits"]
    assert shapes == [[1, 2, 32, 32], [1, 3, 32, 32]]
    assert describe(exported)["other_tiles_px"] == "multiples of 32"


def test_foreign_files_are_refused(exported: Path, tmp_path: Path) -> None:
    found = onnx.load(exported)
    del found.metadata_props[:]
    path = tmp_path / "foreign.onnx"
    path.write_bytes(found.SerializeToString())
    expected = (
        "is not a model that geoseg exported, it holds no card .*; expected what `geoseg model export` wrote"
    )
    for call in (Model.open, read_card, describe):
        with pytest.raises(ModelError, match=expected):
            call(path)
    for content in (b"", b"no model", b"\x0b" * 99, b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40):
        path.write_bytes(content)
        assert "geoseg exported" in (said := _refusal(path)) or "is not an ONNX file, or is damaged" in said
    assert "cannot be read" in _refusal(tmp_path / "none.onnx")


def test_files_that_are_not_as_they_were_written_are_refused(exported: Path, tmp_path: Path) -> None:
    data, path, chance = exported.read_bytes(), tmp_path / "m.onnx", random.Random(0)
    for _ in range(60):
        changed = bytearray(data)
        changed[
            chance.choice((chance.randrange(len(data)), chance.randrange(40), -chance.randrange(1, 2000)))
        ] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        _refusal(path)
    for length in (*range(30), len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        _refusal(path)
    path.write_bytes(data + data[:9])
    _refusal(path)
    with path.open("r+b") as file:  # a file without its bytes: nothing is read of it
        file.truncate(2**31)
    assert "it has 2,147,483,648 bytes, expected 2,147,483,647 at most" in _refusal(path)


def _external(found: Any) -> None:
    tensor = found.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _external_in_a_branch(found: Any) -> None:
    """The same, as the constant of a node of a graph that a node holds."""
    node = found.graph.node.add(op_type="If", input=["image"], output=["x"])
    inner = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g.node.add(
        op_type="Constant"
    )
    value = inner.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t
    value.external_data.add(key="location", value="/etc/passwd")


def _functions(found: Any) -> None:
    found.functions.add(name="f", domain="d")


def _nested(found: Any) -> None:
    graph = found.graph
    for _ in range(20):
        graph = graph.node.add(op_type="If").attribute.add(name="b").g


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_external, "its weights are in another file, expected all in this one"),
        (_external_in_a_branch, "its weights are in another file"),
        (_functions, "holds more than a network"),
        (_nested, "messages that are nested too deeply"),
    ],
)
def test_what_a_sealed_file_may_not_hold(
    exported: Path, tmp_path: Path, change: Callable[[Any], None], said: str
) -> None:
    """A digest can be made by anybody: what it seals is looked at before OpenVINO does."""
    notes, path = onnx_file.read_notes(exported), tmp_path / "m.onnx"
    found = onnx.load(exported)
    del found.metadata_props[:]
    change(found)
    kept = {key: notes[key] for key in (CARD_KEY, ABOUT_KEY)}
    path.write_bytes(onnx_file.with_notes(found.SerializeToString(), kept))
    assert said in _refusal(path)


def test_names_and_precisions_that_onnx_has_not(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(OutputError, match=r"an \.onnx is exported in fp32 alone; for int8 .* ends in \.xml"):
        Model.open(stored).export(path, precision="int8")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"needs the package onnx, .*: pip install onnx; \.xml needs none"):
        Model.open(stored).export(path)
    assert not list(tmp_path.iterdir())


def test_a_network_that_onnx_cannot_hold(small: dict[str, Any], tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(image[:, :1]).expand(-1, 3, -1, -1)

    Odd.__module__ = "torch.odd"
    with pytest.raises(ModelError, match=r"torch cannot express the network as ONNX: .*; export it as \.xml"):
        Model(Model.new(**small).card, Odd()).export(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_does_not_fit_the_card_is_refused(exported: Path, tmp_path: Path) -> None:
    found = Model.open(exported).exported
    assert found is not None
    fewer = found.card.changed(channels=[1, 2], legend=found.card.legend[:2])
    with pytest.raises(OutputError, match="its graph does not fit its card"):
        write_exported(tmp_path / "m.onnx", found.files.operations, fewer, found.about, overwrite=False)
    assert not list(tmp_path.iterdir())
