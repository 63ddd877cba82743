"""Beginnings: torchgeo's weights in the encoder, and a model file to go on from."""

from __future__ import annotations

import hashlib
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torchgeo.models import ResNet18_Weights, Unet_Weights

from geoseg.errors import ModelError
from geoseg.grid.legend import Legend
from geoseg.models.model import Model
from geoseg.models.start import network_of, start_from
from tests.marks import few

ALL_MOCO = ResNet18_Weights.SENTINEL2_ALL_MOCO
NAME = "ResNet18_Weights.SENTINEL2_ALL_MOCO"
THIRTEEN = [f"b{i}" for i in range(13)]


@cache
def resnet18() -> dict[str, torch.Tensor]:
    """Random numbers in the shapes of torchgeo's own ResNet-18, the head too."""
    import timm

    made = timm.create_model("resnet18", in_chans=13, num_classes=10)
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in made.state_dict().items()
    }


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a file where torchgeo's weights come from; torch keeps its downloads in a fresh folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def publish(content: Any, digest: str | None = None) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(content, path)
        digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path = path.rename(tmp_path / f"weights-{digest}.pth")
        monkeypatch.setattr(ALL_MOCO.value, "url", path.as_uri())
        return path

    return publish


def new(encoder: str = "resnet18", bands: list[str] = THIRTEEN, weights: str | None = NAME) -> Model:
    return Model.new(
        architecture="Unet",
        encoder=encoder,
        bands=bands,
        classes=Legend.parse("water,forest"),
        encoder_weights=weights,
        decoder_options={"encoder_depth": 4, "decoder_channels": [16, 8, 8, 8]},
        tile_size=64,
    )


@pytest.mark.parametrize("encoder", few(["resnet18", "tu-resnet18"]))
def test_weights_of_torchgeo_fill_the_encoder(
    encoder: str, published: Any, caplog: pytest.LogCaptureFixture
) -> None:
    state = resnet18()
    published(state)
    with caplog.at_level(logging.WARNING):
        model = new(encoder)
    loaded = model.network.encoder.state_dict()
    assert loaded
    for name, tensor in loaded.items():
        assert torch.equal(tensor, state[name.removeprefix("model.")]), name
    assert "B1, B2, B3, B4" in caplog.text
    assert "std 10000" in caplog.text
    fresh = new(encoder, weights=None).network.state_dict()  # the rest is what the seed gives
    decoder = [name for name in fresh if not name.startswith("encoder.")]
    assert all(torch.equal(model.network.state_dict()[name], fresh[name]) for name in decoder)


def test_weights_of_torchgeo_load_as_in_torchgeo(published: Any) -> None:
    import segmentation_models_pytorch as smp

    state = resnet18()
    published(state)
    theirs = smp.Unet("resnet18", encoder_weights=None, in_channels=13, classes=2).eval()
    theirs.encoder.load_state_dict(dict(state))
    ours = new().network
    with torch.inference_mode():
        chip = torch.rand(1, 13, 64, 64)
        mine, other = ours.encoder(chip), theirs.encoder(chip)
    assert all(torch.equal(a, b) for a, b in zip(mine, other[:5], strict=True))


def test_other_bands_are_refused_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALL_MOCO.value, "url", "file:///nowhere/weights.pth")
    with pytest.raises(ModelError, match=r"take 13 bands \(B1, B2, .*B12\), the model has 3"):
        new(bands=["red", "green", "blue"])


def test_another_encoder_is_refused(published: Any) -> None:
    published(resnet18())
    with pytest.raises(ModelError, match=r"do not fit encoder resnet34: layer1.2.conv1.weight is missing"):
        new("resnet34")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError, match="not known to torchgeo, expected a name such as ResNet50_Weights"):
        new(weights="ResNet18_Weights.NYET")


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("fault", ["absent", "silent", "checksum", "code"])
def test_what_cannot_be_fetched_is_one_line(
    fault: str,
    published: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if fault == "checksum":
        published(resnet18(), digest="0123abcd")
    elif fault == "code":
        published(Trap(tmp_path / "marker"))
    else:
        nowhere = {"absent": "file:///nowhere/weights.pth", "silent": "http://127.0.0.1:9/weights.pth"}
        monkeypatch.setattr(ALL_MOCO.value, "url", nowhere[fault])
    with pytest.raises(ModelError, match=f"weights {NAME} could not be fetched or read") as refused:
        new()
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "marker").exists()
    assert capsys.readouterr().err == ""


SMALL: dict[str, Any] = {
    "architecture": "Unet",
    "encoder": "tu-test_resnet",
    "bands": ["red", "green"],
    "classes": Legend.parse("water,forest,town"),
    "decoder_options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    "tile_size": 32,
}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    Model.new(**SMALL, seed=1).save(path)
    return path


def test_starting_from_an_equal_model_takes_everything(start: Path) -> None:
    model = Model.new(**SMALL)
    assert start_from(model, start) == ()
    chip = torch.rand(1, 2, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.network(chip), Model.open(start).network(chip))


def test_a_head_of_another_size_stays_new(start: Path) -> None:
    model = Model.new(**{**SMALL, "classes": Legend.parse("a,b")})
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    notes = start_from(model, start)
    there = Model.open(start).network.state_dict()
    fresh = {"segmentation_head.0.weight", "segmentation_head.0.bias"}
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, before[name] if name in fresh else there[name]), name
    assert any("classes are water, forest, town, now a, b" in note for note in notes)
    for name in fresh:
        assert any(name in note for note in notes)


FIRST = "encoder.model.conv1.0.weight"


@pytest.mark.parametrize(
    ("bands", "expected", "words"),
    [
        (["green", "red"], lambda red, green: [green, red], "green: green, red: red"),
        (["B04", "B03"], lambda red, green: [red, green], ""),
        (["x", "y"], lambda red, green: [red, green], ""),  # nothing is known of them: as they stand
        (
            ["nir", "red"],
            lambda red, green: [(red + green) / 2, red],
            "nir: mean of all, red: red",
        ),
        (
            ["red", "green", "nir"],
            lambda red, green: [2 / 3 * red, 2 / 3 * green, (red + green) / 3],
            "red: red, green: green, nir: mean of all",
        ),
        (["G"], lambda red, green: [2 * green], "G: green"),
        (["x"], lambda red, green: [red + green], "x: mean of all"),
    ],
)
def test_the_first_layer_sees_bands_by_their_names(
    start: Path, bands: list[str], expected: Any, words: str
) -> None:
    model = Model.new(**{**SMALL, "bands": bands})
    notes = start_from(model, start)
    there, own = Model.open(start).network.state_dict(), model.network.state_dict()
    made = torch.stack(expected(*there[FIRST].unbind(dim=1)), dim=1)
    torch.testing.assert_close(own[FIRST], made, rtol=0, atol=1e-6)
    assert all(torch.equal(own[name], there[name]) for name in own if name != FIRST)
    assert any(f"its bands are red, green, now {', '.join(bands)}" in note for note in notes)
    assert [note for note in notes if "filters" in note] == (
        [f"filters of the first layer: {words}"] if words else []
    )


PUBLISHED = {
    "architecture": "Unet2015",
    "encoder": "published",
    "decoder_options": {"decoder_channels": [4, 8]},
}


PIXELS = {"decoder_options": {**SMALL["decoder_options"], "decoder_pixel_channels": 4}}


@pytest.mark.parametrize("changes", [{}, PUBLISHED, PIXELS])
def test_equal_bands_in_another_order_give_equal_logits(tmp_path: Path, changes: dict[str, Any]) -> None:
    start = tmp_path / "start.safetensors"
    Model.new(**{**SMALL, **changes}, seed=1).save(start)
    model = Model.new(**{**SMALL, **changes, "bands": ["green", "red"]})
    start_from(model, start)
    chip = torch.rand(1, 2, 32, 32)
    with torch.inference_mode():
        ours, theirs = model.network(chip.flip(1)), Model.open(start).network(chip)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoder": "tu-test_resnet", "architecture": "FPN", "decoder_options": {}},
            "its architecture is Unet",
        ),
        ({"encoder": "resnet18"}, "its encoder is tu-test_resnet.*set model.encoder to tu-test_resnet"),
        (
            {"decoder_options": {"encoder_depth": 3, "decoder_channels": [16, 8, 4]}},
            "its decoder differs.*set model.decoder_options",
        ),
        ({"decoder_options": {}}, "its decoder differs"),
    ],
)
def test_another_network_is_refused(start: Path, changes: dict[str, Any], words: str) -> None:
    model = Model.new(**{**SMALL, **changes})
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(ModelError, match=words):
        start_from(model, start)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_starting_from_what_is_no_model_file(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="geoseg model import"):
        start_from(Model.new(**SMALL), tmp_path / "w.pth")


TCD = "Unet_Weights.OAM_RGB_RESNET34_TCD"


@pytest.fixture
def unet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put one of torchgeo's U-Nets where it comes from, with random numbers."""
    import segmentation_models_pytorch as smp

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    theirs = smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=2).eval()
    torch.save(theirs.state_dict(), tmp_path / "unet.pth")
    digest = hashlib.sha256((tmp_path / "unet.pth").read_bytes()).hexdigest()[:8]
    path = (tmp_path / "unet.pth").rename(tmp_path / f"unet-{digest}.pth")
    monkeypatch.setattr(Unet_Weights.OAM_RGB_RESNET34_TCD.value, "url", path.as_uri())
    return theirs


def resnet34(**changes: Any) -> Model:
    fields = {"bands": ["red", "green", "blue"], "classes": Legend.parse("background,tree-canopy"), **changes}
    return Model.new(**{"architecture": "Unet", "encoder": "resnet34", "tile_size": 32, **fields})


def test_starting_from_a_network_of_torchgeo(unet: Any) -> None:
    model = resnet34(bands=["R", "G", "B"])
    assert start_from(model, TCD) == ()
    chip = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.network(chip), unet(chip))
    beginning = model.card.beginning
    assert beginning is not None
    assert (beginning.weights, beginning.of, beginning.licence) == (TCD, "network", "CC-BY-NC-4.0")
    other = resnet34(classes=Legend.parse("a,b,c"))
    notes = start_from(other, TCD)
    assert any("segmentation_head.0.weight" in note for note in notes)
    assert "its bands are R, G, B, now red, green, blue" in notes
    assert torch.equal(other.network.encoder.conv1.weight, unet.encoder.conv1.weight)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "Unet_Weights.SENTINEL2_2CLASS_FTW",
            "its encoder is efficientnet-b3, the new model's is tu-test_resnet",
        ),
        (NAME, "are for an encoder alone, .*pass them as model.encoder_weights"),
        ("Unet_Weights.NYET", "not known to torchgeo"),
    ],
)
def test_networks_of_torchgeo_that_do_not_fit_are_refused_before_anything_is_fetched(
    name: str, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        start_from(Model.new(**SMALL), name)


def test_the_card_of_what_began_with_a_model_file_names_it(start: Path) -> None:
    model = Model.new(**SMALL)
    start_from(model, start)
    beginning, card = model.card.beginning, Model.open(start).card
    assert beginning is not None
    assert (beginning.weights, beginning.of) == ("start.safetensors", "network")
    assert (beginning.sha256, beginning.licence) == (card.weights_sha256, "not known")


def test_a_network_of_torchgeo_is_known_before_it_is_fetched() -> None:
    assert network_of("Unet_Weights.SENTINEL2_3CLASS_FTW") == ("Unet", "efficientnet-b3", {})
    with pytest.raises(ModelError, match="are for an encoder alone, expected those of a whole network"):
        network_of(NAME)
