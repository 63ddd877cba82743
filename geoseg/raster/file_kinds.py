"""Detection of file formats by the first bytes, whatever the name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal

_HEAD: Final = 2**16
_TO_TIFF: Final = "gdal_translate turns rasters of other formats into GeoTIFF"
_TO_GEOPACKAGE: Final = "ogr2ogr turns vector files of other formats into GeoPackage"
_UNPACK: Final = "unpack it and pass what is in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """A file format.

    Parameters
    ----------
    name : str
        Name with its article, for messages.
    holds : str
        Kind of content: ``raster``, ``vector``, ``model`` or ``other``.
    endings : tuple of str
        Usual file name extensions, the most common first.
    driver : str
        GDAL driver that opens it as a raster; empty if it is not read as one.
    remedy : str
        What to do with a file that geoseg cannot read; empty for supported formats.
    """

    name: str
    holds: Literal["raster", "vector", "model", "other"]
    endings: tuple[str, ...] = ()
    driver: str = ""
    remedy: str = ""

    @property
    def bare_name(self) -> str:
        """Name without the article."""
        return self.name.removeprefix("a ").removeprefix("an ")


def _unread(name: str, holds: Literal["raster", "vector", "other"], remedy: str, *endings: str) -> FileKind:
    return FileKind(name=name, holds=holds, endings=endings, remedy=remedy)


GEOTIFF: Final = FileKind(name="a GeoTIFF", holds="raster", endings=(".tif", ".tiff"), driver="GTiff")
PNG: Final = FileKind(name="a PNG", holds="raster", endings=(".png",), driver="PNG")
JPEG: Final = FileKind(name="a JPEG", holds="raster", endings=(".jpg", ".jpeg"), driver="JPEG")
JPEG2000: Final = FileKind(
    name="a JPEG 2000 file", holds="raster", endings=(".jp2", ".j2k"), driver="JP2OpenJPEG"
)
VRT: Final = FileKind(name="a VRT", holds="raster", endings=(".vrt",), driver="VRT")

GEOPACKAGE: Final = FileKind(name="a GeoPackage", holds="vector", endings=(".gpkg",))
DATABASE: Final = FileKind(name="a SQLite database", holds="vector", endings=(".sqlite",))
GEOJSON: Final = FileKind(name="GeoJSON", holds="vector", endings=(".geojson", ".json"))
GEOJSON_LINES: Final = FileKind(
    name="GeoJSON in lines", holds="vector", endings=(".geojsonl", ".geojsons", ".ndjson", ".jsonl")
)
SHAPEFILE: Final = FileKind(name="a Shapefile", holds="vector", endings=(".shp",))
FLATGEOBUF: Final = FileKind(name="a FlatGeobuf", holds="vector", endings=(".fgb",))
GEOPARQUET: Final = FileKind(name="a GeoParquet file", holds="vector", endings=(".parquet", ".geoparquet"))
KML: Final = FileKind(name="a KML file", holds="vector", endings=(".kml",))
GPX: Final = FileKind(name="a GPX file", holds="vector", endings=(".gpx",))
GEODATABASE: Final = FileKind(name="a file geodatabase", holds="vector", endings=(".gdb",))
GML: Final = _unread("a GML file", "vector", _TO_GEOPACKAGE, ".gml")
POINTER: Final = _unread(
    "a file that only points at other data, which is not followed", "other", "pass that data itself"
)

MODEL: Final = FileKind(name="a model file", holds="model", endings=(".safetensors",))
EXPORTED: Final = FileKind(name="an exported model", holds="model")  # .xml; its content decides
ONNX: Final = FileKind(name="an ONNX file", holds="model", endings=(".onnx",))

KINDS: Final = (
    GEOTIFF, PNG, JPEG, JPEG2000, VRT,
    GEOPACKAGE, GEOJSON, GEOJSON_LINES, SHAPEFILE, FLATGEOBUF, GEOPARQUET, KML, GPX, GEODATABASE, DATABASE, GML,
    MODEL, ONNX,
)  # fmt: skip
"""Formats with file name extensions of their own."""

_SQLITE: Final = b"SQLite format 3\0"
_ZIP: Final = b"PK\x03\x04"
_MAGIC: Final = {
    b"II*\0": GEOTIFF,
    b"MM\0*": GEOTIFF,
    b"II+\0": GEOTIFF,
    b"MM\0+": GEOTIFF,
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"\0\0\0\x0cjP  \r\n\x87\n": JPEG2000,
    b"\xff\x4f\xff\x51": JPEG2000,
    b"fgb\x03fgb": FLATGEOBUF,
    b"\0\0\x27\x0a": SHAPEFILE,
    b"PAR1": GEOPARQUET,
    b"\x89HDF\r\n\x1a\n": _unread("an HDF5 or NetCDF file", "raster", _TO_TIFF),
    b"\x0e\x03\x13\x01": _unread("an HDF4 file", "raster", _TO_TIFF),
    b"CDF": _unread("a NetCDF file", "raster", _TO_TIFF),
    b"GRIB": _unread("a GRIB file", "raster", _TO_TIFF),
    b"EHFA_HEADER_TAG": _unread("an Erdas Imagine file", "raster", _TO_TIFF),
    b"NITF": _unread("a NITF file", "raster", _TO_TIFF),
    b"GIF8": _unread("a GIF", "raster", _TO_TIFF),
    b"BM": _unread("a BMP", "raster", _TO_TIFF),
    b"%PDF": _unread("a PDF", "other", _TO_TIFF),
    b"LASF": _unread("a point cloud", "other", "make a raster of it first"),
    b"\x1f\x8b": _unread("a gzip archive", "other", _UNPACK),
    b"BZh": _unread("a bzip2 archive", "other", _UNPACK),
    b"\xfd7zXZ": _unread("an xz archive", "other", _UNPACK),
    b"\x28\xb5\x2f\xfd": _unread("a zstd archive", "other", _UNPACK),
    b"7z\xbc\xaf": _unread("a 7-Zip archive", "other", _UNPACK),
    b"Rar!": _unread("a RAR archive", "other", _UNPACK),
    b"version https://git-lfs": _unread("a Git LFS pointer", "other", "fetch the file with git lfs pull"),
}
_ROOTS: Final = {
    "VRTDataset": VRT,
    "net": EXPORTED,
    "kml": KML,
    "gpx": GPX,
    "FeatureCollection": GML,
    "OGRVRTDataSource": POINTER,
    "OGRWFSDataSource": POINTER,
    "GDAL_WMS": POINTER,
    "GDAL_WMTS": POINTER,
    "WMS_Tile_Service": POINTER,
    "qgis": _unread("a style or project of QGIS", "other", "pass the layer's own file"),
    "html": _unread("a web page", "other", "a server sent it in place of the file; download it again"),
    "Error": _unread("an error of a server", "other", "it came in place of the file; download it again"),
    "PAMDataset": _unread("a sidecar of a raster", "other", "pass the raster"),
}
"""XML formats by the name of their root element."""
_GEO: Final = re.compile(
    rb'"type"\s*:\s*"(?:Feature(?:Collection)?|Geometry(?:Collection)|(?:Multi)?(?:Point|LineString|Polygon)|Topology)"'
)


def kind_of(path: Path) -> FileKind | None:
    """Detect a file's format; return None if it is unknown.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if path.is_dir():
        is_geodatabase = path.suffix.lower() == ".gdb" and (path / "a00000001.gdbtable").is_file()
        return GEODATABASE if is_geodatabase else None
    with path.open("rb") as file:
        kind = kind_of_bytes(file.read(_HEAD))
    # Early GeoPackages lack the application id: for them the extension decides.
    return GEOPACKAGE if kind == DATABASE and path.suffix.lower() in GEOPACKAGE.endings else kind


def kind_of_bytes(head: bytes) -> FileKind | None:
    """Detect the format of a file by its first bytes; return None if it is unknown."""
    if head.startswith(_SQLITE):
        return GEOPACKAGE if head[68:71] in (b"GPK", b"GP1") else DATABASE
    if head.startswith(_ZIP):
        return _archive(head)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        return MODEL
    return _kind_of_text(_text(head))


def kind_by_name(path: PurePath) -> FileKind | None:
    """Return the format by the extension of a file name; None if that is unknown."""
    suffix = path.suffix.lower()
    return next((kind for kind in KINDS if suffix in kind.endings), None)


def _archive(head: bytes) -> FileKind:
    """Detect the content of a ZIP archive by its first member."""
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]
    if first.endswith((b"data.pkl", b"/.format_version")):
        return _unread("weights of PyTorch", "other", "geoseg model import makes a model file of it")
    if first.endswith(b".kml"):
        return _unread("a KMZ archive", "other", _UNPACK)
    return _unread("a ZIP archive", "other", _UNPACK)


def _text(head: bytes) -> bytes:
    """Return the beginning of a text as UTF-8 without byte order mark and leading blanks."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", errors="replace").encode()
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _kind_of_text(text: bytes) -> FileKind | None:
    if text.startswith(b"<"):
        root = _root(text)
        known = _ROOTS.get(root) or _ROOTS.get(root.lower())
        return known or _unread(f"an XML file of {root or 'unknown content'}"[:80], "other", _TO_GEOPACKAGE)
    if text.startswith((b"{", b"\x1e")):
        first, _, rest = text.partition(b"\n")
        if text.startswith(b"\x1e") or (rest.lstrip().startswith(b"{") and _is_json(first)):
            return GEOJSON_LINES
        return GEOJSON if _GEO.search(text) else FileKind(name="a JSON file", holds="vector")
    return None


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _root(text: bytes) -> str:
    """Return the name of the root element of an XML text, without its namespace; empty if none is found."""
    at = 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        for begin, end in ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!", b">")):
            if text.startswith(begin, at):
                close = text.find(end, at)
                inner = text.find(b"[", at)
                if begin == b"<!" and 0 <= inner < close:  # declarations in a document type
                    close = text.find(end, text.find(b"]", inner))
                if close < 0:
                    return ""
                at = close + len(end)
                break
        else:
            name = re.match(rb"<(?:[\w.-]+:)?([\w.-]+)", text[at : at + 256])
            return name[1].decode(errors="replace") if name else ""
