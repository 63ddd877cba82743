"""``geoseg predict``: predict class maps of scenes, and masks or run-length tables of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .messages import progress, say
from .options import (
    EXISTING_FILE,
    content,
    examples,
    output_or_folder,
    predict_options,
    prediction,
    save_confidence,
    save_probabilities,
    scenes,
    size,
)
from .scenes import MAPS, Task, beside, folder_of, listed, pictured, run

if TYPE_CHECKING:
    from geoseg.inference.predict import Writing
    from geoseg.inference.prepare import Job
    from geoseg.progress import OnProgress
    from geoseg.raster.band_encoding import Storage
    from geoseg.storage.run_record import RunRecord


@click.command(
    epilog=examples(
        "geoseg predict scene.tif -m model.safetensors -o classes.tif",
        "geoseg predict *.tif -m model.safetensors -o maps/ --save-confidence maps/",
        "geoseg predict scene.tif -m model.safetensors -o classes.tif -b 3,2,1 --device cuda",
        "geoseg predict --stack B02.jp2,B03.jp2,B04.jp2,B08.jp2 -m model.safetensors -o classes.tif",
        "geoseg predict S2A_MSIL2A_20240501T100031.SAFE -m model.safetensors -o classes.tif",
        "geoseg predict photos/ -m model.safetensors -o masks/ --batch-size 500",
        "geoseg predict test/ -m model.safetensors --submission sub.csv --size 350x525",
    )
)
@scenes
@output_or_folder(
    "Class map to write (GeoTIFF), or a folder for those of many scenes; for a folder of pictures, the folder for "
    "their masks (PNG).",
    "OUT.tif|DIR/",
    required=False,
)
@click.option(
    "--submission",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.csv",
    help="Write the masks of pictures as one run-length table, instead of -o.",
)
@size
@content
@click.option("--sample", type=EXISTING_FILE, help="Sample table, whose columns, rows and order are used.")
@save_confidence
@save_probabilities
@prediction
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenes: tuple[str, ...],
    stack: tuple[str, ...],
    model: Path,
    output: str | None,
    confidence: str | None,
    probabilities: str | None,
    storage: Storage,
    overwrite: bool,
    fresh: bool,
    **values: Any,
) -> None:
    """Predict class maps of scenes, and masks of pictures.

    SCENE is a raster, a URL, or the folder of a Sentinel-2 or Landsat product; - reads a list of them from stdin.
    Any other folder stands for the pictures in it, whose masks are PNG files or, with --submission, a table. An
    interrupted run continues with the same command.
    """
    from geoseg.inference.predict import PredictOutputs, Writing, predict_file

    names, writing = listed(scenes, stack), Writing(overwrite=overwrite, fresh=fresh)
    form = {name: values.pop(name) for name in ("submission", "size", "content", "sample")}
    if form["submission"] is not None or pictured(names):
        for name, value in (("confidence", confidence), ("probabilities", probabilities)):
            if value is not None:
                raise click.UsageError(f"--save-{name} is for scenes, and these are pictures")
        if stack:
            raise click.UsageError("--stack is a scene, and --submission is for pictures; use -o")
        ctx.exit(
            _pictures([str(name) for name in names], model, output, form, (predict_options(values), writing))
        )
    _refuse_form(form)
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    folder = folder_of(names, output, MAPS)

    def outputs(written: Path) -> PredictOutputs:
        return PredictOutputs(
            classes=written,
            confidence=beside(confidence, written, folder, ".confidence.tif"),
            probabilities=beside(probabilities, written, folder, ".probabilities.tif"),
            storage=storage,
        )

    def work(job: Job, written: Path, bar: OnProgress | None) -> RunRecord:
        return predict_file(job, outputs(written), writing, bar)

    task = Task(
        model=model,
        options=predict_options(values),
        suffix=".tif",
        work=work,
        aimed=lambda job, written: outputs(written).of(job, writing),
    )
    ctx.exit(run(names, output, folder, task))


def _pictures(
    names: list[str], model: Path, output: str | None, form: dict[str, Any], how: tuple[Any, Writing]
) -> int:
    """Predict pictures into a folder or a table, and return the exit code."""
    from geoseg.pictures.predict_pictures import write_masks, write_submission
    from geoseg.pictures.submission import Submission

    table = form.pop("submission")
    if (table is None) == (output is None):
        raise click.UsageError(
            "pictures become masks in a folder (-o DIR/) or a table (--submission OUT.csv), expected one of them"
        )
    if table is None:
        _refuse_form(form)
        if Path(str(output)).suffix and not Path(str(output)).is_dir():
            raise click.UsageError(
                f"masks of pictures go into a folder, but {output} is a file, expected -o DIR/"
            )
    with progress() as bar:
        if table is None:
            report = write_masks(names, model, Path(str(output)), how, bar)
        else:
            report = write_submission(names, model, table, Submission(**form), how, bar)
    for line in report.lines():
        say(line)
    return report.exit_code


def _refuse_form(form: dict[str, Any]) -> None:
    """Raise UsageError for options of a table when no table is written."""
    given = next((name for name, value in form.items() if value is not None), None)
    if given is not None:
        raise click.UsageError(
            f"--{given} is for a table of run lengths, expected --submission OUT.csv with it"
        )
