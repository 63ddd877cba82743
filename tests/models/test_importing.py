"""Weights of other programs: equal logits, made by those programs' own code, and never a line of theirs run."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

from geoseg.errors import ModelError, OptionError
from geoseg.grid.legend import Legend
from geoseg.models.importing import import_model
from geoseg.models.model import Model
from tests.lightning_files import save_task

ENCODER = "tu-test_resnet"
SMALL: dict[str, Any] = {
    "encoder_name": ENCODER,
    "encoder_weights": None,
    "encoder_depth": 3,
    "decoder_channels": (16, 8, 8),
}
OPTIONS = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
BANDS = ("red", "green", "blue", "nir")
THREE = Legend.parse("water,forest,town")


def network(**changes: Any) -> torch.nn.Module:
    """A network of segmentation-models-pytorch whose every number is random, those of BatchNorm too."""
    made: torch.nn.Module = smp.Unet(**{**SMALL, "in_channels": 4, "classes": 3, **changes})
    return shaken(made)


def shaken(made: torch.nn.Module) -> torch.nn.Module:
    for name, tensor in made.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    return made.eval()


def logits(made: torch.nn.Module, bands: int = 4, seed: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        result: torch.Tensor = made.eval()(torch.randn(2, bands, 64, 64, generator=generator))
    return result


def taken(path: Path, **options: Any) -> Model:
    return import_model(path, **{"bands": BANDS, "classes": THREE, "tile_size": 64, **options})


def plain(path: Path, **options: Any) -> Model:
    """Import a file that does not say what network it is of."""
    return taken(path, **{"architecture": "Unet", "encoder": ENCODER, "decoder_options": OPTIONS, **options})


def same(imported: Model, original: torch.nn.Module, bands: int = 4) -> bool:
    """The law; to the bit, for both are the same code and numbers."""
    return torch.equal(logits(imported.network, bands), logits(original, bands))


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("Unet", {"decoder_attention_type": "scse"}),
        ("Unet", {"decoder_use_norm": False, "decoder_interpolation": "bilinear"}),
        ("DeepLabV3Plus", {"encoder_output_stride": 8, "decoder_channels": 32}),
        ("FPN", {"decoder_merge_policy": "cat", "decoder_dropout": 0.5}),
        ("PSPNet", {"psp_out_channels": 32}),
        ("Segformer", {"decoder_segmentation_channels": 32}),
    ],
)
def test_a_folder_of_save_pretrained_tells_everything(
    tmp_path: Path, architecture: str, options: dict[str, Any]
) -> None:
    made = shaken(
        smp.create_model(architecture, ENCODER, encoder_weights=None, in_channels=4, classes=3, **options)
    )
    made.save_pretrained(tmp_path / "folder")
    imported = taken(tmp_path / "folder")
    assert same(imported, made)
    card = imported.card
    assert (card.architecture, card.encoder, card.task) == (architecture, ENCODER, "multiclass")
    assert card.decoder_options == options  # what is the default is not repeated


def test_progress_is_told_step_by_step(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    network().save_pretrained(tmp_path / "folder")
    taken(tmp_path / "folder", progress=lambda *each: told.append(each))
    assert told == [(1, 3, "import"), (2, 3, "import"), (3, 3, "import")]


def test_the_model_file_gives_the_same_logits(tmp_path: Path) -> None:
    made = network()
    made.save_pretrained(tmp_path / "folder")
    taken(tmp_path / "folder").save(tmp_path / "m.safetensors")
    opened = Model.open(tmp_path / "m.safetensors")
    assert torch.equal(logits(opened.network), logits(made))
    with pytest.raises(ModelError, match="already a geoseg model file"):
        taken(tmp_path / "m.safetensors")


def of_lightning(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {
        "pytorch-lightning_version": "2.0",
        "state_dict": {**{f"net.{k}": v for k, v in state.items()}, "criterion.weight": torch.ones(3)},
    }


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"model_state_dict": state, "best": 0.5},
    "weights": lambda state: {"weights": state},
    "parallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "compiled": lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    "both": lambda state: {"state_dict": {f"_orig_mod.module.model.{k}": v for k, v in state.items()}},
    "lightning": of_lightning,
    "half": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_a_file_of_torch_however_wrapped(tmp_path: Path, wrapping: str) -> None:
    made = network()
    if wrapping == "half":
        made.load_state_dict({k: v.half() for k, v in made.state_dict().items()})
    torch.save(WRAPPED[wrapping](dict(made.state_dict())), tmp_path / "w.pth")
    assert same(plain(tmp_path / "w.pth"), made)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_file_of_safetensors(tmp_path: Path, prefix: str) -> None:
    made = network()
    save_file({prefix + k: v for k, v in made.state_dict().items()}, tmp_path / "w.safetensors")
    imported = plain(tmp_path / "w.safetensors", dtype="uint16", gsd_m=10, name="mine", overlap=8)
    assert same(imported, made)
    card = imported.card
    assert (card.dtype, card.value_range, card.gsd_m, card.name) == ("uint16", (0, 65535), 10, "mine")
    assert (card.tile.size, card.tile.overlap, card.band_names) == (64, 8, BANDS)


def test_the_old_form_of_torch_files(tmp_path: Path) -> None:
    made = network()
    torch.save(made.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same(plain(tmp_path / "w.pth"), made)


# What torchgeo calls its task of segmentation: one name up to 0.9, both since 0.10, which warns of the first.
TASKS = [
    pytest.param(
        "torchgeo.trainers:SemanticSegmentationTask",
        id="trainers",
        marks=pytest.mark.filterwarnings("ignore:Use torchgeo.tasks.SemanticSegmentation:DeprecationWarning"),
    ),
    pytest.param(
        "torchgeo.tasks:SemanticSegmentation",
        id="tasks",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("torchgeo.tasks") is None, reason="torchgeo has it since 0.10"
        ),
    ),
]


def task_of(name: str) -> Any:
    module, _, task = name.partition(":")
    return getattr(importlib.import_module(module), task)


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("model", "task", "bands", "legend"),
    [
        ("unet", {"num_classes": 3, "class_weights": torch.tensor([1.0, 2, 3]), "ignore_index": 0}, 4, THREE),
        ("deeplabv3+", {"num_classes": 3, "loss": "focal"}, 2, THREE),
        ("unet", {"task": "binary", "loss": "bce"}, 4, Legend.parse("roof")),
        ("unet", {"task": "binary", "loss": "bce"}, 4, Legend.parse("ground,roof")),
        ("unet", {"task": "multilabel", "num_labels": 2, "loss": "bce"}, 4, Legend.parse("cloud,snow")),
    ],
)
def test_a_checkpoint_of_torchgeo(
    tmp_path: Path, name: str, model: str, task: dict[str, Any], bands: int, legend: Legend
) -> None:
    made = task_of(name)(model=model, backbone=ENCODER, in_channels=bands, **task)
    shaken(made)
    save_task(made, tmp_path / "t.ckpt")
    imported = taken(tmp_path / "t.ckpt", bands=BANDS[:bands], classes=legend)
    assert same(imported, made, bands)
    card = imported.card
    assert card.task == task.get("task", "multiclass")
    assert card.classes.names == (("background", "roof") if len(legend.classes) == 1 else legend.names)
    assert card.channels == {"binary": (1,), "multilabel": (1, 2)}.get(card.task, (1, 2, 3))
    assert "torchgeo" in imported.notes[0]


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
def test_networks_that_are_not_of_smp_are_refused(tmp_path: Path, name: str) -> None:
    save_task(task_of(name)(model="fcn", in_channels=4, num_classes=3), tmp_path / "t.ckpt")
    with pytest.raises(
        ModelError, match="its network is 'fcn', expected one from segmentation-models-pytorch"
    ):
        taken(tmp_path / "t.ckpt")


GEOAI = {"architecture": "unet", "encoder_name": ENCODER, "num_channels": 4, "num_classes": 3}
FTW: dict[str, Any] = {
    "model": "unet",
    "backbone": ENCODER,
    "in_channels": 4,
    "num_classes": 3,
    "patch_weights": False,
    "model_kwargs": {"decoder_attention_type": "scse"},
    "class_weights": [0.1, 0.2, 0.7],
}


def test_known_programs_bring_their_normalisation(tmp_path: Path) -> None:
    """What these programs write themselves is tested where they are installed, see tests/peers."""
    made = shaken(smp.Unet(ENCODER, encoder_weights=None, in_channels=4, classes=3))
    torch.save({"model_state_dict": made.state_dict(), "epoch": 1, **GEOAI}, tmp_path / "geoai.pth")
    imported = taken(tmp_path / "geoai.pth")
    assert same(imported, made)
    card = imported.card
    assert (card.dtype, card.value_range, set(card.scale)) == ("uint8", (0, 255), {1 / 255})
    assert (card.offset, card.mean, card.std) == ((0,) * 4, (0,) * 4, (1,) * 4)
    assert "x / 255, as geoai does" in imported.notes[1]

    options = FTW["model_kwargs"]
    made = shaken(smp.Unet(ENCODER, encoder_weights=None, in_channels=4, classes=3, **options))
    state = {f"model.{k}": v for k, v in made.state_dict().items()}
    saved = {"pytorch-lightning_version": "2.5", "state_dict": state, "hyper_parameters": FTW}
    torch.save(saved, tmp_path / "ftw.ckpt")
    imported = taken(tmp_path / "ftw.ckpt")
    assert same(imported, made)
    card = imported.card
    assert (card.dtype, card.value_range, set(card.scale)) == ("uint16", (0, 10000), {1 / 3000})
    assert (card.offset, card.mean, card.std) == ((0,) * 4, (0,) * 4, (1,) * 4)
    assert "x / 3000, as ftw-tools does" in imported.notes[1]


def gain(imported: Model) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return imported.card.normalisation()


def test_normalisation_as_it_is_given(tmp_path: Path) -> None:
    torch.save(network(in_channels=2).state_dict(), tmp_path / "w.pth")

    def of(dtype: str = "uint8", **numbers: Any) -> Model:
        return plain(tmp_path / "w.pth", bands=["a", "b"], dtype=dtype, **numbers)

    assert gain(of()) == ((1 / 255,) * 2, (0,) * 2)
    assert "assumed" in of().notes[1]
    gains, biases = gain(of(mean=[0.5], std=[0.25, 0.5]))
    assert gains == pytest.approx((4 / 255, 2 / 255))
    assert biases == pytest.approx((-2, -1))
    gains, biases = gain(of("uint16", scale=[1], mean=[1000, 2000], std=[500]))
    assert (gains, biases) == ((1 / 500,) * 2, (-2, -4))
    assert gain(of("uint16", scale=[1 / 3000])) == ((1 / 3000,) * 2, (0,) * 2)
    assert "as given" in of("uint16", scale=[1 / 3000]).notes[1]
    for numbers, words in (
        ({"mean": [1, 2, 3]}, "mean= has 3 numbers; expected one, or one for each of 2 bands"),
        ({"mean": [123.6]}, "pass scale=1"),
    ):
        with pytest.raises(OptionError, match=words):
            of(**numbers)
    with pytest.raises(ModelError, match="std"):
        of(std=[0])


def test_encoder_weights_of_a_folder_say_its_normalisation(tmp_path: Path) -> None:
    made = smp.Unet("resnet18", encoder_weights=None, classes=3)
    made.config["encoder_weights"] = "imagenet"
    made.save_pretrained(tmp_path / "folder")
    imported = taken(tmp_path / "folder", bands=["blue", "green", "red"])
    assert imported.card.mean == (0.406, 0.456, 0.485)
    assert "imagenet" in imported.notes[1]
    assert taken(tmp_path / "folder", bands=["a", "b", "c"]).card.mean == (0, 0, 0)


class Marker:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


class Plain:
    """A class of somebody's program."""


@pytest.mark.parametrize("form", ["zip", "old zip", "bare pickle", "beside weights", "network", "class"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, form: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "w.ckpt"
    content = {
        "beside weights": {"state_dict": network().state_dict(), "callbacks": {"x": Marker(marker)}},
        "network": network(),
        "class": {"state_dict": network().state_dict(), "hyper_parameters": Plain()},
    }.get(form, Marker(marker))
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form != "old zip")
    with pytest.raises(ModelError, match=r"Python objects.*never loaded.*save only its weights") as refused:
        plain(path)
    assert not marker.exists()
    assert "\n" not in str(refused.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.load(path, weights_only=False) if form != "bare pickle" else pickle.loads(path.read_bytes())
    assert marker.exists() == (form not in ("network", "class"))  # the trap is a real one


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a file of weights"),
        (b"GIF89a" + bytes(100), "not a file of weights"),
        (b"PK\x03\x04" + bytes(100), "is damaged or not a torch checkpoint"),
        (b"\x80\x02" + bytes(100), "Python objects|damaged"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ModelError, match=words) as refused:
        plain(tmp_path / "w.pth")
    assert "\n" not in str(refused.value)


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged"):
        plain(tmp_path / "w.pth")


def test_a_program_of_torchscript_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="TorchScript"):
        plain(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "no config.json"),
        ("{", "cannot be read"),
        ("[]", "is a list, expected a JSON object"),
        ('{"architectures": ["SegformerForSemanticSegmentation"]}', "another library"),
        ('{"_model_class": "Unet", "encoder_name": "resnet18"}', "has no weights"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, config: str | None, words: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    if config is not None and "architectures" in config:
        save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=words):
        taken(tmp_path)


@pytest.mark.parametrize("value", [[1], {"type": "inplace"}, 1, None])
def test_settings_of_any_type_are_compared_and_not_looked_up(tmp_path: Path, value: object) -> None:
    """A list or a mapping cannot be a key; the network that is built from it says what it thinks of it."""
    network().save_pretrained(tmp_path / "folder")
    config = tmp_path / "folder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "decoder_use_batchnorm": value}))
    with contextlib.suppress(ModelError):
        taken(tmp_path / "folder")


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"bands": BANDS[:3]}, "takes 4 bands, bands= names 3"),
        ({"classes": 5}, {}, "has 5 output channels, classes= names 3"),
        ({"classes": 1}, {}, "has 1 output channel, classes= names 3.*task=.binary"),
        ({}, {"task": "binary", "classes": Legend.parse("a")}, "3 output channels, a binary task has 1"),
        ({}, {"encoder": "resnet18"}, "not those of Unet resnet18"),
        ({}, {"architecture": "FPN", "decoder_options": {}}, "not those of FPN"),
        ({}, {"decoder_options": {"encoder_depth": 3, "decoder_channels": [16, 8, 4]}}, "has shape"),
        ({}, {"architecture": None}, "does not name its architecture; name it with architecture="),
        ({}, {"encoder": None}, "does not name its encoder; name it with encoder="),
        ({}, {"encoder": "nyet"}, "nyet"),
        ({"aux_params": {"classes": 2, "dropout": 0.1}}, {}, "second head"),
    ],
)
def test_weights_of_another_network(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    torch.save(network(**changes).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=words) as refused:
        plain(tmp_path / "w.pth", **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"bands": BANDS[:3]}, "takes 4 bands, bands= names 3"),
        ({}, {"classes": Legend.parse("a,b")}, "has 3 output channels, classes= names 2"),
        ({}, {"architecture": "FPN"}, "its architecture is Unet, found architecture=.FPN"),
        ({}, {"encoder": "resnet34"}, "found encoder=.resnet34"),
        ({"aux_params": {"classes": 2}}, {}, "second head"),
        ({"activation": "sigmoid"}, {}, "bare logits"),
    ],
)
def test_a_folder_and_what_is_said_must_agree(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    network(**changes).save_pretrained(tmp_path / "folder")
    with pytest.raises(ModelError, match=words):
        taken(tmp_path / "folder", **options)


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({**state, **{f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="more than one network"):
        plain(tmp_path / "w.pth")
