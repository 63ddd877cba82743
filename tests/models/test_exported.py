"""Exported models: what the network says, in two files that belong together and are for predicting only."""

from __future__ import annotations

import re
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
from geoseg.errors import GeosegError, ModelError, OptionError, OutputError, OutputExistsError
from geoseg.models import ir_file
from geoseg.models.card_file import read_card
from geoseg.models.exported import read_exported, write_exported
from geoseg.models.graphs import graph_of
from geoseg.models.model import Model
from geoseg.models.start import start_from


@pytest.fixture(scope="module")
def stored(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "m.safetensors"
    model.save(path, weights="fp16")
    return path


@pytest.fixture(scope="module")
def exported(stored: Path) -> Path:
    """Files of a model whose weights are stored as halves."""
    path = stored.with_name("m.xml")
    result = CliRunner().invoke(group, ["model", "export", str(stored), "-o", str(path)])
    assert result.exit_code == 0, result.stderr
    assert "m.xml and m.bin" in result.stderr + result.stdout
    assert "exported for 32 x 32 px in fp32 or bf16" in result.stderr + result.stdout
    return path


def noise(*shape: int) -> Any:
    return np.random.default_rng(1).uniform(-1, 1, (1, *shape)).astype(np.float32)


def test_the_card_and_the_logits_are_the_model_s(stored: Path, exported: Path) -> None:
    model, found = Model.open(stored), Model.open(exported)
    assert read_card(exported) == found.card == model.card
    assert found.exported is not None
    image = noise(2, 32, 32)
    (ours,) = logits_of(found.exported.graph((32, 32)), [image])
    (theirs,) = logits_of(graph_of(model, (32, 32)), [image])
    assert np.array_equal(ours, theirs)
    described = describe(exported)
    assert (described["kind"], described["tile_px"]) == ("exported model", [32, 32])
    assert described["card"] == found.card.fields()


@pytest.mark.parametrize("shape", [(64, 64), (96, 32)])
def test_tiles_of_other_sizes_get_what_the_network_says(
    stored: Path, exported: Path, shape: tuple[int, int]
) -> None:
    network, found, image = Model.open(stored).network, Model.open(exported), noise(2, *shape)
    assert found.exported is not None
    (ours,) = logits_of(found.exported.graph(shape), [image])
    with torch.inference_mode():
        theirs = network(torch.from_numpy(image)).numpy()
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    found.check_tile_size(64)
    with pytest.raises(
        OptionError, match=r"tiles of 33 x 33 px do not suit it, .* multiples of 32: use 64 x 64"
    ):
        found.check_tile_size(33)


def test_a_graph_that_holds_its_shape_is_for_that_one_alone(small: dict[str, Any], tmp_path: Path) -> None:
    card = Model.new(**small).card
    network = nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (32, 32)), nn.Conv2d(2, 3, 1)).eval()
    Model(card, network).export(tmp_path / "m.xml")
    found = Model.open(tmp_path / "m.xml")
    found.check_tile_size(32)
    with pytest.raises(
        OptionError, match="is for tiles of 32 x 32 px alone, found 64 x 64; leave the tile size out"
    ):
        found.check_tile_size(64)
    Model(card, nn.Conv2d(2, 3, 1).eval()).export(tmp_path / "any.xml", tile_size=48)
    found = Model.open(tmp_path / "any.xml")
    found.check_tile_size(7)
    assert found.card.tile.size == 48


def test_it_only_predicts(stored: Path, exported: Path, tmp_path: Path) -> None:
    model, out = Model.open(exported), tmp_path / "o.safetensors"
    scene = np.zeros((2, 32, 32), np.uint8)
    tries: tuple[Callable[[], object], ...] = (
        lambda: model.network,
        lambda: model.save(out),
        lambda: model.export(tmp_path / "o.xml"),
        lambda: geoseg.recolor(exported, out),
        lambda: geoseg.quantize(model, [scene]),
        lambda: start_from(Model.open(stored), exported),
        lambda: geoseg.predict(scene, exported, device="cpu", precision="fp16"),
    )
    only = re.escape(
        f"{exported}: an exported model can only predict, on a CPU with precision fp32 or bf16; for everything else "
    )
    for each in tries:
        with pytest.raises(ModelError, match=f"^{only}take the .safetensors that it was made of$"):
            each()
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_as_they_were_written_are_refused(exported: Path, tmp_path: Path) -> None:
    xml, weights = exported.read_bytes(), exported.with_suffix(".bin").read_bytes()
    path = tmp_path / "m.xml"

    def refusal(xml: bytes, weights: bytes | None) -> str:
        path.write_bytes(xml)
        path.with_suffix(".bin").unlink(missing_ok=True)
        if weights is not None:
            path.with_suffix(".bin").write_bytes(weights)
        with pytest.raises(ModelError) as found:
            Model.open(path)
        assert "\n" not in str(found.value)
        return str(found.value)

    path.write_bytes(xml)
    path.with_suffix(".bin").write_bytes(weights)
    assert Model.open(path).digest == Model.open(exported).digest
    changed = "it and m.bin are not as they were exported"
    assert changed in refusal(xml, weights[:-1] + bytes([weights[-1] ^ 1]))
    assert changed in refusal(xml, weights[:-4])
    assert changed in refusal(xml.replace(b'strides="1, 1"', b'strides="2, 2"', 1), weights)
    assert "m.bin: cannot be read (No such file or directory); an exported model is two files" in refusal(
        xml, None
    )
    assert "is not a model that geoseg exported, or is damaged" in refusal(xml[: len(xml) // 2], weights)
    assert "it holds no card (bands, classes, normalisation); expected what" in refusal(
        b"<net></net>", weights
    )
    assert "declares XML entities" in refusal(b"<!DOCTYPE x>" + xml, weights)
    assert "is not a model that geoseg exported, or is damaged" in refusal(b"", weights)
    assert "cannot be read" in _refusal(tmp_path / "none.xml")


def _refusal(path: Path) -> str:
    with pytest.raises(ModelError) as found:
        read_card(path)
    return str(found.value)


def test_what_was_written_by_somebody_else_is_refused(exported: Path, tmp_path: Path) -> None:
    """A digest can be made by anybody: what it seals is looked at."""
    found = read_exported(exported)
    for number, (old, new, said) in enumerate(
        (
            (b"&quot;shape&quot;:[32,32]", b"&quot;shape&quot;:[0,32]", "geoseg_export: shape.0"),
            (
                b"&quot;precision&quot;:&quot;fp32&quot;",
                b"&quot;precision&quot;:&quot;int8&quot;",
                "different precisions",
            ),
            (b"&quot;bands&quot;:[", b"&quot;bands&quot;:[7,", "bands.0"),
        )
    ):
        path, bare = tmp_path / f"{number}.xml", ir_file._DIGEST.sub(b"", found.files.operations)
        assert old in bare
        path.write_bytes(ir_file._sealed(bare.replace(old, new, 1), found.files.weights))
        path.with_suffix(".bin").write_bytes(found.files.weights)
        with pytest.raises(ModelError, match=said):
            Model.open(path)


def test_a_graph_that_does_not_fit_the_card_is_refused(stored: Path, exported: Path, tmp_path: Path) -> None:
    found, graph = read_exported(exported), graph_of(Model.open(stored), (32, 32))
    fewer = found.card.changed(channels=[1, 2], legend=found.card.legend[:2])
    with pytest.raises(OutputError, match="its graph does not fit its card"):
        write_exported(tmp_path / "m.xml", graph, fewer, found.about, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_names_and_files_that_are_there(model: Model, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"an exported model's name ends in \.xml \(OpenVINO's format"):
        model.export(tmp_path / "m.pb")
    path = tmp_path / "m.xml"
    path.with_suffix(".bin").write_bytes(b"somebody's")
    with pytest.raises(OutputExistsError, match=r"m\.bin: already exists"):
        model.export(path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"somebody's"]
    model.export(path, overwrite=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    with pytest.raises(OutputExistsError, match=r"m\.xml: already exists"):
        model.export(path)
    assert Model.open(path).card.weights_sha256 == model.digest


@pytest.mark.long
def test_images_that_are_not_square_are_not_turned(model: Model, tmp_path: Path) -> None:
    whole = Model(model.card.changed(image_size=(32, 64)), model.network)
    whole.export(tmp_path / "m.xml")
    scene = np.zeros((2, 40, 50), np.uint8)
    options = {"device": "cpu", "precision": "fp32", "tta": True}
    with pytest.raises(OptionError, match=r"m\.xml: sees images of 32 x 64 px, .*; leave tta out"):
        geoseg.predict(scene, Model.open(tmp_path / "m.xml"), **options)


def test_halves_take_half_the_bytes_and_say_nearly_the_same(stored: Path, tmp_path: Path) -> None:
    model, path = Model.open(stored), tmp_path / "half.xml"
    for weights, name in (("fp32", "m.xml"), ("fp16", "half.xml")):
        asked = ["model", "export", str(stored), "--weights", weights, "-o", str(tmp_path / name)]
        assert CliRunner().invoke(group, asked).exit_code == 0
    whole, half = ((tmp_path / name).with_suffix(".bin").stat().st_size for name in ("m.xml", "half.xml"))
    assert half < 0.6 * whole
    found = Model.open(path).exported
    assert found is not None
    assert found.about.weights == "fp16"
    image = noise(2, 32, 32)
    (ours,), (theirs,) = (
        logits_of(graph, [image]) for graph in (found.graph((32, 32)), graph_of(model, (32, 32)))
    )
    assert 0 < np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


def test_halves_that_there_are_not_are_refused(stored: Path, tmp_path: Path) -> None:
    for name, precision, said in (
        ("m.onnx", "fp32", "for fp16 weights give a name that ends in .xml"),
        ("m.xml", "int8", "are smaller than fp16 already; leave fp16 out"),
    ):
        asked = ["model", "export", str(stored), "--weights", "fp16", "--precision", precision]
        result = CliRunner().invoke(group, [*asked, "-o", str(tmp_path / name)])
        assert result.exit_code != 0
        assert said in result.stderr
        assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(model: Model, tmp_path: Path) -> None:
    own = Model.wrap(
        nn.Conv2d(2, 3, 1), bands=["a", "b"], classes="x,y,z", value_range=(0, 255), tile_size=32
    )
    whole = Model(model.card.changed(image_size=(32, 64)), model.network)
    for refused, said in (
        (lambda path: own.export(path), "a network of your own cannot be exported"),
        (
            lambda path: whole.export(path, tile_size=64),
            "resized to 32 x 64 px, not tiles; leave the tile size out",
        ),
        (lambda path: model.export(path, precision="int8"), "holds no int8 graph; measure it with"),
    ):
        with pytest.raises(GeosegError, match=said):
            refused(tmp_path / "m.xml")
    assert not list(tmp_path.iterdir())
