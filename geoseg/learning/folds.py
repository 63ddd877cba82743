"""Train a model for each fold of the data, and say how well models do on ground that they have not seen.

Of k folds one is scored at the end, the next one chooses the epoch, and the others train; each fold is scored once.

Scores are means over the folds, and pooled: of the pixels of all folds counted together. A class that a fold hardly has
makes a mean of ratios a matter of chance, and the pooled one not (Forman and Scholz 2010, "Apples-to-apples in
cross-validation studies", doi:10.1145/1882471.1882479).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from geoseg.datasets.files import Entry, find_entries
from geoseg.datasets.opening import open_image
from geoseg.datasets.split_config import (
    FEWEST_FOLDS,
    BlockFoldSplit,
    BlockSplit,
    FoldSplit,
    InBlocks,
    InFolds,
)
from geoseg.datasets.splits import groups_of
from geoseg.errors import ConfigError, DataError, GeosegError, Message, OptionError, OutputError, plural
from geoseg.grid.grid import Grid
from geoseg.learning.config import Config
from geoseg.learning.monitor import ScoredClasses, report_counts
from geoseg.learning.preparation import settings_of
from geoseg.learning.story import STORY, counts_of
from geoseg.learning.training_run import Then, Trained, TrainOptions, train_run, unfinished
from geoseg.models.card_file import read_card
from geoseg.progress import OnProgress
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import Journal
from geoseg.storage.output import check_local

FOLDS: Final = "folds.json"
Folds = int | Literal["groups"]
"""Number of folds, or one for each group."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFolds:
    """Result of a training in folds.

    Parameters
    ----------
    scores : Path
        The file of scores, ``folds.json``.
    trained : tuple of Trained
        Each fold's training.
    table : mapping
        What the file holds.
    """

    scores: Path
    trained: tuple[Trained, ...]
    table: Mapping[str, Any]


def fold_configs(config: Config, folds: Folds, given: Sequence[Entry] = ()) -> list[Config]:
    """Return the configuration of each fold.

    Folds are of blocks where `data.split` divides images into blocks, and otherwise of groups.

    Parameters
    ----------
    config : Config
        Configuration of the training; of its split the seed, size and buffer count.
    folds : int or "groups"
        Number of folds, or a fold for each group.
    given : sequence of Entry
        As `find_entries` takes it.

    Raises
    ------
    OptionError, ConfigError, DataError
        If the data cannot be divided so.
    """
    if not isinstance(folds, int) and folds != "groups":
        raise OptionError(f"folds is {folds!r}, expected a number or 'groups'")
    if isinstance(folds, int) and folds < FEWEST_FOLDS:
        raise OptionError(
            f"folds is {folds}, expected {FEWEST_FOLDS} or more: one fold is scored, the next one chooses the epoch, "
            "the others train"
        )
    if config.train.devices > 1:
        raise ConfigError(
            f"train.devices is {config.train.devices}, and folds are trained one after the other in one process; "
            "leave it out"
        )
    split = config.data.split
    seed = getattr(split, "seed", 0)
    if isinstance(folds, int) and isinstance(split, InBlocks):
        buffer = split.buffer if isinstance(split, BlockSplit | BlockFoldSplit) else None
        first: InFolds = BlockFoldSplit(k=folds, size=split.size, buffer=buffer or None, seed=seed, test=True)
        unused: tuple[str, ...] = ()
    else:
        groups, unused = _groups(config, given)
        count = len(groups) if folds == "groups" else folds
        if len(groups) < max(count, FEWEST_FOLDS):
            raise DataError(
                f"{plural(len(groups), 'group')} of images cannot make {max(count, FEWEST_FOLDS)} folds; images "
                "that overlap on the ground are one group: pass fewer folds, more images, or folds of blocks with "
                "data.split={method: blocks}"
            )
        first = FoldSplit(k=count, seed=seed, test=True)
    data = config.data.model_copy(update={"exclude": (*config.data.exclude, *unused)})
    return [
        config.model_copy(
            update={"data": data.model_copy(update={"split": first.model_copy(update={"fold": fold})})}
        )
        for fold in range(first.k)
    ]


def _groups(config: Config, given: Sequence[Entry]) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the groups of the images that can be opened, and the keys of those that no split uses."""
    entries = find_entries(config.data, config.data_root, given)
    grids: dict[str, Grid] = {}
    for entry in entries:
        with suppress(GeosegError):  # the training names it
            grids[entry.key] = open_image(entry.image, config.data).grid
    return groups_of(config.data, config.data_root, entries, grids)


def train_folds(
    config: Config,
    folds: Folds,
    output: Path | str,
    options: TrainOptions | None = None,
    then: Then | None = None,
    given: Sequence[Entry] = (),
    progress: OnProgress | None = None,
) -> TrainedFolds:
    """Train a model for each fold, in a folder of its own, and write their scores.

    Laws: the folds are a pure function of data and seed; a killed run goes on in the fold where it was, and finished
    folds stay, also with `overwrite`.

    Parameters
    ----------
    config : Config
        The configuration.
    folds : int or "groups"
        As for `fold_configs`.
    output : path
        Folder of the runs: ``fold-1``, ``fold-2`` and so on, and ``folds.json``.
    options, then, given, progress : optional
        As for `train_run`; `then` is called for each fold.

    Raises
    ------
    OptionError, ConfigError, DataError, ResumeError, OutputError, OutputExistsError
    """
    options, folder = options or TrainOptions(), Path(output)
    if folder.suffix.lower() == ".safetensors":
        raise OptionError(f"{folder}: folds make several models, expected a folder")
    if options.extend:
        raise OptionError("folds are not extended", Message("leave {extend} out"))
    configs = fold_configs(config, folds, given)
    _make(folder)
    journal = Journal(folder, {**settings_of(config), "folds": folds}, "unfinished folds")
    done = {entry["fold"] for entry in journal.entries}
    trained = []
    for number, each in enumerate(configs, start=1):
        run = folder / f"fold-{number}"
        own = replace(options, overwrite=options.overwrite and number not in done)
        own = replace(own, fresh=options.fresh and (own.overwrite or unfinished(run)))
        _log.info("fold %d of %d", number, len(configs))
        try:
            trained.append(train_run(each, run, own, then, given, _of_fold(progress, number, len(configs))))
        except GeosegError:
            if not journal.entries:  # nothing was done that another command could spoil
                journal.path.unlink()
                with suppress(OSError):
                    folder.rmdir()
            raise
        if number not in done:
            journal.append({"fold": number})
    split = configs[0].data.split
    assert isinstance(split, InFolds)
    table = fold_table(trained, split, config.train.score_without)
    text = json.dumps(table, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    write_bytes(folder / FOLDS, text.encode())
    journal.path.unlink()
    return TrainedFolds(scores=folder / FOLDS, trained=tuple(trained), table=table)


def _make(folder: Path) -> None:
    """Create the folder of the runs."""
    check_local(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for runs ({error.strerror})") from error


def _of_fold(progress: OnProgress | None, number: int, folds: int) -> OnProgress | None:
    """Return what is told how far a fold is, and tells how far all are."""
    if progress is None:
        return None
    return lambda done, total, what: progress(
        (number - 1) * total + done, folds * total, f"fold {number} of {folds}, {what}"
    )


def fold_table(trained: Sequence[Trained], split: InFolds, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the scores of finished folds on what they held back: each fold's, pooled, mean and standard deviation.

    Law: every labelled pixel of the folds counts once in the pooled scores.

    Parameters
    ----------
    trained : sequence of Trained
        The trainings, in the order of the folds.
    split : InFolds
        The split of any of them.
    without : sequence of str
        Classes excluded from a second mean, ``train.score_without``.
    """
    scores, counts = [], []
    for number, each in enumerate(trained, start=1):
        card = read_card(each.model)
        training: Mapping[str, Any] = card.training or {}
        found = counts_of(json.loads((each.folder / STORY).read_text(encoding="utf-8")), "test")
        assert found is not None  # every fold is scored on what it held back
        counts.append(found)
        scores.append(
            {
                "fold": number,
                "folder": each.folder.name,
                "images": training["images"]["test"],
                "scores": training["metrics"]["test"],
            }
        )
    each_scores = [each["scores"] for each in scores]
    return {
        "format": 1,
        "folds": split.k,
        "of": "blocks" if isinstance(split, InBlocks) else "groups",
        "seed": split.seed,
        "pooled": report_counts(sum(counts[1:], start=counts[0]), ScoredClasses.of(card, without)),
        "mean": _over(each_scores, _mean),
        "std": _over(each_scores, _deviation),
        "scores": scores,
    }


def _over(found: Sequence[Any], what: Any) -> Any:
    """Return a statistic of nested scores; null scores are of classes that a fold does not have."""
    if isinstance(found[0], Mapping):
        return {key: _over([each[key] for each in found], what) for key in found[0]}
    return what([float(each) for each in found if each is not None])


def _mean(numbers: Sequence[float]) -> float | None:
    return round(math.fsum(numbers) / len(numbers), 6) if numbers else None


def _deviation(numbers: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample."""
    if len(numbers) < 2:
        return None
    mean = math.fsum(numbers) / len(numbers)
    return round(math.sqrt(math.fsum((each - mean) ** 2 for each in numbers) / (len(numbers) - 1)), 6)
