"""Pretrained encoders: packaged, published or in a file, for any bands; and what the card says of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError
from geoseg.grid.legend import Legend
from geoseg.models.beginning import Beginning
from geoseg.models.card_file import read_card
from geoseg.models.encoder_weights import PACKAGED_ENCODER, load_encoder_weights
from geoseg.models.first_layer import colors_of, spread
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from geoseg.models.smp import smp
from tests.marks import few

RGB = ("red", "green", "blue")
DATA = Path("geoseg/models/data")
SMALL = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}


def plan(encoder: str, bands: int = 3, **options: Any) -> NetworkPlan:
    return NetworkPlan(architecture="Unet", encoder=encoder, bands=bands, channels=2, options=options)


def begun(encoder: str, bands: tuple[str, ...], weights: str | Path) -> tuple[Any, Beginning]:
    """Network with its encoder's weights loaded."""
    wanted = plan(encoder, len(bands))
    network = build(wanted).eval()
    return network, load_encoder_weights(network, wanted, bands, weights)


def shaken(encoder: str) -> Any:
    """Encoder of three bands whose every number is its own."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = smp.encoders.get_encoder(encoder, weights=None).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in made.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.01)
    return made


@cache
def packaged() -> Any:
    """The encoder as timm has it, with the packaged numbers read by safetensors alone."""
    made = smp.encoders.get_encoder(PACKAGED_ENCODER, weights=None).eval()
    numbers = load_file(DATA / "lite0.safetensors")
    missing = made.model.load_state_dict({k: v.float() for k, v in numbers.items()}, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    return made


@cache
def file_of(encoder: str, folder: Path) -> Path:
    path = folder / f"{encoder}.pth"
    made = shaken(encoder)
    torch.save((made.model if encoder.startswith("tu-") else made).state_dict(), path)
    return path


def test_the_packaged_file_is_the_one_that_the_script_wrote() -> None:
    found = hashlib.sha256((DATA / "lite0.safetensors").read_bytes()).hexdigest()
    assert found == "84b799ccd0761db49d95aa2e2c4ded7ac8849cbba14cf63380eaf55a7d4fc9e1"
    numbers = load_file(DATA / "lite0.safetensors")
    assert len(numbers) == 240
    assert (DATA / "lite0.safetensors").stat().st_size < 7e6
    assert "Apache License" in (DATA / "LICENSE").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def compare(encoder: str, order: list[str], source: str | Path, theirs: Any, seed: int) -> None:
    """Compare the features of an encoder of three bands in any order with those of the usual one."""
    network, _ = begun(encoder, tuple(order), source)
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    with torch.inference_mode():
        expected = theirs(image)[1:]
        found = network.encoder(image[:, [RGB.index(color) for color in order]])[1:]
    for here, there in zip(found, expected, strict=True):
        largest = float(there.abs().max()) if there.numel() else 1.0
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4 * largest)


@given(order=st.permutations(RGB), seed=st.integers(0, 2**16))
@settings(max_examples=4, deadline=None, phases=[Phase.generate])
def test_features_of_red_green_blue_are_the_originals_in_any_order(order: list[str], seed: int) -> None:
    compare(PACKAGED_ENCODER, order, "packaged", packaged(), seed)


@pytest.mark.parametrize("encoder", few(["tu-test_resnet", "mobileone_s0", "resnet18", "mit_b0"]))
def test_features_of_other_encoders_are_the_originals(encoder: str, tmp_path: Path) -> None:
    theirs = shaken(encoder)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    compare(encoder, ["blue", "red", "green"], tmp_path / "w.pth", theirs, 1)


@given(
    others=st.integers(0, 4),
    colors=st.sampled_from(["all", "none"]),
    groups=st.integers(1, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_bands_of_equal_values_have_the_response_of_the_colors(
    others: int, colors: str, groups: int, seed: int
) -> None:
    bands: list[str | None] = [*(RGB if colors == "all" else ()), *[None] * others] or [None]
    filters = torch.rand((4, 3 * groups, 3, 3), generator=torch.Generator().manual_seed(seed))
    made = spread(filters, RGB, bands, groups)
    assert made.shape == (4, len(bands) * groups, 3, 3)
    torch.testing.assert_close(made.sum(1), filters.sum(1))


def test_a_band_takes_the_filters_of_its_color_and_others_their_mean() -> None:
    bands = ("nir", "B", "Band 4 - Red", "665 nm", "0.56 µm", "swir16")
    assert colors_of(bands) == (None, "blue", "red", "red", "green", None)
    network, _ = begun(PACKAGED_ENCODER, bands, "packaged")
    theirs = packaged().model.conv_stem.weight
    red, green, blue = theirs.unbind(1)
    mean = theirs.mean(1)
    expected = torch.stack([mean, blue, red, red, green, mean], dim=1) / 2
    torch.testing.assert_close(network.encoder.model.conv_stem.weight, expected)


def test_another_encoder_has_no_packaged_weights() -> None:
    with pytest.raises(
        ModelError,
        match="'packaged' are for encoder tu-tf_efficientnet_lite0, found encoder resnet18; use that encoder",
    ):
        begun("resnet18", RGB, "packaged")


def new(bands: tuple[str, ...] = RGB, **changes: Any) -> Model:
    return Model.new(
        **{
            "architecture": "Unet",
            "encoder": PACKAGED_ENCODER,
            "bands": bands,
            "classes": Legend.parse("water,forest"),
            "encoder_weights": "packaged",
            "tile_size": 64,
            **changes,
        }
    )


def test_the_card_says_what_it_began_with(tmp_path: Path) -> None:
    model = new(("blue", "red", "green"))
    model.save(tmp_path / "m.safetensors")
    card = read_card(tmp_path / "m.safetensors")
    assert card.beginning is not None
    assert (card.beginning.weights, card.beginning.licence) == ("packaged", "Apache-2.0")
    assert card.beginning.sha256.startswith("84b799cc")
    assert "encoder weights packaged (EfficientNet-Lite0, trained on ImageNet), licence: Apache-2.0" in repr(
        model
    )
    gains, biases = card.normalisation()
    for stored in (0, 127, 255):
        assert gains[0] * stored + biases[0] == pytest.approx((stored - 127) / 128)


@pytest.mark.parametrize(
    ("bands", "white", "mean", "std"),
    [
        (("green", "red", "blue"), 255.0, (127, 127, 127), (128, 128, 128)),
        (("green", "red", "blue"), None, (10, 20, 30), None),
        (("red", "green", "blue", "nir"), 255.0, (10, 20, 30, 40), None),
        (("nir", "red", "green"), 255.0, (10, 20, 30), None),
    ],
)
def test_normalisation_follows_the_weights_where_they_know_the_input(
    bands: tuple[str, ...], white: float | None, mean: tuple[float, ...], std: tuple[float, ...] | None
) -> None:
    beginning = new().card.beginning
    assert beginning is not None
    measured = (10.0, 20.0, 30.0, 40.0)[: len(bands)]
    spreads = (1.0, 2.0, 3.0, 4.0)[: len(bands)]
    found = beginning.normalisation(colors_of(bands), white, measured, spreads)
    assert found[0] == pytest.approx(mean)
    # ImageNet's colours have a deviation of 0.226 from 0 to 1, and so 0.45 as these weights see them.
    assert found[1] == pytest.approx(std or [each * (128 / 255) / 0.226 for each in spreads], rel=1e-9)


def test_weights_that_ask_for_nothing_leave_the_statistics() -> None:
    numbers = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert Beginning(weights="w.pth").normalisation(RGB, 255.0, *numbers) == numbers


def wrapped(form: str, encoder: Any, path: Path) -> Path:
    """Write an encoder's weights as different programs do."""
    inner = encoder.model if hasattr(encoder, "model") else encoder
    state = {**inner.state_dict(), "fc.weight": torch.ones(9, 512), "fc.bias": torch.ones(9)}
    whole = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    whole["segmentation_head.0.weight"] = torch.ones(2, 16, 3, 3)
    if form == "safetensors":
        save_file(
            {name: tensor.contiguous() for name, tensor in state.items()}, path.with_suffix(".safetensors")
        )
        return path.with_suffix(".safetensors")
    content = {
        "bare": state,
        "smp": whole,
        "lightning": {
            "pytorch-lightning_version": "2.0",
            "state_dict": {f"model.{name}": tensor for name, tensor in whole.items()},
        },
        "old": {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
    }[form]
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("form", "encoder"),
    [
        *((form, "tu-test_resnet") for form in ("bare", "safetensors", "smp", "lightning", "old")),
        *(pytest.param(form, "resnet18", marks=pytest.mark.long) for form in ("bare", "smp")),
    ],
)
def test_weights_of_a_file(form: str, encoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = shaken(encoder)
    path = wrapped(form, theirs, tmp_path / "w.pth")
    with caplog.at_level(logging.INFO):
        network, beginning = begun(encoder, RGB, path)
    expected = theirs.state_dict()
    for name, tensor in network.encoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, expected[name]), name
    assert beginning == Beginning(weights=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    left = "2 tensors do not belong to the encoder and were ignored (fc.weight, fc.bias)"
    if form in ("bare", "old"):
        assert left in caplog.text
    assert f"begun from encoder weights {path.name}, licence: not known" in caplog.text


def test_names_that_timm_flattens_for_features(tmp_path: Path) -> None:
    import timm

    theirs = timm.create_model("convnext_atto", num_classes=5)
    torch.save(theirs.state_dict(), tmp_path / "w.bin")
    network, _ = begun("tu-convnext_atto", RGB, tmp_path / "w.bin")
    found = network.encoder.model.state_dict()
    assert torch.equal(found["stages_1.blocks.0.conv_dw.weight"], theirs.stages[1].blocks[0].conv_dw.weight)


@pytest.mark.parametrize(
    ("encoder", "change", "words"),
    [
        (
            "resnet18",
            "gone",
            r"do not fit encoder resnet18: layer2.0.conv1.weight is missing \(of 120 tensors 1 are miss",
        ),
        (
            "resnet18",
            "shape",
            r"layer2.0.conv1.weight has shape \[3, 3\], expected \[128, 64, 3, 3\] \(of 120",
        ),
        ("resnet18", "nan", r"layer2.0.conv1.weight holds NaN or infinity"),
        (
            "resnet18",
            "bands",
            r"are for 5 bands, the model has 3; expected weights for that many bands, or for red, green and blue",
        ),
        ("resnet34", "", r"do not fit encoder resnet34: layer1.2.conv1.weight is missing"),
        ("efficientnet-b0", "", r"do not fit encoder efficientnet-b0: _conv_stem.weight is missing"),
    ],
)
def test_weights_that_do_not_fit(encoder: str, change: str, words: str, tmp_path: Path) -> None:
    state = shaken("resnet18").state_dict()
    if change == "gone":
        del state["layer2.0.conv1.weight"]
    elif change == "bands":
        state["conv1.weight"] = torch.ones(64, 5, 7, 7)
    elif change:
        state["layer2.0.conv1.weight"] = torch.full((128, 64, 3, 3) if change == "nan" else (3, 3), torch.nan)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=words) as refused:
        begun(encoder, RGB, tmp_path / "w.pt")
    assert "\n" not in str(refused.value)
    assert "w.pt" in str(refused.value)


def test_a_deeper_encoder_of_the_same_kind_is_refused(folder: Path) -> None:
    with pytest.raises(
        ModelError, match=r"belong to another encoder than resnet18, which has no layer1.2.conv1.weight"
    ):
        begun("resnet18", RGB, file_of("resnet34", folder))


@pytest.mark.parametrize("encoder", [PACKAGED_ENCODER, "resnet18"])
def test_an_encoder_that_is_cut_short_takes_its_part(encoder: str, folder: Path) -> None:
    wanted = plan(encoder, **SMALL)
    source = "packaged" if encoder == PACKAGED_ENCODER else file_of(encoder, folder)
    theirs = packaged() if encoder == PACKAGED_ENCODER else shaken(encoder)
    network: Any = build(wanted).eval()
    load_encoder_weights(network, wanted, RGB, source)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for here, there in zip(network.encoder(image)[1:], theirs(image)[1:4], strict=True):
            torch.testing.assert_close(here, there)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_a_hostile_file_runs_no_code(tmp_path: Path) -> None:
    torch.save({"state_dict": Trap(tmp_path / "marker")}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds Python objects .*never loaded"):
        begun("resnet18", RGB, tmp_path / "w.pth")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.pth", "none.pth: cannot be read"),
        (
            "nonsense",
            "'nonsense' are not known of encoder resnet18, expected imagenet, ssl, swsl, a name of torchgeo's",
        ),
    ],
)
def test_weights_that_are_not_there(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        begun("resnet18", RGB, name)


def test_a_model_file_is_no_file_of_encoder_weights(tmp_path: Path) -> None:
    new(encoder="tu-test_resnet", encoder_weights=None).save(tmp_path / "m.safetensors")
    with pytest.raises(
        ModelError, match=r"is already a geoseg model file; .*start a training from it \(model.start\)"
    ):
        begun("tu-test_resnet", RGB, tmp_path / "m.safetensors")


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_published_weights_without_a_network_are_refused_at_once(
    encoder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match="not in the cache and the hub does not answer: .*take weights that need none"
    ):
        begun(encoder, RGB, "imagenet")
    assert capfd.readouterr().err == ""
    assert not constants.HF_HUB_OFFLINE


def test_published_weights_in_the_cache_need_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If segmentation-models-pytorch rebuilds its table ``encoders.encoders``: no published weights of its encoders are
    found, and ``encoder_weights`` names none of them.
    """
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    said = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    snapshots = tmp_path / f"models--{said['repo_id'].replace('/', '--')}" / "snapshots"
    folder = snapshots / said["revision"]
    folder.mkdir(parents=True)
    theirs = shaken("resnet18")
    save_file(theirs.state_dict(), folder / "model.safetensors")
    numbers = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_space": "RGB", "input_range": [0, 1]}
    (folder / "config.json").write_text(json.dumps(numbers))
    model = new(("blue", "green", "red"), encoder="resnet18", encoder_weights="imagenet")
    assert torch.equal(model.network.encoder.conv1.weight, theirs.conv1.weight.flip(1))
    assert model.card.mean == (0.3, 0.2, 0.1)
    assert model.card.std == (0.6, 0.5, 0.4)
    assert model.card.beginning is not None
    assert model.card.beginning.source == said["repo_id"]
