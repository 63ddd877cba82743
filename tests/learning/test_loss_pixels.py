"""Means over pixels against torch and segmentation-models-pytorch."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from geoseg.datasets.dataset import IGNORED
from geoseg.learning.loss_pixels import binary_cross_entropy, cross_entropy, focal

RANDOM = torch.Generator().manual_seed(5)
LOGITS = torch.randn(2, 4, 9, 7, generator=RANDOM) * 3
TARGET = torch.randint(0, 4, (2, 9, 7), generator=RANDOM)
LAYERS = torch.randint(0, 2, (2, 4, 9, 7), generator=RANDOM)
TARGET[:, :2] = LAYERS[..., 3:5] = IGNORED
WEIGHTS = torch.tensor([0.3, 1.0, 2.5, 0.7])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_that_of_torch(weights: torch.Tensor | None, smoothing: float) -> None:
    theirs = nn.CrossEntropyLoss(weight=weights, ignore_index=IGNORED, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(LOGITS, TARGET, weights, smoothing), theirs(LOGITS, TARGET))


def test_binary_cross_entropy_is_that_of_smp_over_the_pixels_that_count() -> None:
    theirs = smp.losses.SoftBCEWithLogitsLoss(ignore_index=IGNORED, reduction="sum")(LOGITS, LAYERS.float())
    torch.testing.assert_close(binary_cross_entropy(LOGITS, LAYERS), theirs / (LAYERS != IGNORED).sum())


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
def test_focal_is_that_of_smp(gamma: float) -> None:
    theirs = smp.losses.FocalLoss("binary", gamma=gamma, ignore_index=IGNORED)
    torch.testing.assert_close(focal(LOGITS, LAYERS, gamma=gamma), theirs(LOGITS, LAYERS))
    # Of several classes smp's is by sigmoid; its function by softmax knows no ignored pixels.
    softmax = smp.losses._functional.softmax_focal_loss_with_logits
    counted = TARGET != IGNORED
    expected = softmax(LOGITS.movedim(1, 3)[counted], TARGET[counted], gamma=gamma)
    torch.testing.assert_close(focal(LOGITS, TARGET, gamma=gamma), expected)


def test_focal_without_gamma_is_cross_entropy() -> None:
    torch.testing.assert_close(focal(LOGITS, TARGET, WEIGHTS, 0.0), cross_entropy(LOGITS, TARGET, WEIGHTS))
    pairs = torch.stack([WEIGHTS, WEIGHTS.flip(0)], dim=1)
    torch.testing.assert_close(focal(LOGITS, LAYERS, pairs, 0.0), binary_cross_entropy(LOGITS, LAYERS, pairs))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_focal_of_a_pixel_that_is_sure_has_a_slope_of_0(gamma: float) -> None:
    """Powers below 1 have none at 0."""
    logits = torch.tensor([[[[200.0, 0.0]]]]).requires_grad_()
    torch.autograd.backward(focal(logits, torch.ones(1, 1, 1, 2, dtype=torch.int64), gamma=gamma))
    assert logits.grad is not None
    assert logits.grad[..., 0] == 0
    assert logits.grad[..., 1] < 0


def test_smoothing_of_a_layer_is_smoothing_of_two_classes() -> None:
    x = LOGITS[:, :1]
    two = torch.cat([torch.zeros_like(x), x], dim=1)
    torch.testing.assert_close(
        binary_cross_entropy(x, LAYERS[:, :1], None, 0.2), cross_entropy(two, LAYERS[:, 0], None, 0.2)
    )
