"""Batch statistics measured anew are plain means of training chips, and are kept where they are better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.datasets.dataset import Chips
from geoseg.learning.batch_norm import measured_anew, with_better_statistics
from geoseg.learning.batches import Batches
from geoseg.learning.config import Config
from geoseg.learning.preparation import PreparedTraining, prepare_training
from geoseg.learning.sampling import sampler_of
from geoseg.learning.training_run import train_run
from geoseg.models.model import Model


def first_norm(network: nn.Module) -> nn.Module:
    return next(each for each in network.modules() if isinstance(each, nn.BatchNorm2d))


def spoiled(network: nn.Module, by: float) -> nn.Module:
    """Move every running mean, as weights that moved away would."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean += by
    return network


def run_of(toy: Path, *changes: str) -> PreparedTraining:
    return prepare_training(Config.read(toy, ["train.batch_size=4", *changes]))


def test_they_are_means_over_batches_of_unchanged_chips(toy: Path) -> None:
    run = run_of(toy, "train.chips_per_epoch=16")
    network = run.model.network
    anew = measured_anew(run, network)
    assert anew is not None
    convolution = next(each for each in network.modules() if isinstance(each, nn.Conv2d))
    chips, batches = Chips(run.splits["train"]), Batches(sampler_of(run), 4)
    means, variances = [], []
    for number in range(batches.count):
        places = batches.batch(run.config.train.epochs, number)
        with torch.no_grad():
            images = torch.stack([chips[place]["image"] for place in places])
            values = convolution(images).double().numpy()
        means.append(values.mean(axis=(0, 2, 3)))
        variances.append(values.var(axis=(0, 2, 3), ddof=1))
    norm = first_norm(anew)
    np.testing.assert_allclose(norm.running_mean, np.mean(means, axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.running_var, np.mean(variances, axis=0), rtol=1e-3, atol=1e-4)


def test_what_was_measured_before_changes_nothing(toy: Path) -> None:
    run = run_of(toy)
    one = measured_anew(run, run.model.network)
    other = measured_anew(run, spoiled(run.model.network, 3.0))
    assert one is not None
    assert other is not None
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_where_statistics_are_not_to_be_learned_none_are(toy: Path) -> None:
    run = run_of(toy, "train.batch_statistics=false")
    assert measured_anew(run, run.model.network) is None


@pytest.mark.long
@pytest.mark.parametrize("weights", ["fp32", "fp16"])
def test_statistics_that_drifted_are_replaced_once_and_for_all(
    toy: Path, tmp_path: Path, weights: str
) -> None:
    run = run_of(toy, f"model.weights={weights}")
    drifted = Model(run.model.card, spoiled(run.model.network, 50.0))
    drifted.save(tmp_path / "best.safetensors", weights=run.config.model.weights)
    before = Model.open(tmp_path / "best.safetensors").card.weights_sha256
    found, scores = with_better_statistics(run, tmp_path)
    kept = (tmp_path / "best.safetensors").read_bytes()
    assert found.card.weights_sha256 != before
    # Killed here, a training that is called again finds nothing that is better.
    again, same = with_better_statistics(run, tmp_path)
    assert again.card.weights_sha256 == found.card.weights_sha256
    assert (tmp_path / "best.safetensors").read_bytes() == kept
    assert [each.loss for each in same] == [each.loss for each in scores]


@pytest.mark.long
def test_statistics_that_are_worse_are_not_taken(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chips that are nothing like the images give statistics that help nobody."""
    monkeypatch.setattr(
        "geoseg.learning.batch_norm._images", lambda run: iter([torch.full((4, 2, 64, 64), 1e3)] * 2)
    )
    config = Config.read(toy)
    model = train_run(config, tmp_path / "run").model
    norm = first_norm(Model.open(model).network)
    assert float(torch.as_tensor(norm.running_mean).abs().max()) < 100


def test_where_the_last_epoch_is_kept_statistics_stay_as_they_were_learned(toy: Path, tmp_path: Path) -> None:
    run = run_of(toy, "train.keep=last")
    drifted = Model(run.model.card, spoiled(run.model.network, 50.0))
    drifted.save(tmp_path / "best.safetensors")
    kept = (tmp_path / "best.safetensors").read_bytes()
    with_better_statistics(run, tmp_path)
    assert (tmp_path / "best.safetensors").read_bytes() == kept
