"""The trials of a sweep on their way: started, followed, written down."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from geoseg.errors import GeosegError
from geoseg.experiments.dashboard import write_dashboard
from geoseg.experiments.leaderboard import leaderboard, write_leaderboard
from geoseg.experiments.noise import Scores
from geoseg.experiments.pool import Pool
from geoseg.experiments.results import Results, Standings
from geoseg.experiments.roster import Candidate, Roster, Trial
from geoseg.experiments.trial import TEST_SCORES, stop_file
from geoseg.experiments.trial_process import Outcome
from geoseg.progress import OnProgress

_LOOK: Final = 0.5
"""Seconds between two looks at the trials."""
_EVERY: Final = 10.0
"""Seconds between two writings of the results while epochs end."""
_log = logging.getLogger(__name__)

Judge = Callable[[Trial], str | None]
"""Asked about a running trial; returns why it is not worth going on, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """How trials are run.

    Parameters
    ----------
    skip_bad : bool
        Whether to go on without images that cannot be used.
    seconds : float or None
        Time after which no trial runs any more.
    """

    skip_bad: bool = False
    seconds: float | None = None


class Work:
    """Runs trials, and keeps table, leaderboard and page true while they run.

    Parameters
    ----------
    roster : Roster
        The trials.
    results : Results
        What they have come to.
    pool : Pool
        Where they run.
    options : WorkOptions
        How.
    told : callable or None
        Called with (done, total, what): epochs of all trials.
    """

    def __init__(
        self, roster: Roster, results: Results, pool: Pool, options: WorkOptions, told: OnProgress | None
    ) -> None:
        self.roster, self.results, self._pool = roster, results, pool
        self._options, self._told = options, told
        self._begun = self._written = time.monotonic()
        self._epochs: dict[str, int] = {}
        self._asked: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.candidates: list[Candidate] = []

    @property
    def spent(self) -> bool:
        """Whether the time is over."""
        return self._options.seconds is not None and time.monotonic() - self._begun > self._options.seconds

    def standing(self, name: str) -> Standings:
        """Return what is known of a trial."""
        if name in self._pool.running:
            return Standings(status="running")
        return self.results.standing(name)

    def plan(self, candidates: Iterable[Candidate]) -> None:
        """Count the epochs of trials that will be run."""
        for candidate in candidates:
            self.candidates.append(candidate)
            for trial in candidate.trials:
                self._epochs[trial.name] = trial.config.train.epochs
        self.write()

    def finish(self, candidates: Sequence[Candidate], share: float = 1, judge: Judge | None = None) -> bool:
        """Run the trials of configurations that have not ended; return whether all was done before the time was over.

        Trials that failed in an earlier run of the sweep are tried again, those that failed in this one are not.

        Parameters
        ----------
        candidates : sequence of Candidate
            The configurations: every one with its first seed, then with the next.
        share : float
            Share of their epochs after which trials pause, to go on later; 1 finishes them.
        judge : callable, optional
            Asked about running trials.
        """
        trials = {trial.name: trial for each in candidates for trial in each.trials}
        waiting = deque(
            sorted(trials.values(), key=lambda each: (each.record.seed, each.record.fold or 0, each.name))
        )
        while waiting or self._pool.running:
            if self.spent:
                self._pool.stop()
                waiting.clear()
            while waiting and len(self._pool.running) < self._pool.size:
                self._start(waiting.popleft(), share)
            for name, outcome in self._pool.ended(_LOOK):
                self._ended(name, outcome)
            self._follow(trials, judge)
        return not self.spent

    def _start(self, trial: Trial, share: float) -> None:
        """Begin or continue a trial, unless it has ended or is as far as it has to be."""
        until = epochs_of(trial, share)
        if self.results.standing(trial.name).status in ("finished", "pruned") or trial.name in self.failed:
            return
        if share == 1 or len(self.results.epochs(trial.name)) < until:
            self._pool.start(trial.name, self._order(trial, until if share < 1 else None))

    def _order(self, trial: Trial, until: int | None, *, reveal: bool = False) -> dict[str, Any]:
        config = trial.config
        return {
            "config": yaml.safe_dump(config.fields(), sort_keys=False),
            "root": str(config.data_root),
            "folder": str(config.folder),
            "output": str(self.results.run_folder(trial.name).absolute()),
            "until": until,
            "skip_bad": self._options.skip_bad,
            "reveal": reveal,
        }

    def _ended(self, name: str, outcome: Outcome) -> None:
        """Write down how a trial ended, and say so where it failed."""
        if name in self._asked and outcome.status in ("paused", "stopped"):
            outcome = Outcome(status="pruned", reason=self._asked.pop(name))
        if outcome.status == "failed":
            self.failed[name] = outcome.reason
            _log.warning("%s failed: %s", name, outcome.reason)
        self.results.keep(name, outcome)
        self.write(page=True)

    def _follow(self, trials: dict[str, Trial], judge: Judge | None) -> None:
        """Report the progress of all trials, and end each running trial that the judge gives up."""
        done = sum(
            total
            if self.standing(name).status in ("finished", "failed", "pruned")
            else min(total, len(self.results.epochs(name)))
            for name, total in self._epochs.items()
        )
        if self._told is not None:
            ended = sum(
                self.standing(name).status in ("finished", "failed", "pruned") for name in self._epochs
            )
            self._told(done, sum(self._epochs.values()), f"trial {ended} of {len(self._epochs)}")
        if judge is not None:
            for name in self._pool.running - self._asked.keys():
                reason = judge(trials[name])
                if reason is not None:
                    self._asked[name] = reason
                    stop_file(self.results.run_folder(name)).touch()
        if time.monotonic() - self._written > _EVERY:
            self.write()

    def drain(self) -> None:
        """Write down how the trials ended that were stopped with the sweep."""
        while self._pool.running:
            for name, outcome in self._pool.ended(_LOOK):
                self.results.keep(name, outcome)
        self.write(page=True)

    def scores(self, candidate: Candidate) -> Scores:
        """Return the scores of a configuration's finished trials by seed and fold."""
        found = {}
        for trial in candidate.trials:
            score = self.results.score(trial.name)
            if self.results.standing(trial.name).status == "finished" and score is not None:
                found[trial.record.seed, trial.record.fold] = score
        return found

    def reveal(self, trials: Iterable[Trial]) -> None:
        """Score finished trials on the test images, each once."""
        for trial in trials:
            if not (self.results.run_folder(trial.name) / TEST_SCORES).exists():
                self._pool.start(trial.name, self._order(trial, None, reveal=True))
            while self._pool.running:
                for name, outcome in self._pool.ended(_LOOK):
                    if outcome.status != "finished":
                        _log.warning("%s could not be scored on the test images: %s", name, outcome.reason)
        self.write(page=True)

    def write(self, *, page: bool = False) -> None:
        """Write table and leaderboard, and the page if it is time to."""
        self._written = time.monotonic()
        record, folder = self.roster.record, self.roster.folder
        known = {each.trial: self.standing(each.trial) for each in record.trials}
        rows = self.results.write(record, known)
        write_leaderboard(leaderboard(rows, record), folder)
        if page:
            try:
                write_dashboard(folder)
            except (GeosegError, OSError, ValueError) as error:  # a page less is no reason to end a sweep
                _log.warning("the page could not be written: %s", error)


def epochs_of(trial: Trial, share: float) -> int:
    """Return the number of epochs that a share of a training is."""
    return max(1, math.ceil(trial.config.train.epochs * share))
