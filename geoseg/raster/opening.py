"""Which files may be opened as a scene, and with which driver.

A name that the user typed is consent: one that ends in ``.vrt``, or a URL, is opened as such. Content of a file is
not: a file is opened only with the driver that its first bytes indicate, its sidecars must be TIFF, and it may not
refer to other files. A VRT's members are checked like files that the user typed.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final
from xml.etree import ElementTree

from geoseg.errors import Message, SceneError, Text, plural
from geoseg.raster.file_kinds import GEOTIFF, VRT, FileKind, kind_by_name, kind_of
from geoseg.storage.output import check_encoding

_LARGEST = 256 * 2**20
"""Largest VRT, bytes: about a million members."""
_DEEPEST = 8
_FETCH: Final = "download it first"

_SIDECARS = (".msk", ".ovr", ".MSK", ".OVR", ".msk.ovr", ".msk.msk", ".ovr.msk", ".ovr.ovr")


def _remedy(*, allow_remote: bool | None) -> Text:
    """Advise the keyword only where the caller has it: with None there is no such choice."""
    if allow_remote is None:
        return _FETCH
    return Message("pass {allow_remote} to read it, or {}", _FETCH, allow_remote=True)


def check_members(path: Path, typed: str, *, allow_remote: bool | None, depth: int = 0) -> list[str]:
    """Return every local file that a VRT reads, including members of members.

    Parameters
    ----------
    path : Path
        Local VRT file.
    typed : str
        Name as the user gave it.
    allow_remote : bool or None
        Whether members may be remote; remote ones are not returned. None: no, and the caller offers no choice.
    depth : int
        Nesting depth of this VRT.

    Raises
    ------
    SceneError
        If a member is missing, remote without permission, or not a file.
    """
    if depth > _DEEPEST:
        raise SceneError(f"{typed}: VRTs are nested more than {_DEEPEST} deep")
    found: list[str] = []
    for element in elements_of(path, typed):
        if element.tag == "VRTRasterBand" and element.get("subClass") == "VRTRawRasterBand":
            raise SceneError(f"{typed}: has a raw band, which could show the bytes of any file; not opened")
        if element.tag not in ("SourceFilename", "SourceDataset") or not (element.text or "").strip():
            continue
        member = (element.text or "").strip()
        if "/vsi" in member or "://" in member:
            if not allow_remote:
                raise SceneError(
                    f"{typed}: member {member} is not a local file", _remedy(allow_remote=allow_remote)
                )
            continue
        file = path.parent / member if element.get("relativeToVRT") == "1" else Path(member)
        if not file.is_file():
            raise SceneError(f"{typed}: member {member[:200]!r} is not a file")
        found.append(str(file.absolute()))
        if file.suffix.lower() == ".vrt":
            found += check_members(file, typed, allow_remote=allow_remote, depth=depth + 1)
    return found


def elements_of(path: Path, typed: str) -> list[ElementTree.Element]:
    """Return all elements of a VRT or another XML file; refuse files that declare entities."""
    if path.stat().st_size > _LARGEST:
        raise SceneError(f"{typed}: has {plural(path.stat().st_size, 'byte')}, expected XML below {_LARGEST}")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise SceneError(f"{typed}: declares XML entities, which it does not need; not opened")
    try:
        return list(ElementTree.fromstring(text).iter())  # noqa: S314  entities are refused above
    except ElementTree.ParseError as error:
        raise SceneError(f"{typed}: is not well-formed XML ({error})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a raster is and how it is opened.

    Parameters
    ----------
    typed : str
        Name as given by the user, for messages.
    name : str
        Absolute path, URL or GDAL's ``/vsi...`` name.
    driver : str
        The only driver that may open it.
    remote : bool
        Whether `name` is not a local file.
    signature : tuple of (int, int) or None
        Size in bytes and modification time in ns of a local file, to detect changes.
    members : tuple of Location
        Files of a stack, whose `name` is then a VRT made of them.
    """

    typed: str
    name: str
    driver: str
    remote: bool
    signature: tuple[int, int] | None
    members: tuple[Location, ...] = ()

    def check_unchanged(self) -> None:
        """Raise SceneError if the file has changed since it was located."""
        for member in self.members:
            member.check_unchanged()
        if self.signature is not None and signature_of(self.name, self.typed) != self.signature:
            raise SceneError(f"{self.typed}: changed while it was in use; start again when it is complete")

    def check_sidecars(self) -> None:
        """Raise SceneError if a sidecar that GDAL would open is not a TIFF."""
        for member in self.members:
            member.check_sidecars()
        if not self.remote and self.driver != "VRT":
            check_sidecars(self.name)


def locate(path: str | os.PathLike[str], *, allow_remote: bool | None) -> Location:
    """Decide how to open a raster, without opening it.

    Parameters
    ----------
    path : path-like
        Path or URL as the user typed it.
    allow_remote : bool or None
        Whether a VRT may have members that are not local files. None: no, and the caller offers no choice.

    Raises
    ------
    SceneError
        If it does not exist or is not a file that is opened as a scene.
    """
    typed = os.fspath(path)
    is_vrt = typed.lower().endswith(".vrt")
    if is_remote(typed):
        if is_vrt and not allow_remote:
            raise SceneError(
                f"{typed}: is a remote VRT, and so are its members", _remedy(allow_remote=allow_remote)
            )
        named = kind_by_name(PurePath(typed.split("?")[0]))
        driver = (VRT.driver if is_vrt else named.driver if named else "") or GEOTIFF.driver
        return Location(typed=typed, name=typed, driver=driver, remote=True, signature=None)
    check_encoding(Path(typed), SceneError)
    name = str(Path(typed).absolute())
    signature = signature_of(name, typed)
    driver = _driver_of(name, typed)
    if driver == "VRT":
        for member in check_members(Path(name), typed, allow_remote=allow_remote):
            if not member.lower().endswith(".vrt"):
                _driver_of(member, member)
                check_sidecars(member)
    else:
        check_sidecars(name)
    if driver == "PNG":
        check_complete_png(name, typed)
    return Location(typed=typed, name=name, driver=driver, remote=False, signature=signature)


def signature_of(name: str, typed: str) -> tuple[int, int]:
    """Return size and modification time of a regular file."""
    try:
        status = os.stat(name)  # noqa: PTH116  called at every read; six times as fast as Path.stat
    except OSError as error:
        raise SceneError(f"{typed}: cannot be opened ({error.strerror}); check the path") from error
    return status.st_size, status.st_mtime_ns


def check_sidecars(name: str) -> None:
    """Raise SceneError unless the masks and overviews beside a file are TIFF by their first bytes.

    GDAL opens them with any driver, so that a VRT named ``.msk`` could read any file or URL.
    """
    for suffix in _SIDECARS:
        sidecar = name + suffix
        if Path(sidecar).exists() and _sniff(sidecar) is not GEOTIFF:
            raise SceneError(f"{sidecar}: is not a TIFF, which a sidecar of this name must be; remove it")


def check_complete_png(name: str, typed: str) -> None:
    """Raise SceneError if a PNG is truncated: GDAL returns noise for it, without an error."""
    with Path(name).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = len(b"\x89PNG\r\n\x1a\n")
        while start + 12 <= size:
            file.seek(start)
            length, kind = struct.unpack(">I4s", file.read(8))
            start += 12 + length
            if kind == b"IEND":
                return
    raise SceneError(f"{typed}: ends too early for a PNG; it is damaged or incomplete")


def is_remote(typed: str) -> bool:
    """Tell whether a name is a URL or in one of GDAL's ``/vsi...`` file systems."""
    return "://" in typed or typed.startswith("/vsi")


def _driver_of(name: str, typed: str) -> str:
    """Return the driver that a local file's first bytes indicate; VRT only if the extension says so, too."""
    if Path(name).is_dir():
        raise SceneError(f"{typed}: is a folder, expected a raster file")
    if not Path(name).is_file():
        raise SceneError(f"{typed}: is not a file, expected a raster file")
    kind = _sniff(name, typed)
    if kind is None:
        if not Path(name).stat().st_size:
            raise SceneError(f"{typed}: is empty, expected a raster file; fetch or write it again")
        raise SceneError(
            f"{typed}: is not a GeoTIFF, JPEG 2000, PNG or JPEG file by its first bytes; "
            "gdal_translate turns rasters of other formats into GeoTIFF"
        )
    if not kind.driver:
        remedy = kind.remedy or "rasterize makes rasters of polygons" * (kind.holds == "vector")
        raise SceneError(
            f"{typed}: is {kind.name}, expected a GeoTIFF, JPEG 2000, PNG or JPEG file"
            + f"; {remedy}" * bool(remedy)
        )
    if kind is VRT and not name.lower().endswith(".vrt"):
        raise SceneError(
            f"{typed}: is a VRT under another name, which is not opened; "
            "rename it to .vrt if you trust the files it points at"
        )
    return kind.driver


def _sniff(name: str, typed: str | None = None) -> FileKind | None:
    """Return the format of a file by its first bytes, or None."""
    try:
        return kind_of(Path(name))
    except OSError as error:
        raise SceneError(f"{typed or name}: cannot be read ({error.strerror})") from error
