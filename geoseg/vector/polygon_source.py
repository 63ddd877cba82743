"""Land-cover polygons from a file or a frame: what classes they are of, where they lie, and those of a place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.raster.file_kinds import FLATGEOBUF, GEOPACKAGE, GEOPARQUET
from geoseg.raster.labels import listed
from geoseg.vector.class_names import CODE, NAME, Called
from geoseg.vector.databases import opened
from geoseg.vector.geopackage_tables import read_metadata
from geoseg.vector.proof import COVERAGE, coverage_entries
from geoseg.vector.styles import class_styles
from geoseg.vector.vector_file import (
    Bounds,
    VectorFeatures,
    VectorLayer,
    choose_layers,
    count_rows,
    known_crs,
    read_features,
    total_bounds,
)

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

_BY_PLACE = (GEOPACKAGE, FLATGEOBUF)
"""Formats with a spatial index: of others everything is read at once."""


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
    def open(cls, path: Path, layer: str | None, encoding: str | None = None) -> PolygonFile:
        """Open a layer, the only one of the file where none is named.

        The text of a Shapefile has an encoding, which is found where none is given.

        Raises
        ------
        DataError
            If the file cannot be read, has several layers, or the layer no classes.
        """
        layers = choose_layers(path, None, encoding)
        if layer is None and len(layers) > 1:
            raise DataError(
                f"{path}: has the layers {listed(each.name for each in layers)}; choose one with --layer"
            )
        if layer is None:
            (about,) = layers
        else:
            (about,) = [each for each in layers if each.name == layer] or choose_layers(path, layer, encoding)
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

    @cached_property
    def called(self) -> Called:
        """What the polygons and the style call the classes."""
        fields = [CODE, *(field for field in (NAME,) if field in self.about.fields)]
        styles = class_styles(self.path, self.about.name, CODE, alone=self.alone)
        return Called.of(count_rows(self.path, self.about, fields), self.name, styles)

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

    @cached_property
    def called(self) -> Called:
        """What the polygons call the classes."""
        columns = [self._column(name).tolist() for name in (CODE, NAME) if name in self.frame.columns]
        return Called.of(Counter(zip(*columns, strict=True)), self.name)

    def grids(self) -> list[dict[str, Any]]:
        """Return nothing: a frame does not say on which grid it was traced."""
        return []

    def near(self, bounds: Bounds | None) -> VectorFeatures:
        """Return the polygons whose boxes meet a rectangle, in their order."""
        return self._held.near(bounds)

    @cached_property
    def _held(self) -> _Held:
        wkb = self.frame.geometry.to_wkb().to_numpy()
        return _Held(geometry=wkb, codes=self._column(CODE))

    def _column(self, name: str) -> npt.NDArray[Any]:
        """Values of a column, None where there are none."""
        column = self.frame[name]
        values: npt.NDArray[Any] = column.astype(object).where(column.notna(), None).to_numpy()
        return values


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
