"""Conversion of rings to well-known binary (WKB) by kernels, without Python loops or geometry objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.kernels.kernel import Part, kernel
from geoseg.polygons.rings import Rings, RingTable, offsets

Bytes = npt.NDArray[np.uint8]

_POLYGON = 3  # OGC geometry type
_LITTLE_ENDIAN = 1
_HEADER = 9  # byte order, type, number of rings
_POINT = 16  # two float64


class Coefficients(NamedTuple):
    """An affine transform as kernels take it: x = a col + b row + c, y = d col + e row + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def of(cls, transform: Affine) -> Coefficients:
        """Take the numbers of a transform, as floats whatever they were."""
        return cls(*map(float, transform[:6]))


def write_wkb(rings: Rings, transform: Affine) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Write polygons as one buffer of OGC well-known binary (little endian).

    World coordinates are ``transform @ (col, row)`` in float64, bit for bit: this is the one place where
    polygons leave the pixel lattice. Shells are counter-clockwise in the world, whichever way the grid lies:
    rings are walked backwards on grids that do not mirror (south-up), starting at the same corner.

    Returns
    -------
    buffer : (byte,) uint8
    offset : (polygon + 1,) int64
        Polygon i is ``buffer[offset[i]:offset[i + 1]]``.
    """
    return write_wkb_of([rings], np.arange(rings.count), transform)


def write_wkb_of(
    parts: Sequence[Rings], order: npt.NDArray[np.int64], transform: Affine
) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Write polygons of several parts in a common order, as `write_wkb` does.

    Parameters
    ----------
    parts : sequence of Rings
        Parts with polygons.
    order : (polygon,) int64
        Indices of the polygons, counted through the parts.
    transform : Affine
        From lattice corners to world coordinates.
    """
    sizes = np.concatenate([_sizes(rings) for rings in parts])
    offset = offsets(sizes[order])
    place = np.empty(len(order), np.int64)
    place[order] = offset[:-1]
    buffer = np.empty(offset[-1], np.uint8)
    coefficients, backwards = Coefficients.of(transform), transform.determinant > 0
    begin = 0
    for rings in parts:
        stop = begin + rings.count
        _fill(buffer, place[begin:stop], rings.table, coefficients, backwards)
        begin = stop
    return buffer, offset


def _sizes(rings: Rings) -> npt.NDArray[np.int64]:
    """Return the size of each polygon in bytes: a header, per ring a count and a closing point, per vertex a point."""
    ring_bytes = offsets(4 + _POINT * (np.diff(rings.ring_first) + 1))
    return np.diff(ring_bytes[rings.polygon_first]) + _HEADER


load_double = Part("geoseg.kernels.unaligned", "load_double")
_store_double = Part("geoseg.kernels.unaligned", "store_double")
_store_count = Part("geoseg.kernels.unaligned", "store_count")


def polygon_bounds(buffer: Bytes, offset: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the bounding box (west, south, east, north) of each polygon of `write_wkb`, from its shell."""
    bounds = np.empty((len(offset) - 1, 4))
    _bound(buffer, offset, bounds)
    return bounds


@kernel
def _bound(buffer: Bytes, offset: npt.NDArray[np.int64], bounds: npt.NDArray[np.float64]) -> None:
    for polygon in range(len(offset) - 1):
        at = offset[polygon] + _HEADER
        count = (
            np.int64(buffer[at])
            + np.int64(buffer[at + 1]) * 2**8
            + np.int64(buffer[at + 2]) * 2**16
            + np.int64(buffer[at + 3]) * 2**24
        )
        west = south = np.inf
        east = north = -np.inf
        for vertex in range(count):
            x, y = (
                load_double(buffer, at + 4 + _POINT * vertex),
                load_double(buffer, at + 12 + _POINT * vertex),
            )
            west, east = min(west, x), max(east, x)
            south, north = min(south, y), max(north, y)
        bounds[polygon, 0], bounds[polygon, 1] = west, south
        bounds[polygon, 2], bounds[polygon, 3] = east, north


@kernel
def _fill(
    buffer: Bytes,
    place: npt.NDArray[np.int64],
    rings: RingTable,
    coefficients: Coefficients,
    backwards: bool,  # noqa: FBT001
) -> None:
    corner, ring_first, polygon_first = rings
    a, b, c, d, e, f = coefficients
    for polygon in range(len(polygon_first) - 1):
        at = place[polygon]
        buffer[at] = _LITTLE_ENDIAN
        _store_count(buffer, at + 1, _POLYGON)
        _store_count(buffer, at + 5, polygon_first[polygon + 1] - polygon_first[polygon])
        at += _HEADER
        for ring in range(polygon_first[polygon], polygon_first[polygon + 1]):
            begin, stop = ring_first[ring], ring_first[ring + 1]
            _store_count(buffer, at, stop - begin + 1)
            at += 4
            last = at + _POINT * (stop - begin)
            step = -_POINT if backwards else _POINT
            if backwards:
                at = last
            for vertex in range(begin, stop):
                col, row = float(corner[vertex, 0]), float(corner[vertex, 1])
                x, y = a * col + b * row + c, d * col + e * row + f
                _store_double(buffer, at, x)
                _store_double(buffer, at + 8, y)
                if vertex == begin:
                    # The ring closes where it began, at its other end.
                    other = last if not backwards else last - _POINT * (stop - begin)
                    _store_double(buffer, other, x)
                    _store_double(buffer, other + 8, y)
                at += step
            at = last + _POINT
