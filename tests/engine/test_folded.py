"""Folded networks compute what they were folded from, with fewer operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder, UnetDecoderBlock
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from geoseg.engine.folded import _Doubling, folded
from geoseg.engine.network import Network
from geoseg.engine.settings import Settings
from tests.marks import few


def stirred(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give the network a past in float64: normalisations that have seen images, no two channels alike."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.3
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var += 0.5
        if isinstance(module, nn.Conv2d):
            module.weight.data /= module.weight[0].numel() ** 0.5
    return network


def unet(**options: Any) -> nn.Module:
    small = {"encoder_name": "resnet18", "encoder_weights": None, "decoder_channels": (32, 16, 12, 8, 8)}
    return stirred(smp.Unet(**{**small, **options}, in_channels=4, classes=5))


def agree(network: nn.Module, image: Tensor) -> nn.Module:
    """Fold a network and compare it on an image; return what it became."""
    quick = folded(network)
    with torch.inference_mode():
        torch.testing.assert_close(quick(image), network(image), rtol=1e-9, atol=1e-9)
    return quick


def image(rows: int = 32, cols: int = 64) -> Tensor:
    return torch.rand((2, 4, rows, cols), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def counted(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def operations(network: Callable[..., object], *inputs: Any) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops()


def test_a_unet_with_a_resnet_is_folded_whole() -> None:
    network = unet()
    quick = agree(network, image())
    assert (counted(network, nn.BatchNorm2d), counted(quick, nn.BatchNorm2d)) == (30, 0)
    assert counted(quick, _Doubling) == 5
    assert operations(quick, image()) < operations(network, image())


def test_the_engine_runs_the_folded_network() -> None:
    model = unet().float()
    network = Network(
        model, [1.0] * 4, [0.0] * 4, Settings(device="cpu", precision="fp32", batch_size=2, threads=1)
    )
    pixels = image().float()
    assert operations(network.logits, pixels) == operations(folded(model), pixels) < operations(model, pixels)


@pytest.mark.parametrize(
    "encoder",
    few(["resnet50", "mobileone_s0", "densenet121", "efficientnet-b0", "mobilenet_v2", "tu-resnet18"], 2),
)
def test_every_family_of_encoders_computes_what_it_did(encoder: str) -> None:
    quick = agree(unet(encoder_name=encoder), image())
    assert counted(quick, _Doubling) == 5


@pytest.mark.parametrize("architecture", few(["DeepLabV3Plus", "UnetPlusPlus", "Linknet", "FPN"]))
def test_every_architecture_computes_what_it_did(architecture: str) -> None:
    network = stirred(smp.create_model(architecture, "resnet18", None, in_channels=4, classes=5))
    quick = agree(network, image(64, 96))
    assert counted(quick, nn.BatchNorm2d) < counted(network, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("options", "doublings"),
    [
        (
            {"decoder_attention_type": "scse", "decoder_channels": (32, 32, 16, 16, 16)},
            0,
        ),  # looks at the joined features before they are convolved
        ({"decoder_interpolation": "bilinear"}, 0),
        ({"decoder_use_norm": {"type": "instancenorm", "affine": True}}, 5),
        ({"decoder_use_norm": False}, 5),
        ({"encoder_depth": 3, "decoder_channels": (16, 12, 8)}, 3),
        pytest.param(
            {"encoder_name": "vgg11_bn", "decoder_channels": (32, 16, 12, 8, 8)}, 5, marks=pytest.mark.long
        ),  # has a block in the middle
    ],
)
def test_decoders_of_other_kinds(options: dict[str, Any], doublings: int) -> None:
    assert counted(agree(unet(**options), image()), _Doubling) == doublings


@settings(deadline=None)
@given(
    deep=st.integers(1, 4),
    beside=st.integers(0, 3),
    out=st.integers(1, 3),
    rows=st.integers(1, 6),
    cols=st.integers(1, 6),
    twice=st.booleans(),
)
def test_doubling_is_repeating_and_convolving(
    deep: int, beside: int, out: int, rows: int, cols: int, twice: bool
) -> None:
    """Any channels and sizes, features beside or none; sizes that are not doubled are left to the block."""
    block = stirred(UnetDecoderBlock(deep, beside, out))
    random = torch.Generator().manual_seed(rows + cols)
    height, width = (2 * rows, 2 * cols) if twice else (2 * rows + 1, 3 * cols)
    features = torch.rand((2, deep, rows, cols), generator=random, dtype=torch.float64)
    skip = torch.rand((2, beside, height, width), generator=random, dtype=torch.float64) if beside else None
    with torch.inference_mode():
        want = block(features, height, width, skip_connection=skip)
        got = _Doubling(block, deep)(features, height, width, skip_connection=skip)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_four_products_do_for_nine() -> None:
    block = stirred(UnetDecoderBlock(8, 0, 16))
    size = torch.rand((1, 8, 10, 10), dtype=torch.float64), 20, 20
    second = 2 * 9 * 16 * 16 * 20 * 20
    assert operations(block, *size) - second == 2 * 9 * 8 * 16 * 20 * 20
    assert operations(_Doubling(block, 8), *size) - second == 2 * 4 * 8 * 16 * 20 * 20


def test_the_network_itself_stays_as_it_was() -> None:
    network = unet().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quick = folded(network)
    for parameter in quick.parameters():
        parameter.data.zero_()
    assert network.training
    assert not quick.training
    assert isinstance(network.decoder, UnetDecoder)
    assert counted(network, _Doubling) == 0
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0"])
def test_what_is_folded_is_not_folded_again(encoder: str) -> None:
    quick = folded(unet(encoder_name=encoder))
    assert folded(quick) is quick


def test_a_network_with_nothing_to_fold_is_returned_itself() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert folded(network) is network
    assert not network.training


class Backwards(nn.Sequential):
    """Runs its layers from the last to the first."""

    def forward(self, features: Tensor) -> Tensor:
        for layer in reversed(list(self)):
            features = layer(features)
        return features


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (nn.Sequential(nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)), 1),
        (nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)), 1),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)), 1),
        (Backwards(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), 1),
        (nn.Sequential(nn.ConvTranspose2d(4, 3, 2), nn.BatchNorm2d(3)), 1),
        (nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6, affine=False)), 0),
    ],
)
def test_only_what_is_known_to_follow_a_convolution_is_folded(network: nn.Module, left: int) -> None:
    quick = agree(stirred(network), image(8, 9))
    assert counted(quick, nn.BatchNorm2d) == left


def test_a_convolution_of_two_normalisations_is_folded_into_each() -> None:
    shared = nn.Conv2d(4, 4, 1)
    network = nn.Sequential(
        nn.Sequential(shared, nn.BatchNorm2d(4)), nn.ReLU(), nn.Sequential(shared, nn.BatchNorm2d(4))
    )
    assert counted(agree(stirred(network), image(5, 5)), nn.BatchNorm2d) == 0
