"""Reprojection of geometries from a vector file to the CRS of an image."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.grid.grid import Grid, same_crs
from geoseg.vectorfiles.longitudes import meeting, turn_of, turn_on, turned, unrolled

if TYPE_CHECKING:
    from pyproj import Transformer

_STEP: Final = 16
"""Longest edge in px that is projected by its ends alone; its curvature is far below a pixel."""


_FARTHEST: Final = 1e12
"""Largest plausible coordinate in any unit, for any place on a planet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reprojection:
    """Transformation of geometries from a file's CRS to that of an image.

    Parameters
    ----------
    grid : Grid
        Grid of the image.
    transformer : Transformer or None
        Transformation; None if both have the same CRS, or the image has none.
    crs : str or None
        CRS of the file; None if the image has none.
    turn : float or None
        A full turn of the image's longitudes, by which shapes may be moved; None if it has none.
    note : str
        Note for the user about the transformation.
    """

    grid: Grid
    transformer: Transformer | None
    crs: str | None = None
    turn: float | None = None
    note: str = ""

    @classmethod
    def between(
        cls,
        crs: str | None,
        grid: Grid,
        *,
        path: Path | None,
        name: str | None = None,
        whole: Grid | None = None,
    ) -> Reprojection:
        """Make the transformation from a file's CRS to that of an image.

        Parameters
        ----------
        crs : str or None
            CRS of the file.
        grid : Grid
            Grid of the image.
        path : path or None
            The file; None for a GeoDataFrame.
        name : str, optional
            What messages call it; the path by default.
        whole : Grid, optional
            Grid of the image, if `grid` is a part of it.

        Raises
        ------
        DataError
            If only the image has a CRS, or there is no transformation.
        """
        if grid.crs is None:
            return cls(grid=grid, transformer=None)
        if crs is None:
            declare = (
                "declare it with set_crs('EPSG:...')"
                if path is None
                else f"declare it in a copy with ogr2ogr -a_srs EPSG:... copy.gpkg {shlex.quote(path.name)}"
            )
            raise DataError(f"{name or path}: declares no CRS, but its image has one; {declare}")
        import pyproj

        try:
            if same_crs(crs, grid.crs):
                return cls(grid=grid, transformer=None, crs=crs, turn=turn_on(whole or grid))
            theirs, ours = pyproj.CRS(crs), pyproj.CRS(grid.crs)
            transformer = pyproj.Transformer.from_crs(theirs, ours, always_xy=True)
        except pyproj.exceptions.ProjError as error:
            raise DataError(
                f"{name or path}: cannot be reprojected to the CRS of its image ({' '.join(str(error).split())[:200]})"
            ) from error
        note = f"reprojected from {theirs.name} to {ours.name} ({transformer.description})"
        return cls(grid=grid, transformer=transformer, crs=crs, turn=turn_on(whole or grid), note=note)

    def __call__(self, shapes: npt.NDArray[np.object_], margin: float = 0.0) -> npt.NDArray[np.object_]:
        """Transform geometries to the image's CRS in two dimensions; coordinates outside it become infinite.

        On an image in degrees a shape comes where it meets the image, whether its longitudes count from -180 or
        from 0; it is a collection if that is in several places.

        Parameters
        ----------
        shapes : (shape,) object
            Single polygons, lines and points.
        margin : float
            Margin around the image in units of its CRS.
        """
        flat = self._transformed(shapes)
        if self.turn is None or not len(flat):
            return flat
        west, _, east, _ = self.grid.bounds
        return turned(flat, self.turn, west - margin, east + margin)

    def _transformed(self, shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
        import shapely

        flat: npt.NDArray[np.object_] = shapely.force_2d(shapes)
        if not len(flat):
            return flat
        # GEOS raises an error for lines that are too long to be segmented.
        far = np.abs(shapely.bounds(flat)).max(axis=1) > _FARTHEST
        flat[far] = shapely.transform(flat[far], lambda xy: np.full_like(xy, np.inf))
        if self.transformer is None:
            return flat
        forward = self.transformer.transform

        def project(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.column_stack(forward(xy[:, 0], xy[:, 1]))

        fine = shapely.segmentize(flat[~far], self._step_in_file())
        flat[~far] = shapely.transform(fine, project)
        turn = turn_of(self.grid.crs)
        if turn is not None:
            poles = self.transformer.transform([0.0, 0.0], [turn / 4, -turn / 4], direction="INVERSE")
            flat[~far] = unrolled(flat[~far], turn, fine, np.column_stack(poles))
        return flat

    def bounds_in_file(
        self, margin: float, extent: tuple[float, float, float, float] | None = None
    ) -> tuple[float, float, float, float] | None:
        """Return a bounding box (west, south, east, north) of the image in the file's CRS; None if there is none.

        Parameters
        ----------
        margin : float
            Margin around the image in units of its CRS, to which some pixels are added.
        extent : (float, float, float, float), optional
            Bounding box of the file. In degrees the result then lies where the image does in the file's longitudes.
        """
        if self.grid.crs is None:
            return None
        t = self.grid.transform
        margin += 2 * max(abs(t.a), abs(t.b), abs(t.d), abs(t.e))
        west, south, east, north = self.grid.bounds
        box = west - margin, south - margin, east + margin, north + margin
        if self.transformer is not None:
            around = self.transformer.transform_bounds(*box, direction="INVERSE", densify_pts=101)
            if not (np.isfinite(around).all() and around[0] < around[2] and around[1] < around[3]):
                return None
            box = tuple(map(float, around))  # type: ignore[assignment]
        turn = None if extent is None else turn_of(self.crs)
        return box if extent is None or turn is None else meeting(box, extent, turn)

    def _step_in_file(self) -> float:
        """Return the length of `_STEP` px at the image's centre, in units of the file's CRS."""
        assert self.transformer is not None
        col, row = self.grid.width / 2, self.grid.height / 2
        xs, ys = zip(
            *(self.grid.transform @ p for p in ((col, row), (col + 1, row), (col, row + 1))), strict=True
        )
        x, y = self.transformer.transform(np.array(xs), np.array(ys), direction="INVERSE")
        steps = np.hypot(x[1:] - x[0], y[1:] - y[0])
        return float(_STEP * steps.min()) if np.isfinite(steps).all() else np.inf
