"""The path on which every pixel keeps its own values: what it adds, and that models with it are models like others."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.engine.folded import folded
from geoseg.errors import ModelError
from geoseg.models.model import Model
from geoseg.models.network import build
from geoseg.models.network_plan import NetworkPlan
from tests.toys import WriteRaster

OPTIONS: dict[str, Any] = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
WITH: dict[str, Any] = {**OPTIONS, "decoder_pixel_channels": 12}


def network(
    options: dict[str, Any] = WITH, architecture: str = "Unet", encoder: str = "resnet18"
) -> nn.Module:
    plan = NetworkPlan(architecture=architecture, encoder=encoder, bands=4, channels=3, options=options)
    return build(plan).eval()


@pytest.mark.parametrize(
    ("architecture", "encoder", "options"),
    [
        ("Unet", "resnet18", OPTIONS),
        ("FPN", "resnet18", {}),
        ("Unet2015", "published", {"decoder_channels": [4, 8]}),
    ],
)
def test_its_logits_are_added_to_those_of_the_network(
    architecture: str, encoder: str, options: dict[str, Any]
) -> None:
    plain = network(options, architecture, encoder)
    found = network({**options, "decoder_pixel_channels": 12}, architecture, encoder)
    own = plain.state_dict()
    names = {name for name in found.state_dict() if not name.startswith("pixel_path.")}
    assert names == set(own), "the network's weights keep their names"
    plain.load_state_dict({name: found.state_dict()[name] for name in names})
    image = torch.randn(2, 4, 64, 64)
    with torch.inference_mode():
        path: Any = found.get_submodule("pixel_path")
        torch.testing.assert_close(found(image), plain(image) + path(image))
        assert not torch.equal(found(image), plain(image))


def test_it_sees_a_pixel_and_its_neighbours_only() -> None:
    path: Any = network().get_submodule("pixel_path")
    image = torch.randn(1, 4, 16, 16)
    changed = image.clone()
    changed[..., 8, 5] += 1
    with torch.inference_mode():
        moved = (path(changed) != path(image)).any(1)[0]
    assert moved[7:10, 4:7].all()
    assert moved.sum() == 9


def test_a_network_with_it_is_copied_pickled_and_folded() -> None:
    found = network()
    image = torch.randn(1, 4, 32, 32)
    with torch.inference_mode():
        logits = found(image)
        for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found)), folded(found)):
            torch.testing.assert_close(again(image), logits, rtol=1e-4, atol=1e-4)
        copied = copy.deepcopy(found)
        nn.init.zeros_(copied.get_submodule("pixel_path").layers[-1].weight)  # type: ignore[arg-type, union-attr, index]
        assert torch.equal(found(image), logits), "a copy has a path of its own"


@pytest.mark.parametrize("features", [0, -1, 1025, 2.5, "many", True, None])
def test_an_odd_number_of_features_is_refused(features: object) -> None:
    with pytest.raises(
        ModelError, match="decoder_pixel_channels is .*, expected a number of features from 1 to 1024"
    ):
        network({"decoder_pixel_channels": features})


@pytest.mark.long
def test_a_model_file_predicts_with_it_as_torch_does(tmp_path: Path, write_raster: WriteRaster) -> None:
    import geoseg

    model = Model.new(
        architecture="Unet", encoder="resnet18", bands=["red", "green", "blue", "nir"], classes="a,b,c",
        tile_size=64, decoder_options=WITH,
    )  # fmt: skip
    model.save(tmp_path / "m.safetensors")
    opened = Model.open(tmp_path / "m.safetensors")
    assert opened.card.decoder_options == WITH
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)
    scene = write_raster(tmp_path / "scene.tif", pixels)
    found = geoseg.predict(scene, tmp_path / "m.safetensors", precision="fp32", device="cpu", overlap=0)
    values = torch.from_numpy(pixels.astype(np.float32) / 255)
    with torch.inference_mode():
        logits = opened.network(((values - 0.5) / 0.25)[None])
    best = logits.softmax(1)[0].topk(2, dim=0)
    clear = (best.values[0] - best.values[1] > 1e-4).numpy()
    codes = best.indices[0].numpy() + 1
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found["landcover"].values[clear], codes[clear])
