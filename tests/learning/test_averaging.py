"""Averaged weights are what their definition says, go on from a state, and count only where they are better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.learning.config import Config
from geoseg.learning.task import AveragedWeights
from geoseg.learning.train import train
from geoseg.models.card_file import read_card


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


def step(trained: nn.Module, number: int) -> None:
    """Change every weight and statistic, as a training step would."""
    torch.manual_seed(number)
    for value in trained.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.randn(value.shape))
        else:
            value.add_(1)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_it_is_the_moving_average(decay: float) -> None:
    trained = network()
    average = AveragedWeights(trained, decay)
    expected = {name: value.numpy().astype(np.float64) for name, value in trained.state_dict().items()}
    for number in range(1, 30):
        step(trained, number)
        average.update(trained)
        kept = min(decay, (1 + number) / (10 + number))
        for name, value in trained.state_dict().items():
            new = value.numpy().astype(np.float64)
            expected[name] = new if name.endswith("tracked") else kept * expected[name] + (1 - kept) * new
    for name, value in average.network.state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-5, atol=1e-5)


def test_it_goes_on_from_its_state() -> None:
    trained, again = network(), network()
    whole, first = AveragedWeights(trained, 0.9), AveragedWeights(again, 0.9)
    for number in range(9):
        step(trained, number)
        whole.update(trained)
    for number in range(9):
        if number == 4:
            state = first.state_dict()
            first = AveragedWeights(network(), 0.9)
            first.load_state_dict(state)
        step(again, number)
        first.update(again)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, whole.network.state_dict()[name]), name


@pytest.mark.long
def test_the_better_of_both_counts(toy: Path, tmp_path: Path) -> None:
    """The steps of a training are the same; an epoch is scored as high as without averages, or higher."""

    def scores(average: float) -> tuple[list[float], list[float]]:
        folder = tmp_path / str(average)
        train(Config.read(toy, [f"train.average={average}"]), output=folder)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines], [line["val_mean_iou"] for line in lines]

    (plain_losses, plain), (losses, averaged) = scores(0.0), scores(0.3)
    assert losses == plain_losses
    assert all(new >= old for new, old in zip(averaged, plain, strict=True))
    assert averaged != plain


@pytest.mark.long
@pytest.mark.parametrize("average", [0.3, 0.0])
def test_where_the_last_epoch_is_kept_the_validation_images_choose_nothing(
    toy: Path, tmp_path: Path, average: float
) -> None:
    """Two trainings with the same steps, and scores of which each finds another epoch best, give equal weights."""

    def weights(keep: str, monitor: str) -> str:
        changes = [
            f"train.keep={keep}",
            f"train.monitor={monitor}",
            f"train.average={average}",
            "train.epochs=4",
        ]
        path = train(toy, output=tmp_path / f"{keep} {monitor.replace('/', ' ')}", changes=changes)
        return read_card(path).weights_sha256

    monitors = ("recall/left", "recall/right")
    assert len({weights("last", monitor) for monitor in monitors}) == 1
    assert len({weights("best", monitor) for monitor in monitors}) == 2
