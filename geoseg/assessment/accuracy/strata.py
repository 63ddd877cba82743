"""Strata from another layer: a raster on the map's grid, or polygons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.assessment.accuracy.population import OUTSIDE, ReadRows, Rows, rows_of_map
from geoseg.errors import ClassMapError, DataError, Message, OptionError
from geoseg.grid.grid import Grid
from geoseg.raster.file_kinds import kind_of
from geoseg.raster.opening import is_remote
from geoseg.vector.sources import opened

if TYPE_CHECKING:
    from geoseg.vector.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strata:
    """A layer of strata.

    Parameters
    ----------
    read : callable
        Reads its codes on the grid of the map.
    names_of : callable
        Takes the codes that occur and returns their names.
    title : str
        Name of the layer.
    """

    read: ReadRows
    names_of: Callable[[Iterable[int]], dict[int, str]]
    title: str

    @classmethod
    def of(cls, source: Source, layer: str | None, grid: Grid) -> Strata:
        """Open strata.

        Parameters
        ----------
        source : path or class map in any form
            The layer.
        layer : str or None
            Layer of a vector file.
        grid : Grid
            Grid of the map.

        Raises
        ------
        ClassMapError
            If a raster lies on another grid.
        DataError
            If polygons cannot be used.
        OptionError
            If a layer is named in a raster.
        """
        path = Path(source) if isinstance(source, str | PathLike) else None
        if path is not None and _is_vector(path):
            return cls._of_polygons(path, layer, grid)
        if layer is not None:
            raise OptionError("layer is of a vector file, and the strata are a raster; leave layer out")
        found = opened(source, None)
        if found.layers is not None:
            raise ClassMapError(
                "the strata are a multilabel map, whose classes overlap; expected one band of codes"
            )
        if problem := found.grid.differs_from(grid):
            raise ClassMapError(
                f"the strata do not lie on the grid of the class map: {problem}; warp them to it with gdalwarp -r near"
            )

        def names_of(codes: Iterable[int]) -> dict[int, str]:
            legend = found.legend_of(codes)
            return {} if legend is None else {c.code: c.name for c in legend.classes}

        return cls(read=rows_of_map(found), names_of=names_of, title=path.name if path else "strata")

    @classmethod
    def _of_polygons(cls, path: Path, layer: str | None, grid: Grid) -> Strata:
        from geoseg.raster.classmap import nodata_of
        from geoseg.vector.map_rows import map_rows
        from geoseg.vector.polygon_source import PolygonFile

        polygons = PolygonFile.open(path, layer)
        legend = polygons.called.legend()
        if legend is None:
            raise DataError(f"{polygons.name}: has no polygons, expected those of the strata")
        nodata = nodata_of(legend)

        def read(rows: int) -> Iterator[Rows]:
            for codes in map_rows(polygons, grid, rows, nodata=nodata):
                yield codes, codes != nodata

        names = {c.code: c.name for c in legend.classes}
        return cls(read=read, names_of=lambda _: names, title=path.name)

    def called(self, codes: Iterable[int]) -> dict[int, str]:
        """Return the names of strata by code; that of pixels outside all of them says so."""
        every = list(codes)
        known = self.names_of(code for code in every if code != OUTSIDE)
        names: dict[int, str] = {}
        for code in every:
            name = "outside the strata" if code == OUTSIDE else known.get(code, f"stratum {code}")
            while name in names.values():
                name += f" ({code})"
            names[code] = name
        return names


def _is_vector(path: Path) -> bool:
    try:
        kind = kind_of(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror})", Message("check the path of {strata}")
        ) from error
    return kind is not None and kind.holds == "vector"


def map_of(source: Any) -> tuple[str, Path | None]:
    """Return the name of a map, and its path if it is a file on this machine."""
    if not isinstance(source, str | PathLike):
        return "", None
    path = Path(source)
    return path.name, None if is_remote(str(source)) else path
