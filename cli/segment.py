"""``geoseg segment``: scenes become styled land-cover polygons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    examples,
    layer,
    output_or_folder,
    predict_options,
    prediction,
    save_confidence,
    save_probabilities,
    scenes,
)
from .scenes import Task, beside, folder_of, listed, run

if TYPE_CHECKING:
    from geoseg.engine.storage import Storage
    from geoseg.inference.options import Progress
    from geoseg.inference.prepare import Job
    from geoseg.inference.segment import SegmentOutputs
    from geoseg.inference.summary import Report


@click.command(
    epilog=examples(
        "geoseg segment scene.tif -m model.safetensors -o landcover.gpkg",
        "geoseg segment scene.tif -m model.safetensors -o landcover.gpkg --raster classes.tif",
        "ls scenes/*.tif | geoseg segment - -m model.safetensors -o maps/",
    )
)
@scenes
@output_or_folder("GeoPackage to write, or the folder for those of many scenes.", "OUT.gpkg|DIR/")
@click.option("--raster", metavar="FILE", help="Also keep the class map (a folder where -o is one).")
@save_confidence
@save_probabilities
@layer
@prediction
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenes: tuple[str, ...],
    stack: tuple[str, ...],
    model: Path,
    output: str,
    raster: str | None,
    save_confidence: str | None,
    save_probabilities: str | None,
    storage: Storage,
    layer: str | None,
    overwrite: bool,
    fresh: bool,
    **values: Any,
) -> None:
    """Turn scenes into land-cover polygons.

    The GeoPackage opens coloured in QGIS. SCENE is a raster, a URL, or a folder of a product of Sentinel-2 or Landsat;
    - reads a list of them from stdin. An interrupted run continues with the same command.
    """
    from geoseg.inference.predict import Writing
    from geoseg.inference.segment import SegmentOutputs, segment_file

    names, writing = listed(scenes, stack), Writing(overwrite=overwrite, fresh=fresh)
    folder = folder_of(names, output, ".gpkg")

    def outputs(written: Path) -> SegmentOutputs:
        return SegmentOutputs(
            polygons=written,
            raster=beside(raster, written, folder, ".tif"),
            confidence=beside(save_confidence, written, folder, ".confidence.tif"),
            probabilities=beside(save_probabilities, written, folder, ".probabilities.tif"),
            storage=storage,
            layer=layer,
        )

    def work(job: Job, written: Path, bar: Progress | None) -> Report:
        return segment_file(job, outputs(written), writing, bar)

    task = Task(
        model=model,
        options=predict_options(values),
        suffix=".gpkg",
        work=work,
        asked=lambda written: outputs(written).asked(writing),
    )
    ctx.exit(run(names, output, folder, task))
