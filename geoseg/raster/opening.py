"""What may be opened as a scene, and by which driver.

What the user typed is consent: a name that ends in ``.vrt`` or a URL is opened as such. What hides inside a
file is not: a file is opened by the driver its first bytes belong to and by no other, its sidecars must be
TIFF, and it may not point at files of its own choice.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path, PurePath

from geoseg.errors import SceneError
from geoseg.raster.file_kinds import GEOTIFF, VRT, FileKind, kind_by_name, kind_of
from geoseg.raster.members import REMOTE, check_members
from geoseg.storage.output import check_encoding

_SIDECARS = (".msk", ".ovr", ".MSK", ".OVR", ".msk.ovr", ".msk.msk", ".ovr.msk", ".ovr.ovr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a raster is and how it is opened.

    Parameters
    ----------
    typed : str
        Name as the user gave it, for messages.
    name : str
        Absolute path, URL or GDAL's ``/vsi...`` name.
    driver : str
        The only driver that may open it.
    remote : bool
        Whether `name` is not a local file.
    signature : tuple of (int, int) or None
        Size in bytes and modification time in ns of a local file: what tells a changed file.
    members : tuple of Location
        Files of a stack, whose `name` is then a VRT that was made of them.
    """

    typed: str
    name: str
    driver: str
    remote: bool
    signature: tuple[int, int] | None
    members: tuple[Location, ...] = ()

    def check_unchanged(self) -> None:
        """Raise SceneError if the file is not the one that was located."""
        for member in self.members:
            member.check_unchanged()
        if self.signature is not None and signature_of(self.name, self.typed) != self.signature:
            raise SceneError(f"{self.typed}: changed while it was in use; start again when it is complete")

    def check_sidecars(self) -> None:
        """Raise SceneError if what GDAL would open beside the file is not what it seems."""
        for member in self.members:
            member.check_sidecars()
        if not self.remote and self.driver != "VRT":
            check_sidecars(self.name)


def locate(path: str | os.PathLike[str], *, allow_remote: bool) -> Location:
    """Decide how a raster is opened, without opening it.

    Parameters
    ----------
    path : path-like
        As the user typed it.
    allow_remote : bool
        Whether a VRT may have members that are not local files.

    Raises
    ------
    SceneError
        If nothing is there, or something that is not opened as a scene.
    """
    typed = os.fspath(path)
    is_vrt = typed.lower().endswith(".vrt")
    if is_remote(typed):
        if is_vrt and not allow_remote:
            raise SceneError(
                f"{typed}: the members of a remote VRT are remote; {REMOTE} read them, elsewhere fetch them first"
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
    """Size and modification time of a regular file."""
    try:
        status = os.stat(name)  # noqa: PTH116  asked at every read, and six times as fast
    except OSError as error:
        raise SceneError(f"{typed}: cannot be opened ({error.strerror}); check the path") from error
    return status.st_size, status.st_mtime_ns


def check_sidecars(name: str) -> None:
    """Raise SceneError unless masks and overviews beside a file are TIFF by their first bytes.

    GDAL opens them with whatever driver fits, so that a VRT named ``.msk`` could read any file or URL.
    """
    for suffix in _SIDECARS:
        sidecar = name + suffix
        if Path(sidecar).exists() and _sniff(sidecar) is not GEOTIFF:
            raise SceneError(f"{sidecar}: is not a TIFF, which a sidecar of this name must be; remove it")


def check_complete_png(name: str, typed: str) -> None:
    """Raise SceneError if a PNG has no end: GDAL shows a truncated one as noise, without an error."""
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
    """Whether a name is a URL or one of GDAL's ``/vsi...`` file systems."""
    return "://" in typed or typed.startswith("/vsi")


def _driver_of(name: str, typed: str) -> str:
    """Return the driver that a local file's first bytes belong to; VRT only where its name says so."""
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
    """Return what a file is by its first bytes, or None."""
    try:
        return kind_of(Path(name))
    except OSError as error:
        raise SceneError(f"{typed or name}: cannot be read ({error.strerror})") from error
