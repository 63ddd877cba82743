"""Scores of a network on whole images, by the engine that predicts them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from geoseg.datasets.dataset import Pair
from geoseg.engine.bands import Engine
from geoseg.engine.network import Network
from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.metrics import Confusion


def score(
    network: nn.Module, pairs: Iterable[Pair], tiling: Tiling, *, device: str, precision: str
) -> Confusion:
    """Count (reference, predicted) pixels over whole images; ignored and invalid pixels do not count.

    Parameters
    ----------
    network : Module
        Put into evaluation mode.
    pairs : iterable of Pair
        At least one.
    tiling : Tiling
    device, precision : str
        As `Settings.choose` takes them.
    """
    first, *others = (score_image(network, p, tiling, device=device, precision=precision) for p in pairs)
    return sum(others, start=first)


def score_image(network: nn.Module, pair: Pair, tiling: Tiling, *, device: str, precision: str) -> Confusion:
    """Count the pixels of one image, band by band, just as `predict` would classify them."""
    rows, cols = tile_starts(pair.grid.shape, tiling)
    settings = Settings.choose(device, precision, None, (len(rows), len(cols)))
    plan = Plan.of(pair.grid.shape, tiling, settings.batch_size)
    classes = pair.channels.count
    engine = Engine(
        network=Network(network, pair.gain, pair.bias, settings),
        plan=plan,
        reader=RowReader(pair.image, plan, tolerant=False),
        channels=range(classes),
    )
    total = Confusion.empty(classes)
    for result in engine.run():
        if result.band.rows:
            first, height = result.band.rows.start, len(result.band.rows)
            window = Window(row=first, col=0, height=height, width=pair.grid.width)
            total += Confusion.of(pair.read(window)[2], result.codes, classes)
    return total
