"""Scores of a network on whole images, tiled and blended as prediction does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.dataset import Pair
from geoseg.learning.metrics import Confusion


def score(
    network: nn.Module, pairs: Iterable[Pair], tiling: Tiling, *, batch: int, autocast: torch.dtype | None
) -> Confusion:
    """Count (reference, predicted) pixels over whole images; ignored and invalid pixels do not count.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    pairs : iterable of Pair
    tiling : Tiling
    batch : int
        Tiles that go through the network at once.
    autocast : torch.dtype or None
        Lower precision to compute in.
    """
    total: Confusion | None = None
    for pair in pairs:
        counts = score_image(network, pair, tiling, batch=batch, autocast=autocast)
        total = counts if total is None else total + counts
    assert total is not None, "there is at least one image"
    return total


def score_image(
    network: nn.Module, pair: Pair, tiling: Tiling, *, batch: int, autocast: torch.dtype | None
) -> Confusion:
    """Count the pixels of one image, row of tiles by row of tiles.

    Memory: probabilities of one row of tiles and of the rows it shares with the next.
    """
    height, width = pair.grid.shape
    rows, cols = tiling.starts(height), tiling.starts(width)
    row_tapers, col_tapers = tiling.tapers(height), tiling.tapers(width)
    total: Confusion | None = None
    carried: npt.NDArray[np.float32] | None = None  # weighted probabilities of rows that are not finished
    for i, row in enumerate(rows):
        strip = np.zeros((1, tiling.size, max(width, tiling.size)), dtype=np.float32)
        for j, part in _probabilities(network, pair, row, cols, tiling.size, batch, autocast):
            if len(strip) != len(part):
                strip = np.zeros((len(part), *strip.shape[1:]), dtype=np.float32)
            weights = row_tapers[i][:, None] * col_tapers[j][None]
            strip[:, :, cols[j] : cols[j] + tiling.size] += part * weights.astype(np.float32)
        if carried is not None:
            strip[:, : carried.shape[1]] += carried
        finished = (rows[i + 1] if i + 1 < len(rows) else height) - row
        window = Window(row=row, col=0, height=min(finished, height), width=width)
        reference = pair.read(window)[2]
        predicted = strip[:, : window.height, :width].argmax(axis=0)
        counts = Confusion.of(reference, predicted, len(strip))
        total = counts if total is None else total + counts
        carried = strip[:, finished:]
    assert total is not None, "a raster has at least one row of tiles"
    return total


def _probabilities(
    network: nn.Module,
    pair: Pair,
    row: int,
    cols: list[int],
    size: int,
    batch: int,
    autocast: torch.dtype | None,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Softmax of each tile of a row, (channel, size, size), with the tile's number."""
    device = next(network.parameters()).device
    for first in range(0, len(cols), batch):
        images: list[Tensor] = [
            pair.sample(Window(row=row, col=col, height=size, width=size))["image"]
            for col in cols[first : first + batch]
        ]
        stack = torch.stack(images).to(device, memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, autocast, enabled=autocast is not None):
            logits = network(stack)
        for k, part in enumerate(torch.softmax(logits.float(), dim=1).cpu().numpy()):
            yield first + k, part
