"""Networks in int8 compute what their steps and zero points say, in any company."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from unittest import mock

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.engine.quantized import Quantized, check_int8, measured
from geoseg.errors import ModelError, OptionError

HAS_INT8 = torch.cpu._is_vnni_supported()
KINDS = [
    pytest.param("simulated", id="simulated"),
    pytest.param(
        "compiled", id="compiled", marks=pytest.mark.skipif(not HAS_INT8, reason="no CPU with AVX-512 VNNI")
    ),
]


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make().eval()


def image(*shape: int, seed: int = 1, span: float = 1.0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * span
    return drawn.contiguous(memory_format=torch.channels_last)


def run(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = network(inputs)
    return result


def convolved(convolution: nn.Conv2d, inputs: Tensor, step: float, zero: int) -> tuple[Tensor, Tensor]:
    """Convolve in float64 by the definition of int8; with the most that this may differ from the convolution itself.

    Weights are symmetric: the largest of a channel is 127.5 steps, and so lies between two of them. Which one it is
    depends on float32, in which the steps are.
    """
    options = {"stride": convolution.stride, "padding": convolution.padding, "groups": convolution.groups}
    weight = convolution.weight.detach()
    steps = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127.5
    known = (weight * (1 / steps)).round().clamp(-128, 127).double() * steps.double()
    inputs, weight = inputs.double(), weight.double()
    seen = ((inputs / step).round() + zero).clamp(0, 255).sub(zero) * step
    bias = None if convolution.bias is None else convolution.bias.detach().double()
    result = functional.conv2d(seen, known, bias, **options)
    lost = functional.conv2d((seen - inputs).abs(), weight.abs(), **options)
    lost += functional.conv2d(seen.abs(), (known - weight).abs(), **options)
    return result, lost


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(3, 8, 3, padding=1),
        lambda: nn.Conv2d(8, 16, 1, bias=False),
        lambda: nn.Conv2d(16, 16, 3, padding=1, groups=16),
        lambda: nn.Conv2d(4, 8, 3, padding=1, stride=2),
    ],
    ids=["3x3", "1x1", "depthwise", "stride"],
)
def test_a_convolution_is_that_of_its_steps(make: Callable[[], nn.Conv2d], kind: str) -> None:
    """Numbers beyond the measured range are cut off at its ends."""
    convolution = make().eval()
    network = nn.Sequential(convolution)
    seen = image(2, convolution.in_channels, 12, 20)
    ((step, zero),) = (ranges := measured(network, [seen])).values()
    assert -zero * step <= -2 < 2 <= (255 - zero) * step
    quantized = Quantized(network, ranges, simulated=kind == "simulated")
    for inputs in (seen, image(2, convolution.in_channels, 12, 20, seed=2, span=5.0)):
        expected, lost = convolved(convolution, inputs, step, zero)
        found = run(quantized, inputs)
        # A number between two steps may go either way: few do.
        assert (found - expected).abs().median() < 1e-5
        assert ((found - expected).abs() > 1e-4).double().mean() < 0.01
        assert ((found - run(network, inputs)).abs() <= lost + 0.1).all()


class Residual(nn.Module):
    """Calls one activation twice and adds in place, as ResNet's blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.beside = nn.Conv2d(4, 8, 1)
        self.activation = nn.ReLU(inplace=True)
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.activation(self.bn1(self.first(inputs)))
        found = self.second(found)
        found += self.beside(inputs)
        found = self.activation(found)
        result: Tensor = self.head(torch.cat([found, functional.max_pool2d(found, 3, 1, 1)], dim=1))
        return result


@pytest.mark.parametrize("kind", KINDS)
def test_sums_activations_and_what_is_joined_are_in_int8_too(kind: str) -> None:
    network = seeded(Residual)
    inputs = image(2, 4, 16, 24)
    with torch.no_grad():
        network.bn1.running_mean += 0.2  # type: ignore[union-attr, operator]
        network.bn1.running_var *= 2  # type: ignore[union-attr, operator]
    ranges = measured(network, [inputs])
    assert (
        len(ranges) == 4
    )  # the image, both activations, what is added; what is joined has the range of its parts
    expected = run(network, inputs)
    found = run(Quantized(network, ranges, simulated=kind == "simulated"), inputs)
    error = (found - expected).pow(2).mean().sqrt() / expected.std()
    assert 1e-4 < error < 0.03


def test_every_convolution_takes_integers() -> None:
    network = seeded(
        lambda: smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 8, 8), classes=3)
    )
    inputs = image(1, 3, 32, 32)
    quantized = Quantized(network, measured(network, [inputs]), simulated=True)
    run(quantized, inputs)
    (graph,) = quantized._converted.values()
    sources = [
        argument.target
        for node in graph.graph.nodes  # type: ignore[union-attr]
        if node.target == torch.ops.aten.conv2d.default
        for argument in node.args[:2]
    ]
    assert len(sources) == 2 * sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert {str(source).split(".")[1] for source in sources} == {
        "dequantize_per_tensor",
        "dequantize_per_channel",
    }


def test_features_are_enlarged_and_joined_as_integers_with_the_same_result() -> None:
    network = seeded(
        lambda: smp.Unet("resnet18", encoder_weights=None, decoder_channels=(16, 8, 8, 8, 8), classes=3)
    )
    inputs = image(2, 3, 64, 32)
    ranges = measured(network, [inputs])
    early = Quantized(network, ranges, simulated=True)
    with mock.patch("geoseg.engine.quantized._round_early"):
        late = Quantized(network, ranges, simulated=True)
        expected = run(late, inputs)
    assert torch.equal(run(early, inputs), expected)
    moved = ("aten.cat.default", "aten.upsample_nearest2d.vec")
    rounded = "quantized_decomposed.quantize_per_tensor.default"
    for quantized, before in ((early, rounded), (late, "aten.relu_.default")):
        (graph,) = quantized._converted.values()
        nodes = [node for node in graph.graph.nodes if str(node.target) in moved]  # type: ignore[union-attr]
        assert len(nodes) == 5 + 4
        assert {str(source.target) for node in nodes for source in node.all_input_nodes} <= {*moved, before}


@pytest.mark.long
@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        *((each, "resnet18") for each in ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet")),
        *((each, "resnet18") for each in ("DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet")),
        ("Segformer", "mit_b0"),
        *(("Unet", each) for each in ("mobilenet_v2", "efficientnet-b0", "vgg11_bn")),
        *(
            ("Unet", each)
            for each in ("se_resnet50", "resnext50_32x4d", "tu-convnext_atto", "tu-regnetx_002")
        ),
    ],
)
def test_networks_of_many_kinds(architecture: str, encoder: str) -> None:
    """Untrained ones, whose layers all add their error: a trained network's is less."""
    depth = {"encoder_depth": 4, "decoder_channels": (64, 32, 16, 8)} if "convnext" in encoder else {}
    network = seeded(lambda: getattr(smp, architecture)(encoder, encoder_weights=None, classes=3, **depth))
    with torch.no_grad():
        network.train()(image(4, 3, 128, 128, seed=2))  # normalisations that have seen images
    network.eval()
    inputs = image(1, 3, 128, 128)
    expected = run(network, inputs)
    found = run(Quantized(network, measured(network, [inputs]), simulated=True), inputs)
    assert (found - expected).pow(2).mean().sqrt() < 0.25 * expected.std()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_is_the_same_in_any_company(kind: str) -> None:
    network = seeded(Residual)
    tile, *others = (image(1, 4, 16, 16, seed=seed, span=3.0) for seed in range(4))
    quantized = Quantized(network, measured(network, [tile]), simulated=kind == "simulated")
    first = run(quantized, torch.cat([tile, *others[:2]]))[0]
    last = run(quantized, torch.cat([others[2], others[0], tile]))[2]
    assert torch.equal(first, last)


def test_ranges_are_of_all_inputs_and_the_same_again() -> None:
    network = seeded(Residual)
    narrow, wide = image(1, 4, 16, 16), image(1, 4, 16, 16, span=4.0)
    both = measured(network, [narrow, wide])
    assert both == measured(network, [narrow, wide])
    alone = measured(network, [narrow])
    assert all(both[name][0] > 1.5 * alone[name][0] for name in alone)


def test_the_network_stays_as_it_is() -> None:
    network = seeded(Residual)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inputs = image(1, 4, 16, 16)
    expected = run(network, inputs)
    run(Quantized(network, measured(network, [inputs]), simulated=True), inputs)
    assert torch.equal(run(network, inputs), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_ranges_of_another_graph_are_refused() -> None:
    inputs = image(1, 4, 16, 16)
    ranges = measured(seeded(Residual), [inputs])
    other = nn.Sequential(nn.Conv2d(4, 3, 1))
    with pytest.raises(ModelError, match="another version of torch.*geoseg model quantize"):
        run(Quantized(other, ranges, simulated=True), inputs)


def test_a_network_that_cannot_be_traced_is_refused_in_one_line() -> None:
    class Moody(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs if float(inputs.sum()) > 0 else -inputs

    with pytest.raises(OptionError, match="cannot be computed in int8") as refused:
        measured(Moody(), [image(1, 4, 16, 16)])
    assert "\n" not in str(refused.value)


def test_what_this_machine_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        OptionError, match="int8 is for the CPU, found cuda; pass --device cpu, or choose bf16"
    ):
        check_int8("cuda")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(OptionError, match="AVX-512 VNNI, which this one lacks; choose fp32"):
        check_int8("cpu")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(OptionError, match=r"torchao, which is not installed: pip install torchao"):
            check_int8("cpu")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(OptionError, match=r"--precision int8 needs a C\+\+ compiler"):
        check_int8("cpu")
