"""A configuration becomes a model file."""

from __future__ import annotations

import copy
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias, overload

import yaml

from geoseg.engine.folded import folded
from geoseg.errors import OptionError, OutputError, OutputExistsError, ResumeError
from geoseg.learning.config import CONFIG_SUFFIXES, Config, set_value
from geoseg.learning.finished import Finished
from geoseg.learning.monitor import report
from geoseg.learning.preparation import Run, journal_of, prepare, settings_of, settle
from geoseg.learning.records import METRICS
from geoseg.learning.state import Progress, clear_states
from geoseg.learning.story import BEST, MODEL, STORY, write_story
from geoseg.learning.surroundings import rank, seeded, threads
from geoseg.learning.tuning import decided_by, tune
from geoseg.models.model import Model
from geoseg.raster.cache import limited_cache
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.lock import locked
from geoseg.storage.output import check_local, check_output, clear_leftovers

_CACHE: Final = 256
"""MB of decoded blocks that this process keeps: GDAL's own 5 % of the machine's memory is no limit to plan with."""
_log = logging.getLogger(__name__)
_Name: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Choices of one call of `train` that are no part of the configuration.

    Parameters
    ----------
    overwrite : bool
        Whether a finished run in that folder may be replaced.
    fresh : bool
        Whether to begin anew where an unfinished run could go on.
    skip_bad : bool
        Whether to go on without images that cannot be used.
    dev_run : bool
        Whether to try everything on two batches and a few images.
    extend : bool
        Whether a finished run goes on to the larger number of epochs that the configuration has now: from its best
        epoch, with a new optimizer and a schedule over the epochs that are added.
    progress : bool
        Whether to show on stderr how far it is.
    """

    overwrite: bool = False
    fresh: bool = False
    skip_bad: bool = False
    dev_run: bool = False
    extend: bool = False
    progress: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What has become of a training.

    Parameters
    ----------
    model : Path
        The model file.
    folder : Path
        Of the run.
    before : bool
        Whether the same call had finished it when it ran before.
    """

    model: Path
    folder: Path
    before: bool = False


@overload
def train(
    config: Config | Mapping[str, Any] | _Name,
    output: _Name,
    /,
    options: TrainOptions | None = ...,
    *,
    changes: Sequence[str] = ...,
) -> Path: ...


@overload
def train(
    scene: _Name | Sequence[_Name] | Mapping[str, _Name],
    labels: _Name,
    /,
    options: TrainOptions | None = ...,
    *,
    output: _Name,
    changes: Sequence[str] = ...,
    **choices: Any,
) -> Path: ...


def train(
    source: Config | Mapping[str, Any] | _Name | Sequence[_Name],
    second: _Name | None = None,
    /,
    options: TrainOptions | None = None,
    *,
    output: _Name | None = None,
    changes: Sequence[str] = (),
    **choices: Any,
) -> Path:
    """Train a model and write its file: ``train(config, output)``, or ``train(scene, labels, output=...)``.

    It goes on where a killed run of the same configuration stopped, and returns at once where the same call
    finished before. The folder holds ``config.yaml`` (every default filled in), ``metrics.jsonl`` (a line an
    epoch), ``run.json`` (data, surroundings, counts), ``tensorboard``, while it runs ``best.safetensors`` (the
    best epoch so far), the last two states (``state-*.ckpt``) and a journal, and at the end
    ``model.safetensors``: the best epoch, with its scores on the validation and test images in its card.

    Parameters
    ----------
    source : Config, mapping or path
        The configuration: a YAML file, or its keys ``data``, ``model`` and ``train`` with their values, whose
        paths are seen from the working folder. Or a scene: a raster file, a URL, a product's folder, or a list or
        mapping of a file for each band.
    second : path
        With a configuration the output. With a scene its labels: vectors, or a raster of codes.
    options : TrainOptions, optional
    output : path
        Folder of the run, made where it is not there; or the model file (``.safetensors``) to write, which
        then has its run's folder beside it, ``NAME.run``.
    changes : sequence of str
        ``train.epochs=5``: values (as YAML) in place of those of the configuration.
    **choices
        How the labels of a scene are read, as `LabelChoices` has it: ``class_field``, ``layer``, ``buffer``,
        ``all_touched``, ``background``, ``classes``.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    ConfigError, DataError, ModelError, SceneError
        What is wrong with configuration or data, before or while training.
    ResumeError
        If the folder holds the unfinished run of another configuration or other data.
    OptionError, OutputExistsError, OutputError
    """
    if second is None or output is None:
        target = second if second is not None else output
        config = _configuration(source, target, changes, choices)
        assert target is not None, "it was checked"
        return train_run(config, Path(target), options).model
    from geoseg.learning.quick import LabelChoices, quick_config

    if _is_configuration(source):
        raise OptionError(
            f"a configuration says where its labels are; found {second} and output {output} beside it, expected "
            "train(config, output)"
        )
    made = LabelChoices.of(choices)
    return train_run(quick_config(source, Path(second), made, changes), Path(output), options).model


def _is_configuration(source: Any) -> bool:
    """Whether what `train` was given is no scene."""
    if isinstance(source, str | PathLike):
        return Path(source).suffix.lower() in CONFIG_SUFFIXES
    return isinstance(source, Config) or (isinstance(source, Mapping) and "data" in source)


def _configuration(
    source: Config | Mapping[str, Any] | _Name | Sequence[_Name],
    output: _Name | None,
    changes: Sequence[str],
    choices: Mapping[str, Any],
) -> Config:
    """Return the configuration that `train` was given; refuse a scene without labels or output."""
    of_scene = isinstance(source, str | PathLike) and Path(source).suffix.lower() not in CONFIG_SUFFIXES
    if output is None or choices or (of_scene and Path(output).is_file()):
        raise OptionError("expected train(config, output), or train(scene, labels, output=...)")
    if isinstance(source, Config):
        if changes:
            raise OptionError("changes are for files and mappings, found a Config; change its fields")
        return source
    if isinstance(source, Mapping):
        fields = copy.deepcopy(dict(source))
        for change in changes:
            set_value(fields, change)
        return Config.of(fields, "configuration", Path.cwd())
    if not isinstance(source, str | PathLike):
        raise OptionError("expected train(config, output), or train(scene, labels, output=...)")
    return Config.read(Path(source), changes)


Then = Callable[[Path], object]
"""Called with the finished model file, while the run still counts as unfinished."""


def train_run(
    config: Config, output: Path | str, options: TrainOptions | None = None, then: Then | None = None
) -> Trained:
    """Train a model and write its file, as `train` does.

    Laws: the same configuration, data, machine and thread count give the same weights (on a CPU), however
    often the run was killed and called again. The journal ends last: after a kill at any moment the same call
    makes what is missing, `then` included.

    Parameters
    ----------
    config : Config
    output : path
    options : TrainOptions, optional
    then : callable, optional
        What is made of the finished model besides, such as a report.
    """
    options = options or TrainOptions()
    folder, final = _places(Path(output))
    _make(folder, final)
    with (
        _empty_removed(folder),
        _alone(folder, config),
        threads(config.train.threads),
        seeded(config.train.seed),
        limited_cache(_CACHE),
    ):
        finished = _finished(folder, final, config, options)
        run = prepare(config, skip_bad=options.skip_bad)
        if finished is not None:
            finished.refuse_other(run.fingerprint, extend=options.extend)
            if not finished.differences(run.fingerprint):
                clear_leftovers(final)
                return Trained(model=final, folder=folder, before=True)
        if options.dev_run:
            run = _shortened(run)
        _train(run, folder, final, options, finished)
        if then is not None:
            then(final)
        _forget(folder)
    return Trained(model=final, folder=folder)


def _finished(folder: Path, final: Path, config: Config, options: TrainOptions) -> Finished | None:
    """Return the finished training that is there, unless it is to be replaced; refuse another one's model.

    Before the data are read, which may take long.
    """
    unfinished = (folder / JOURNAL).exists()
    if not final.exists() or unfinished or options.overwrite:
        if options.extend and not unfinished:
            raise OptionError(f"{final}: there is no finished training that epochs could be added to")
        return None
    found = None if options.fresh else Finished.read(folder, final)
    if found is None:
        raise OutputExistsError(f"{final}: already exists; pass --overwrite to train it anew")
    found.refuse_other(settings_of(config), extend=options.extend)
    return found


def _shortened(run: Run) -> Run:
    """Two batches and at most two images a split."""
    size = run.config.train.batch_size
    chips = 2 * (size if isinstance(size, int) else 1) * run.config.train.accumulate
    changes = {"epochs": 1, "chips_per_epoch": chips}
    train = run.config.train.model_copy(update=changes)
    splits = {name: pairs if name == "train" else pairs[:2] for name, pairs in run.splits.items()}
    return replace(run, config=run.config.model_copy(update={"train": train}), splits=splits)


def _train(run: Run, folder: Path, final: Path, options: TrainOptions, base: Finished | None) -> None:
    """Train in a folder that belongs to this process; `base` is what epochs are added to."""
    # The others are started by the first, when its folder is ready.
    first = rank(run.config.train.devices) == 0
    if options.fresh and first:
        _forget(folder)
    journal = journal_of(folder, run)
    if not journal.entries:
        clear_states(folder)
        if base is None:
            # The story first: it calls the model that lies there finished.
            (folder / STORY).unlink(missing_ok=True)
            (folder / METRICS).unlink(missing_ok=True)
        else:
            journal.append({"base": base.extension(run.monitor)})
    ended = Finished.read(folder, final)
    if ended is not None and not ended.differences(run.fingerprint):
        clear_leftovers(final)
        return
    begin = _begin(run, folder, final, journal)
    run = settle(run, journal)
    if first:
        settings = yaml.safe_dump(run.config.fields(), sort_keys=False)
        write_bytes(folder / "config.yaml", settings.encode())
        write_story(folder, run, final)
    # Lightning takes longest to load: what is wrong with the data has been said by now.
    from geoseg.learning.fitting import fit

    fit(run, folder, begin, progress=options.progress)
    _finish(run, folder, final)


def _begin(run: Run, folder: Path, final: Path, journal: Journal) -> Progress:
    """Return where the training begins: at nothing, or with the best epoch of the one that it adds epochs to."""
    base = journal.last("base")
    if base is None:
        return Progress()
    model = Model.open(final)
    if model.card.weights_sha256 != base["base"]["weights"]:
        raise ResumeError(
            f"{final}: is not the model any more that epochs were to be added to; pass --fresh to train it anew"
        )
    run.model.network.load_state_dict(model.network.state_dict())
    if not (folder / BEST).exists():
        run.model.save(folder / BEST, weights=run.config.model.weights)
    return Progress(**base["base"]["progress"])


def _forget(folder: Path) -> None:
    """Remove what only an unfinished run needs, the journal last: it says that the rest belongs to it."""
    clear_states(folder)
    (folder / BEST).unlink(missing_ok=True)
    (folder / JOURNAL).unlink(missing_ok=True)


@contextmanager
def _empty_removed(folder: Path) -> Iterator[None]:
    """Remove the run's folder again where a refusal left nothing in it."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _alone(folder: Path, config: Config) -> Any:
    """Keep other runs out of the folder; the processes of one training share it."""
    if rank(config.train.devices) != 0:
        return nullcontext()
    return locked(folder / "run.geoseg-lock", folder)


def _places(output: Path) -> tuple[Path, Path]:
    """Folder of the run, and model file."""
    if output.suffix.lower() == ".safetensors":
        return output.with_suffix(".run"), output
    return output, output / MODEL


def _make(folder: Path, final: Path) -> None:
    """Make the run's folder."""
    check_local(folder)
    if final.parent != folder:
        check_output(final)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for a run ({error.strerror})") from error


def _finish(run: Run, folder: Path, final: Path) -> None:
    """Score the best epoch as it is stored, and write it with its scores.

    Weights that went through fp16 once are left unchanged by it, so the scores are those of the final file,
    with the thresholds and smallest regions of its card, which are tuned here. Nothing of this is kept before
    the file is: a run that is killed meanwhile does it again.
    """
    if rank(run.config.train.devices) != 0:
        sys.exit(0)  # the first of the processes that trained together does the rest
    _log.info("scoring the best epoch on the validation and test images")
    best = Model.open(folder / BEST)
    network = folded(best.network)
    tune_config = run.config.train.tune
    if tune_config is not None:
        tuned = tune(run.scorer, network, run.splits["val"], tune_config)
        best.card = decided_by(best.card, tuned, tune_config)
    scorer = run.scorer.deciding_as(best.card)
    scored = {
        split: [scorer.image(network, pair) for pair in run.splits[split]]
        for split in ("val", "test")
        if run.splits[split]
    }
    metrics = {split: report(sum(each[1:], start=each[0]), run.classes) for split, each in scored.items()}
    best.network.to("cpu")
    best.card = best.card.changed(
        training={
            **(best.card.training or {}),
            "data_fingerprint": run.statistics.fingerprint,
            "images": {split: [pair.name for pair in pairs] for split, pairs in run.splits.items()},
            "class_pixels": list(run.statistics.pixels),
            "config": _shareable(run.config),
            "metrics": metrics,
            "date": run.date,
        }
    )
    # Before the model: where the disk is full, the same command still ends it.
    write_story(folder, run, final, scored, best.card.weights_sha256)
    written = best.save(final, weights=run.config.model.weights, overwrite=True)
    assert written.weights_sha256 == best.card.weights_sha256, "they are stored as they were"


def _shareable(config: Config) -> dict[str, Any]:
    """Return a configuration as JSON has it, without the folders of this machine."""
    fields: dict[str, Any] = json.loads(json.dumps(config.fields()))
    if Path(fields["data"]["root"]).is_absolute():
        fields["data"]["root"] = "."
    return fields
