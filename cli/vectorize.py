"""``geoseg vectorize``: a class map becomes polygons."""

from __future__ import annotations

from pathlib import Path

import click

from .options import EXISTING_FILE, examples, layer, output, overwrite
from .report import say
from .verbosity import verbosity_options


@click.command(
    epilog=examples(
        "geoseg vectorize classes.tif -o landcover.gpkg",
        "geoseg vectorize worldcover.tif -o landcover.gpkg --legend legend.csv",
    )
)
@click.argument("classes", type=EXISTING_FILE)
@output("GeoPackage to write.", metavar="OUT.gpkg")
@click.option(
    "--confidence", type=EXISTING_FILE, help="Confidence raster on the same grid, averaged per polygon."
)
@click.option(
    "--legend", type=EXISTING_FILE, help="CSV with code, name, colour; the map's own legend by default."
)
@layer
@overwrite
@verbosity_options
def command(
    classes: Path, output: Path, confidence: Path | None, legend: Path | None, layer: str, overwrite: bool
) -> None:
    """Turn a class map into land-cover polygons.

    The GeoPackage opens coloured in QGIS. Any integer raster will do, from geoseg or not: no model is needed.
    """
    from geoseg.raster.legend_file import read_legend_csv
    from geoseg.vector.vectorize import vectorize

    written = vectorize(
        classes,
        confidence=confidence,
        legend=read_legend_csv(legend) if legend else None,
        output=output,
        layer=layer,
        overwrite=overwrite,
    )
    from geoseg.assessment.layers import describe_geopackage

    say(str(written))
    (described,) = describe_geopackage(written)["layers"]
    for row in described["classes"]:
        area = "" if row["area_m2"] is None else f" {row['area_m2'] / 1e6:12,.3f} km²"
        say(f"  {row['code']:>4} {row['name']:<20}{area} {row['polygons']:>9,} polygons")
