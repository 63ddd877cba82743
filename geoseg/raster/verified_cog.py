"""Cloud optimized GeoTIFFs that are verified after writing.

GDAL's GTiff driver does not report a full disk: no error is raised and the file is unreadable, or reads as zeros. So
what was written is read back and compared, twice.
"""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.shutil import copy
from rasterio.windows import Window as FileWindow

from geoseg.errors import OutputError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.cache import limited_cache
from geoseg.raster.handles import GDAL_ERRORS, one_line, open_quietly
from geoseg.raster.legend_file import LEGEND_TAG, TASK_TAG, legend_to_json
from geoseg.storage.output import output_of

_log = logging.getLogger(__name__)

_BLOCK = 512  # px
_CACHE = 32  # MB
_BYTES = np.dtype(np.uint8)
_WORDS = np.dtype(np.uint16)
Rows = npt.NDArray[Any]
"""Rows of pixels in uint8, uint16 or float32."""


def write_cog(
    path: Path,
    strips: Iterable[Rows],
    grid: Grid,
    *,
    legend: Legend | None,
    description: str | Sequence[str],
    tags: Mapping[str, str],
) -> None:
    """Write a raster of uint8, uint16 or float32 as a COG and verify every pixel of it.

    Laws: pixels and affine in the file equal those given, bit for bit; overviews of a class map have no class that
    the map has not; memory does not grow with the height.

    Parameters
    ----------
    path : Path
        File to write. A second scratch file beside it is removed afterwards; on failure both are.
    strips : iterable of ndarray of uint8, uint16 or float32, shape (rows, width) or (band, rows, width)
        Rows from top to bottom, any number per strip. No data is 255, 65535 for uint16 and NaN for float32. Numbers
        that fit into half floats take half the space.
    grid : Grid
        Grid whose height is the sum of the strips' rows.
    legend : Legend or None
        Legend of a class map, which becomes a tag and, for a band of codes, the colour table. None for quantities
        that overviews may average.
    description : str or sequence of str
        Description of the only band, or of each band of strips with a band axis. Such a class map has one band of 0
        and 1 per class of the legend, and no colour table.
    tags : mapping of str to str
        Further tags of the file.

    Raises
    ------
    OutputError
        If the file could not be written completely; the message has the path and the bytes needed.
    ValueError
        If the strips do not fill the grid.
    """
    layered = not isinstance(description, str)
    names = tuple(description) if layered else (str(description),)
    dtype, strips = _typed(strips)
    target = _Target(path=path, grid=grid, legend=legend, names=names, layered=layered, dtype=dtype)
    scratch = path.with_name(path.name + ".rows.tif")
    try:
        with limited_cache(_CACHE), rasterio.Env(GDAL_PAM_ENABLED="NO"):
            crc = target.write_rows(scratch, strips, tags)
            target.verify(scratch, crc)
            target.copy(scratch)
            target.verify(path, crc)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        scratch.unlink(missing_ok=True)


@dataclass(slots=True, kw_only=True)
class _Target:
    """A COG that is being written."""

    path: Path
    grid: Grid
    legend: Legend | None
    names: tuple[str, ...] = ("",)
    layered: bool = False
    dtype: np.dtype[Any] = _BYTES

    def write_rows(self, scratch: Path, strips: Iterable[Rows], tags: Mapping[str, str]) -> int:
        """Write a plain tiled TIFF in rows of blocks and return the checksum of the pixels."""
        grid, count = self.grid, len(self.names)
        if self.legend is not None:
            if self.dtype == _BYTES:
                self.legend.require_bytes()
            tags = {**tags, LEGEND_TAG: legend_to_json(self.legend)}
            tags |= {TASK_TAG: "multilabel"} if self.layered else {}
        profile = {
            "driver": "GTiff", "dtype": self.dtype.name, "count": count, "height": grid.height, "width": grid.width,
            "crs": _storable(grid.crs), "transform": grid.transform,
            "nodata": np.nan if self.dtype.kind == "f" else int(np.iinfo(self.dtype).max),
            "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK,
            "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
        }  # fmt: skip
        if self.layered:
            # Three or four uint8 bands would be taken for colours, the fourth for alpha.
            profile |= {"photometric": "minisblack", "interleave": "band"}
        with self._explained():
            dataset = open_quietly(scratch, "w", **profile)
        crc, row = 0, 0
        try:
            with self._explained():
                dataset.update_tags(**tags)
                for number, name in enumerate(self.names, start=1):
                    dataset.set_band_description(number, name)
                if self.legend is not None and not self.layered:
                    dataset.write_colormap(1, {c.code: (*c.rgb, 255) for c in self.legend.classes})
            for block in _block_rows(strips, (count, grid.width), self.dtype, layered=self.layered):
                height = block.shape[1]
                if row + height > grid.height:
                    raise ValueError(f"strips have more than the grid's {plural(grid.height, 'row')}")
                crc = _checksum(block, crc)
                with self._explained():
                    dataset.write(block, window=FileWindow(0, row, grid.width, height))
                row += height
        finally:
            with self._explained():
                dataset.close()
        if row != grid.height:
            raise ValueError(f"strips have {plural(row, 'row')}, the grid {grid.height}")
        return crc

    def copy(self, scratch: Path) -> None:
        """Copy the plain TIFF with the COG driver, which reports errors."""
        with self._explained():
            # Not NBITS=16: the driver then writes uninitialised memory in blocks that extend beyond the raster, so
            # equal work gives different bytes. With the predictor, the zero bits of halves compress as well.
            predictor = {} if self.dtype == _BYTES else {"predictor": "YES"}
            copy(
                scratch, self.path, driver="COG", compress="DEFLATE", blocksize=_BLOCK, bigtiff="IF_SAFER",
                overview_resampling="AVERAGE" if self.legend is None else "MODE",
                num_threads=min(4, os.cpu_count() or 1), **predictor,
            )  # fmt: skip

    def verify(self, path: Path, crc: int) -> None:
        """Read every block and overview back; raise OutputError unless they equal the pixels given."""
        with self._explained():
            with open_quietly(path, driver="GTiff") as dataset:
                found, seen = _scan(dataset)
                levels = len(dataset.overviews(1))
                layout = dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
                transform, crs = dataset.transform, dataset.crs
            for level in range(levels):
                with open_quietly(path, driver="GTiff", overview_level=level) as overview:
                    _, classes = _scan(overview)
                if self.legend is not None and (classes & ~seen).any():
                    raise OutputError(f"{self.path}: its overviews have classes that the map has not")
        if found != crc:
            raise OutputError(f"{self._failure()}: it reads back differently")
        # GDAL reports no error if the COG layout could not be written.
        if path == self.path and layout != "COG":
            raise OutputError(f"{self._failure()}: it is not cloud optimized")
        if transform != self.grid.transform:
            raise OutputError(
                f"{self.path}: a GeoTIFF cannot hold the affine {tuple(self.grid.transform[:6])}"
            )
        if self.grid.crs is not None and crs != CRS.from_wkt(self.grid.crs) and path == self.path:
            _log.warning(
                "%s: a GeoTIFF cannot hold all of the scene's CRS; it reads back as %s",
                output_of(path).name,
                crs,
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Convert errors of rasterio to one line with the bytes needed."""
        try:
            yield
        except GDAL_ERRORS as error:
            raise OutputError(f"{self._failure()}: {one_line(error)}") from error

    def _failure(self) -> str:
        # The plain TIFF and the COG exist together for a while; overviews make the COG 4/3 of its base.
        needed = self.grid.height * self.grid.width * len(self.names) * self.dtype.itemsize * 7 // 3
        try:
            free = f"{shutil.disk_usage(self.path.parent).free} are free"
        except OSError as error:
            free = f"{self.path.parent}: {error.strerror}"
        return f"{self.path}: could not be written whole (needs up to {plural(needed, 'byte')}, {free})"


def _storable(crs: str | None) -> CRS | None:
    """Return the CRS that GeoTIFF tags can hold: the horizontal part of one with heights."""
    if crs is None:
        return None
    if ",3]," in crs:  # the axis count of a WKT2 coordinate system
        import pyproj

        crs = pyproj.CRS(crs).to_2d().to_wkt()
    return CRS.from_wkt(crs)


def _typed(strips: Iterable[Rows]) -> tuple[np.dtype[Any], Iterable[Rows]]:
    """Determine the dtype of the file from the first strip; return it with all strips."""
    coming = iter(strips)
    first = list(islice(coming, 1))
    dtype = first[0].dtype if first else _BYTES
    return dtype if dtype in (_WORDS, np.dtype(np.float32)) else _BYTES, chain(first, coming)


def _block_rows(
    strips: Iterable[Rows], shape: tuple[int, int], dtype: np.dtype[Any], *, layered: bool
) -> Iterator[Rows]:
    """Regroup strips into rows of blocks (band, rows, width), so that every block is written once."""
    count, width = shape
    pending = np.empty((count, _BLOCK, width), dtype=dtype)
    filled = 0
    expected = (count, width) if layered else (width,)
    for strip in strips:
        if (*strip.shape[:-2], *strip.shape[-1:]) != expected or strip.dtype != dtype:
            form = f"({count}, rows, {width})" if layered else f"(rows, {width})"
            raise ValueError(f"strip of {strip.shape} {strip.dtype}, expected {form} {dtype}")
        start, rows = 0, strip.shape[-2]
        while start < rows:
            taken = min(_BLOCK - filled, rows - start)
            pending[:, filled : filled + taken] = strip[..., start : start + taken, :]
            filled, start = filled + taken, start + taken
            if filled == _BLOCK:
                yield pending
                filled = 0
    if filled:
        yield pending[:, :filled]


def _checksum(rows: Rows, crc: int) -> int:
    """Update a checksum with rows of blocks, band by band."""
    for band in rows:
        crc = zlib.crc32(np.ascontiguousarray(band).data, crc)
    return crc


def _scan(dataset: rasterio.DatasetReader) -> tuple[int, npt.NDArray[np.bool_]]:
    """Read a dataset; return the checksum of all pixels and which whole numbers each band has, (band, value)."""
    dtype = np.dtype(dataset.dtypes[0])
    values_of = int(np.iinfo(dtype).max) + 1 if dtype.kind == "u" else 0
    crc, seen = 0, np.zeros((dataset.count, values_of), dtype=bool)
    for row in range(0, dataset.height, _BLOCK):
        rows = dataset.read(window=FileWindow(0, row, dataset.width, min(_BLOCK, dataset.height - row)))
        crc = _checksum(rows, crc)
        if values_of:
            for band, values in zip(seen, rows, strict=True):
                band |= np.bincount(values.ravel(), minlength=values_of) > 0
    return crc, seen
