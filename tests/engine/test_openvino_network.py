"""What OpenVINO computes of a network is what torch computes, image by image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from geoseg.engine.openvino_network import OpenVinoNetwork, converted
from geoseg.errors import ModelError
from geoseg.inference.precision import traceable
from geoseg.models.wrapped import Wrapped

KINDS = [
    *((kind, "resnet18") for kind in (
        "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet",
    )),
    *(("Unet", encoder) for encoder in (
        "resnet34", "resnext50_32x4d", "se_resnet50", "densenet121", "vgg11_bn", "mobilenet_v2", "efficientnet-b0",
        "mobileone_s0", "mit_b0", "tu-convnext_atto", "tu-regnetx_002", "tu-mobilenetv3_small_100",
        "tu-tf_efficientnet_lite0",
    )),
    ("Segformer", "mit_b0"),
    ("DPT", "tu-vit_tiny_patch16_224"),
]  # fmt: skip


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def noise(count: int, edge: int = 64, bands: int = 3) -> Tensor:
    return torch.randn((count, bands, edge, edge), generator=torch.Generator().manual_seed(1))


def run(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = network(inputs)
    return result


def assert_alike(network: nn.Module, found: OpenVinoNetwork, inputs: Tensor) -> None:
    """Compare classes wherever the two best probabilities differ by more than 1e-4."""
    ours, theirs = run(network, inputs), run(found, inputs)
    assert ours.shape == theirs.shape
    best = ours.softmax(1).topk(2, 1).values
    sure = best[:, 0] - best[:, 1] > 1e-4
    assert sure.float().mean() > 0.9
    assert torch.equal(ours.argmax(1)[sure], theirs.argmax(1)[sure])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return seeded(lambda: smp.Unet("resnet18", encoder_weights=None, in_channels=5, classes=4))


@pytest.fixture(scope="module")
def found(network: nn.Module) -> OpenVinoNetwork:
    return OpenVinoNetwork(converted(network, (5, 64, 96)), "fp32", 2)


def test_it_says_what_torch_says(network: nn.Module, found: OpenVinoNetwork) -> None:
    assert_alike(network, found, noise(3, 96, bands=5)[:, :, :64])


def test_an_image_is_computed_alike_in_any_company_and_layout(found: OpenVinoNetwork) -> None:
    inputs = noise(7, 96, bands=5)[:, :, :64]
    together = run(found, inputs)
    assert torch.equal(together, torch.cat([run(found, each[None]) for each in inputs]))
    assert torch.equal(together, run(found, inputs.contiguous(memory_format=torch.channels_last)))


def test_bf16_says_nearly_the_same(network: nn.Module) -> None:
    inputs = noise(2, 64, bands=5)
    ours = run(network, inputs)
    theirs = run(OpenVinoNetwork(converted(network, (5, 64, 64)), "bf16", 1), inputs)
    assert (ours - theirs).abs().mean() / ours.std() < 0.05
    assert (ours.argmax(1) != theirs.argmax(1)).float().mean() < 0.05


class Branching(nn.Module):
    """Does with some images what a trace of another one does not show."""

    def forward(self, image: Tensor) -> Tensor:
        return image if image.sum() == 0 else -2 * image


def test_what_a_trace_does_not_show_is_found_out() -> None:
    with pytest.raises(ModelError, match="OpenVINO computes something else of the network: it is off by "):
        converted(Branching().eval(), (3, 32, 32))


def test_what_cannot_be_expressed_is_refused_in_one_line() -> None:
    class Odd(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.linalg.svd(image).S[..., None] * image

    with pytest.raises(ModelError, match="OpenVINO cannot compute the network: [^\n]+$"):
        converted(Odd().eval(), (3, 32, 32))


def test_networks_of_ones_own_are_left_to_torch(network: nn.Module) -> None:
    assert traceable(network)
    assert not traceable(Branching())
    assert not traceable(nn.Sequential(nn.Conv2d(3, 3, 1), Branching()))
    assert not traceable(Wrapped(network, 5, 4))


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "encoder"), KINDS)
def test_networks_of_many_kinds(architecture: str, encoder: str) -> None:
    edge = 224 if "vit" in encoder else 256 if architecture == "PAN" else 96  # the least that they take
    network = seeded(lambda: smp.create_model(architecture, encoder, None, 3, 5))
    found = OpenVinoNetwork(converted(network, (3, edge, edge)), "fp32", 2)
    assert_alike(network, found, noise(2, edge))
