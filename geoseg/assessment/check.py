"""The verb check: is a polygon map sound?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.assessment.coverage.quality import LayerQuality, PolygonQuality
from geoseg.errors import DataError
from geoseg.progress import ShowProgress, shown
from geoseg.storage.output import claim, path_of, refuse_without_output

if TYPE_CHECKING:
    from geoseg.vectorfiles.reading import VectorLayer


def check(
    source: str | PathLike[str],
    *,
    profile: str | PathLike[str] | None = None,
    layer: str | Sequence[str] | None = None,
    class_field: str | None = None,
    encoding: str | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: ShowProgress = None,
) -> PolygonQuality:
    """Check a polygon map: gaps, overlaps, validity, parts, neighbours, smallest units and widths, stated areas.

    The file is read once, in batches, and once more for the places of findings; no database is needed. An edge
    between two polygons occurs twice, in opposite directions: both cancel, and what is left bounds gaps, overlaps
    and the map. Memory grows with the edges that are left, and by some 50 bytes for each polygon. Polygons that
    `geoseg.vectorize` writes pass.

    Areas and widths are those on the ground, whatever the CRS. The width of a polygon is the diameter of the
    largest circle that fits into it.

    Parameters
    ----------
    source : path
        Vector file with polygons.
    profile : str or path, optional
        What is expected: ``clc2024``, ``urban-atlas2018``, or a YAML file. By default a valid coverage with right
        areas, in units of any size.
    layer : str or sequence of str, optional
        Layers to check, each as a map of its own; by default all with polygons.
    class_field : str, optional
        Attribute with the class; by default the profile's, which is `class_code` without one.
    encoding : str, optional
        Text encoding of a Shapefile that does not declare it, such as ``cp949``.
    output : path, optional
        GeoPackage to write with the findings, the worst first, styled for QGIS; at most 10,000 of each check.
    overwrite : bool
        Whether `output` may be replaced; in a GeoPackage with other content only the layer of findings is.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    PolygonQuality
        Whether the map passed, counts by check, and the findings as a GeoDataFrame.

    Raises
    ------
    DataError
        If the file cannot be read, or has no polygons.
    ConfigError
        If the file of the profile says what a profile cannot say.
    OptionError
        If there is no such profile or attribute, or metres are asked for and the CRS is unknown.
    OutputError
        If the output exists or cannot be written.
    """
    from geoseg.assessment.coverage.findings import found_in
    from geoseg.assessment.coverage.layer import check_findings_name, write_findings
    from geoseg.assessment.coverage.profile import read_profile
    from geoseg.assessment.coverage.surveying import surveyed

    path, target = Path(source), path_of("output", output)
    if target is None:
        refuse_without_output(overwrite=overwrite)
    else:
        check_findings_name(target, path)
    expected = read_profile(None if profile is None else str(profile))
    with (
        nullcontext() if target is None else claim(target, overwrite=overwrite) as claimed,
        shown(progress) as told,
    ):
        layers = []
        for about in _polygon_layers(path, layer, encoding):
            survey = surveyed(path, about, expected, class_field, told)
            layers.append(LayerQuality(survey=survey, found=found_in(survey, expected)))
        quality = PolygonQuality(path=path, profile=expected, layers=tuple(layers))
        if claimed is not None:
            write_findings(quality, claimed)
    return quality


def _polygon_layers(
    path: Path, layer: str | Sequence[str] | None, encoding: str | None
) -> tuple[VectorLayer, ...]:
    """Return the layers to check: those that are named, else all that may have polygons."""
    from geoseg.vectorfiles.reading import choose_layers, layer_shape

    found = choose_layers(path, layer, encoding)
    shapes = [layer_shape(path, each)[0] for each in found]
    fitting = tuple(
        each for each, shape in zip(found, shapes, strict=True) if "Polygon" in shape or shape in _ANY
    )
    if not fitting or (layer is not None and len(fitting) < len(found)):
        kinds = ", ".join(f"{each.name} of {shape}" for each, shape in zip(found, shapes, strict=True))
        raise DataError(f"{path}: has the layers {kinds}, expected polygons")
    return fitting


_ANY = ("Unknown", "GeometryCollection", "Geometry")
"""Types of layers that say nothing of their geometries."""
