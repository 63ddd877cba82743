"""Model files: what is saved is what is opened, and nothing else is ever opened."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from geoseg.errors import ModelError, OptionError, OutputError, OutputExistsError
from geoseg.grid.legend import Legend
from geoseg.models.card import CARD_KEY
from geoseg.models.card_file import read_card
from geoseg.models.model import Model, weights_sha256


def logits(model: Model, size: int = 32) -> torch.Tensor:
    """What a model says about a fixed picture."""
    image = torch.randn(2, len(model.card.bands), size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        answer: torch.Tensor = model.network(image)
    return answer


def test_new_is_a_function_of_its_arguments_and_leaves_the_random_state_alone(small: dict[str, Any]) -> None:
    state = torch.random.get_rng_state()
    a, b, other = Model.new(**small), Model.new(**small), Model.new(**small, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(logits(a), logits(b))
    assert not torch.equal(logits(a), logits(other))
    assert not a.network.training


def test_new_maps_the_value_range_to_0_to_1(small: dict[str, Any]) -> None:
    card = Model.new(**small, dtype="uint16", value_range=(1000, 11000)).card
    for stored, expected in ((1000, 0.0), (11000, 1.0)):
        assert stored * card.scale[0] + card.offset[0] == pytest.approx(expected)
    assert Model.new(**small, dtype="int16").card.value_range == (-32768, 32767)
    assert Model.new(**small, dtype="float32").card.value_range == (0, 1)
    assert card.channels == (1, 2, 3)


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        (
            "FPN",
            {"upsampling": 8},
            "FPN with upsampling=8 returns 128 x 128 px for 64 x 64, expected the same size",
        ),
        ("FPN", {"decoder_merge_policy": "evil"}, "refused by segmentation-models-pytorch: .*evil"),
        (
            "Unet",
            {"encoder_depth": 3, "decoder_channels": [60_000] * 3},
            "its weights need more than .* GB of memory are free",
        ),
    ],
)
def test_options_that_make_no_usable_network_are_refused(
    small: dict[str, Any], architecture: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        Model.new(**{**small, "architecture": architecture, "decoder_options": options})


def test_an_option_that_only_running_shows_to_be_wrong_is_refused(small: dict[str, Any]) -> None:
    norm = {"decoder_use_norm": {"type": "batchnorm", "eps": "x"}}
    with pytest.raises(ModelError, match=r"Unet with .*'eps': 'x'.* cannot be run: .*not supported between"):
        Model.new(**{**small, "architecture": "Unet", "decoder_options": norm})


SLIM: dict[str, dict[str, Any]] = {
    "Unet": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    "Linknet": {"encoder_depth": 3},
    "FPN": {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32},
}


@settings(max_examples=8)
@given(
    architecture=st.sampled_from(sorted(SLIM)),
    bands=st.integers(1, 5),
    classes=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    weights=st.sampled_from(["fp32", "fp16"]),
)
def test_law_11_save_then_open_gives_the_logits_of_the_weights_as_stored(
    tmp_path: Path, architecture: str, bands: int, classes: int, seed: int, weights: Any
) -> None:
    model = Model.new(
        architecture=architecture,
        encoder="tu-mobilenetv3_small_050",
        bands=[f"b{i}" for i in range(bands)],
        classes=Legend.made_up(range(0, 10 * classes, 10)),
        decoder_options=SLIM[architecture],
        tile_size=32,
        seed=seed,
    )
    path = tmp_path / "m.safetensors"
    card = model.save(path, weights=weights, overwrite=True)
    opened = Model.open(path)
    assert opened.card == card
    as_stored = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    model.network.load_state_dict(as_stored)
    assert torch.equal(logits(opened), logits(model))
    # Weights that were stored once are stored the same again, byte by byte.
    again = tmp_path / "again.safetensors"
    opened.save(again, weights=weights, overwrite=True)
    assert again.read_bytes() == path.read_bytes()


def test_fp16_halves_the_file_and_keeps_integers_and_normalisation(
    small: dict[str, Any], tmp_path: Path
) -> None:
    model = Model.new(**small)
    model.network.register_buffer("table", torch.tensor([[2**20 + 1, 7]]))
    model.save(tmp_path / "full.safetensors")
    model.save(tmp_path / "half.safetensors", weights="fp16")
    full, half = load_file(tmp_path / "full.safetensors"), load_file(tmp_path / "half.safetensors")
    counters = [name for name in full if name.endswith("num_batches_tracked")]
    assert counters
    assert all(half[name].dtype == torch.int64 for name in counters)
    assert torch.equal(half["table"], full["table"])
    assert all(half[name].dtype == torch.float32 for name in half if name.endswith("running_var"))
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (
        tmp_path / "full.safetensors"
    ).stat().st_size


def test_weights_that_cannot_be_stored_are_refused_and_the_old_file_stays(
    small: dict[str, Any], tmp_path: Path
) -> None:
    model = Model.new(**small)
    path = tmp_path / "m.safetensors"
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        model.save(path)
    weight = next(p for p in model.network.parameters() if p.ndim > 1)
    with torch.no_grad():
        weight.fill_(1e6)
    with pytest.raises(ModelError, match="too large for fp16"):
        model.save(path, weights="fp16", overwrite=True)
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinity"):
        model.save(path, overwrite=True)
    with pytest.raises(OutputError, match=r"\.safetensors"):
        model.save(tmp_path / "m.pt")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


class _Marker:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "m.safetensors"
    for write in (
        lambda: path.write_bytes(pickle.dumps(_Marker(marker))),
        lambda: torch.save(_Marker(marker), path),
        lambda: torch.save({"state_dict": _Marker(marker)}, path, _use_new_zipfile_serialization=False),
    ):
        write()
        with pytest.raises(ModelError, match="not a geoseg model file"):
            Model.open(path)
    assert not marker.exists()
    # The marker works: what was refused would have run.
    pickle.loads(pickle.dumps(_Marker(marker)))
    assert marker.exists()


def rewritten(model: Model, path: Path, **fields: Any) -> Path:
    """The model's file with its card or weights changed behind its back."""
    model.save(path, overwrite=True)
    tensors = fields.pop("tensors", load_file(path))
    card = read_card(path).changed(**fields)
    save_file(tensors, path, metadata={CARD_KEY: card.to_json()})
    return path


def test_damaged_or_changed_files_are_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ModelError, match="weights cannot be read"):
        Model.open(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="damaged or was changed"):
        Model.open(path)
    with pytest.raises(ModelError, match="damaged or was changed"):
        Model.open(rewritten(model, path, weights_sha256=""))
    with pytest.raises(ModelError, match="do not fit its card"):
        Model.open(rewritten(model, path, bands=[{"name": "a"}], scale=[1], offset=[0], mean=[0], std=[1]))
    fewer = dict(list(load_file(rewritten(model, path)).items())[1:])
    with pytest.raises(ModelError, match="do not fit its card"):
        Model.open(rewritten(model, path, tensors=fewer, weights_sha256=weights_sha256(fewer)))
    with pytest.raises(ModelError, match="architecture 'Nonsense' is not known"):
        Model.open(rewritten(model, path, architecture="Nonsense"))
    with pytest.raises(ModelError, match="decoder option 'aux_params'"):
        Model.open(rewritten(model, path, decoder_options={"aux_params": {"classes": 1}}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"architecture": "Unett"}, "architecture 'Unett' is not known, expected one of Unet"),
        ({"encoder": "resnet19"}, "encoder 'resnet19' is not known"),
        ({"encoder": "tu-nonsense"}, "refused by segmentation-models-pytorch: Unknown model"),
        ({"encoder": "tu-hf-hub:a/b"}, "place to load from"),
        (
            {"architecture": "DPT", "encoder": "resnet18", "decoder_options": None},
            "refused by segmentation-models-pytorch",
        ),
        ({"encoder": "resnet18", "encoder_weights": "nonsense"}, "'nonsense' are not known of encoder"),
        ({"decoder_options": {"decoder_channels": [1]}}, "decoder_channels"),
    ],
)
def test_what_smp_refuses_is_one_line(small: dict[str, Any], changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as refusal:
        Model.new(**{**small, **changed})
    assert "\n" not in str(refusal.value)


def test_a_tile_size_that_the_network_cannot_take_is_refused_with_the_next_usable_one(
    small: dict[str, Any],
) -> None:
    fpn = {**small, "architecture": "FPN", "decoder_options": None}
    model = Model.new(**fpn)
    assert model.stride_multiple == 32
    with pytest.raises(OptionError, match="multiple of 32: use 64"):
        model.check_tile_size(33)
    with pytest.raises(OptionError, match="use 320"):
        Model.new(**{**fpn, "tile_size": 300})
    with pytest.raises(RuntimeError):
        logits(model, 33)


@pytest.mark.parametrize(("task", "codes", "channels"), [("binary", [5], 1), ("multilabel", [2, 5, 9], 3)])
def test_a_model_of_another_task_comes_back_as_it_was(
    small: dict[str, Any], tmp_path: Path, task: Any, codes: list[int], channels: int
) -> None:
    model = Model.new(**{**small, "classes": Legend.made_up(codes)}, task=task)
    model.card = model.card.changed(thresholds=[0.25] * channels, image_size=(64, 96))
    model.save(tmp_path / "m.safetensors")
    opened = Model.open(tmp_path / "m.safetensors")
    assert (opened.card.task, opened.card.image_size, opened.card.thresholds) == (
        task,
        (64, 96),
        (0.25,) * channels,
    )
    assert torch.equal(logits(opened), logits(model))
    assert logits(opened).shape[1] == channels


def test_the_repr_shows_the_card(model: Model) -> None:
    text = repr(model)
    for part in (
        "Unet tu-mobilenetv3_small_050",
        "blue, green",
        "uint8 from 0 to 255",
        "tile     32 px",
        "#228b22 forest",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("task", "classes", "codes", "names"),
    [
        ("multiclass", "water,land=#228b22", (1, 2), ["water", "land"]),
        ("multiclass", ["water", "land"], (1, 2), ["water", "land"]),
        ("multiclass", Legend.made_up([3, 7]), (3, 7), None),
        ("binary", "roof", (0, 1), ["background", "roof"]),
        ("binary", ["rest", "roof"], (0, 1), ["rest", "roof"]),
    ],
)
def test_classes_are_given_as_to_wrap_and_import(
    small: dict[str, Any], task: Any, classes: Any, codes: tuple[int, ...], names: list[str] | None
) -> None:
    made = Model.new(**{**small, "classes": classes}, task=task).card.classes
    assert made.codes == codes
    assert names is None or [each.name for each in made.classes] == names
