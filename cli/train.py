"""``geoseg train``: train a model from a configuration, or from a scene and its labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.errors import GeosegError, Message, OutputError, plural

from .flags import flag_of
from .messages import progress, say
from .options import (
    all_touched,
    allow_remote,
    band,
    buffer,
    changes,
    class_field,
    encoding,
    examples,
    folds,
    output_or_folder,
    overlap,
    overwrite,
    resolution,
    skip_bad,
    stack,
    unlabelled,
    validity,
)
from .process import allow_vrt
from .scenes import listed
from .values import LEGEND, SCENE_FILE
from .verbosity import verbosity_options

if TYPE_CHECKING:
    from geoseg.assessment.report.reading import TrainingRecord
    from geoseg.learning.config import Config
    from geoseg.learning.training_run import TrainOptions

_CHOICES = ("class_field", "layer", "classes", "buffer", "all_touched", "overlap", "encoding", "band")
"""Options on how labels are read."""

_SPLITS = {"val": "validation", "test": "test"}
_NARROWEST = 10
_MOST_IMAGES = 5


@click.command(
    epilog=examples(
        "geoseg train scene.tif labels.gpkg --class-field class -o model.safetensors",
        "geoseg train examples/recipes/korea.yaml -o runs/korea",
        "geoseg train --stack B02.jp2,B03.jp2,B04.jp2,B08.jp2 labels.gpkg -o model.safetensors",
        "geoseg train config.yaml -o runs/deep --set model.encoder=resnet50 --set train.epochs=40",
        "geoseg train config.yaml -o runs/deep --set train.epochs=60 --extend",
        "geoseg train config.yaml -o runs/folds --folds 5",
    )
)
@click.argument("inputs", nargs=-1, required=True, type=SCENE_FILE, metavar="CONFIG | SCENE LABELS")
@stack
@resolution
@output_or_folder("Folder of the run, or model file (the folder of the run is then beside it).", "RUN|FILE")
@changes
@class_field
@click.option("--layer", metavar="NAME", help="Layer of a vector file; all by default.")
@click.option(
    "--classes", type=LEGEND,
    help="Classes to learn of LABELS, with colours where given; other ones are unknown. All by default.",
)  # fmt: skip
@unlabelled
@buffer
@all_touched
@overlap
@encoding
@band
@validity
@allow_remote
@folds
@click.option("--print-config", is_flag=True, help="Print the complete configuration as YAML and exit.")
@click.option("--fast-dev-run", is_flag=True, help="Test everything on a few chips; nothing is kept.")
@skip_bad
@click.option("--fresh", is_flag=True, help="Start anew instead of continuing an interrupted run.")
@click.option("--extend", is_flag=True, help="Extend a finished run to more epochs.")
@overwrite
@verbosity_options
def command(
    inputs: tuple[str, ...],
    stack: tuple[str, ...],
    resolution: float | None,
    allow_remote: bool,
    output: str,
    changes: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Train a model from a configuration, or a scene and labels.

    CONFIG is a YAML file; LABELS is a vector file or a raster of codes. The same command continues an interrupted
    run. At the end the scores on validation and test images are printed, by class.
    """
    if not chosen["print_config"]:  # importing torch and Lightning takes seconds
        say(f"Training with {' and '.join([*map(str, inputs), *stack])}")
    if resolution is not None:
        changes = (*changes, f"data.resolution={resolution!r}")
    if allow_remote:
        changes = (*changes, "data.allow_remote=true")
    config = _config(inputs, stack, changes, chosen)
    if chosen["print_config"]:
        import yaml

        click.echo(yaml.safe_dump(config.fields(), sort_keys=False), nl=False)
        return
    from geoseg.learning.training_run import TrainOptions, train_run, try_out

    options = TrainOptions(
        overwrite=chosen["overwrite"],
        fresh=chosen["fresh"],
        skip_bad=chosen["skip_bad"],
        dev_run=chosen["fast_dev_run"],
        extend=chosen["extend"],
    )
    if chosen["folds"] is not None and not chosen["fast_dev_run"]:
        _train_folds(config, chosen["folds"], output, options)
        return
    if chosen["fast_dev_run"]:
        if chosen["folds"] is not None:
            from geoseg.learning.folds import fold_configs

            config = fold_configs(config, chosen["folds"])[0]
        with progress() as bar:
            try_out(config, options, bar)
        say("Everything works: data, network, a few steps, scores, model file; nothing was kept")
        return
    with progress() as bar:
        trained = train_run(config, output, options, _finish, progress=bar)
    if trained.before:
        say(f"{trained.model}: finished before")
        if not (trained.folder / "report.html").exists():
            _report(trained.model)
    for line in score_lines(trained.model):
        say(line)


def _train_folds(config: Config, folds: Any, output: str, options: TrainOptions) -> None:
    """Train each fold and print their scores."""
    from geoseg.learning.folds import train_folds

    with progress() as bar:
        found = train_folds(config, folds, output, options, _finish, progress=bar)
    for trained in found.trained:
        if trained.before:
            say(f"{trained.model}: finished before")
            if not (trained.folder / "report.html").exists():
                _report(trained.model)
    say(f"Wrote {found.scores}")
    for line in fold_lines(found.table):
        say(line)


def fold_lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the scores of a training in folds: of each class over the folds, then of each fold.

    Parameters
    ----------
    table : mapping
        What ``folds.json`` holds.

    Yields
    ------
    str
        IoU of each class, mean IoU and accuracy: of all folds' pixels together, then mean, standard deviation, lowest
        and highest of the folds; then the mean IoU of each fold and the images that it held back.
    """
    scores = [each["scores"] for each in table["scores"]]
    names = list(table["mean"]["iou"])
    width = max(_NARROWEST, *map(len, [*names, "accuracy"]))
    yield f"IoU of what {table['folds']} folds of {table['of']} held back:"
    yield f"  {'':<{width}}" + "".join(
        f" {title:>11}" for title in ("pooled", "mean", "deviation", "lowest", "highest")
    )
    statistics = [table[key] for key in ("pooled", "mean", "std")]
    rows = [
        (name, *([each["iou"][name] for each in found] for found in (statistics, scores))) for name in names
    ]
    for key, said in (("mean_iou", "mean"), ("accuracy", "accuracy")):
        rows.append((said, *([each[key] for each in found] for found in (statistics, scores))))
    for name, over, found in rows:
        known = [each for each in found if each is not None]
        ends = (min(known, default=None), max(known, default=None))
        yield f"  {name:<{width}}" + "".join(f" {_score(each):>11}" for each in (*over, *ends))
    for each in table["scores"]:
        images = ", ".join(each["images"][:_MOST_IMAGES])
        more = len(each["images"]) - _MOST_IMAGES
        said = f"{images}{f' and {more} more' if more > 0 else ''}"
        yield f"  {'fold ' + str(each['fold']):<{width}} {_score(each['scores']['mean_iou']):>11}  {said}"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _finish(model: Path) -> None:
    """Print that the model is written, and write its report."""
    say(f"Wrote {model}")
    _report(model)


def _report(model: Path) -> None:
    """Write the report of a finished training; the model is complete even if this fails."""
    from geoseg.assessment.report import report

    try:
        say(f"Wrote {report(model, overwrite=True)}")
    except (GeosegError, OSError, MemoryError) as error:
        raise OutputError(
            Message("the model is finished ({}), but not its report: {}", model, _reason(error)),
            f"the same command, or geoseg report {model} --overwrite, writes it",
        ) from error


def _reason(error: Exception) -> Exception | str:
    return "out of memory" if isinstance(error, MemoryError) and not str(error) else error


def _config(
    inputs: tuple[str, ...], stack: tuple[str, ...], changes: tuple[str, ...], chosen: dict[str, Any]
) -> Config:
    """Read the configuration, or derive it from a scene and labels."""
    from geoseg.learning.config import Config
    from geoseg.learning.quick import LabelChoices, quick_config, validity_fields
    from geoseg.raster.declared import Declared
    from geoseg.raster.opening import is_remote
    from geoseg.storage.foreign_yaml import YAML_SUFFIXES

    declared = Declared(nodata=chosen["nodata"], rule=chosen["nodata_rule"], alpha=chosen["alpha"])
    if len(inputs) == 1 and Path(inputs[0]).suffix.lower() in YAML_SUFFIXES:
        if stack:
            raise click.UsageError(
                "--stack is for LABELS of one scene; a configuration says it in data.images"
            )
        context = click.get_current_context()
        for name in (*_CHOICES, "unlabelled"):
            if context.get_parameter_source(name) != click.core.ParameterSource.DEFAULT:
                raise click.UsageError(
                    f"{flag_of(context.command, name)} is for SCENE LABELS; a configuration says it in data.labels"
                )
        said = [f"data.{key}={value}" for key, value in validity_fields(declared).items()]
        return consented(Config.read(Path(inputs[0]), [*said, *changes]))
    if len(inputs) != (1 if stack else 2):
        raise click.UsageError(
            f"expected one configuration (.yaml) or a scene and its labels, found {plural(len(inputs), 'file')}"
        )
    if chosen["unlabelled"] not in (None, "background"):
        raise click.UsageError(
            f"--unlabelled {chosen['unlabelled']}: a training learns what no label covers as background, or not at all"
        )
    choices = LabelChoices(
        **{name: chosen[name] for name in _CHOICES}, background=chosen["unlabelled"] == "background"
    )
    if is_remote(inputs[-1]):
        raise click.UsageError(f"{inputs[-1]}: labels are read from a file of this machine; fetch it first")
    (scene,) = listed(inputs[:-1], stack)
    return quick_config(scene, Path(inputs[-1]), choices, changes, declared)


def consented(config: Config) -> Config:
    """Allow GDAL to open VRTs if the configuration names one, or images with one file per band."""
    from geoseg.datasets.files import needs_vrt

    if needs_vrt(config.data, config.data_root):
        allow_vrt()
    return config


def score_lines(run: Path) -> Iterator[str]:
    """Yield the scores of a run's finished model on the images that it was not trained on, by class.

    The epoch was chosen by its score on the validation images, which is therefore slightly optimistic; the test
    images were not used for that.

    Parameters
    ----------
    run : path
        Folder of a finished training, or its model file.

    Yields
    ------
    str
        IoU and labelled pixels of each class, in a column for each split that has been scored, then their mean.

    Raises
    ------
    DataError, ModelError
    """
    from geoseg.assessment.report.reading import read_run
    from geoseg.assessment.report.tables import classes_of

    record = read_run(run)
    metrics: dict[str, Any] = record.training.get("metrics", {})
    splits = [split for split in _SPLITS if split in metrics]
    if record.card is None or not splits:
        return
    names = [each.name for each in classes_of(record.card)]
    width = max(_NARROWEST, *map(len, names))
    which = "last" if record.keeps_last else "best"
    yield f"IoU of the {which} epoch, {record.kept_epoch} of {record.config['train']['epochs']}, and labelled pixels:"
    yield f"  {'':<{width}}" + "".join(f" {_SPLITS[split]:>11} {'pixels':>14}" for split in splits)
    pixels = {split: _pixels(record, split) for split in splits}
    for place, name in enumerate(names):
        cells = [(metrics[split]["iou"].get(name), _at(pixels[split], place)) for split in splits]
        yield f"  {name:<{width}}{''.join(_cell(*cell) for cell in cells)}"
    means = [(metrics[split]["mean_iou"], None) for split in splits]
    yield f"  {'mean':<{width}}{''.join(_cell(*cell) for cell in means)}".rstrip()


def _pixels(record: TrainingRecord, split: str) -> list[int]:
    from geoseg.learning.story import counts_of

    counts = counts_of(record.story, split)
    return [] if counts is None else [int(count) for count in counts.referenced]


def _at(pixels: list[int], place: int) -> int | None:
    return pixels[place] if place < len(pixels) else None


def _cell(score: float | None, pixels: int | None) -> str:
    """Format a score, or a dash if a class has none, and the labelled pixels."""
    return f" {_score(score):>11} {'' if pixels is None else f'{pixels:,}':>14}"
