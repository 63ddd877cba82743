"""``geoseg segment``: segment scenes into styled land-cover polygons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    drawing,
    examples,
    output_layer,
    output_or_folder,
    predict_options,
    prediction,
    save_confidence,
    save_probabilities,
    scenes,
)
from .scenes import Task, beside, folder_of, listed, run

if TYPE_CHECKING:
    from geoseg.inference.prepare import Job
    from geoseg.inference.segment import SegmentOutputs
    from geoseg.progress import OnProgress
    from geoseg.raster.band_encoding import Storage
    from geoseg.storage.run_record import RunRecord


@click.command(
    epilog=examples(
        "geoseg segment scene.tif -m model.safetensors -o landcover.gpkg",
        "geoseg segment scene.tif -m model.safetensors -o landcover.gpkg --raster classes.tif",
        "geoseg segment scene.tif -m model.safetensors -o landcover.parquet --min-area 500m2 --smooth --simplify 1px",
        "ls scenes/*.tif | geoseg segment - -m model.safetensors -o maps/",
    )
)
@scenes
@output_or_folder(
    "File to write: .gpkg, .parquet, .fgb or .geojson; or a folder for those of many scenes.",
    "OUT.gpkg|DIR/",
)
@click.option(
    "--format", "ending", type=click.Choice(["gpkg", "parquet", "fgb", "geojson"]), default="gpkg",
    show_default=True, help="Format of the files in a folder.",
)  # fmt: skip
@click.option("--raster", metavar="FILE", help="Also keep the class map (a folder if -o is one).")
@save_confidence
@save_probabilities
@output_layer
@drawing
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
    confidence: str | None,
    probabilities: str | None,
    storage: Storage,
    layer: str | None,
    ending: str,
    overwrite: bool,
    fresh: bool,
    **values: Any,
) -> None:
    """Segment scenes into land-cover polygons.

    A GeoPackage opens in QGIS with its colours. SCENE is a raster, a URL, or the folder of a Sentinel-2 or
    Landsat product;
    - reads a list of them from stdin. An interrupted run continues with the same command.
    """
    from geoseg.inference.predict import Writing
    from geoseg.inference.segment import SegmentOutputs, segment_file
    from geoseg.vector.options import VectorizeOptions
    from geoseg.vectorfiles.formats import written_endings

    names, writing = listed(scenes, stack), Writing(overwrite=overwrite, fresh=fresh)
    chosen = predict_options(values)
    drawn = VectorizeOptions(**values)
    folder = folder_of(names, output, written_endings())

    def outputs(written: Path) -> SegmentOutputs:
        return SegmentOutputs(
            polygons=written,
            raster=beside(raster, written, folder, ".tif"),
            confidence=beside(confidence, written, folder, ".confidence.tif"),
            probabilities=beside(probabilities, written, folder, ".probabilities.tif"),
            storage=storage,
            layer=layer,
            drawn=drawn,
        )

    def work(job: Job, written: Path, bar: OnProgress | None) -> RunRecord:
        return segment_file(job, outputs(written), writing, bar)

    task = Task(
        model=model,
        options=chosen,
        suffix=f".{ending}",
        work=work,
        aimed=lambda job, written: outputs(written).of(job, writing),
    )
    ctx.exit(run(names, output, folder, task))
