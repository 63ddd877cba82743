"""Land cover polygons from a file or a GeoDataFrame: their classes, extent, and those near a place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, Message
from geoseg.raster.file_kinds import FLATGEOBUF, GEOPACKAGE
from geoseg.storage.printable import listed
from geoseg.vector.frame_table import check_frame
from geoseg.vectorfiles.batches import stated_coverages
from geoseg.vectorfiles.class_names import CODE, NAME, Called
from geoseg.vectorfiles.reading import (
    Bounds,
    VectorFeatures,
    VectorLayer,
    choose_layers,
    count_rows,
    known_crs,
    read_features,
    total_bounds,
)
from geoseg.vectorfiles.styles import class_styles

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

_BY_PLACE = (GEOPACKAGE, FLATGEOBUF)
"""Formats with a spatial index; files of other formats are read as a whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PolygonFile:
    """A layer of land cover polygons in a file.

    Parameters
    ----------
    path : Path
        The file.
    about : VectorLayer
        Description of the layer.
    alone : bool
        Whether the file has no other layer.
    """

    path: Path
    about: VectorLayer
    alone: bool

    @classmethod
    def open(cls, path: Path, layer: str | None, encoding: str | None = None) -> PolygonFile:
        """Open a layer by name, or the only layer of the file.

        The text encoding of a Shapefile is detected unless it is given.

        Raises
        ------
        DataError
            If the file cannot be read, has several layers and none is named, or the layer has no class codes.
        """
        layers = choose_layers(path, None, encoding)
        if layer is None and len(layers) > 1:
            raise DataError(
                f"{path}: has the layers {listed(each.name for each in layers)}",
                Message("choose one with {layer}"),
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
        """Name used in messages."""
        return f"{self.path}, layer {self.about.name}"

    @property
    def crs(self) -> str | None:
        """CRS as WKT, or None."""
        if self.about.crs is None:
            return None
        import pyproj

        return str(pyproj.CRS(self.about.crs).to_wkt())

    @cached_property
    def bounds(self) -> Bounds | None:
        """Bounding box (west, south, east, north) of all polygons; None if there are none."""
        return total_bounds(self.path, self.about)

    @cached_property
    def called(self) -> Called:
        """Names of the classes, from the polygons and the style."""
        fields = [CODE, *(field for field in (NAME,) if field in self.about.fields)]
        styles = class_styles(self.path, self.about.name, CODE, alone=self.alone)
        return Called.of(count_rows(self.path, self.about, fields), self.name, styles)

    def grids(self) -> list[dict[str, Any]]:
        """Return the grids on which the polygons were traced, from the file's metadata."""
        grids = [entry.get("grid") for entry in stated_coverages(self.path, self.about)]
        return [grid for i, grid in enumerate(grids) if isinstance(grid, dict) and grid not in grids[:i]]

    def near(self, bounds: Bounds | None) -> VectorFeatures:
        """Read the polygons whose bounding boxes meet a rectangle, in their order."""
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
    """Land cover polygons in memory."""

    frame: gpd.GeoDataFrame
    name: str = "the frame"
    path: None = None

    def __post_init__(self) -> None:
        """Refuse a frame without geometries or classes."""
        check_frame(self.frame, "a GeoDataFrame with geometries, or the path of a file")
        if CODE not in self.frame.columns:
            raise DataError(
                f"the frame has the columns {listed(self.frame.columns)}, expected {CODE} with the codes of classes"
            )

    @property
    def crs(self) -> str | None:
        """CRS as WKT, or None."""
        return known_crs(self.frame.crs.to_wkt() if self.frame.crs else None)

    @property
    def bounds(self) -> Bounds | None:
        """Bounding box (west, south, east, north) of all polygons; None if there are none."""
        west, south, east, north = map(float, self.frame.total_bounds)
        return (west, south, east, north) if np.isfinite(west) else None

    @cached_property
    def called(self) -> Called:
        """Names of the classes, from the polygons."""
        columns = [self._column(name).tolist() for name in (CODE, NAME) if name in self.frame.columns]
        return Called.of(Counter(zip(*columns, strict=True)), self.name)

    def grids(self) -> list[dict[str, Any]]:
        """Return an empty list: a frame does not record the grid on which it was traced."""
        return []

    def near(self, bounds: Bounds | None) -> VectorFeatures:
        """Return the polygons whose bounding boxes meet a rectangle, in their order."""
        return self._held.near(bounds)

    @cached_property
    def _held(self) -> _Held:
        wkb = self.frame.geometry.to_wkb().to_numpy()
        return _Held(geometry=wkb, codes=self._column(CODE))

    def _column(self, name: str) -> npt.NDArray[Any]:
        """Return the values of a column, None for missing ones."""
        column = self.frame[name]
        values: npt.NDArray[Any] = column.astype(object).where(column.notna(), None).to_numpy()
        return values


PolygonSource: TypeAlias = PolygonFile | PolygonFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held:
    """Polygons in memory with a spatial index."""

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
