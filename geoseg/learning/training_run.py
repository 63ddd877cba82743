"""A training in its folder: begun, continued, extended, and finished with its scores."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import yaml

from geoseg.datasets.files import Entry
from geoseg.engine.folded import folded
from geoseg.errors import ANEW, DataError, Message, OptionError, OutputError, OutputExistsError, ResumeError
from geoseg.learning.batch_norm import with_better_statistics
from geoseg.learning.calibration import calibrated
from geoseg.learning.config import Config
from geoseg.learning.finished import TRAIN_ANEW, Finished
from geoseg.learning.monitor import report
from geoseg.learning.preparation import PreparedTraining, journal_of, prepare_training, settings_of
from geoseg.learning.process_state import rank, seeded, threads
from geoseg.learning.records import METRICS
from geoseg.learning.state import TrainingPosition, clear_states
from geoseg.learning.story import BEST, MODEL, STORY, write_story
from geoseg.learning.trial import settle
from geoseg.learning.tuning import decided_by, tune
from geoseg.models.model import Model
from geoseg.progress import OnProgress
from geoseg.raster.cache import limited_cache
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import JOURNAL, Journal
from geoseg.storage.lock import locked
from geoseg.storage.output import check_local, check_output, clear_leftovers

if TYPE_CHECKING:
    pass

_CACHE: Final = 256
"""Size in MB of the cache of decoded blocks; GDAL's default of 5 % of the memory varies between machines."""
_OTHER_MODELS: Final = frozenset({".ckpt", ".h5", ".keras", ".onnx", ".pkl", ".pt", ".pth", ".xml"})
"""Endings of files that other programs keep models in; as the name of a run's folder they are a mistake."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Options of one call of `train` that are not part of the configuration.

    Parameters
    ----------
    overwrite : bool
        Whether a finished run in the folder may be replaced.
    fresh : bool
        Whether to start anew instead of resuming an unfinished run.
    skip_bad : bool
        Whether to continue without images that cannot be used.
    dev_run : bool
        Whether to only test everything on two batches and a few images.
    extend : bool
        Whether a finished run goes on to the larger number of epochs that the configuration has now: from its best
        epoch, with a new optimizer and a schedule over the epochs that are added.
    score_test : bool
        Whether the test images are scored at the end; otherwise nobody knows their scores until `score_test_images`.
    """

    overwrite: bool = False
    fresh: bool = False
    skip_bad: bool = False
    dev_run: bool = False
    extend: bool = False
    score_test: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Result of a training.

    Parameters
    ----------
    model : Path
        The model file.
    folder : Path
        Folder of the run.
    before : bool
        Whether an earlier equal call had already finished it.
    """

    model: Path
    folder: Path
    before: bool = False


Then = Callable[[Path], object]
"""Called with the finished model file, while the run still counts as unfinished."""


def train_run(
    config: Config,
    output: Path | str,
    options: TrainOptions | None = None,
    then: Then | None = None,
    given: Sequence[Entry] = (),
    progress: OnProgress | None = None,
) -> Trained:
    """Train a model and write its file, as `train` does.

    Laws: the same configuration, data, machine and thread count give the same weights (on a CPU), however
    often the run was killed and resumed. The journal is removed last: after a kill at any moment the same call
    makes what is missing, including `then`.

    Parameters
    ----------
    config : Config
        The configuration.
    output : path
        Folder of the run, or the model file.
    options : TrainOptions, optional
        Further options of the call.
    then : callable, optional
        Further work with the finished model, such as a report.
    given : sequence of Entry
        Images and labels that are Python objects, as `find_entries` takes them.
    progress : callable, optional
        Called with (done, total, what) while it trains.
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
        run = prepare_training(config, skip_bad=options.skip_bad, given=given)
        if finished is not None:
            finished.refuse_other(run.fingerprint, extend=options.extend)
            if not finished.differences(run.fingerprint):
                clear_leftovers(final)
                return Trained(model=final, folder=folder, before=True)
        if options.dev_run:
            run = _shortened(run)
        _train(run, folder, final, options, finished, progress)
        if then is not None:
            then(final)
        _forget(folder)
    return Trained(model=final, folder=folder)


def unfinished(folder: Path) -> bool:
    """Return whether a folder holds an unfinished run."""
    return (folder / JOURNAL).exists()


def _extends(folder: Path) -> bool:
    """Return whether the unfinished run of a folder, if any, adds epochs to a finished one."""
    try:
        lines = (folder / JOURNAL).read_bytes().splitlines()
    except OSError:
        return False
    return any(line.startswith(b'{"base"') for line in lines[1:])


def _finished(folder: Path, final: Path, config: Config, options: TrainOptions) -> Finished | None:
    """Return the existing finished training unless it is to be replaced; raise an error for another one's model.

    Called before the data are read, which may take long.
    """
    begun = unfinished(folder)
    if options.fresh and not options.overwrite and final.exists() and _extends(folder):
        raise OutputExistsError(
            f"{final}: is finished, and epochs were being added to it",
            Message("run the first command again to add them, or {}", TRAIN_ANEW),
        )
    if not final.exists() or begun or options.overwrite:
        if options.extend and not begun:
            raise OptionError(f"{final}: there is no finished training that epochs could be added to")
        return None
    found = None if options.fresh else Finished.read(folder, final)
    if found is None:
        raise OutputExistsError(f"{final}: already exists", TRAIN_ANEW)
    found.refuse_other(settings_of(config), extend=options.extend)
    return found


def _shortened(run: PreparedTraining) -> PreparedTraining:
    """Return the training limited to two batches and at most two images per split."""
    size = run.config.train.batch_size
    chips = 2 * (size if isinstance(size, int) else 1) * run.config.train.accumulate
    changes = {"epochs": 1, "chips_per_epoch": chips}
    train = run.config.train.model_copy(update=changes)
    splits = {name: pairs if name == "train" else pairs[:2] for name, pairs in run.splits.items()}
    return replace(run, config=run.config.model_copy(update={"train": train}), splits=splits)


def _train(
    run: PreparedTraining,
    folder: Path,
    final: Path,
    options: TrainOptions,
    base: Finished | None,
    progress: OnProgress | None,
) -> None:
    """Train in a folder that is locked by this process; `base` is the training that is extended."""
    # The first process starts the others when its folder is ready.
    first = rank(run.config.train.devices) == 0
    if options.fresh and first:
        _forget(folder)
    journal = journal_of(folder, run)
    if not journal.entries:
        clear_states(folder)
        if base is None:
            # The record first, since it declares the existing model finished.
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
    # Lightning takes longest to load, so it is imported after errors in the data have been reported.
    from geoseg.learning.fitting import fit

    fit(run, folder, begin, progress)
    _finish(run, folder, final, with_test=options.score_test)


def _begin(run: PreparedTraining, folder: Path, final: Path, journal: Journal) -> TrainingPosition:
    """Return the starting position, loading the best epoch of the training that is extended, if any."""
    base = journal.last("base")
    if base is None:
        return TrainingPosition()
    model = Model.open(final)
    if model.card.weights_sha256 != base["base"]["weights"]:
        raise ResumeError(f"{final}: is not the model any more that epochs were to be added to", ANEW)
    run.model.network.load_state_dict(model.network.state_dict())
    if not (folder / BEST).exists():
        run.model.save(folder / BEST, weights=run.config.model.weights)
    return TrainingPosition(**base["base"]["progress"])


def _forget(folder: Path) -> None:
    """Remove files that only an unfinished run needs, the journal last, since it marks the others as its own."""
    clear_states(folder)
    (folder / BEST).unlink(missing_ok=True)
    (folder / JOURNAL).unlink(missing_ok=True)


@contextmanager
def _empty_removed(folder: Path) -> Iterator[None]:
    """Remove the run's folder if an error left it empty."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _alone(folder: Path, config: Config) -> Any:
    """Lock the folder against other runs; the processes of one training share it."""
    if rank(config.train.devices) != 0:
        return nullcontext()
    return locked(folder / "run.geoseg-lock", folder)


def _places(output: Path) -> tuple[Path, Path]:
    """Return the folder of the run and the model file."""
    suffix = output.suffix.lower()
    if suffix == ".safetensors":
        return output.with_suffix(".run"), output
    if suffix in _OTHER_MODELS:
        raise OptionError(
            f"{output}: is the name of another kind of model, expected a folder, or a name that ends in .safetensors, "
            "of which geoseg model export makes .onnx and .xml"
        )
    return output, output / MODEL


def _make(folder: Path, final: Path) -> None:
    """Create the run's folder."""
    check_local(folder)
    if final.parent != folder:
        check_output(final)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for a run ({error.strerror})") from error


def _finish(run: PreparedTraining, folder: Path, final: Path, *, with_test: bool) -> None:
    """Score the best epoch as it is stored, and write it with its scores.

    Rounding weights to fp16 a second time does not change them, so the scores are those of the final file,
    with the temperature, thresholds and minimum region sizes of its card, which are found here. Nothing is saved before
    the file is: a run that is killed meanwhile repeats it.
    """
    if rank(run.config.train.devices) != 0:
        sys.exit(0)  # the first process does the rest
    which = "last" if run.config.train.keep == "last" else "best"
    on = "validation and test" if run.splits["test"] and with_test else "validation"
    _log.info("scoring the %s epoch on the %s images", which, on)
    best, validated = with_better_statistics(run, folder)
    network = folded(best.network)
    if run.config.train.calibrate:
        found = calibrated(run.scorer, network, run.splits["val"], best.card)
        best.card, validated = found.card, found.scores
        _log.info("%s", found.card.calibration or f"no temperature was fitted: {found.refusal}")
    scorer = run.scorer.deciding_as(best.card)
    tune_config = run.config.train.tune
    if tune_config is not None:
        tuned = tune(scorer, network, run.splits["val"], tune_config)
        best.card = decided_by(best.card, tuned, tune_config)
        scorer = run.scorer.deciding_as(best.card)
        validated = [scorer.image(network, pair) for pair in run.splits["val"]]
    scored = {"val": validated}
    if run.splits["test"] and with_test:
        scored["test"] = [scorer.image(network, pair) for pair in run.splits["test"]]
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
    # Before the model: if the disk is full, the same command can still finish the run.
    write_story(folder, run, final, scored, best.card.weights_sha256)
    written = best.save(final, weights=run.config.model.weights, overwrite=True)
    assert written.weights_sha256 == best.card.weights_sha256, "they are stored as they were"


def score_test_images(config: Config, model: Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Score a finished model on the test images, as a training does at its end.

    Parameters
    ----------
    config : Config
        Configuration of its training.
    model : Path
        The model file.
    skip_bad : bool
        As in `TrainOptions`.

    Returns
    -------
    dict
        As `geoseg.learning.monitor.report` gives it.

    Raises
    ------
    ConfigError, DataError, ModelError
    """
    with threads(config.train.threads), limited_cache(_CACHE):
        run = prepare_training(config, skip_bad=skip_bad)
        if not run.splits["test"]:
            raise DataError("the split test has no image; give data.split some")
        found = Model.open(model)
        scorer, network = run.scorer.deciding_as(found.card), folded(found.network)
        scores = [scorer.image(network, pair) for pair in run.splits["test"]]
    return report(sum(scores[1:], start=scores[0]), run.classes)


def _shareable(config: Config) -> dict[str, Any]:
    """Return a configuration as JSON, without absolute folders of this machine."""
    fields: dict[str, Any] = json.loads(json.dumps(config.fields()))
    if Path(fields["data"]["root"]).is_absolute():
        fields["data"]["root"] = "."
    return fields


def try_out(
    config: Config, options: TrainOptions, progress: OnProgress | None, *, given: Sequence[Entry] = ()
) -> None:
    """Try everything on a few chips in a folder that is then removed."""
    with TemporaryDirectory(prefix="geoseg-") as folder:
        train_run(config, folder, options, progress=progress, given=given)
