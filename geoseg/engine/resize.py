"""Resize planes on the CPU with compiled kernels: bilinear means over pixels seen as areas."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.engine.network_input import Floats, contiguous
from geoseg.kernels.kernel import kernel

_EVERYWHERE = np.zeros((0, 0), bool)
_NOTHING: Final = 1e-9
"""Weights below this are rounding errors and count as 0."""


class Taps(NamedTuple):
    """For each new pixel along an axis, the old pixels that it is made of and their weights.

    Parameters
    ----------
    places : ndarray of uint32, shape (tap, px)
        Indices of the old pixels; where the weight is 0, the index of another tap of the same new pixel.
    weights : ndarray of float32, shape (tap, px)
        Weights, which sum to 1 over the taps.
    """

    places: npt.NDArray[np.uint32]
    weights: Floats


def taps_of(length: int, wanted: int) -> Taps:
    """Return the taps that resize `length` px to `wanted` px: triangles as wide as two pixels of the coarser
    axis.

    That is torch's ``interpolate(mode="bilinear", align_corners=False, antialias=True)`` and Pillow's ``BILINEAR``.
    """
    scale = length / wanted
    reach = max(scale, 1.0)
    centers = (np.arange(wanted) + 0.5) * scale
    first = np.maximum(centers - reach + 0.5, 0).astype(np.int64)
    stop = np.minimum((centers + reach + 0.5).astype(np.int64), length)
    places = first + np.arange((stop - first).max())[:, None]
    weights = np.maximum(1 - np.abs((places + 0.5 - centers) / reach), 0)
    weights[(places >= stop) | (weights < _NOTHING)] = 0
    weights /= weights.sum(axis=0)
    used = weights.any(axis=1)
    # A pixel of weight 0 must not count, not even as 0 * NaN.
    largest = np.take_along_axis(places, weights.argmax(axis=0)[None], axis=0)
    places = np.where(weights > 0, places, largest)
    return Taps(places[used].astype(np.uint32), weights[used].astype(np.float32))


@kernel
def _resize(
    plane: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    rows: Taps,
    cols: Taps,
    strip: Floats,
    target: Floats,
) -> None:
    """Write a resized plane; pixels that are not valid count as 0.

    Parameters
    ----------
    plane : ndarray of any real type, shape (row, col)
        The old plane.
    valid : ndarray of bool, shape (row, col)
        Valid pixels, or (0, 0) if all are valid.
    rows, cols : Taps
        Taps of the new rows and columns.
    strip : ndarray of float32, shape (col,)
        Scratch: a new row at the old width.
    target : ndarray of float32, shape (new row, new col)
        The new plane, which is written.
    """
    whole = valid.shape[0] == 0
    for y in range(target.shape[0]):
        for x in range(len(strip)):
            strip[x] = np.float32(0)
        for tap in range(rows.weights.shape[0]):
            weight, place = rows.weights[tap, y], rows.places[tap, y]
            if weight == 0:
                continue
            source = plane[place]
            if whole:
                for x in range(len(strip)):
                    strip[x] += np.float32(source[x]) * weight
            else:
                known = valid[place]
                for x in range(len(strip)):
                    number = np.float32(source[x]) * weight
                    strip[x] += number if known[x] else np.float32(0)
        into = target[y]
        for x in range(len(into)):
            into[x] = np.float32(0)
        for tap in range(cols.weights.shape[0]):
            weights, places = cols.weights[tap], cols.places[tap]
            for x in range(len(into)):
                into[x] += strip[places[x]] * weights[x]


def resize_planes(
    planes: npt.NDArray[Any], shape: tuple[int, int], valid: npt.NDArray[np.bool_] | None = None
) -> Floats:
    """Resize planes bilinearly.

    Parameters
    ----------
    planes : ndarray of any real type, shape (plane, row, col)
        The old planes.
    shape : tuple of int
        (rows, cols).
    valid : ndarray of bool, shape (row, col), optional
        Pixels that are not valid count as 0, whatever is stored there.

    Returns
    -------
    ndarray of float32
        Bilinear means over pixels seen as areas; antialiased where it shrinks. Float32 planes of that shape, all
        of them valid, are returned unchanged.
    """
    if valid is None and planes.dtype == np.float32 and planes.shape[1:] == shape:
        return planes
    known = _EVERYWHERE if valid is None else np.ascontiguousarray(valid)
    _, height, width = planes.shape
    rows, cols = taps_of(height, shape[0]), taps_of(width, shape[1])
    strip, found = np.empty(width, np.float32), np.empty((len(planes), *shape), np.float32)
    for plane, target in zip(contiguous(planes), found, strict=True):
        _resize(plane, known, rows, cols, strip, target)
    return found


def resize_valid(
    planes: npt.NDArray[Any], valid: npt.NDArray[np.bool_], shape: tuple[int, int]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Resize planes and their validity.

    Law: pixels that are not valid never count.

    Parameters
    ----------
    planes : ndarray of any real type, shape (plane, row, col)
        The old planes.
    valid : ndarray of bool, shape (row, col)
        Valid pixels of all planes.
    shape : tuple of int
        (rows, cols).

    Returns
    -------
    planes : ndarray of float32
        Bilinear means over valid pixels, 0 where not valid.
    valid : ndarray of bool
        Validity of the nearest old pixel.
    """
    if valid.all():
        return resize_planes(planes, shape), np.ones(shape, dtype=bool)
    there = valid[np.ix_(*(nearest(*edges) for edges in zip(valid.shape, shape, strict=True)))]
    found = resize_planes(planes, shape, valid)
    # The weights of means that reach beyond valid pixels do not sum to 1.
    (weight,) = resize_planes(valid[None].view(np.uint8), shape)
    found /= np.maximum(weight, np.finfo(np.float32).tiny)
    found[:, ~there] = 0
    return found, there


def nearest(length: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return the old pixel that contains the centre of each new one: torch's ``nearest-exact``, unrounded."""
    return (2 * np.arange(wanted) + 1) * length // (2 * wanted)
