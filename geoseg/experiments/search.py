"""Search with Optuna: each configuration is proposed from what the ones before it came to."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from geoseg.errors import Message, OptionError
from geoseg.experiments.parameters import GridLike, parse_grid
from geoseg.experiments.ranges import Range, Space, space_of
from geoseg.experiments.roster import Candidate, Trial
from geoseg.experiments.trial_process import Outcome
from geoseg.experiments.work import Judge, Work

if TYPE_CHECKING:
    import optuna

STAGE: Final = "optuna"
_FIRST: Final = 4
"""Configurations that are never pruned, for nothing is known yet."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search for the best configuration.

    Parameters
    ----------
    space : mapping
        Values, or a range, by path.
    count : int
        Number of configurations.
    at_once : int
        Configurations that are proposed together.
    prune : bool
        Whether trials below the median of the ones before are stopped.
    """

    space: Space
    count: int
    at_once: int = 1
    prune: bool = False

    @classmethod
    def of(cls, grid: GridLike, count: int, at_once: int, *, prune: bool) -> Search:
        """Return the search over a grid.

        Raises
        ------
        OptionError
            If Optuna is not installed, or there is nothing to search.
        """
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise OptionError(
                "optuna is not installed; install it with pip install 'geoseg[optuna]'",
                Message("or draw at random with {random}"),
            ) from error
        if count < 1:
            raise OptionError(Message("{optuna}: expected 1 or more", optuna=count))
        space = space_of(parse_grid(grid))
        if not space:
            raise OptionError("there is nothing to search", Message("say what varies with {grid}"))
        return cls(space=space, count=count, at_once=max(1, at_once), prune=prune)

    def ends(self) -> list[dict[str, str]]:
        """Return configurations with every value and both ends of every range, to be checked before the first trial."""
        texts = {
            path: [each.text(each.low), each.text(each.high)] if isinstance(each, Range) else list(each)
            for path, each in self.space.items()
        }
        first = {path: each[0] for path, each in texts.items()}
        return [{**first, path: text} for path, each in texts.items() for text in each]


def searched(work: Work, search: Search) -> bool:
    """Run a search; return whether all was done before the time was over.

    Proposals are a pure function of the results before them, so that the same search after a kill proposes what is
    there already, finds it finished and goes on; so does one with a larger count.

    Parameters
    ----------
    work : Work
        Runs the trials.
    search : Search
        The search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    told: list[Candidate] = []
    while len(told) < search.count:
        study = _study(work, search, told)
        proposals = [_proposed(study, search) for _ in range(min(search.at_once, search.count - len(told)))]
        texts = {path: () if isinstance(each, Range) else each for path, each in search.space.items()}
        candidates = work.roster.candidates(STAGE, proposals, texts)
        work.plan(candidates)
        first = [Candidate(values=each.values, trials=each.trials[:1]) for each in candidates]
        judge = _judge(work, told) if search.prune else None
        if not work.finish(first, judge=judge):
            return False
        for each in candidates:
            _give_up(work, each)
        if not work.finish(candidates, judge=judge):
            return False
        told += candidates
    return True


def _study(work: Work, search: Search, told: Sequence[Candidate]) -> optuna.Study:
    """Return a study that knows the configurations so far."""
    import optuna

    goal = "maximize" if work.roster.record.goal == "max" else "minimize"
    sampler = optuna.samplers.TPESampler(seed=len(told), constant_liar=search.at_once > 1)
    study = optuna.create_study(direction=goal, sampler=sampler)
    distributions = _distributions(search.space)
    for candidate in told:
        scores = [
            score for trial in candidate.trials if (score := work.results.score(trial.name)) is not None
        ]
        state = optuna.trial.TrialState.COMPLETE if scores else optuna.trial.TrialState.FAIL
        study.add_trial(
            optuna.trial.create_trial(
                params={path: _number(search.space[path], text) for path, text in candidate.values.items()},
                distributions=distributions,
                value=math.fsum(scores) / len(scores) if scores else None,
                state=state,
            )
        )
    return study


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for path, each in space.items():
        if not isinstance(each, Range):
            found[path] = CategoricalDistribution(list(each))
        elif each.whole:
            found[path] = IntDistribution(int(each.low), int(each.high), log=each.log)
        else:
            found[path] = FloatDistribution(each.low, each.high, log=each.log)
    return found


def _number(each: Sequence[str] | Range, text: str) -> Any:
    """Return a value as Optuna knows it."""
    return min(max(yaml.safe_load(text), each.low), each.high) if isinstance(each, Range) else text


def _proposed(study: optuna.Study, search: Search) -> dict[str, str]:
    """Return the values of the next configuration."""
    params = study.ask(_distributions(search.space)).params
    return {
        path: each.text(params[path]) if isinstance(each, Range) else str(params[path])
        for path, each in search.space.items()
    }


def _give_up(work: Work, candidate: Candidate) -> None:
    """Leave out the other seeds of a configuration whose first one was pruned."""
    if work.results.standing(candidate.trials[0].name).status != "pruned":
        return
    for trial in candidate.trials[1:]:
        if work.results.standing(trial.name).status == "waiting":
            reason = f"the first seed of its configuration was pruned ({candidate.trials[0].name})"
            work.results.keep(trial.name, Outcome(status="pruned", reason=reason))


def _judge(work: Work, told: Sequence[Candidate]) -> Judge:
    """Return what stops a trial whose best score is below the median that others had at its epoch."""
    import optuna

    goal = "maximize" if work.roster.record.goal == "max" else "minimize"
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_FIRST)
    seen: dict[str, int] = {}

    def judge(trial: Trial) -> str | None:
        epoch = len(work.results.epochs(trial.name))
        if epoch <= seen.get(trial.name, 0) or epoch >= trial.config.train.epochs:
            return None
        seen[trial.name] = epoch
        study = optuna.create_study(direction=goal, pruner=pruner)
        for candidate in told:
            for each in candidate.trials:
                if (each.record.seed, each.record.fold) == (trial.record.seed, trial.record.fold):
                    values = _steps(work, each.name)
                    if values:
                        study.add_trial(
                            optuna.trial.create_trial(
                                value=values[max(values)], intermediate_values=values,
                                state=optuna.trial.TrialState.COMPLETE,
                            )
                        )  # fmt: skip
        asked = study.ask()
        for step, value in _steps(work, trial.name).items():
            asked.report(value, step)
        return (
            f"below the median of the trials before it after epoch {epoch}" if asked.should_prune() else None
        )

    return judge


def _steps(work: Work, name: str) -> dict[int, float]:
    """Return the best score so far after each epoch of a trial."""
    count = len(work.results.epochs(name))
    found = {epoch: work.results.score_at(name, epoch) for epoch in range(1, count + 1)}
    return {epoch: score for epoch, score in found.items() if score is not None}
