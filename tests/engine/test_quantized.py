"""Graphs in int8 compute nearly what their networks do, are stored whole, and are refused where they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from geoseg.engine import quantized as module
from geoseg.engine.conversion import converted
from geoseg.engine.openvino_network import logits_of, reshaped
from geoseg.engine.quantized import GraphBytes, check_installed, check_int8, quantized
from geoseg.errors import ModelError, OptionError


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def images(count: int, edge: int = 64) -> list[npt.NDArray[np.float32]]:
    generator = np.random.default_rng(1)
    return [generator.normal(size=(1, 3, edge, edge)).astype(np.float32) for _ in range(count)]


def logits(network: nn.Module, given: list[npt.NDArray[np.float32]]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(torch.from_numpy(np.concatenate(given)))
    return found


def computed(graph: Any, given: list[npt.NDArray[np.float32]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(logits_of(graph, given, "int8")))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return seeded(lambda: smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=4))


@pytest.fixture(scope="module")
def graph(network: nn.Module) -> GraphBytes:
    return GraphBytes.of(quantized(converted(network, (3, 64, 64)), images(4)))


@pytest.mark.long
def test_it_multiplies_integers(graph: GraphBytes) -> None:
    kinds = [op.get_type_name() for op in graph.graph().get_ordered_ops()]
    assert kinds.count("FakeQuantize") > 20
    assert len(graph.weights) < 0.4 * 4 * 14_300_000


def test_it_computes_nearly_the_same(graph: GraphBytes, network: nn.Module) -> None:
    given = images(3)
    ours, theirs = logits(network, given), computed(graph.graph(), given)
    off = (ours - theirs).abs().mean() / ours.std()
    assert 0 < off < 0.1
    assert (ours.argmax(1) != theirs.argmax(1)).float().mean() < 0.1


def test_other_tiles_are_computed_with_the_same_graph(graph: GraphBytes, network: nn.Module) -> None:
    given = images(1, 96)
    theirs = computed(reshaped(graph.graph(), (96, 96)), given)
    ours = logits(network, given)
    # More than where it was measured: untrained layers say something else at the borders.
    assert (ours - theirs).abs().mean() / ours.std() < 0.3


def test_what_is_no_graph_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="its graph cannot be read: [^\n]+$"):
        GraphBytes(b"<net", b"").graph()


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_int8_is_for_the_cpu(device: str) -> None:
    with pytest.raises(
        OptionError, match=f'precision int8 is for the CPU, found {device}; pass device="cpu"'
    ):
        check_int8(device)
    check_int8("cpu")


def test_the_missing_package_is_named() -> None:
    with (
        mock.patch.object(module.importlib.util, "find_spec", return_value=None),
        pytest.raises(OptionError, match="int8 needs the package nncf.*pip install nncf"),
    ):
        check_installed()


@pytest.mark.long
def test_weights_of_every_layer_are_integers() -> None:
    """Those of depthwise layers, too, which a trace reshapes."""
    light = seeded(lambda: smp.Unet("mobilenet_v2", encoder_weights=None, in_channels=3, classes=2))
    made = quantized(converted(light, (3, 64, 64)), images(2))
    layers = [op for op in made.get_ordered_ops() if op.get_type_name().endswith("Convolution")]
    assert {op.get_type_name() for op in layers} == {"Convolution", "GroupConvolution"}
    for op in layers:
        node = op.input_value(1).get_node()
        while node.get_input_size():
            node = node.input_value(0).get_node()
        assert node.get_element_type().get_type_name() == "i8", op.get_friendly_name()
