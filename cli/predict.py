"""``geoseg predict``: scenes become class maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import examples, output_or_folder, predict_options, prediction, save_confidence, scenes
from .scenes import Task, beside, folder_of, listed, run

if TYPE_CHECKING:
    from geoseg.inference.options import Progress
    from geoseg.inference.prepare import Job
    from geoseg.inference.summary import Report


@click.command(
    epilog=examples(
        "geoseg predict scene.tif -m model.safetensors -o classes.tif",
        "geoseg predict *.tif -m model.safetensors -o maps/ --save-confidence maps/",
        "geoseg predict scene.tif -m model.safetensors -o classes.tif -b 3,2,1 --device cuda",
    )
)
@scenes
@output_or_folder("Class map to write (GeoTIFF), or the folder for those of many scenes.", "OUT.tif|DIR/")
@save_confidence
@prediction
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenes: tuple[str, ...],
    model: Path,
    output: str,
    save_confidence: str | None,
    overwrite: bool,
    fresh: bool,
    **values: Any,
) -> None:
    """Turn scenes into class maps.

    SCENE is a raster; - reads a list of them from stdin. An interrupted run continues with the same command.
    """
    from geoseg.inference.predict import Writing, predict_file
    from geoseg.inference.summary import identity

    names = listed(scenes)
    folder = folder_of(names, output, ".tif")

    def products(written: Path) -> list[Path]:
        confidence = beside(save_confidence, written, folder, ".confidence.tif")
        return [written] if confidence is None else [written, confidence]

    def work(job: Job, written: Path, bar: Progress | None) -> Report:
        _, confidence = (*products(written), None)[:2]
        return predict_file(job, written, confidence, Writing(overwrite=overwrite, fresh=fresh), bar)

    task = Task(
        model=model,
        options=predict_options(values),
        suffix=".tif",
        work=work,
        beside_options=lambda written: identity("predict", products(written)),
        again=fresh,
    )
    ctx.exit(run(names, output, folder, task))
