"""``geoseg predict``: scenes become class maps, folders of pictures masks or a table of run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .messages import progress, say
from .options import (
    EXISTING_FILE,
    examples,
    output_or_folder,
    predict_options,
    prediction,
    save_confidence,
    save_probabilities,
    scenes,
)
from .scenes import MAPS, Task, beside, folder_of, listed, pictured, run
from .values import NUMBERS, SIZE

if TYPE_CHECKING:
    from geoseg.engine.storage import Storage
    from geoseg.inference.options import Progress
    from geoseg.inference.predict import Writing
    from geoseg.inference.prepare import Job
    from geoseg.inference.summary import Report


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
    "Class map to write (GeoTIFF), or the folder for those of many scenes; for a folder of pictures, the one for "
    "their masks (PNG).",
    "OUT.tif|DIR/",
    required=False,
)
@click.option(
    "--submission",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.csv",
    help="Write what is in pictures as one table of run lengths, in place of -o.",
)
@click.option("--size", type=SIZE, help="Shape of the masks in that table; the pictures' own by default.")
@click.option(
    "--content",
    type=NUMBERS(4),
    metavar="ROW,COL,HEIGHT,WIDTH",
    help="Part of the pictures that those masks show; where the model's training had such a part, that one.",
)
@click.option("--like", type=EXISTING_FILE, help="Sample of that table: its columns, rows and order.")
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
    save_confidence: str | None,
    save_probabilities: str | None,
    storage: Storage,
    overwrite: bool,
    fresh: bool,
    **values: Any,
) -> None:
    """Turn scenes into class maps, and folders of pictures into masks.

    SCENE is a raster, a URL, or a folder of a product of Sentinel-2 or Landsat; - reads a list of them from stdin.
    Any other folder stands for the pictures in it, which become PNG files or, with --submission, a table. An
    interrupted run continues with the same command.
    """
    from geoseg.inference.predict import PredictOutputs, Writing, predict_file

    names, writing = listed(scenes, stack), Writing(overwrite=overwrite, fresh=fresh)
    form = {name: values.pop(name) for name in ("submission", "size", "content", "like")}
    if form["submission"] is not None or pictured(names):
        for name, value in (("confidence", save_confidence), ("probabilities", save_probabilities)):
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
            confidence=beside(save_confidence, written, folder, ".confidence.tif"),
            probabilities=beside(save_probabilities, written, folder, ".probabilities.tif"),
            storage=storage,
        )

    def work(job: Job, written: Path, bar: Progress | None) -> Report:
        return predict_file(job, outputs(written), writing, bar)

    task = Task(
        model=model,
        options=predict_options(values),
        suffix=".tif",
        work=work,
        asked=lambda written: outputs(written).asked(writing),
    )
    ctx.exit(run(names, output, folder, task))


def _pictures(
    names: list[str], model: Path, output: str | None, form: dict[str, Any], how: tuple[Any, Writing]
) -> int:
    """Predict pictures into a folder or a table, and return the exit code."""
    from geoseg.inference.pictures import predict_pictures
    from geoseg.inference.submission import Submission

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
    options, writing = how
    with progress() as bar:
        report = predict_pictures(
            names, model, table or str(output),
            submission=None if table is None else Submission(**form),
            options=options, writing=writing, progress=bar,
        )  # fmt: skip
    for line in report.lines():
        say(line)
    return report.exit_code


def _refuse_form(form: dict[str, Any]) -> None:
    """Refuse the form of a table where none is written."""
    given = next((name for name, value in form.items() if value is not None), None)
    if given is not None:
        raise click.UsageError(
            f"--{given} is for a table of run lengths, expected --submission OUT.csv with it"
        )
