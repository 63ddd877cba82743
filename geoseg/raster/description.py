"""Description of a raster file in plain values that can be pickled."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags

from geoseg.errors import SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.raster.declared import may_be_alpha
from geoseg.raster.handles import GDAL_ERRORS, handle, one_line
from geoseg.raster.opening import Location

_RATIO = 1_000_000
"""Largest plausible ratio of claimed size to file size: DEFLATE reaches 1,030, a sparse file 100,000."""
_MOST_CLAIMED, _LARGEST_BLOCK = 4 * 2**30, 256 * 2**20
"""Size in bytes that any file may claim in all, and in one block, which is decoded at once."""

_SHOWN = frozenset(["red", "green", "blue", "yellow", "nir", "coastal", "pan"])
"""Colour tags that tell what a band shows, in the words of `band_names`."""

RGBA = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Metadata of a raster file, before bands are chosen.

    Sequences hold one entry per band of the file.

    Parameters
    ----------
    location : Location
        Where the file is and how it is opened.
    grid : Grid
        Grid of the file.
    descriptions : tuple of str or None
        Band names; None for a band without one.
    colors : tuple of (str or None)
        Common names of the bands, such as ``red``, by their colour tags; None if these do not tell.
    dtypes : tuple of str
        Names of numpy dtypes, or of GDAL's complex integers.
    nodata : tuple of float or None
        No-data value; None for a band without one.
    masks : tuple of (str or None)
        "file" if a mask is stored (mask band, ``.msk``), "values" if it follows from the tag NODATA_VALUES (no data
        where all bands have their value); None if it follows from no-data values or alpha, or all pixels are valid.
    alpha_band : int or None
        Number from 1 of the (last) band tagged alpha whose name does not contradict the tag.
    scale, offset : tuple of float or None
        Scale and offset; None if no band is tagged.
    block_shape : tuple of int
        Rows and columns of a block, px.
    palette : tuple of (int, (int, int, int, int)), or None
        The first band's colour table: code and (red, green, blue, alpha), 0 to 255.
    tags : mapping of str to str
        Metadata of the file; not compared.
    brought : tuple of (str or None)
        How each band of a stack was resampled; None for bands that were not.
    cut : str or None
        What was cropped from the files of a stack, for a message.
    """

    location: Location
    grid: Grid
    descriptions: tuple[str | None, ...]
    colors: tuple[str | None, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    masks: tuple[str | None, ...]
    alpha_band: int | None
    scale: tuple[float, ...] | None
    offset: tuple[float, ...] | None
    block_shape: tuple[int, int]
    palette: tuple[tuple[int, RGBA], ...] | None
    tags: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    brought: tuple[str | None, ...] = ()
    cut: str | None = None


def describe(location: Location) -> Description:
    """Read the metadata of a raster file.

    Raises
    ------
    SceneError
        If it cannot be opened, has no bands or no grid, or claims an absurd size.
    """
    with handle(location) as dataset:
        try:
            return _describe(location, dataset)
        except (*GDAL_ERRORS, ValueError) as error:
            raise SceneError(f"{location.typed}: its header cannot be read ({one_line(error)})") from error


def _describe(location: Location, dataset: rasterio.DatasetReader) -> Description:
    if dataset.count == 0:
        raise SceneError(
            f"{location.typed}: has no band, expected at least one; name one of its subdatasets' files"
        )
    if "OVERVIEW_FILE" in dataset.tags(ns="OVERVIEWS"):
        raise SceneError(f"{location.typed}: points at overviews in another file, which is not followed")
    _check_size(location, dataset)
    colors = dataset.colorinterp
    tagged = [
        i
        for i, (color, name) in enumerate(zip(colors, dataset.descriptions, strict=True), start=1)
        if color == ColorInterp.alpha and may_be_alpha(name, i)
    ]
    scaled = any(v != 1.0 for v in dataset.scales) or any(v != 0.0 for v in dataset.offsets)
    return Description(
        location=location,
        grid=_grid(location, dataset),
        descriptions=tuple(text or None for text in dataset.descriptions),
        colors=tuple(color.name if color.name in _SHOWN else None for color in colors),
        dtypes=tuple(dataset.dtypes),
        nodata=tuple(dataset.nodatavals),
        masks=tuple(_stored_mask(flags) for flags in dataset.mask_flag_enums),
        alpha_band=tagged[-1] if tagged and dataset.count > 1 else None,
        scale=tuple(dataset.scales) if scaled else None,
        offset=tuple(dataset.offsets) if scaled else None,
        block_shape=tuple(dataset.block_shapes[0]),
        tags=dict(dataset.tags()),
        palette=_palette(dataset) if colors[0] == ColorInterp.palette else None,
    )


def _check_size(location: Location, dataset: rasterio.DatasetReader) -> None:
    """Refuse a file that claims far more pixels than its bytes could hold."""
    if location.signature is None or location.driver == "VRT":
        return
    pixel_bytes = sum(16 if "complex" in dtype else np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    size = location.signature[0]
    for what, shape, allowed in (
        ("", dataset.shape, _MOST_CLAIMED),
        ("blocks of ", dataset.block_shapes[0], _LARGEST_BLOCK),
    ):
        claimed = shape[0] * shape[1] * pixel_bytes
        if claimed > max(allowed, _RATIO * size):
            raise SceneError(
                f"{location.typed}: claims {what}{shape[0]} x {shape[1]} px ({claimed / 2**30:.1f} GiB) "
                f"in a file of {plural(size, 'byte')}; it is damaged or malicious"
            )


def _palette(dataset: rasterio.DatasetReader) -> tuple[tuple[int, RGBA], ...] | None:
    """Return the colour table, unless it is the black and white that GDAL gives every 1-bit image."""
    colors = tuple(sorted(dataset.colormap(1).items()))
    return None if colors == ((0, (0, 0, 0, 255)), (1, (255, 255, 255, 255))) else colors


def _stored_mask(flags: list[MaskFlags]) -> str | None:
    if MaskFlags.all_valid in flags or MaskFlags.alpha in flags or flags == [MaskFlags.nodata]:
        return None
    return "values" if MaskFlags.nodata in flags else "file"


def _grid(location: Location, dataset: rasterio.DatasetReader) -> Grid:
    """Return the grid; refuse files with ground control points or RPCs, which define no grid."""
    transform = Affine(*dataset.transform[:6])
    if transform == Affine.identity():
        points, _ = dataset.gcps
        if points or dataset.rpcs:
            given, option = ("ground control points", "") if points else ("RPCs", "-rpc ")
            name = PurePath(location.typed)
            remedy = f"gdalwarp {option}{shlex.quote(str(name))} {shlex.quote(name.stem + '_warped.tif')}"
            raise SceneError(f"{location.typed}: has {given} instead of a grid; fix it with: {remedy}")
    if not all(map(math.isfinite, transform[:6])) or transform.determinant == 0:
        raise SceneError(f"{location.typed}: its affine {tuple(transform[:6])} has no area; it is damaged")
    crs = dataset.crs
    return Grid(
        height=dataset.height,
        width=dataset.width,
        transform=transform,
        crs=(crs.to_wkt() or None) if crs else None,
    )
