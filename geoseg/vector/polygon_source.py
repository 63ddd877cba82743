"""Land-cover polygons from a file or a frame: what classes they are of, where they lie, and those of a place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.file_kinds import FLATGEOBUF, GEOPACKAGE, GEOPARQUET
from geoseg.raster.labels import listed
from geoseg.vector.databases import opened
from geoseg.vector.geopackage_tables import read_metadata
from geoseg.vector.proof import COVERAGE, coverage_entries
from geoseg.vector.styles import class_styles
from geoseg.vector.vector_file import (
    Bounds,
    VectorFeatures,
    VectorLayer,
    choose_layers,
    known_crs,
    read_features,
    read_names,
    total_bounds,
)

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

CODE, NAME = "class_code", "class_name"
_BY_PLACE = (GEOPACKAGE, FLATGEOBUF)
"""Formats with a spatial index: of others everything is read at once."""
Names: TypeAlias = dict[int, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class PolygonFile:
    """A layer of land-cover polygons in a file.

    Parameters
    ----------
    path : Path
    about : VectorLayer
    alone : bool
        Whether the file has no other layer.
    """

    path: Path
    about: VectorLayer
    alone: bool

    @classmethod
    def open(cls, path: Path, layer: str | None) -> PolygonFile:
        """Open a layer, the only one of the file where none is named.

        Raises
        ------
        DataError
            If the file cannot be read, has several layers, or the layer no classes.
        """
        layers = choose_layers(path)
        if layer is None and len(layers) > 1:
            raise DataError(
                f"{path}: has the layers {listed(each.name for each in layers)}; choose one with --layer"
            )
        (about,) = layers if layer is None else choose_layers(path, layer)
        if CODE not in about.fields:
            raise DataError(
                f"{path}: layer {about.name} has no attribute {CODE}, expected the codes of classes in it; it has "
                f"{listed(about.fields) or 'none'}"
            )
        return cls(path=path, about=about, alone=len(layers) == 1)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.path}, layer {self.about.name}"

    @property
    def crs(self) -> str | None:
        """WKT."""
        if self.about.crs is None:
            return None
        import pyproj

        return str(pyproj.CRS(self.about.crs).to_wkt())

    @cached_property
    def bounds(self) -> Bounds | None:
        """(west, south, east, north) of all polygons; None where there are none."""
        return total_bounds(self.path, self.about)

    def legend(self) -> Legend | None:
        """Classes of the polygons, with the names they have, and those of the style; None where there are none."""
        fields = [CODE, *(field for field in (NAME,) if field in self.about.fields)]
        names = names_of(read_names(self.path, self.about, fields), self.name)
        colors: dict[int, str | None] = {}
        for value, style in class_styles(self.path, self.about.name, CODE, alone=self.alone).items():
            if value.lstrip("-").isdecimal():
                names[int(value)] = names.get(int(value)) or style.name
                colors[int(value)] = style.color
        return legend_of_names(names, colors)

    def grids(self) -> list[dict[str, Any]]:
        """Return what the file says of the grids that the polygons were traced on."""
        text: str | None = None
        if self.about.kind == GEOPACKAGE:
            with opened(self.path) as database:
                text = read_metadata(database, self.about.name).get(COVERAGE)
        elif self.about.kind == GEOPARQUET:
            import pyarrow.parquet as pq

            stored = (pq.read_metadata(self.path).metadata or {}).get(COVERAGE.encode())
            text = None if stored is None else stored.decode(errors="replace")
        grids = [entry.get("grid") for entry in coverage_entries(text)]
        return [grid for i, grid in enumerate(grids) if isinstance(grid, dict) and grid not in grids[:i]]

    def near(self, bounds: Bounds | None) -> VectorFeatures:
        """Read the polygons whose boxes meet a rectangle, in their order."""
        if self.about.kind in _BY_PLACE:
            return read_features(self.path, self.about, CODE, bounds)
        return self._held.near(bounds)

    @cached_property
    def _held(self) -> _Held:
        found = read_features(self.path, self.about, CODE)
        assert found.values is not None
        return _Held(geometry=found.geometry, codes=found.values)


@dataclass(frozen=True, kw_only=True, eq=False)
class PolygonFrame:
    """Land-cover polygons in memory."""

    frame: gpd.GeoDataFrame
    name: str = "the frame"

    def __post_init__(self) -> None:
        """Refuse a frame without classes."""
        if CODE not in self.frame.columns:
            raise DataError(
                f"the frame has the columns {listed(self.frame.columns)}, expected {CODE} with the codes of classes"
            )

    @property
    def crs(self) -> str | None:
        """WKT."""
        return known_crs(self.frame.crs.to_wkt() if self.frame.crs else None)

    @property
    def bounds(self) -> Bounds | None:
        """(west, south, east, north) of all polygons; None where there are none."""
        west, south, east, north = map(float, self.frame.total_bounds)
        return (west, south, east, north) if np.isfinite(west) else None

    def legend(self) -> Legend | None:
        """Classes of the polygons; None where there are none."""
        columns = [self.frame[column] for column in (CODE, NAME) if column in self.frame.columns]
        pairs = zip(*(column.to_numpy() for column in columns), strict=True)
        return legend_of_names(names_of(dict.fromkeys(pairs), self.name), {})

    def grids(self) -> list[dict[str, Any]]:
        """Return nothing: a frame does not say on which grid it was traced."""
        return []

    def near(self, bounds: Bounds | None) -> VectorFeatures:
        """Return the polygons whose boxes meet a rectangle, in their order."""
        return self._held.near(bounds)

    @cached_property
    def _held(self) -> _Held:
        wkb = self.frame.geometry.to_wkb().to_numpy()
        return _Held(geometry=wkb, codes=self.frame[CODE].to_numpy())


PolygonSource: TypeAlias = PolygonFile | PolygonFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held:
    """Polygons in memory, found by their place."""

    geometry: npt.NDArray[np.object_]
    codes: npt.NDArray[Any]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        import shapely

        return shapely.STRtree(shapely.from_wkb(self.geometry))

    def near(self, bounds: Bounds | None) -> VectorFeatures:
        import shapely

        if bounds is None:
            return VectorFeatures(geometry=self.geometry, values=self.codes)
        found = np.sort(self._tree.query(shapely.box(*bounds)))
        return VectorFeatures(geometry=self.geometry[found], values=self.codes[found])


def names_of(rows: Iterable[tuple[Any, ...]], where: str) -> Names:
    """Names of codes, empty where there is none.

    Raises
    ------
    DataError
        If a code cannot be that of a class map, or has two names.
    """
    names: Names = {}
    for code, *called in rows:
        if code not in range(NODATA):
            raise DataError(
                f"{where}: has a polygon with {CODE} {code}, expected whole numbers from 0 to 254"
            )
        name = str(called[0]) if called and isinstance(called[0], str) else ""
        if names.setdefault(int(code), name) != name:
            raise DataError(
                f"{where}: calls code {int(code)} {names[int(code)]!r} and {name!r}, expected one name"
            )
    return names


def legend_of_names(names: Names, colors: dict[int, str | None]) -> Legend | None:
    """Legend of codes with names and colours, which are found where they are missing; None of no code."""
    taken: set[str] = set()
    classes = []
    for code in sorted(names):
        name = names[code].strip() or f"class {code}"
        while name in taken:
            name += f" ({code})"
        taken.add(name)
        classes.append((code, name, colors.get(code) or None))
    return Legend.of(classes) if classes else None
