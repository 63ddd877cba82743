"""A sweep in its folder: checked, begun or continued, finished."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ELSEWHERE, Message, OptionError, OutputError, OutputExistsError, ResumeError
from geoseg.experiments.cluster import ClusterPool, cluster_pool
from geoseg.experiments.configuration import Base, base_settings
from geoseg.experiments.parameters import GridLike
from geoseg.experiments.pool import LocalPool, local_pool
from geoseg.experiments.record import SweepRecord
from geoseg.experiments.results import Results
from geoseg.experiments.roster import Roster
from geoseg.experiments.search import Search, searched
from geoseg.experiments.stages import stages_of, texts_of
from geoseg.experiments.strategy import ranked, run_stages
from geoseg.experiments.work import Work, WorkOptions
from geoseg.learning.config import Config
from geoseg.learning.monitor import Monitor
from geoseg.learning.preparation import prepare_training
from geoseg.progress import OnProgress
from geoseg.storage.lock import locked
from geoseg.storage.output import check_local

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_SEEDS: Final = 1000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Options of one call of `sweep`.

    Parameters
    ----------
    grid, random, optuna, prune, stages, seeds, halving, budget, workers, scheduler, reveal_test, skip_bad
        As `sweep` takes them.
    """

    grid: GridLike = ()
    random: int | None = None
    optuna: int | None = None
    prune: bool = False
    stages: str | PathLike[str] | Mapping[str, Any] | None = None
    seeds: int = 3
    halving: int | None = None
    budget: float | str | None = None
    workers: int | None = None
    scheduler: str | None = None
    reveal_test: bool = False
    skip_bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep came to.

    Parameters
    ----------
    failed : mapping of str to str
        Reasons of the failed trials by their names.
    whole : bool
        Whether everything was done; otherwise the time was over.
    """

    failed: Mapping[str, str]
    whole: bool


def run_sweep(base: Base, folder: Path, options: SweepOptions, told: OnProgress | None) -> Swept:
    """Run a sweep as `sweep` does.

    Parameters
    ----------
    base : Base
        The configuration that varies.
    folder : Path
        Folder of the sweep.
    options : SweepOptions
        What varies, and how it is run.
    told : callable or None
        Called with (done, total, what).
    """
    seconds = parse_time(options.budget)
    _check(options)
    search = _search(options)
    stages = [] if search is not None else stages_of(options.grid, options.stages, options.random)
    config = base.config()
    seeds = range(config.train.seed, config.train.seed + options.seeds)
    for values in search.ends() if search else [each for stage in stages for each in stage.values]:
        base.folded(base.config(values, seeds[0]), values)
    record = _record(base, folder, config, list(search.space if search else texts_of(stages)))
    check_local(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for a sweep ({error.strerror})") from error
    with _empty_removed(folder), locked(folder / "sweep.geoseg-lock", folder):
        monitor = Monitor(name=config.train.monitor)
        results = Results(folder, monitor)
        if not any(results.standing(each.trial).status == "finished" for each in record.trials):
            _log.info("looking at the data before the first trial")
            prepare_training(base.folded(config, {})[0][1], skip_bad=options.skip_bad)
        roster = Roster(folder, base, record, seeds)
        with _pool(options, folder, config) as pool:
            work = Work(roster, results, pool, WorkOptions(skip_bad=options.skip_bad, seconds=seconds), told)
            try:
                whole = searched(work, search) if search else run_stages(work, stages, options.halving)
                if whole and options.reveal_test:
                    _reveal(work)
            finally:
                pool.close()
                work.drain()
    return Swept(failed=dict(work.failed), whole=whole)


@contextmanager
def _empty_removed(folder: Path) -> Iterator[None]:
    """Remove the folder if an error left it empty."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _check(options: SweepOptions) -> None:
    """Refuse numbers that make no sense."""
    if not 1 <= options.seeds <= _MOST_SEEDS:
        raise OptionError(Message("{seeds}: expected 1 to {}", _MOST_SEEDS, seeds=options.seeds))
    if options.workers is not None and options.workers < 1:
        raise OptionError(Message("{workers}: expected 1 or more", workers=options.workers))
    if options.workers is not None and options.scheduler is not None:
        raise OptionError(
            Message(
                "{workers} is for this machine and {scheduler} for a cluster; leave one out",
                workers=options.workers,
            )
        )
    if options.prune and options.optuna is None:
        raise OptionError(Message("{prune} is for a search with {optuna}; leave it out", prune=True))
    if options.optuna is not None:
        for name in ("random", "stages", "halving"):
            if getattr(options, name) is not None:
                raise OptionError(
                    Message(
                        f"{{optuna}} and {{{name}}} are two ways to choose what is trained; leave one out"
                    )
                )
    if options.halving is not None and options.halving < 2:
        raise OptionError(Message("{halving}: expected 2 or more", halving=options.halving))


def _search(options: SweepOptions) -> Search | None:
    """Return the search with Optuna, None where there is none; proposals are made for all trials that run at once."""
    if options.optuna is None:
        return None
    at_once = -(-(options.workers or 1) // options.seeds)
    return Search.of(options.grid, options.optuna, at_once, prune=options.prune)


def _pool(
    options: SweepOptions, folder: Path, config: Config
) -> AbstractContextManager[LocalPool | ClusterPool]:
    """Return where trials run."""
    if options.scheduler is None:
        return local_pool(options.workers or 1)
    named = re.findall(r"\$\{?(\w+)\}?", config.data.root)
    return cluster_pool(options.scheduler, folder, {name: os.environ[name] for name in named})


def _record(base: Base, folder: Path, config: Config, varied: Sequence[str]) -> SweepRecord:
    """Return the record of the folder, or a new one; refuse a folder of something else."""
    from geoseg import __version__

    found = SweepRecord.read(folder)
    if found is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise OutputExistsError(f"{folder}: holds files and no sweep", ELSEWHERE)
        monitor = config.train.monitor
        return SweepRecord(
            name=folder.resolve().name,
            created_by=f"geoseg {__version__}",
            score=f"val/{monitor}",
            goal="min" if monitor == "loss" else "max",
            base=base_settings(config, ()),
            folds=base.folds,
        )
    under = tuple(f"{path}." for path in (*found.parameters, *varied, "train.seed"))
    own = base_settings(config, ())
    for key in sorted(own.keys() | found.base.keys()):
        if not f"{key}.".startswith(under) and own.get(key) != found.base.get(key):
            raise ResumeError(
                f"{folder}: holds a sweep with {key} {found.base.get(key)!r}, this one has {own.get(key)!r}",
                ELSEWHERE,
            )
    if found.folds != base.folds:
        raise ResumeError(
            f"{folder}: holds a sweep with folds {found.folds!r}, this one has {base.folds!r}", ELSEWHERE
        )
    return replace(found, decisions=())


def _reveal(work: Work) -> None:
    """Score the best configuration's models on the test images."""
    ranking = ranked(work, work.candidates)
    if ranking:
        work.reveal(ranking[0].candidate.trials)


def parse_time(text: float | str | None) -> float | None:
    """Return a time in seconds.

    Parameters
    ----------
    text : float, str or None
        Seconds, or a number with ``s``, ``m``, ``h`` or ``d``.

    Raises
    ------
    OptionError
        If it is no time above 0.
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([smhd]?)\s*", str(text))
    if found is None or float(found[1]) <= 0:
        raise OptionError(Message("{budget}: expected a time above 0, as in 90m or 2h", budget=text))
    return float(found[1]) * _UNITS[found[2] or "s"]
