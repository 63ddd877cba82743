"""Successive halving: all configurations train a little, the best go on."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from geoseg.errors import Message, plural
from geoseg.experiments.roster import Candidate
from geoseg.experiments.trial_process import Outcome
from geoseg.experiments.work import Work, epochs_of

_log = logging.getLogger(__name__)


def halved(work: Work, candidates: Sequence[Candidate], factor: int) -> bool:
    """Train configurations in rungs; return whether all was done before the time was over.

    Of n configurations all train for ``epochs / factor ** k`` epochs, the best ``n / factor`` by their mean over seeds
    go on to ``factor`` times as many, and so on; the others are pruned. The schedule of the learning rate is that of
    the whole training, and who goes on continues from its exact state.

    Parameters
    ----------
    work : Work
        Runs the trials.
    candidates : sequence of Candidate
        The configurations.
    factor : int
        One of so many goes on.
    """
    left = list(candidates)
    shortest = min(trial.config.train.epochs for each in candidates for trial in each.trials)
    rungs = min(_times(len(left), factor), _times(shortest, factor))
    if not rungs and len(left) > 1:
        found = f"{plural(len(left), 'configuration')} of {plural(shortest, 'epoch')}"
        _log.warning(
            "%s", Message("{halving} prunes none of {}: it takes as many of both", found, halving=factor)
        )
    for rung in range(rungs, 0, -1):
        share = 1 / factor**rung
        if not work.finish(left, share):
            return False
        order = sorted(left, key=lambda each: -_standing(work, each, share))
        kept = order[: math.ceil(len(left) / factor)]
        for place, each in enumerate(order[len(kept) :], start=len(kept) + 1):
            for trial in each.trials:
                if work.results.standing(trial.name).status == "waiting":
                    reason = (
                        f"place {place} of {len(left)} after {plural(epochs_of(trial, share), 'epoch')}, of which "
                        f"{len(kept)} went on"
                    )
                    work.results.keep(trial.name, Outcome(status="pruned", reason=reason))
        work.write()
        left = [each for each in left if each in kept]
    return work.finish(left)


def _times(number: int, factor: int) -> int:
    """Return how often a number can be divided."""
    found = 0
    while number >= factor:
        number, found = number // factor, found + 1
    return found


def _standing(work: Work, candidate: Candidate, share: float) -> float:
    """Return the mean score of a configuration's trials within a share of their epochs, larger is better."""
    sign = 1 if work.roster.record.goal == "max" else -1
    scores = [work.results.score_at(trial.name, epochs_of(trial, share)) for trial in candidate.trials]
    found = [score for score in scores if score is not None]
    return sign * math.fsum(found) / len(found) if found else -math.inf
