"""Cloud optimized GeoTIFFs that are what they should be, or an error.

GDAL's GTiff driver hides a full disk: nothing is raised and the file cannot be read, or reads as zeros. So
what was written is read back and compared, twice.
"""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.shutil import copy
from rasterio.windows import Window as FileWindow

from geoseg.errors import OutputError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import NODATA, Legend
from geoseg.raster.cache import limited_cache
from geoseg.raster.handles import GDAL_ERRORS, one_line, open_quietly
from geoseg.raster.legend_file import LEGEND_TAG, legend_to_json

_log = logging.getLogger(__name__)

_BLOCK = 512  # px
_CACHE = 32  # MB
Rows = npt.NDArray[np.uint8]


def write_cog(
    path: Path,
    strips: Iterable[Rows],
    grid: Grid,
    *,
    legend: Legend | None,
    description: str,
    tags: Mapping[str, str],
) -> None:
    """Write a one-band raster of bytes as a COG and verify every pixel of it.

    Laws: the pixels and the affine in the file are those that came in, bit for bit; overviews of a class map
    hold no class that the map does not; memory does not grow with the height.

    Parameters
    ----------
    path : Path
        Scratch name; a second scratch file beside it is gone afterwards. On failure both are.
    strips : iterable of ndarray of uint8, shape (rows, width)
        From top to bottom, any number of rows each; 255 is no data.
    grid : Grid
        Its height is the sum of the strips' rows.
    legend : Legend or None
        Of a class map: becomes its colour table and a tag. None: numbers that may be averaged.
    description : str
        Of the band.
    tags : mapping of str to str

    Raises
    ------
    OutputError
        With the path and the bytes needed, if the file could not be written whole.
    ValueError
        If the strips do not fill the grid.
    """
    target = _Target(path=path, grid=grid, legend=legend)
    scratch = path.with_name(path.name + ".rows.tif")
    try:
        with limited_cache(_CACHE), rasterio.Env(GDAL_PAM_ENABLED="NO"):
            crc = target.write_rows(scratch, strips, description, tags)
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
    """A COG in the making."""

    path: Path
    grid: Grid
    legend: Legend | None
    codes: set[int] = field(default_factory=set)

    def write_rows(
        self, scratch: Path, strips: Iterable[Rows], description: str, tags: Mapping[str, str]
    ) -> int:
        """Write a plain tiled TIFF of block rows and return the checksum of what was given."""
        grid = self.grid
        if self.legend is not None:
            self.legend.require_bytes()
            tags = {**tags, LEGEND_TAG: legend_to_json(self.legend)}
        profile = {
            "driver": "GTiff", "dtype": "uint8", "count": 1, "height": grid.height, "width": grid.width,
            "crs": _storable(grid.crs), "transform": grid.transform,
            "nodata": NODATA, "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK,
            "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
        }  # fmt: skip
        with self._explained():
            dataset = open_quietly(scratch, "w", **profile)
        crc, row = 0, 0
        try:
            with self._explained():
                dataset.update_tags(**tags)
                dataset.set_band_description(1, description)
                if self.legend is not None:
                    dataset.write_colormap(1, {c.code: (*c.rgb, 255) for c in self.legend.classes})
            for block in _block_rows(strips, grid.width):
                if row + len(block) > grid.height:
                    raise ValueError(f"strips have more than the grid's {grid.height} rows")
                crc = zlib.crc32(block.data, crc)
                with self._explained():
                    dataset.write(block, 1, window=FileWindow(0, row, grid.width, len(block)))
                row += len(block)
        finally:
            with self._explained():
                dataset.close()
        if row != grid.height:
            raise ValueError(f"strips have {row} rows, the grid {grid.height}")
        return crc

    def copy(self, scratch: Path) -> None:
        """Copy the rows with the COG driver, which reports errors."""
        with self._explained():
            copy(
                scratch, self.path, driver="COG", compress="DEFLATE", blocksize=_BLOCK, bigtiff="IF_SAFER",
                overview_resampling="AVERAGE" if self.legend is None else "MODE",
                num_threads=min(4, os.cpu_count() or 1),
            )  # fmt: skip

    def verify(self, path: Path, crc: int) -> None:
        """Read every block and overview back; raise OutputError unless they are what was given."""
        with self._explained():
            with open_quietly(path, driver="GTiff") as dataset:
                found, seen = _scan(dataset)
                levels = len(dataset.overviews(1))
                transform, crs = dataset.transform, dataset.crs
            for level in range(levels):
                with open_quietly(path, driver="GTiff", overview_level=level) as overview:
                    _, classes = _scan(overview)
                if self.legend is not None and not classes <= seen:
                    raise OutputError(f"{self.path}: its overviews hold classes that the map does not")
        if found != crc:
            raise OutputError(f"{self._failure()}: it reads back differently")
        if transform != self.grid.transform:
            raise OutputError(
                f"{self.path}: a GeoTIFF cannot hold the affine {tuple(self.grid.transform[:6])}"
            )
        if self.grid.crs is not None and crs != CRS.from_wkt(self.grid.crs) and path == self.path:
            _log.warning(
                "%s: a GeoTIFF cannot hold all of the scene's CRS; it reads back as %s", path.name, crs
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what rasterio raises into one line with the bytes needed."""
        try:
            yield
        except GDAL_ERRORS as error:
            raise OutputError(f"{self._failure()}: {one_line(error)}") from error

    def _failure(self) -> str:
        # Rows and COG stand side by side for a while; with overviews the COG is 4/3 of its base.
        needed = self.grid.height * self.grid.width * 7 // 3
        try:
            free = f"{shutil.disk_usage(self.path.parent).free} are free"
        except OSError as error:
            free = f"{self.path.parent}: {error.strerror}"
        return f"{self.path}: could not be written whole (needs up to {needed} bytes, {free})"


def _storable(crs: str | None) -> CRS | None:
    """CRS as GeoTIFF tags can hold it: of one with heights the horizontal part, which is all a map needs."""
    if crs is None:
        return None
    if ",3]," in crs:  # the axis count of a WKT2 coordinate system
        import pyproj

        crs = pyproj.CRS(crs).to_2d().to_wkt()
    return CRS.from_wkt(crs)


def _block_rows(strips: Iterable[Rows], width: int) -> Iterator[Rows]:
    """Cut strips anew, so that every block of the file is written once."""
    pending = np.empty((_BLOCK, width), dtype=np.uint8)
    filled = 0
    for strip in strips:
        if strip.ndim != 2 or strip.shape[1] != width or strip.dtype != np.uint8:
            raise ValueError(f"strip of {strip.shape} {strip.dtype}, expected (rows, {width}) uint8")
        start = 0
        while start < len(strip):
            taken = min(_BLOCK - filled, len(strip) - start)
            pending[filled : filled + taken] = strip[start : start + taken]
            filled, start = filled + taken, start + taken
            if filled == _BLOCK:
                yield pending
                filled = 0
    if filled:
        yield pending[:filled]


def _scan(dataset: rasterio.DatasetReader) -> tuple[int, set[int]]:
    """Checksum of all pixels in row-major order, and the values among them."""
    crc, seen = 0, np.zeros(256, dtype=bool)
    for row in range(0, dataset.height, _BLOCK):
        rows = dataset.read(1, window=FileWindow(0, row, dataset.width, min(_BLOCK, dataset.height - row)))
        crc = zlib.crc32(rows.data, crc)
        seen |= np.bincount(rows.ravel(), minlength=256) > 0
    return crc, set(np.flatnonzero(seen).tolist())
