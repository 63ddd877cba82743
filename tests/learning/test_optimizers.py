"""Optimizers by name, against torch's own."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from geoseg.learning.optimizers import OptimizerConfig, parameter_groups

NAMES = (
    "Adam", "AdamW", "RMSprop", "SGD", "Adagrad", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop"
)  # fmt: skip


def steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int, first: int = 0) -> torch.Tensor:
    """Weights after some steps; each sees other numbers."""
    for step in range(first, first + count):
        optimizer.zero_grad()
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        torch.autograd.backward(network(x).square().mean())
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_torchs_optimizer_with_torchs_defaults(name: str) -> None:
    config = OptimizerConfig.model_validate(name)
    kind = getattr(torch.optim, name)
    own = inspect.signature(kind).parameters.get("weight_decay")
    decay = 0.0 if own is None else float(own.default)
    assert config.decay(None) == decay
    ours, theirs = linear(), linear()
    found = steps(ours, config.build(ours.parameters(), 0.01, decay), 4)
    assert torch.equal(found, steps(theirs, kind(theirs.parameters(), lr=0.01), 4))


@pytest.mark.parametrize("name", NAMES)
def test_law_9_every_state_goes_through_a_file(name: str) -> None:
    config = OptimizerConfig.model_validate(name)
    whole = linear()
    expected = steps(whole, config.build(whole.parameters(), 0.01, 0.0), 6)
    network = linear()
    optimizer = config.build(network.parameters(), 0.01, 0.0)
    steps(network, optimizer, 3)
    file = io.BytesIO()
    torch.save([network.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    again = linear()
    again.load_state_dict(weights)
    optimizer = config.build(again.parameters(), 0.01, 0.0)
    optimizer.load_state_dict(state)
    assert torch.equal(steps(again, optimizer, 3, first=3), expected)


def test_options_reach_the_optimizer() -> None:
    config = OptimizerConfig.model_validate({"name": "SGD", "momentum": 0.9, "nesterov": True})
    group = config.build(linear().parameters(), 0.1, 0.2).param_groups[0]
    assert (group["lr"], group["weight_decay"], group["momentum"], group["nesterov"]) == (0.1, 0.2, 0.9, True)
    # YAML takes 1e-5 for text.
    config = OptimizerConfig.model_validate({"name": "adam", "betas": [0.8, 0.9], "eps": "1e-5"})
    group = config.build(linear().parameters(), 0.1, 0.0).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-5)
    config = OptimizerConfig.model_validate({"name": "adafactor", "eps": [None, 0.01]})
    assert config.build(linear().parameters(), 0.1, 0.0).param_groups[0]["eps"] == (None, 0.01)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("lion", "no optimizer is called 'lion', expected one of adam, adamw"),
        (
            {"name": "rmsprop", "beta": 1},
            "rmsprop: beta is none of its options, expected alpha, eps, momentum, centered",
        ),
        ({"name": "sgd", "momentum": -1}, "sgd: invalid momentum value: -1"),
        ({"name": "sgd", "momentum": True}, "momentum has True, expected a number"),
        ({"name": "sgd", "momentum": float("nan")}, "momentum has nan, expected a number"),
        ({"name": "sgd", "nesterov": 1}, "nesterov is 1, expected true or false"),
        ({"name": "sgd", "nesterov": True}, "nesterov momentum requires a momentum"),
        ({"betas": 0.9}, "adamw: betas is 0.9, expected 2 numbers"),
        ({"betas": [0.9, None]}, "betas has None, expected a number"),
        ({"betas": [0.9, 1.5]}, "invalid beta parameter at index 1"),
        ({"lr": 0.1}, "lr is not an option of the optimizer; set train.learning_rate"),
        ({"weight_decay": 0.1}, "weight_decay is not an option of the optimizer; set train.weight_decay"),
        ({"fused": True}, "fused is none of its options"),
        ({"name": 3}, "valid string"),
        ([1], "expected the name of an optimizer"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(fields: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        OptimizerConfig.model_validate(fields)


def test_what_has_no_weight_decay_takes_none() -> None:
    config = OptimizerConfig(name="rprop")
    assert config.decay(0.0) == config.decay(None) == 0
    with pytest.raises(ValueError, match="train.weight_decay is 0.1, and rprop has none"):
        config.decay(0.1)


def test_given_betas_are_not_cycled() -> None:
    cycled = {name: OptimizerConfig.model_validate(name).cycles_momentum for name in NAMES}
    assert [name for name in NAMES if cycled[name]] == ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]
    assert not OptimizerConfig.model_validate({"betas": [0.9, 0.99]}).cycles_momentum


def test_norms_and_biases_do_not_decay_and_the_encoder_learns_slower() -> None:
    network = nn.ModuleDict(
        {
            "decoder": nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)),
            "encoder": nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)),
        }
    )
    groups = parameter_groups(network, learning_rate=0.1, weight_decay=0.2, encoder_rate=0.3)
    optimizer = OptimizerConfig(name="adamw").build(groups, 0.1, 0.2)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert optimizer.param_groups[0]["lr"] == 0.1
    for name, parameter in network.named_parameters():
        rate = pytest.approx(0.03 if name.startswith("encoder") else 0.1)
        assert found[id(parameter)] == (rate, 0.2 if name.endswith("0.weight") else 0.0), name


def test_groups_alike_step_as_one_group() -> None:
    """The steps are those of the plain optimizer."""
    plain, grouped = (nn.Sequential(linear(), nn.Linear(2, 2)) for _ in range(2))
    grouped.load_state_dict(plain.state_dict())
    config = OptimizerConfig(name="adamw")
    groups = parameter_groups(grouped, learning_rate=0.01, weight_decay=0.0, encoder_rate=1.0)
    expected = steps(plain, config.build(plain.parameters(), 0.01, 0.0), 5)
    assert torch.equal(steps(grouped, config.build(groups, 0.01, 0.0), 5), expected)
