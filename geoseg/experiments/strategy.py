"""The order in which the configurations of a sweep are tried, and what each stage decides."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from geoseg.errors import ConfigError
from geoseg.experiments.halving import halved
from geoseg.experiments.noise import noise_of, words
from geoseg.experiments.parameters import Values
from geoseg.experiments.record import Decision
from geoseg.experiments.roster import Candidate
from geoseg.experiments.stages import Stage, texts_of
from geoseg.experiments.work import Work

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A configuration with its mean score.

    Parameters
    ----------
    candidate : Candidate
        The configuration.
    mean : float
        Mean score of its finished trials.
    """

    candidate: Candidate
    mean: float


def run_stages(work: Work, stages: Sequence[Stage], halving: int | None) -> bool:
    """Run every stage with the values that the stages before it chose; return whether all could be done.

    Parameters
    ----------
    work : Work
        Runs the trials.
    stages : sequence of Stage
        The stages.
    halving : int or None
        One of so many configurations goes on at each rung.
    """
    chosen: Values = {}
    texts = texts_of(stages)
    for stage in stages:
        wanted = list(_allowed(work, [{**chosen, **values} for values in stage.values]))
        candidates = work.roster.candidates(stage.name, wanted, texts)
        work.plan(candidates)
        done = work.finish(candidates) if halving is None else halved(work, candidates, halving)
        if not done:
            return False
        ranking = ranked(work, candidates)
        if not ranking:
            _log.warning("stage %s: no trial has a score, so that nothing can be chosen", stage.name)
            return stage is stages[-1]
        own = list(dict.fromkeys(path for values in stage.values for path in values))
        decision = _decision(work, stage.name, ranking, own)
        chosen = ranking[0].candidate.values
        _log.info("stage %s: %s", stage.name, decision.said)
        _keep(work, replace(decision, chosen=dict(chosen)))
    return True


def _allowed(work: Work, wanted: Sequence[Values]) -> Iterator[Values]:
    """Yield what the configuration takes; a value may not go together with one that a stage before chose."""
    for values in wanted:
        try:
            work.roster.base.config(values)
        except ConfigError as error:
            _log.warning("left out: %s", error)
            continue
        yield values


def ranked(work: Work, candidates: Sequence[Candidate]) -> list[Ranked]:
    """Return the configurations that have scores, the best mean first.

    Those whose trials all finished come before others, of which fewer seeds say less.
    """
    sign = 1 if work.roster.record.goal == "max" else -1
    found = []
    for candidate in candidates:
        scores = work.scores(candidate)
        if scores:
            whole = len(scores) == len(candidate.trials)
            found.append((whole, Ranked(candidate=candidate, mean=math.fsum(scores.values()) / len(scores))))
    found.sort(key=lambda each: (not each[0], -sign * each[1].mean))
    return [each for _, each in found]


def _decision(work: Work, stage: str, ranking: Sequence[Ranked], paths: Sequence[str]) -> Decision:
    whole = [each for each in ranking if len(work.scores(each.candidate)) == len(each.candidate.trials)]
    noise = noise_of([work.scores(each.candidate) for each in whole])
    names = [_named(each.candidate.values, paths) for each in ranking]
    return Decision(stage=stage, chosen={}, said=words(names, [each.mean for each in ranking], noise))


def _named(values: Values, paths: Sequence[str]) -> str:
    """Return a configuration by the values that its stage varies."""
    said = ", ".join(f"{path}={values[path]}" for path in paths if path in values)
    return said or "the configuration as it is"


def _keep(work: Work, decision: Decision) -> None:
    """Write a decision into the record in place of an earlier one of its stage."""
    record = work.roster.record
    others = [each for each in record.decisions if each.stage != decision.stage]
    work.roster.record = replace(record, decisions=(*others, decision))
    work.roster.record.write(work.roster.folder)
    work.write()
