"""Nothing is seen of the tiles where a network is not sure of itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

import geoseg
from geoseg.engine.plan import tile_starts
from geoseg.grid.tiling import Tiling
from geoseg.models.model import Model
from tests.oracle import pointwise_card

TILING = Tiling(size=128, overlap=32)


def unsure() -> Model:
    """A network that looks 4 px far, and pads with zeros as networks do: tiles answer otherwise at their edges."""
    logits = torch.nn.Conv2d(3, 3, 1)
    generator = torch.Generator().manual_seed(1)
    for parameter in logits.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    network = torch.nn.Sequential(torch.nn.AvgPool2d(9, stride=1, padding=4), logits)
    return Model(pointwise_card(), network.eval())


def seam_step(confidence: npt.NDArray[np.floating], tiling: Tiling) -> float:
    """Mean step across tile borders over the mean step elsewhere, in rows and columns, of steps of 1/254."""
    across, elsewhere = [], []
    for plane, firsts in zip((confidence, confidence.T), tile_starts(confidence.shape, tiling), strict=True):
        steps = np.abs(np.diff(np.rint(254 * plane), axis=0))
        borders = {first + end - tiling.overlap // 2 - 1 for first in firsts for end in (0, tiling.size)}
        crossing = np.isin(np.arange(len(steps)), sorted(borders))
        across.append(steps[crossing].ravel())
        elsewhere.append(steps[~crossing].ravel())
    return float(np.concatenate(across).mean() / np.concatenate(elsewhere).mean())


def test_steps_across_the_borders_of_tiles_are_like_those_elsewhere() -> None:
    """With weights that rise in a line it is 3.2 here, and 1.06 with half a Hann window."""
    rows, cols = np.mgrid[:400, :416] / 40
    waves = np.sin(rows[None] + cols[None] * np.array([1.0, 0.5, -0.7])[:, None, None])
    pixels = (215 + 30 * waves).astype(np.uint8)
    options = {"precision": "fp32", "tile_size": TILING.size, "overlap": TILING.overlap, "device": "cpu"}
    confidence = geoseg.predict(pixels, unsure(), **options)["confidence"].to_numpy()
    assert seam_step(confidence, TILING) < 1.5
