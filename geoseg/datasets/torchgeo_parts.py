"""Query torchgeo datasets by the exact bounds of whole pixels.

The grid follows from the bounds of a dataset's files and its resolution: if a file lies on it (one
CRS, one resolution), its pixels are returned as stored.
"""

from __future__ import annotations

import copy
import math
import os
import threading
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.errors import DataError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.storage.printable import listed

if TYPE_CHECKING:
    import pandas as pd
    from torchgeo.datasets import GeoDataset

_SLACK: Final = 1e-6
"""Tolerance in px with which bounds lie on whole pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The part of a torchgeo dataset described by one row of its index.

    Parameters
    ----------
    dataset : GeoDataset
        The dataset.
    path : str
        Name of the part in messages.
    grid : Grid
        North-up grid of the part.
    interval : pandas.Interval
        Time interval of the query.
    """

    dataset: GeoDataset
    path: str
    grid: Grid
    interval: pd.Interval[pd.Timestamp]

    def query(self, window: Window, key: str) -> npt.NDArray[Any]:
        """Query the dataset for a window on the grid: (row, col) or (layer, row, col)."""
        west, south, east, north = self.grid.window_bounds(window)
        x, y = slice(west, east, self.grid.transform.a), slice(south, north, -self.grid.transform.e)
        sample = _own(self.dataset)[x, y, slice(self.interval.left, self.interval.right)]
        if key not in sample:
            raise DataError(f"{self.path}: torchgeo's sample has no {key}, only {listed(sorted(sample))}")
        array: npt.NDArray[Any] = sample[key].numpy()
        if array.ndim not in (2, 3) or array.shape[-2:] != window.shape:
            raise DataError(
                f"{self.path}: torchgeo gave {key} of shape {array.shape}, expected {window.height} x "
                f"{window.width} px and no time series"
            )
        return array


def parts_of(dataset: GeoDataset, images: GeoDataset) -> list[tuple[Part, Any]]:
    """Return every row of a dataset's index, on the grid of the images there, with its geometry."""
    index = dataset.index
    xres, yres = images.res
    # The index of an intersection names its files in some versions of torchgeo only; that of the images does in all.
    paths = images.index.get("filepath")
    crs = index.crs.to_wkt()
    parts, seen = [], set()
    for number, (interval, geometry) in enumerate(zip(index.index, index.geometry, strict=True)):
        file = _file_of(images, geometry)
        x0, _, _, y1 = map(float, images.index.geometry.iloc[file].bounds)
        west, south, east, north = geometry.bounds
        left, right = math.ceil((west - x0) / xres - _SLACK), math.floor((east - x0) / xres + _SLACK)
        top, bottom = math.ceil((y1 - north) / yres - _SLACK), math.floor((y1 - south) / yres + _SLACK)
        if left >= right or top >= bottom:
            continue  # an overlap of less than a pixel
        name = f"torchgeo {number}" if paths is None else PurePath(paths.iloc[file]).stem
        name = f"{name} {number}" if name in seen else name
        seen.add(name)
        transform = Affine(xres, 0, x0 + left * xres, 0, -yres, y1 - top * yres)
        grid = Grid(height=bottom - top, width=right - left, transform=transform, crs=crs)
        parts.append((Part(dataset=images, path=name, grid=grid, interval=interval), geometry))
    if not parts:
        raise SceneError(f"torchgeo's {type(dataset).__name__} covers no whole pixel")
    return parts


def _file_of(images: GeoDataset, geometry: Any) -> int:
    """Return the number of the file on which a geometry lies, the one that shares most of its area."""
    return int(np.argmax(images.index.geometry.intersection(geometry).area))


class _Kept(threading.local):
    """Copies of datasets for this thread of this process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.copies: dict[int, tuple[GeoDataset, GeoDataset]] = {}


_kept = _Kept()


def _own(dataset: GeoDataset) -> GeoDataset:
    """Return this thread's copy of a dataset.

    torchgeo caches open files by the identity of the dataset. Threads, or a forked process and its parent, that
    share them would read each other's pixels.
    """
    if _kept.pid != os.getpid():
        _kept.__init__()  # type: ignore[misc]  # the parent's copies must not be used in a child process
    if id(dataset) not in _kept.copies:
        _kept.copies[id(dataset)] = dataset, _copied(dataset)
    return _kept.copies[id(dataset)][1]


def _copied(dataset: GeoDataset) -> GeoDataset:
    copied = copy.copy(dataset)
    if hasattr(copied, "datasets"):
        copied.datasets = [_copied(part) for part in copied.datasets]
    return copied
