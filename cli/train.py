"""``geoseg train``: a configuration, or a scene and its labels, become a model file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.errors import GeosegError, OutputError

from .messages import say
from .options import (
    allow_remote,
    band,
    encoding,
    examples,
    output_or_folder,
    overlap,
    overwrite,
    resolution,
    stack,
    validity,
)
from .process import allow_vrt
from .scenes import listed
from .values import LEGEND, SCENE_FILE
from .verbosity import quiet, verbosity_options

if TYPE_CHECKING:
    from geoseg.learning.config import Config

_CHOICES = ("class_field", "layer", "classes", "buffer", "all_touched", "overlap", "encoding", "band")
"""Options that say how labels are read."""


@click.command(
    epilog=examples(
        "geoseg train scene.tif labels.gpkg --class-field class -o model.safetensors",
        "geoseg train examples/recipes/korea.yaml -o runs/korea",
        "geoseg train --stack B02.jp2,B03.jp2,B04.jp2,B08.jp2 labels.gpkg -o model.safetensors",
        "geoseg train config.yaml -o runs/deep --set model.encoder=resnet50 --set train.epochs=40",
        "geoseg train config.yaml -o runs/deep --set train.epochs=60 --extend",
    )
)
@click.argument("inputs", nargs=-1, required=True, type=SCENE_FILE, metavar="CONFIG | SCENE LABELS")
@stack
@resolution
@output_or_folder("Folder of the run, or model file (the run's folder is then beside it).", "RUN|FILE")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE",
    help="Replace a value of the configuration; may be repeated.",
)  # fmt: skip
@click.option(
    "--class-field", metavar="NAME",
    help="LABELS: attribute that holds the class; class_code by default, where it is there.",
)  # fmt: skip
@click.option("--layer", metavar="NAME", help="LABELS: layer; all by default, each a class of its name.")
@click.option(
    "--classes", type=LEGEND,
    help="LABELS: the classes to learn, with colours where given; other ones are unknown. All by default.",
)  # fmt: skip
@click.option(
    "--unlabelled", type=click.Choice(["ignored", "background"]), default="ignored", show_default=True,
    help="LABELS: what pixels are that no label covers.",
)  # fmt: skip
@click.option(
    "--buffer", type=click.FloatRange(min=0), default=0.0, metavar="UNITS",
    help="LABELS: widen lines and points, in units of the scene's CRS.",
)  # fmt: skip
@click.option("--all-touched", is_flag=True, help="LABELS: count every pixel that a feature touches.")
@overlap
@encoding
@band
@validity
@allow_remote
@click.option("--print-config", is_flag=True, help="Print the whole configuration as YAML and stop.")
@click.option("--fast-dev-run", is_flag=True, help="Try everything on a few chips; nothing is kept.")
@click.option("--skip-bad", is_flag=True, help="Go on without images that cannot be used.")
@click.option("--fresh", is_flag=True, help="Start anew instead of continuing an interrupted run.")
@click.option("--extend", is_flag=True, help="Go on with a finished run, to more epochs than it had.")
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

    CONFIG is a YAML file; LABELS are vectors or a raster of codes. The same command goes on where an interrupted
    run stopped. At the end the scores on validation and test images are printed, by class.
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
    from geoseg.learning.train import TrainOptions, train_run

    options = TrainOptions(
        overwrite=chosen["overwrite"],
        fresh=chosen["fresh"],
        skip_bad=chosen["skip_bad"],
        dev_run=chosen["fast_dev_run"],
        extend=chosen["extend"],
        progress=not quiet(),
    )
    if chosen["fast_dev_run"]:
        with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
            train_run(config, folder, options)
        say("Everything works: data, network, a few steps, scores, model file; nothing was kept")
        return
    trained = train_run(config, output, options, _finish)
    if trained.before:
        say(f"{trained.model}: finished before")
        if not (trained.folder / "report.html").exists():
            _report(trained.model)
    from geoseg.assessment.scores import score_lines

    for line in score_lines(trained.model):
        say(line)


def _finish(model: Path) -> None:
    """Say that the model is there, and write its report."""
    say(f"Wrote {model}")
    _report(model)


def _report(model: Path) -> None:
    """Write the report of a finished training; where it cannot be, the model is there all the same."""
    from geoseg.assessment.report import report

    try:
        say(f"Wrote {report(model)}")
    except (GeosegError, OSError, MemoryError) as error:
        raise OutputError(
            f"the model is finished ({model}), but not its report: {str(error) or 'out of memory'}; the same command, "
            f"or geoseg report {model}, writes it"
        ) from error


def _config(
    inputs: tuple[str, ...], stack: tuple[str, ...], changes: tuple[str, ...], chosen: dict[str, Any]
) -> Config:
    """Read the configuration, or make it of a scene and labels."""
    from geoseg.learning.config import CONFIG_SUFFIXES, Config
    from geoseg.learning.quick import LabelChoices, quick_config, validity_fields
    from geoseg.raster.declared import Declared
    from geoseg.raster.opening import is_remote

    declared = Declared(nodata=chosen["nodata"], rule=chosen["nodata_rule"], alpha=chosen["alpha"])
    if len(inputs) == 1 and Path(inputs[0]).suffix.lower() in CONFIG_SUFFIXES:
        if stack:
            raise click.UsageError(
                "--stack is for LABELS of one scene; a configuration says it in data.images"
            )
        context = click.get_current_context()
        for name in (*_CHOICES, "unlabelled"):
            if context.get_parameter_source(name) != click.core.ParameterSource.DEFAULT:
                option = name.replace("_", "-")
                raise click.UsageError(
                    f"--{option} is for SCENE LABELS; a configuration says it in data.labels"
                )
        said = [f"data.{key}={value}" for key, value in validity_fields(declared).items()]
        return _consented(Config.read(Path(inputs[0]), [*said, *changes]))
    if len(inputs) != (1 if stack else 2):
        raise click.UsageError(
            f"expected one configuration (.yaml) or a scene and its labels, found {len(inputs)} files"
        )
    choices = LabelChoices(
        **{name: chosen[name] for name in _CHOICES}, background=chosen["unlabelled"] == "background"
    )
    if is_remote(inputs[-1]):
        raise click.UsageError(f"{inputs[-1]}: labels are read from a file of this machine; fetch it first")
    (scene,) = listed(inputs[:-1], stack)
    return quick_config(scene, Path(inputs[-1]), choices, changes, declared)


def _consented(config: Config) -> Config:
    """Let GDAL open VRTs where the configuration names one, or images that are a file for each band."""
    from geoseg.datasets.files import needs_vrt

    if needs_vrt(config.data, config.data_root):
        allow_vrt()
    return config
