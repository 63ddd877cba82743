"""The published U-Net: its weights, its numbers, any size of image."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from geoseg.errors import ModelError
from geoseg.grid.legend import Legend, LegendClass
from geoseg.models.model import Model
from geoseg.models.unet2015 import Unet2015

LEGEND = Legend(classes=tuple(LegendClass(code=i, name=f"c{i}", color="#00000" + str(i)) for i in range(3)))


def small(seed: int = 0, widths: tuple[int, ...] = (3, 5)) -> Unet2015:
    torch.manual_seed(seed)
    return Unet2015(2, 3, widths).eval()


def test_as_many_weights_as_the_paper_s_network() -> None:
    # 1 band, 2 classes: 23 convolutional layers, counted by hand from the figure of the paper.
    widths = (64, 128, 256, 512, 1024)
    twice = [9 * a * b + b + 9 * b * b + b for a, b in zip((1, *widths), widths, strict=False)]
    up = [4 * a * b + b + 9 * 2 * b * b + b + 9 * b * b + b for b, a in pairwise(widths)]
    network = Unet2015(1, 2)
    assert sum(p.numel() for p in network.parameters()) == sum(twice) + sum(up) + 2 * 64 + 2
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_inside_it_says_what_the_network_without_padding_says() -> None:
    network = small()
    tensors = network.state_dict()
    image = torch.randn(1, 2, 32, 32)

    def twice(features: Tensor, name: str) -> Tensor:
        for layer in ("0", "2"):
            features = functional.conv2d(
                features, tensors[f"{name}.{layer}.weight"], tensors[f"{name}.{layer}.bias"]
            )
            features = features.clamp_min(0)
        return features

    fine = twice(image, "encoder.scales.0")
    deep = twice(functional.max_pool2d(fine, 2), "encoder.scales.1")
    raised = functional.conv_transpose2d(
        deep, tensors["decoder.up.0.weight"], tensors["decoder.up.0.bias"], stride=2
    )
    cut = (fine.shape[-1] - raised.shape[-1]) // 2
    joined = torch.cat([fine[..., cut:-cut, cut:-cut], raised], dim=1)
    head = twice(joined, "decoder.scales.0")
    logits = functional.conv2d(head, tensors["segmentation_head.weight"], tensors["segmentation_head.bias"])
    with torch.no_grad():
        found = network(image)[..., 8:-8, 8:-8]
    assert logits.shape[-2:] == (16, 16)
    torch.testing.assert_close(found, logits)


@given(rows=st.integers(1, 40), cols=st.integers(1, 40))
def test_any_size_keeps_its_size(rows: int, cols: int) -> None:
    with torch.no_grad():
        assert small(widths=(2, 3, 4))(torch.zeros(1, 2, rows, cols)).shape == (1, 3, rows, cols)


def test_numbers_keep_their_size_through_the_layers() -> None:
    # What the variance 2 / N is for.
    torch.manual_seed(0)
    network = Unet2015(3, 2, (16, 32, 64, 128, 256)).eval()
    with torch.no_grad():
        deepest = network.encoder(torch.randn(1, 3, 64, 64))[-1]
    assert 0.2 < float(deepest.std()) < 2


def test_drop_out_only_while_training() -> None:
    network, image = small(), torch.randn(1, 2, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
        network.train()
        assert not torch.equal(network(image), network(image))


def test_a_model_file_holds_it(tmp_path: Path) -> None:
    model = Model.new(
        architecture="unet2015",
        encoder="published",
        bands=["red", "green"],
        classes=LEGEND,
        decoder_options={"decoder_channels": [2, 3, 4]},
    )
    assert model.card.architecture == "Unet2015"
    model.save(tmp_path / "m.safetensors")
    again, image = Model.open(tmp_path / "m.safetensors"), torch.randn(1, 2, 33, 16)
    with torch.no_grad():
        assert torch.equal(again.network(image), model.network(image))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoder": "resnet34"},
            "Unet2015 has a fixed encoder, found 'resnet34', expected 'published'",
        ),
        ({"encoder_weights": "imagenet"}, "Unet2015 has no pretrained weights, found 'imagenet'"),
        ({"decoder_options": {"decoder_channels": []}}, "decoder_channels is \\[\\], expected numbers"),
        ({"decoder_options": {"decoder_depth": 2}}, "Unet2015 cannot be built: .*decoder_depth"),
    ],
)
def test_refused_in_one_line(changes: dict[str, object], words: str) -> None:
    fields: dict[str, object] = {"architecture": "Unet2015", "encoder": "published", "bands": ["b"]}
    with pytest.raises(ModelError, match=words) as caught:
        Model.new(**{**fields, **changes}, classes=LEGEND)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
