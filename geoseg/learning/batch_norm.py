"""Remeasure the statistics of batch normalisation for finished weights."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from geoseg.datasets.dataset import Chips
from geoseg.engine.folded import folded
from geoseg.learning.batches import Batches
from geoseg.learning.monitor import Standing, beats, report
from geoseg.learning.preparation import PreparedTraining
from geoseg.learning.sampling import sampler_of
from geoseg.learning.scoring import Score
from geoseg.learning.story import BEST
from geoseg.models.model import Model

BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_BATCHES: Final = 64
"""Most batches: with 16 of them scores of rare classes still depend on which they are."""
_log = logging.getLogger(__name__)


def with_better_statistics(run: PreparedTraining, folder: Path) -> tuple[Model, list[Score]]:
    """Open the kept epoch, with remeasured batch statistics if they score better, and its validation scores.

    Where the last epoch is kept, validation images choose nothing, and statistics stay as they were learned. A run
    that is killed afterwards repeats the measurement and finds nothing better, or the same.

    Parameters
    ----------
    run : Run
        The training.
    folder : Path
        Folder of the run, with its best epoch.

    Returns
    -------
    model : Model
    scores : list of Score
        Of each validation image.
    """
    best = Model.open(folder / BEST)
    scores = _validated(run, best.network)
    anew = measured_anew(run, best.network) if run.config.train.keep == "best" else None
    if anew is None or not beats(_standing(run, _validated(run, anew)), _standing(run, scores)):
        return best, scores
    _log.info("the statistics of batch normalisation were remeasured")
    Model(best.card, anew.to("cpu")).save(folder / BEST, weights=run.config.model.weights, overwrite=True)
    stored = Model.open(folder / BEST)
    return stored, _validated(run, stored.network)


def _validated(run: PreparedTraining, network: nn.Module) -> list[Score]:
    network = folded(network)
    return [run.scorer.image(network, pair) for pair in run.splits["val"]]


def _standing(run: PreparedTraining, scores: Sequence[Score]) -> Standing | None:
    return run.monitor.standing(report(sum(scores[1:], start=scores[0]), run.classes))


def measured_anew(run: PreparedTraining, network: nn.Module) -> nn.Module | None:
    """Return a copy of a network with remeasured batch statistics; None if it has none or does not learn them.

    During training, running statistics belong to earlier weights, and averaged weights have never
    seen a batch: their statistics are averages, too. Here they are plain means over chips of the training split, none
    of them augmented, as in prediction. The chips are those of the epoch after the last.

    Law: the result does not depend on earlier statistics.

    Parameters
    ----------
    run : Run
        The training.
    network : Module
        The network in the form used for prediction; it is not changed.
    """
    if not (run.config.train.batch_statistics and any(_counts(module) for module in network.modules())):
        return None
    copied = copy.deepcopy(network).to(run.device).eval()
    update_bn(_images(run), copied, torch.device(run.device))
    return copied


def _counts(module: nn.Module) -> bool:
    return isinstance(module, BATCH_NORMS) and module.track_running_stats


def _images(run: PreparedTraining) -> Iterator[Tensor]:
    """Yield batches (n, band, row, col) as network input."""
    chips = Chips(run.splits["train"])
    batches = Batches(sampler_of(run), run.batch_size)
    for number in range(min(_BATCHES, batches.count)):
        places = batches.batch(run.config.train.epochs, number)
        images = torch.stack([chips[place]["image"] for place in places])
        yield images.contiguous(memory_format=torch.channels_last)
