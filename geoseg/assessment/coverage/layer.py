"""Findings as layers of a GeoPackage, styled for QGIS."""

from __future__ import annotations

from pathlib import Path
from string import punctuation

from geoseg.assessment.coverage.findings import CHECKS
from geoseg.assessment.coverage.quality import LayerQuality, PolygonQuality
from geoseg.errors import ELSEWHERE, OptionError
from geoseg.grid.legend import Legend
from geoseg.grid.qml import finding_qml
from geoseg.storage.output import Claim, check_output
from geoseg.vectorfiles.arrow_writer import Layer, table_batches
from geoseg.vectorfiles.geopackage import check_geopackage_name, write_tables
from geoseg.vectorfiles.kept_layers import kept_beside

_NAME = "findings"


def check_findings_name(output: Path, source: Path) -> None:
    """Refuse a file to which findings cannot be written, before the work.

    Raises
    ------
    OptionError
        If it is no GeoPackage, or the file that is checked.
    OutputError
        If it cannot become an output.
    """
    check_geopackage_name(output)
    check_output(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise OptionError(f"{output}: is the file that is checked", ELSEWHERE)


def write_findings(quality: PolygonQuality, claimed: Claim) -> None:
    """Write the findings of each layer, the worst first.

    Parameters
    ----------
    quality : PolygonQuality
        What was found.
    claimed : Claim
        The output.
    """
    names = layer_names(quality.layers)
    base = kept_beside(claimed.path, names)
    finished = claimed.prepare()
    style = finding_qml((each.name, each.many, each.color) for each in CHECKS)
    tables = (
        (
            table_batches(each.table),
            Layer(
                name=name, crs=each.survey.ground.crs, legend=lambda: Legend.made_up((0,)),
                geometry_type="MultiPolygon", style=style,
            ),
        )
        for name, each in zip(names, quality.layers, strict=True)
    )  # fmt: skip
    write_tables(finished, tables, base)
    if base is not None:
        base.check_unchanged()
    claimed.commit(finished)


def layer_names(layers: tuple[LayerQuality, ...]) -> list[str]:
    """Name the layers of findings: ``findings``, or ``findings of NAME`` where several layers were checked."""
    if len(layers) == 1:
        return [_NAME]
    names: list[str] = []
    for each in layers:
        text = "".join(sign if sign.isprintable() else " " for sign in each.survey.layer.name)
        name = f"{_NAME} of {text.strip(punctuation + ' ') or 'layer'}"
        while name.lower() in (known.lower() for known in names):
            name += "'"
        names.append(name)
    return names
