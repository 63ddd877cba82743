"""The verb design_sample: a probability sample of a map's pixels, to be labelled."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from geoseg.assessment.accuracy.allocation import Allocation
from geoseg.assessment.accuracy.drawing import drawn
from geoseg.assessment.accuracy.population import count, rows_of_map
from geoseg.assessment.accuracy.record import Method, Record
from geoseg.assessment.accuracy.sample_file import write_sample
from geoseg.assessment.accuracy.strata import Strata, map_of
from geoseg.assessment.accuracy.tables import Table
from geoseg.assessment.accuracy.wanted import LIKELY, Wanted
from geoseg.errors import ClassMapError, Message, OptionError, plural
from geoseg.grid.html import html_table
from geoseg.grid.legend import Legend
from geoseg.progress import ShowProgress, shown
from geoseg.raster.legend_file import legend_of
from geoseg.storage.output import check_output
from geoseg.storage.printable import listed
from geoseg.vector.sources import opened
from geoseg.vectorfiles.geopackage import check_geopackage_name

if TYPE_CHECKING:
    import pandas as pd

    from geoseg.vector.sources import Source

    LegendLike: TypeAlias = Legend | str | PathLike[str]

_log = logging.getLogger(__name__)
_FEW = 25
"""Points of a class below which intervals of its user's accuracy fall short (docs/accuracy.md)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleDesign:
    """A sample that was drawn.

    Parameters
    ----------
    path : Path
        The GeoPackage with its points.
    record : Record
        What was drawn, from which map, and how.
    """

    path: Path
    record: Record

    @property
    def strata(self) -> pd.DataFrame:
        """A row for each stratum: ``code``, ``name``, ``pixels``, ``area_ha``, ``points``."""
        return self._table().frame()

    def _table(self) -> Table:
        return Table.of_parts(self.record.strata)

    def lines(self) -> list[str]:
        """Return a summary for people, line by line."""
        drawing = self.record.drawing
        number = len(self.record.places.row)
        words = {"simple": "simple random", "systematic": "systematic"}.get(drawing.method, "stratified")
        about = f"{self.path}: {plural(number, 'point')}, {words}, seed {drawing.seed}"
        if drawing.step is not None:
            about += f", every {drawing.step[0]} rows and {drawing.step[1]} columns"
        return [about, *self._table().lines()]

    def _repr_html_(self) -> str:
        """Show the strata in a notebook."""
        table = self._table()
        return html_table(table.head, table.cells(), self.lines()[0])


def design_sample(
    class_map: Source,
    *,
    output: str | PathLike[str],
    points: int | None = None,
    standard_error: float | None = None,
    design: Method = "stratified",
    allocation: Allocation | None = None,
    minimum: int | None = None,
    expected: float | Mapping[str | int, float] = LIKELY,
    strata: Source | None = None,
    layer: str | None = None,
    legend: LegendLike | None = None,
    band: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: ShowProgress = None,
) -> SampleDesign:
    """Draw a probability sample of a class map's pixels, as points to be labelled in QGIS.

    Each valid pixel of a stratum has the same chance to be drawn, without replacement. The file opens in QGIS with a
    form for the label; nothing in it shows what the map says, and the points come in random order. `estimate_accuracy`
    then estimates accuracies and areas.

    Parameters
    ----------
    class_map : path, ClassMap, DataArray, Dataset or (row, col) array
        The map, in any form that `geoseg.vectorize` takes; not a multilabel map. It is read twice, a few rows at a
        time.
    output : path
        GeoPackage to write, ``.gpkg``, with the points and the design in its layer ``sample``.
    points : int, optional
        Number of points; a systematic sample has about as many.
    standard_error : float, optional
        Instead of `points`: standard error of the overall accuracy to aim at, as a share, such as 0.01.
    design : str
        ``stratified``: random within strata; ``simple``: random within the map; ``systematic``: on a lattice with a
        random start.
    allocation : str, optional
        How strata share the points: ``proportional`` to their area (default), ``equal``, or ``neyman``, area times the
        deviation that follows from `expected`.
    minimum : int, optional
        Points of each stratum at least, 2 by default; one with fewer pixels is counted whole.
    expected : float or mapping of str or int to float
        Expected accuracy of the map, 0 to 1, or of strata by name or code; ``""`` names all others, 0.8 by default.
        `standard_error` and ``neyman`` depend on it; the estimate does not.
    strata : path or class map in any form, optional
        Strata other than the map's classes: a raster on its grid, or polygons with `class_code`. Pixels outside are a
        stratum of their own.
    layer : str, optional
        Layer of a vector file of strata.
    legend : Legend or path, optional
        Names and colours of the classes, or a file of them; codes that it does not name keep the map's own.
    band : int, optional
        Number from 1 of the band of class codes, in a file that has several.
    seed : int
        Seed of the drawing: the same map, options and seed draw the same points.
    overwrite : bool
        Whether `output` may replace a file, with the labels in it; other layers of a GeoPackage are kept.
    progress : bool or callable, optional
        As `geoseg.predict` takes it.

    Returns
    -------
    SampleDesign
        Path of the file, and the strata as a DataFrame.

    Raises
    ------
    ClassMapError, DataError, LegendError, OptionError, OutputError
        If the map, the strata, an option or the output cannot be used.
    """
    wanted = Wanted(
        points=points, standard_error=standard_error, design=design, allocation=allocation, minimum=minimum,
        expected=expected, seed=seed,
    )  # fmt: skip
    wanted.check(strata=strata is not None)
    if layer is not None and strata is None:
        raise OptionError("layer is of the strata; pass strata, too, or leave layer out")
    path = Path(output)
    check_geopackage_name(path)
    check_output(path)
    found = opened(class_map, legend_of(legend), band)
    if found.layers is not None:
        raise ClassMapError(
            "the map is multilabel, whose classes overlap, expected one band of class codes; draw for each class a map "
            "of it"
        )
    other = None if strata is None else Strata.of(strata, layer, found.grid)
    name, file = map_of(class_map)
    reads = rows_of_map(found), None if other is None else other.read
    with shown(progress) as told:
        population = count(found.grid, *reads, told)
        codes = np.unique(population.classes).tolist()
        classes = found.legend_of(codes) or Legend.made_up(codes)
        record = drawn(population, classes, wanted, other, reads, told)
    record = replace(record, map_name=name, map_path=_seen_from(path.parent, file))
    write_sample(path, record, found.grid.crs, overwrite=overwrite)
    few = [each.name for each in record.strata if each.points < min(_FEW, each.pixels)]
    if few and record.by_classes:
        _log.info(
            "fewer than %d points in %s, whose accuracy will be uncertain; %s",
            _FEW, listed(few), Message("{minimum} gives each class more", minimum=2 * _FEW),
        )  # fmt: skip
    return SampleDesign(path=path, record=record)


def _seen_from(folder: Path, file: Path | None) -> str:
    """Return the path of a map from the folder of its sample; empty if there is none, as between Windows' drives."""
    try:
        return "" if file is None else os.path.relpath(file, folder)
    except ValueError:
        return ""
