"""A network whose right answer is known: every pixel's class depends on that pixel alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from geoseg.grid.legend import Legend
from geoseg.models.card import Card
from geoseg.models.model import Model

NAMES = ("red", "green", "blue", "nir", "swir")


Pointwise = torch.nn.Conv2d
"""Of 1×1 px: logits that depend on nothing but the pixel."""


def pointwise_card(bands: int = 3, codes: Sequence[int] = (1, 2, 3), **changes: object) -> Card:
    fields: dict[str, object] = {
        "name": "pointwise",
        "created_by": "tests",
        "architecture": "Pointwise",
        "encoder": "none",
        "bands": [{"name": name} for name in NAMES[:bands]],
        "dtype": "uint8",
        "value_range": (0, 255),
        "scale": [1 / 255] * bands,
        "offset": [0.0] * bands,
        "mean": [0.5] * bands,
        "std": [0.25] * bands,
        "tile": {"size": 16, "overlap": 4},
        "legend": Legend.made_up(codes).classes,
        "channels": (1,) if changes.get("task") == "binary" else tuple(codes),
    }
    return Card(**(fields | changes))


def pointwise_model(
    bands: int = 3, codes: Sequence[int] = (1, 2, 3), *, seed: int = 0, **changes: object
) -> Model:
    card = pointwise_card(bands, codes, **changes)
    network = Pointwise(bands, len(card.channels), 1)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return Model(card, network.eval())


def right_answer(
    model: Model, pixels: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Codes and probabilities (channel, row, col) of the pointwise model in float64."""
    card = model.card
    logits = right_logits(model, pixels)
    if card.task != "multiclass":
        probabilities = 1 / (1 + np.exp(-logits))
        thresholds = card.thresholds or [0.5] * len(card.channels)
        present = np.stack([p > t for p, t in zip(probabilities, thresholds, strict=True)]).astype(np.uint8)
        return (present[0] if card.task == "binary" else present), probabilities
    odds = np.exp(logits - logits.max(axis=0))
    probabilities = odds / odds.sum(axis=0)
    codes = np.array(card.channels, dtype=np.uint8)[probabilities.argmax(axis=0)]
    return codes, probabilities


def right_logits(model: Model, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Logits (channel, row, col) of the pointwise model in float64."""
    gain, bias = model.card.normalisation()
    inputs = pixels.astype(np.float64) * np.array(gain)[:, None, None] + np.array(bias)[:, None, None]
    network = model.network
    assert isinstance(network, Pointwise)
    assert network.bias is not None
    weight = network.weight.detach().double().numpy()[:, :, 0, 0]
    logits: npt.NDArray[np.float64] = np.einsum("cb,brw->crw", weight, inputs)
    return logits + network.bias.detach().double().numpy()[:, None, None]


def decided(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Pixels whose two best probabilities differ by more than 1e-6."""
    ordered = np.sort(probabilities, axis=0)
    return np.asarray(ordered[-1] - ordered[-2] > 1e-6)
