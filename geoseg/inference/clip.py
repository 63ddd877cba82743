"""Restrict results to the polygons of a vector file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError, Message, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.vectorfiles.reading import VectorLayer, choose_layers, read_features


class ClipArea:
    """Pixels whose centre lies in one of the polygons of a vector file.

    Parameters
    ----------
    path : Path
        Any vector file of polygons; another CRS is reprojected.
    grid : Grid
        Grid of the result.

    Raises
    ------
    OptionError
        If it cannot be read, holds no polygon, or lies outside the grid.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        import shapely

        try:
            polygons = np.concatenate([_polygons(path, layer, grid) for layer in choose_layers(path)])
        except DataError as error:
            raise OptionError(error.message, Message("{clip} takes a vector file with polygons")) from error
        if not len(polygons):
            raise OptionError(f"{path}: holds no polygon, expected at least one to clip with")
        west, south, east, north = shapely.total_bounds(polygons)
        left, bottom, right, top = grid.bounds
        if west >= right or east <= left or south >= top or north <= bottom:
            raise OptionError(f"{path}: its polygons lie outside the scene; do both have the right CRS?")
        self._polygons, self._grid = list(polygons), grid

    def __call__(self, first: int, stop: int) -> npt.NDArray[np.bool_]:
        """Return rows [first, stop) of the grid as bool, True inside the polygons; rows below the grid are
        omitted.
        """
        from rasterio.features import rasterize

        stop = min(stop, self._grid.height)
        band = self._grid.cropped(Window(row=first, col=0, height=stop - first, width=self._grid.width))
        inside = rasterize(self._polygons, out_shape=band.shape, transform=band.transform, dtype=np.uint8)
        return np.asarray(inside, dtype=bool)


def _polygons(path: Path, layer: VectorLayer, grid: Grid) -> npt.NDArray[np.object_]:
    """Return the polygons of a layer in the CRS of the grid, if both have one."""
    import shapely

    from geoseg.vectorfiles.reprojection import Reprojection

    shapes = shapely.from_wkb(read_features(path, layer).geometry)
    kinds = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    shapes = shapes[np.isin(shapely.get_type_id(shapes), kinds) & ~shapely.is_empty(shapes)]
    if grid.crs is not None and layer.crs is not None:
        way = Reprojection.between(layer.crs, grid, path=path)
        shapes = shapely.get_parts(way(shapely.get_parts(shapes)))
    found = np.asarray(shapes, dtype=object)
    finite: npt.NDArray[np.object_] = found[np.isfinite(shapely.bounds(found)).all(axis=1)]
    return finite  # polygons that cannot be reprojected are dropped
