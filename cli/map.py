"""``geoseg map``: turn many scenes into one land-cover map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from geoseg.errors import plural
from geoseg.mapping.preferences import PREFERENCES, RESAMPLINGS

from .messages import progress, say
from .options import (
    EXISTING_FILE,
    allow_remote,
    assume_crs,
    bands,
    device,
    examples,
    expand_palette,
    force,
    fresh,
    legend,
    model_file,
    output_or_folder,
    overwrite,
    precision,
    predict_options,
    profile,
    scenes,
    tiles,
    tta,
    validity,
)
from .scenes import listed
from .verbosity import verbosity_options

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.mapping.preferences import Resampling


@click.command(
    epilog=examples(
        "geoseg map scenes/*.tif -m model.safetensors -o country.gpkg",
        "geoseg map list.txt -m model.safetensors -o country.parquet --prefer newest --workers 4",
        "geoseg map blocks/*.tif -m model.safetensors -o town/ --grid EPSG:25832,0.2",
        "geoseg map list.txt -m model.safetensors -o country.parquet --scheduler tcp://10.0.0.1:8786",
    )
)
@scenes
@output_or_folder(
    "File of the polygons: .gpkg, .parquet, .fgb or .geojson; or a folder for landcover.gpkg.", "OUT|DIR/"
)
@click.option(
    "--grid",
    metavar="CRS,RES",
    help="Grid of the whole map, such as EPSG:3035,10: classes are brought onto it once, at the end. By default the "
    "scenes keep their own pixels.",
)
@click.option("--like", type=EXISTING_FILE, help="Raster whose grid the whole map has, instead of --grid.")
@click.option(
    "--prefer",
    type=click.Choice(PREFERENCES),
    default="order",
    show_default=True,
    help="Which scene owns a pixel that several have valid data of: the first in the list, the newest, the one with "
    "most valid pixels around, the one whose centre is nearest; or the mean of their probabilities decides.",
)
@click.option(
    "--cell",
    metavar="LENGTH",
    help="Edge of the cells in which the map is computed: 10km or 2048px; it changes no pixel. By default 4096px, or "
    "2048px for more than four bands.",
)
@click.option(
    "--resample",
    type=click.Choice(RESAMPLINGS),
    default="nearest",
    show_default=True,
    help="How results come onto another grid: the class of the nearest pixel, or probabilities interpolated and then "
    "decided.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=256),
    metavar="N",
    help="Compute in N processes of this machine, which share its cores; by default in this one.",
)
@click.option(
    "--scheduler", metavar="ADDRESS|FILE.json", help="Compute on the cluster of this dask scheduler."
)
@model_file
@bands
@legend("Other codes keep the model's.")
@validity
@tiles
@device
@precision
@tta
@profile
@allow_remote
@expand_palette
@assume_crs
@force
@fresh
@overwrite
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenes: tuple[str, ...],
    model: Path,
    output: str,
    grid: str | None,
    like: Path | None,
    prefer: str,
    cell: str | None,
    resample: Resampling,
    workers: int | None,
    scheduler: str | None,
    overwrite: bool,
    fresh: bool,
    **values: Any,
) -> None:
    """Turn many scenes into one map in which all ground counts once.

    SCENE is a raster, a URL, or the folder of a Sentinel-2 or Landsat product; list.txt or - is a list of them, one per
    line. Scenes may overlap and lie in several UTM zones. A region is one polygon however many scenes it crosses.
    Scenes that cannot be used are reported and passed over (exit code 3). An interrupted run continues with the same
    command; with more scenes in the list only the cells that they touch are computed.
    """
    from geoseg.mapping.order import MapOrder
    from geoseg.mapping.run import make_map, output_of_map
    from geoseg.mapping.spread import Spread
    from geoseg.mapping.wishes import wishes_of

    names = [str(name) for name in listed(scenes)]
    order = MapOrder(
        scenes=names,
        model=model,
        output=output_of_map(output),
        options=predict_options(values),
        wishes=lambda card: wishes_of(
            card, grid=grid, like=like, prefer=prefer, cell=cell, resample=resample
        ),
        resampling=resample,
        spread=Spread(workers=workers, scheduler=scheduler),
        overwrite=overwrite,
        fresh=fresh,
    )
    with progress() as bar:
        made = make_map(order, bar)
    say(f"{made.run.output}: finished before" if made.run.before else str(made.run.output))
    for line in made.run.lines():
        say(line)
    if not made.run.before:
        say(f"  {plural(made.cells, 'cell')}, {made.computed:,} computed by this run")
    if made.failed:
        say(f"  scenes or cells passed over, as said above: {len(made.failed):,}")
    ctx.exit(made.exit_code)
