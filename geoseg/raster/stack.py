"""Several files as the bands of one raster, by a VRT that is built in memory.

GDAL's VRT resamples files of other resolutions bilinearly; the result does not depend on the window that is read.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from affine import Affine

from geoseg.errors import OptionError, SceneError, plural
from geoseg.grid.grid import SAME_PIXEL, Grid, same_crs
from geoseg.grid.window import Window
from geoseg.raster.band_names import read_name
from geoseg.raster.description import Description, describe
from geoseg.raster.opening import Location, locate
from geoseg.raster.products import Member, Stack

_ALONG: Final = 1e-6
"""Largest rotation between grids, as a share of the pixel size."""
_NUMBER: Final = re.compile(
    r"(?:^|[_\-. ])((?:(?:SR|ST)_)?B(?:and)?[_ ]?\d{1,2}A?)(?:_\d\dm)?$", re.IGNORECASE
)
"""Band number at the end of a file name."""
_TYPES: Final = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "uint64": "UInt64", "int64": "Int64", "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """A band of a file, and where the file lies on the grid of the stack.

    Parameters
    ----------
    file : Description
        Metadata of the file.
    number : int
        Number of the band in the file, from 1.
    name : str
        Name of the band in the stack.
    member : Member
        The file as an entry of the stack.
    place : tuple of float
        Column, row, width and height of the file in px of the stack.
    """

    file: Description
    number: int
    name: str
    member: Member
    place: tuple[float, float, float, float]


def describe_stack(stack: Stack, *, resolution: float | None, allow_remote: bool | None) -> Description:
    """Describe the files of a stack as one raster.

    Its grid is that of the file with the finest resolution, cropped to the area that all files cover.

    Parameters
    ----------
    stack : Stack
        Files to combine.
    resolution : float, optional
        Pixel size in units of the CRS, instead of the finest.
    allow_remote : bool or None
        Whether a VRT among the files may have remote members.

    Raises
    ------
    SceneError
        If a file cannot be opened, has another CRS, or is rotated or elsewhere.
    """
    files = [describe(locate(member.path, allow_remote=allow_remote)) for member in stack.members]
    for file in files:
        _refuse(stack, file)
    whole = _with_resolution(_finest(files), resolution)
    places = [_place(stack, file, whole) for file in files]
    part = _shared(stack, places, whole)
    places = [(col - part.col, row - part.row, width, height) for col, row, width, height in places]
    bands = list(_bands(stack, files, places))
    grid = whole.cropped(part)
    location = Location(
        typed=stack.typed,
        name=_vrt(bands, grid),
        driver="VRT",
        remote=any(file.location.remote for file in files),
        signature=None,
        members=tuple(file.location for file in files),
    )
    cut = [None] if part == Window(row=0, col=0, height=whole.height, width=whole.width) else [
        f"its files cover different areas; the scene is the {part.height} x {part.width} px that all of them cover"
    ]  # fmt: skip
    return dataclasses.replace(
        describe(location),
        grid=grid,
        block_shape=_block_shape(files, places, grid),
        brought=tuple(_words(band, grid) for band in bands),
        cut=cut[0],
    )


def _refuse(stack: Stack, file: Description) -> None:
    """Refuse files that a stack would misrepresent."""
    path = file.location.typed
    member = next(member for member in stack.members if member.path == path)
    if member.name is not None and len(file.dtypes) > 1:
        raise SceneError(
            f"{path}: has {plural(len(file.dtypes), 'band')}, expected one, called {member.name}"
        )
    if file.palette is not None:
        raise SceneError(f"{path}: has a colour table, so its values are codes, not an image; leave it out")
    if any(file.masks):
        raise SceneError(
            f"{path}: has a mask, which stacks do not support; write it as a no-data value with gdalwarp -dstnodata"
        )
    unknown = next((dtype for dtype in file.dtypes if dtype not in _TYPES), None)
    if unknown is not None:
        raise SceneError(f"{path}: is {unknown}, expected real numbers")


def _finest(files: Sequence[Description]) -> Grid:
    return min((file.grid for file in files), key=lambda grid: abs(grid.transform.determinant))


def _with_resolution(grid: Grid, resolution: float | None) -> Grid:
    """Return a grid with another pixel size and the same top-left corner."""
    if resolution is None:
        return grid
    if not (math.isfinite(resolution) and resolution > 0):
        raise OptionError(f"resolution is {resolution}, expected a size of pixels above 0")
    cols, rows = (resolution / edge for edge in _edges(grid.transform))
    height, width = math.floor(grid.height / rows + SAME_PIXEL), math.floor(grid.width / cols + SAME_PIXEL)
    if not height or not width:
        raise OptionError(f"resolution is {resolution:g}, larger than the whole scene")
    return dataclasses.replace(
        grid, height=height, width=width, transform=grid.transform @ Affine.scale(cols, rows)
    )


def _edges(transform: Affine) -> tuple[float, float]:
    """Return the width and height of a pixel, in units of the CRS."""
    return math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)


def _place(stack: Stack, file: Description, grid: Grid) -> tuple[float, float, float, float]:
    """Find where a file lies on the grid of its stack."""
    own, path = file.grid, file.location.typed
    if not same_crs(own.crs, grid.crs):
        raise SceneError(
            f"{path}: has another CRS than the rest of {stack}; reproject it with gdalwarp -t_srs"
        )
    if own.transform.is_identity and grid.transform.is_identity and own.shape != grid.shape:
        raise SceneError(
            f"{path}: has {own.height} x {own.width} px, expected {grid.height} x {grid.width} as the rest of {stack}: "
            "without georeferencing only files of one shape can be combined"
        )
    onto = ~grid.transform @ own.transform
    if max(abs(onto.b), abs(onto.d)) > _ALONG * max(abs(onto.a), abs(onto.e)) or onto.a <= 0 or onto.e <= 0:
        raise SceneError(
            f"{path}: its grid is rotated against that of {stack}; resample it to that grid with gdalwarp"
        )
    col, row, width, height = onto.c, onto.f, onto.a * own.width, onto.e * own.height
    return _whole(col), _whole(row), _whole(width), _whole(height)


def _whole(number: float) -> float:
    """Round a number that differs from a whole one only by writers' rounding."""
    return float(round(number)) if abs(number - round(number)) < SAME_PIXEL else number


def _shared(stack: Stack, places: Sequence[tuple[float, float, float, float]], grid: Grid) -> Window:
    """Find the window of pixels that all files cover."""
    left = max(0, *(math.ceil(col) for col, _, _, _ in places))
    top = max(0, *(math.ceil(row) for _, row, _, _ in places))
    right = min(grid.width, *(math.floor(col + width) for col, _, width, _ in places))
    bottom = min(grid.height, *(math.floor(row + height) for _, row, _, height in places))
    if right <= left or bottom <= top:
        raise SceneError(f"{stack}: its files do not overlap, expected bands of one scene")
    return Window(row=top, col=left, height=bottom - top, width=right - left)


def _bands(
    stack: Stack, files: Sequence[Description], places: Sequence[tuple[float, float, float, float]]
) -> Iterator[_Band]:
    """Yield all bands of all files with their names."""
    for member, file, place in zip(stack.members, files, places, strict=True):
        for number, described in enumerate(file.descriptions, start=1):
            name = member.name or described or _called(Path(member.path.split("?")[0]).stem)
            if len(file.dtypes) > 1 and not described:
                name = f"{name}_{number}"
            yield _Band(file=file, number=number, name=name, member=member, place=place)


def _called(stem: str) -> str:
    """Name the band of an undescribed file: by a band name at the end of its file name, else by the whole name."""
    number = _NUMBER.search(stem)
    if number is not None:
        return number[1]
    parts = re.split(r"[_\-. ]+", stem)
    ends = (" ".join(parts[-count:]) for count in (3, 2, 1))
    return next((end for end in ends if read_name(end).word is not None), stem)


def _vrt(bands: Sequence[_Band], grid: Grid) -> str:
    """Write the stack as the XML of a VRT."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        _add(root, "SRS", grid.crs)
    if not grid.transform.is_identity:
        _add(root, "GeoTransform", ", ".join(map(repr, grid.transform.to_gdal())))
    for place, band in enumerate(bands, start=1):
        _add_band(root, place, band)
    return ElementTree.tostring(root, encoding="unicode")


def _add_band(root: ElementTree.Element, place: int, band: _Band) -> None:
    i, file, member = band.number - 1, band.file, band.member
    element = ElementTree.SubElement(root, "VRTRasterBand", dataType=_TYPES[file.dtypes[i]], band=str(place))
    _add(element, "Description", band.name)
    nodata = member.nodata if file.nodata[i] is None else file.nodata[i]
    if nodata is not None:
        _add(element, "NoDataValue", repr(nodata))
    scale = member.scale if file.scale is None else file.scale[i]
    offset = member.offset if file.offset is None else file.offset[i]
    for tag, number in (("Scale", scale), ("Offset", offset)):
        if number is not None:
            _add(element, tag, repr(number))
    if band.number == file.alpha_band:
        _add(element, "ColorInterp", "Alpha")
    source = ElementTree.SubElement(element, "SimpleSource", resampling="bilinear")
    _add(source, "SourceFilename", file.location.name).set("relativeToVRT", "0")
    _add(source, "SourceBand", str(band.number))
    col, row, width, height = band.place
    for tag, box in (
        ("SrcRect", (0, 0, file.grid.width, file.grid.height)),
        ("DstRect", (col, row, width, height)),
    ):
        names = ("xOff", "yOff", "xSize", "ySize")
        ElementTree.SubElement(source, tag, dict(zip(names, map(repr, box), strict=True)))


def _add(parent: ElementTree.Element, tag: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag)
    element.text = text
    return element


def _block_shape(
    files: Sequence[Description], places: Sequence[tuple[float, float, float, float]], grid: Grid
) -> tuple[int, int]:
    """Return the rows and columns, in px of the stack, of the largest blocks among its files."""
    shapes = [
        (file.block_shape[0] * height / file.grid.height, file.block_shape[1] * width / file.grid.width)
        for file, (_, _, width, height) in zip(files, places, strict=True)
    ]
    rows, cols = (math.ceil(max(edges)) for edges in zip(*shapes, strict=True))
    return min(rows, grid.height), min(cols, grid.width)


def _words(band: _Band, grid: Grid) -> str | None:
    """Describe how the pixels of a band were resampled to the stack; None if they were not."""
    col, row, width, height = band.place
    own = band.file.grid
    if (width, height) == (own.width, own.height) and col.is_integer() and row.is_integer():
        return None
    found, wanted = _edges(own.transform)[0], _edges(grid.transform)[0]
    if math.isclose(found, wanted, rel_tol=SAME_PIXEL):
        return "lying between the others' pixels"
    return f"of pixels of {found:g} brought to {wanted:g}"
