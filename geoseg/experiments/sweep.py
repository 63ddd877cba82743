"""Train a configuration with values that vary, each trial in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geoseg.experiments.configuration import Base
from geoseg.experiments.run import SweepOptions, run_sweep
from geoseg.experiments.table import SweepTable
from geoseg.learning.config import Config
from geoseg.progress import ShowProgress, shown

if TYPE_CHECKING:
    from pandas import DataFrame


def sweep(
    config: Config | Mapping[str, Any] | str | PathLike[str],
    *,
    output: str | PathLike[str],
    grid: Mapping[str, Sequence[Any]] | Sequence[str] = (),
    changes: Sequence[str] = (),
    random: int | None = None,
    optuna: int | None = None,
    prune: bool = False,
    stages: str | PathLike[str] | Mapping[str, Any] | None = None,
    seeds: int = 3,
    folds: int | Literal["groups"] | None = None,
    halving: int | None = None,
    budget: float | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    reveal_test: bool = False,
    skip_bad: bool = False,
    progress: ShowProgress = None,
) -> DataFrame:
    """Train a configuration with values that vary: ``sweep(config, output=..., grid={"train.loss": ["ce", "dice"]})``.

    Every trial is a process of its own: what fails is marked with its reason and the others go on. After a kill the
    same call continues every trial from its exact state; more values, seeds or trials only run what is new. The folder
    holds ``sweep.json``, ``results.parquet``, ``leaderboard.csv`` (a row for each configuration), ``dashboard.html``
    and the run of each trial in ``trials``.

    Parameters
    ----------
    config : Config, mapping or path
        Configuration of the training, as `train` takes it.
    output : path
        Folder of the sweep.
    grid : mapping of str to sequence, or sequence of str
        Values by their paths in the configuration, of which every combination is trained: ``{"model.encoder":
        ["resnet18", "resnet34"]}`` or ``["model.encoder=resnet18,resnet34"]``.
    changes : sequence of str
        ``train.epochs=5``: values in place of those of the configuration, in all trials.
    random : int, optional
        Number of combinations of the grid to draw at random; the same ones in every call. A path may then have a range,
        ``{"low": 1e-4, "high": 1e-2, "log": True}``, as its only value.
    optuna : int, optional
        Number of configurations that Optuna proposes, each from the results before it; paths may have ranges.
    prune : bool
        With `optuna`: whether trials are stopped whose score is below the median of the ones before at their epoch.
    stages : path or mapping, optional
        Stages in place of a grid, of which each keeps the best values of the ones before.
    seeds : int
        Number of seeds of each configuration, from ``train.seed`` on; scores are means over them.
    folds : int or "groups", optional
        Number of folds that each configuration is trained on, as in `train`.
    halving : int, optional
        Successive halving: one of so many configurations goes on, the others are pruned early.
    budget : float or str, optional
        Time after which trials are stopped with their state saved, in seconds or as ``90m``, ``2h``.
    workers : int
        Trials at once on this machine, which share its cores and GPUs; 1 by default.
    scheduler : str, optional
        Address of a dask scheduler, or the JSON file that it wrote: trials run on its workers, one each at a time, and
        with a GPU each where they offer the resource ``GPU``. They must see the folders of sweep and data.
    reveal_test : bool
        Whether the test images are scored, once, at the end, by the best configuration; no one knows their scores
        otherwise.
    skip_bad : bool
        Whether to go on without images that cannot be used.
    progress : bool or callable, optional
        As `geoseg.predict` takes it; epochs of all trials are counted.

    Returns
    -------
    DataFrame
        A row for each trial and epoch, as in ``results.parquet``: trial, stage, status and reason, seed, fold, a column
        ``param/PATH`` for each value that varies, epoch, seconds, losses, scores as ``val/PATH``, and whether the epoch
        is the trial's best.

    Raises
    ------
    ConfigError, DataError, OptionError, ModelError, SceneError
        If anything is wrong with the configuration, one of its values or the data: before the first trial.
    ResumeError
        If the folder holds a sweep of another configuration.
    OutputExistsError, OutputBusyError, OutputError
    """
    options = SweepOptions(
        grid=grid, random=random, optuna=optuna, prune=prune, stages=stages, seeds=seeds, halving=halving,
        budget=budget, workers=workers, scheduler=scheduler, reveal_test=reveal_test, skip_bad=skip_bad,
    )  # fmt: skip
    with shown(progress) as told:
        run_sweep(Base(source=config, changes=tuple(changes), folds=folds), Path(output), options, told)
    return SweepTable.read(Path(output)).rows
