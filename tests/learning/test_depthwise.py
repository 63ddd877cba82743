"""Depthwise convolutions in float32 within bf16: results, gradients, and layers that are as before afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from geoseg.learning.depthwise import depthwise_in_float32


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        Conv2dSame(8, 8, 5, stride=2, groups=8),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.Conv2d(8, 2, 1),
    )


@pytest.mark.parametrize("place", [1, 2])
def test_gradients_are_those_of_float32(place: int) -> None:
    layer = network()[place]
    torch.manual_seed(1)
    x = torch.randn(2, 8, 13, 11).bfloat16()
    exact = x.float().requires_grad_()
    expected = layer(exact)
    expected.backward(torch.ones_like(expected))
    grads = {name: each.grad.clone() for name, each in layer.named_parameters()}
    layer.zero_grad()
    given = x.clone().requires_grad_()
    with depthwise_in_float32(nn.Sequential(layer)), torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(given)
    found.backward(torch.ones_like(found))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())
    for name, each in layer.named_parameters():
        assert torch.equal(each.grad, grads[name]), name
    assert torch.equal(given.grad, exact.grad.bfloat16())


def test_layers_are_as_before_afterwards_also_after_an_error() -> None:
    net = network()
    kinds = [type(layer) for layer in net]
    with pytest.raises(RuntimeError, match="stop"), depthwise_in_float32(net):
        inside = [type(layer) for layer in net]
        copied = copy.deepcopy(net)
        raise RuntimeError("stop")
    assert [type(layer) for layer in net] == kinds
    assert [one is other for one, other in zip(inside, kinds, strict=True)] == [
        True,
        False,
        False,
        True,
        True,
    ]
    with torch.no_grad():
        copied[1].weight += 1  # a copy computes with its own weights
        assert not torch.equal(copied(torch.ones(1, 3, 9, 9)), net(torch.ones(1, 3, 9, 9)))


def test_without_autocast_nothing_changes() -> None:
    net = network()
    x = torch.randn(1, 3, 16, 16)
    expected = net(x)
    with depthwise_in_float32(net):
        assert torch.equal(net(x), expected)
