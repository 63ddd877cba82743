"""Ground scales at very many positions: exact at the nodes of a lattice, cubic between them.

What a pixel measures on the ground changes by parts in a million over kilometres: the transformations of
coordinates behind `geoseg.grid.ground.ground_scales` are needed at few places only. The nodes depend on the grid
alone, so that a region's area does not depend on which others are measured with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from geoseg.grid.grid import Grid
from geoseg.grid.ground import ground_scales

Floats = npt.NDArray[np.float64]

_SPACING = 256
_MOST = 1024  # nodes of an axis; very large grids have them farther apart
_AGREEMENT = 1e-8
_PROBES = np.linspace(0.03, 0.97, 7)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScaleNodes:
    """Scales at the nodes of a lattice over a grid.

    Parameters
    ----------
    values : (3, row, col) float64
        Area, across and down of `ground_scales`.
    shape : tuple of int
        Of the grid; nodes lie on its borders and at equal distances between.
    """

    values: Floats
    shape: tuple[int, int]

    @classmethod
    def of(cls, grid: Grid) -> ScaleNodes | None:
        """Make the nodes of a grid.

        Returns
        -------
        ScaleNodes or None
            None where they do not tell the scales between them to parts of 10⁸, as at poles; or there are none.
        """
        heights, widths = (np.linspace(0, n, 1 + min(_MOST, max(3, -(-n // _SPACING)))) for n in grid.shape)
        rows, cols = (each.ravel() for each in np.meshgrid(heights, widths, indexing="ij"))
        scales = ground_scales(grid, cols, rows)
        if scales is None:
            return None
        nodes = cls(values=np.stack(scales).reshape(3, len(heights), len(widths)), shape=grid.shape)
        rows, cols = (
            each.ravel() for each in np.meshgrid(_PROBES * grid.height, _PROBES * grid.width, indexing="ij")
        )
        exact, found = ground_scales(grid, cols, rows), nodes.at(cols, rows)
        assert exact is not None
        agree = all(
            np.allclose(one, two, rtol=_AGREEMENT, atol=0) for one, two in zip(exact, found, strict=True)
        )
        return nodes if agree else None

    def at(self, col: Floats, row: Floats) -> tuple[Floats, Floats, Floats]:
        """Scales at positions of the grid, as `ground_scales` gives them; NaN near nodes that have none."""
        found = np.empty((3, len(col)))
        _interpolate(self.values, self.shape, col, row, found)
        return found[0], found[1], found[2]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _interpolate(values: Floats, shape: tuple[int, int], col: Floats, row: Floats, found: Floats) -> None:
    """Lagrange's cubic polynomial through four nodes of either axis."""
    _, rows, cols = values.shape
    down, across = np.empty(4), np.empty(4)
    for position in range(len(col)):
        top = _weights(row[position] / shape[0] * (rows - 1), rows, down)
        left = _weights(col[position] / shape[1] * (cols - 1), cols, across)
        for kind in range(3):
            total = 0.0
            for i in range(4):
                line = 0.0
                for j in range(4):
                    line += across[j] * values[kind, top + i, left + j]
                total += down[i] * line
            found[kind, position] = total


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _weights(place: float, count: int, weights: Floats) -> int:
    """Fill the weights of four nodes around a place, in steps of nodes; return the first of them."""
    first = min(max(int(np.floor(place)) - 1, 0), count - 4)
    x = place - first
    weights[0] = -(x - 1) * (x - 2) * (x - 3) / 6
    weights[1] = x * (x - 2) * (x - 3) / 2
    weights[2] = -x * (x - 1) * (x - 3) / 2
    weights[3] = x * (x - 1) * (x - 2) / 6
    return first
