"""Files beside a raster that go with it: the QGIS style, GDAL's metadata, overviews and mask."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from geoseg.errors import Message, OutputExistsError
from geoseg.grid.qml import palette_classes, written_here

RASTER_SUFFIXES = (".tif", ".tiff")
RASTER_SIDECARS = (".aux.xml", ".ovr", ".msk", ".qml")
"""Suffixes of the files that describe a raster, and that are wrong beside another of its name."""

_STYLED = (*RASTER_SUFFIXES, ".vrt")
"""Endings of the rasters that geoseg writes with a style beside them."""
_LARGEST = 16 * 2**20
# GDAL lays category names out alike, so that only the style beside them tells whose they are.
_CATEGORIES = re.compile(
    r"<PAMDataset>\n"
    r'(  <PAMRasterBand band="\d+">\n    <CategoryNames>\n(      <Category>[^<]*</Category>\n)+'
    r"    </CategoryNames>\n  </PAMRasterBand>\n)+</PAMDataset>\n"
)


def sidecar_path(path: Path, suffix: str) -> Path:
    """Return the name of a sidecar: QGIS styles replace the extension, GDAL's suffixes are appended."""
    return path.with_suffix(suffix) if suffix == ".qml" else path.with_name(path.name + suffix)


def refuse_sidecars_of_others(path: Path) -> None:
    """Refuse to write a raster that does not exist, where files lie that would be replaced with it.

    What geoseg left of an output of this name is replaced: a style as geoseg writes it, unless it belongs to another
    raster that is there, and the category names of the same classes.

    Parameters
    ----------
    path : Path
        The output; nothing else but a GeoTIFF has such sidecars.

    Raises
    ------
    OutputExistsError
        Naming them.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        return
    there = [
        sidecar_path(path, suffix)
        for suffix in RASTER_SIDECARS
        if os.path.lexists(sidecar_path(path, suffix))
    ]
    refuse_those_there(path, [each for each in there if each not in _left(path, there)])


def _left(path: Path, there: Sequence[Path]) -> Sequence[Path]:
    """Return those of the files beside a raster that geoseg left of one of this name: all that it wrote, or none."""
    style, names = sidecar_path(path, ".qml"), sidecar_path(path, ".aux.xml")
    text = _style_left(path)
    if text is None or (names in there and not _names_left(names, text)):
        return ()
    return style, names


def refuse_those_there(output: Path, others: Sequence[Path]) -> None:
    """Raise OutputExistsError if there are files, maybe somebody's, that an output would replace besides itself."""
    if others:
        them = "it" if len(others) == 1 else "them"
        raise OutputExistsError(
            f"{output}: would replace {' and '.join(other.name for other in others)}, too, which may be another file's",
            Message(
                f"move {them} elsewhere, choose another {{output}}, or pass {{overwrite}} to replace {them}",
                overwrite=True,
            ),
        )


def is_style_of_ours(path: Path) -> bool:
    """Tell whether a file is a style of a raster, byte by byte as geoseg writes it: nobody has changed it."""
    text = _read(path)
    return text is not None and written_here(text)


def _style_left(path: Path) -> str | None:
    """Return the text of a style that was left of a raster of this name; None if it is missing or another's."""
    style = sidecar_path(path, ".qml")
    for ending in _STYLED:
        other = path.with_suffix(ending)
        if other != path and other.exists():
            return None
    return _read(style) if is_style_of_ours(style) else None


def _names_left(path: Path, style: str) -> bool:
    """Tell whether a file holds the category names that are those of a style, and nothing besides."""
    text = _read(path)
    if text is None or not _CATEGORIES.fullmatch(text):
        return False
    try:
        band = ElementTree.fromstring(text).findall("./PAMRasterBand")[0]  # noqa: S314  no entities: see the pattern
    except ElementTree.ParseError:
        return False
    names = {
        str(code): each.text
        for code, each in enumerate(band.findall("./CategoryNames/Category"))
        if each.text
    }
    return names == {value: label for value, label, _ in palette_classes(style)}


def _read(path: Path) -> str | None:
    """Return the text of a small file; None if it is missing, large or no text."""
    try:
        return path.read_bytes().decode() if path.stat().st_size <= _LARGEST else None
    except (OSError, UnicodeDecodeError):
        return None
