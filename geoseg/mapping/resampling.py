"""Where the pixels of one grid lie on another, and what stands there: the one step in which a map is resampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid, same_crs
from geoseg.grid.window import Window
from geoseg.mapping.footprints import transformer
from geoseg.vectorfiles.longitudes import turn_of, turn_on

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_STEP = 16
"""Pixels between the places that are transformed; in between they are interpolated, which is right to a millionth of a
pixel for pixels of 10 m."""


def pixel_centres(grid: Grid, crs: str | None) -> tuple[Floats, Floats]:
    """Return x and y of all pixel centres of a grid in a CRS, (row, col) each.

    Every sixteenth row and column is transformed and the others are interpolated; a grid of the same CRS is exact.
    """
    rows, cols = (np.arange(edge, dtype=np.float64) + 0.5 for edge in grid.shape)
    if crs is None or same_crs(grid.crs, crs):
        x, y = grid.transform @ np.meshgrid(cols, rows)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)
    nodes = [np.append(np.arange(0, edge, _STEP), edge).astype(np.float64) for edge in grid.shape]
    x, y = grid.transform @ np.meshgrid(nodes[1], nodes[0])
    assert grid.crs is not None
    known = transformer(grid.crs, crs).transform(x, y)
    known = _without_a_jump(known[0], turn_of(crs)), known[1]
    down, across = _weights(rows, nodes[0]), _weights(cols, nodes[1])
    return down @ known[0] @ across.T, down @ known[1] @ across.T


def _without_a_jump(x: Floats, turn: float | None) -> Floats:
    """Let longitudes go on beyond 180 degrees where they jump by a turn, so that they can be interpolated."""
    if turn is None or not any((np.abs(np.diff(x, axis=axis)) > turn / 2).any() for axis in (0, 1)):
        return x
    middle = x[x.shape[0] // 2, x.shape[1] // 2]
    found: Floats = x - np.rint((x - middle) / turn) * turn
    return found


def _weights(places: Floats, nodes: Floats) -> Floats:
    """Return the matrix that interpolates linearly from nodes to places."""
    after = np.clip(np.searchsorted(nodes, places, side="right"), 1, len(nodes) - 1)
    share = (places - nodes[after - 1]) / (nodes[after] - nodes[after - 1])
    weights = np.zeros((len(places), len(nodes)))
    weights[np.arange(len(places)), after - 1] = 1 - share
    weights[np.arange(len(places)), after] = share
    return weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where the pixels of a window lie on a scene of another lattice.

    Parameters
    ----------
    row, col : (row, col) float64
        Place of each pixel's centre on the scene, in its pixels; NaN where there is none.
    shape : tuple of int
        (rows, cols) of the scene.
    """

    row: Floats
    col: Floats
    shape: tuple[int, int]

    @classmethod
    def of(cls, target: Grid, scene: Grid) -> Places:
        """Return the places of a target grid's pixels on a scene."""
        x, y = pixel_centres(target, scene.crs)
        turn = turn_on(scene)
        if turn is not None:  # as the scene counts its longitudes
            x = x - np.floor((x - scene.bounds[0]) / turn) * turn
        col, row = ~scene.transform @ (x, y)
        lost = ~(np.isfinite(row) & np.isfinite(col))
        return cls(row=np.where(lost, np.nan, row), col=np.where(lost, np.nan, col), shape=scene.shape)

    @property
    def inside(self) -> Bools:
        """Pixels whose centre lies on the scene."""
        rows, cols = self.shape
        found: Bools = (self.row >= 0) & (self.row < rows) & (self.col >= 0) & (self.col < cols)
        return found

    def nearest(self, wanted: Bools) -> tuple[Longs, Longs]:
        """Return row and column of the scene's pixel that holds each wanted pixel's centre."""
        return self.row[wanted].astype(np.int64), self.col[wanted].astype(np.int64)

    def window(self, wanted: Bools, margin: int) -> Window:
        """Return the part of the scene that holds the wanted pixels' centres, with a margin around it."""
        rows, cols = self.nearest(wanted)
        first = max(int(rows.min()) - margin, 0), max(int(cols.min()) - margin, 0)
        stop = (
            min(int(rows.max()) + margin + 1, self.shape[0]),
            min(int(cols.max()) + margin + 1, self.shape[1]),
        )
        return Window(row=first[0], col=first[1], height=stop[0] - first[0], width=stop[1] - first[1])


def bilinear(shares: npt.NDArray[np.float32], rows: Floats, cols: Floats) -> npt.NDArray[np.float32]:
    """Interpolate probabilities at places between pixel centres.

    Pixels without probabilities (NaN) do not count; a place without any has none.

    Parameters
    ----------
    shares : (class, row, col) float32
        Probabilities; NaN is no data.
    rows, cols : (place,) float64
        Places, in pixels from the first pixel's corner.

    Returns
    -------
    ndarray of float32, shape (class, place)
    """
    height, width = shares.shape[1:]
    row, col = rows - 0.5, cols - 0.5
    top, left = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
    total = np.zeros((len(shares), len(rows)), np.float64)
    weight = np.zeros(len(rows))
    for down in (0, 1):
        for across in (0, 1):
            share = np.abs(1 - down - (row - top)) * np.abs(1 - across - (col - left))
            at = np.clip(top + down, 0, height - 1), np.clip(left + across, 0, width - 1)
            values = shares[:, at[0], at[1]]
            known = ~np.isnan(values[0])
            total += np.where(known, values * share, 0)
            weight += np.where(known, share, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: npt.NDArray[np.float32] = (total / weight).astype(np.float32)
    return found
