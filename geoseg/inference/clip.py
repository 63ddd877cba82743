"""Polygons that say where a result is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window


class ClipArea:
    """Pixels whose centre lies in one of the polygons of a vector file.

    Parameters
    ----------
    path : Path
        Any vector file of polygons; another CRS is reprojected.
    grid : Grid

    Raises
    ------
    OptionError
        If it cannot be read, holds no polygon, or lies outside the grid.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        import geopandas
        from pyogrio.errors import DataSourceError

        try:
            frame = geopandas.read_file(path, columns=[])
        except (DataSourceError, OSError) as error:
            raise OptionError(
                f"{path}: cannot be read as polygons ({error}); pass a vector file to --clip"
            ) from None
        frame = frame[frame.geom_type.isin(["Polygon", "MultiPolygon"]) & ~frame.is_empty]
        if frame.empty:
            raise OptionError(f"{path}: holds no polygon, expected at least one to clip with")
        if grid.crs is not None and frame.crs is not None:
            frame = frame.to_crs(grid.crs)
        west, south, east, north = frame.total_bounds
        left, bottom, right, top = grid.bounds
        if west >= right or east <= left or south >= top or north <= bottom:
            raise OptionError(f"{path}: its polygons lie outside the scene; do both have the right CRS?")
        self._polygons, self._grid = list(frame.geometry), grid

    def __call__(self, first: int, stop: int) -> npt.NDArray[np.bool_]:
        """Rows [first, stop) of the grid, shape (rows, cols): True inside; rows below the grid are left out."""
        from rasterio.features import rasterize

        stop = min(stop, self._grid.height)
        band = self._grid.cropped(Window(row=first, col=0, height=stop - first, width=self._grid.width))
        inside = rasterize(self._polygons, out_shape=band.shape, transform=band.transform, dtype=np.uint8)
        return np.asarray(inside, dtype=bool)
