"""Region losses against segmentation-models-pytorch, and where a class is absent."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.loss_regions import lovasz, tversky

RANDOM = torch.Generator().manual_seed(3)


def batch(channels: int, *, multilabel: bool = False) -> tuple[Tensor, Tensor]:
    """Every class but the last occurs, a tenth is ignored."""
    logits = torch.randn(2, channels, 9, 7, generator=RANDOM) * 2
    shape, high = ((2, channels, 9, 7), 2) if multilabel else ((2, 9, 7), channels - 1)
    target = torch.randint(0, high, shape, generator=RANDOM)
    return logits, target.masked_fill(torch.rand(shape, generator=RANDOM) < 0.1, IGNORED)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (1.0, 1.0), (0.3, 0.7)])
def test_overlaps_equal_those_of_smp(alpha: float, beta: float) -> None:
    """Which takes the mean over all classes, where absent ones are 0."""
    theirs = smp.losses.TverskyLoss("multiclass", ignore_index=IGNORED, alpha=alpha, beta=beta)
    logits, target = batch(5)
    assert float(tversky(logits, target, alpha, beta)) == pytest.approx(
        5 / 4 * float(theirs(logits, target)), rel=1e-5
    )
    logits, target = batch(4, multilabel=True)
    theirs = smp.losses.TverskyLoss("multilabel", ignore_index=IGNORED, alpha=alpha, beta=beta)
    assert float(tversky(logits, target, alpha, beta)) == pytest.approx(
        float(theirs(logits, target)), rel=1e-5
    )


def test_dice_and_jaccard_are_those_of_smp() -> None:
    logits, target = batch(4, multilabel=True)
    for share, kind in ((0.5, smp.losses.DiceLoss), (1.0, smp.losses.JaccardLoss)):
        theirs = float(kind("multilabel", ignore_index=IGNORED)(logits, target))
        assert float(tversky(logits, target, share, share)) == pytest.approx(theirs, rel=1e-5)


def test_lovasz_equals_that_of_smp_in_value_and_gradient() -> None:
    logits, target = batch(5)
    results = []
    for loss in (smp.losses.LovaszLoss("multiclass", ignore_index=IGNORED), lovasz):
        # smp gives infinite ignored logits no slope either; filling them is the caller's part here.
        scores = logits.clone().requires_grad_()
        value = loss(scores, target)
        torch.autograd.backward(value)
        results.append((value.detach(), scores.grad))
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_lovasz_of_two_exclusive_layers_is_that_of_a_softmax() -> None:
    """sigmoid(x) is the softmax of (0, x): two independent ways to one number."""
    x, target = torch.randn(2, 1, 8, 8, generator=RANDOM), torch.randint(0, 2, (2, 8, 8), generator=RANDOM)
    two = torch.cat([torch.zeros_like(x), x], dim=1)
    layers = torch.stack([1 - target, target], dim=1)
    by_layers = lovasz(torch.cat([-x, x], dim=1), layers)
    torch.testing.assert_close(by_layers, lovasz(two, target))


@pytest.mark.parametrize("loss", [tversky, lovasz])
def test_false_positives_of_an_absent_class_cost(loss: object) -> None:
    """A batch without the class teaches a network of a binary task to be silent there."""
    assert callable(loss)
    target = torch.zeros(2, 1, 4, 4, dtype=torch.int64)
    target[0, 0, 0, 0] = IGNORED
    silent, loud = torch.full((2, 1, 4, 4), -20.0), torch.zeros(2, 1, 4, 4, requires_grad=True)
    assert float(loss(silent, target)) == pytest.approx(0, abs=1e-6)
    value = loss(loud, target)
    assert float(value.detach()) == pytest.approx(0.5)
    torch.autograd.backward(value)
    assert loud.grad is not None
    assert (loud.grad >= 0).all()
    assert loud.grad.sum() > 0


@pytest.mark.parametrize("loss", [tversky, lovasz])
def test_by_softmax_an_absent_class_is_left_out(loss: object) -> None:
    assert callable(loss)
    logits, target = batch(4)
    # What an absent class takes is missing in the others: its slope is there without a loss of its own.
    scores = logits.requires_grad_()
    torch.autograd.backward(loss(scores, target))
    assert scores.grad is not None
    counted = (target != IGNORED).sum()
    assert scores.grad[:, 3].gt(0).sum() > counted // 4


@pytest.mark.parametrize("loss", [tversky, lovasz])
def test_losses_go_from_0_to_1(loss: object) -> None:
    assert callable(loss)
    target = torch.randint(0, 3, (2, 6, 6), generator=RANDOM)
    right = torch.nn.functional.one_hot(target, 3).movedim(3, 1) * 200.0
    assert float(loss(right, target)) == pytest.approx(0, abs=1e-6)
    assert float(loss(-right, target)) == pytest.approx(1, abs=1e-6)


def test_ties_and_counts_beyond_float32_do_not_matter() -> None:
    """All errors alike: 1 - intersection / union of everything wrong, times the error."""
    for labelled in (0, 3, 16):
        target = (torch.arange(16) < labelled).long().view(1, 1, 4, 4)
        assert float(lovasz(torch.zeros(1, 1, 4, 4), target)) == pytest.approx(0.5)
