"""The files that a VRT points at."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from geoseg.errors import SceneError

_LARGEST = 256 * 2**20
"""A VRT of a million members has about this many bytes."""
_DEEPEST = 8
REMOTE: Final = "--allow-remote lets predict, segment, info, train and model quantize"
"""Who may read remote members, for messages: other commands use the same functions and have no such option."""


def check_members(path: Path, typed: str, *, allow_remote: bool, depth: int = 0) -> list[str]:
    """Every local file that a VRT reads, members of members too.

    Parameters
    ----------
    path : Path
        A local VRT.
    typed : str
        Name as the user gave it.
    allow_remote : bool
        Whether members may be remote; those are not returned.
    depth : int
        How many VRTs led here.

    Raises
    ------
    SceneError
        If a member is missing, remote without consent, or no file name at all.
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
                    f"{typed}: member {member} is not a local file; {REMOTE} read it, elsewhere fetch it first"
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
    """All elements of a VRT or another XML file, from a parser that declares no entities."""
    if path.stat().st_size > _LARGEST:
        raise SceneError(f"{typed}: has {path.stat().st_size} bytes, expected XML below {_LARGEST}")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise SceneError(f"{typed}: declares XML entities, which it does not need; not opened")
    try:
        return list(ElementTree.fromstring(text).iter())  # noqa: S314  entities are refused above
    except ElementTree.ParseError as error:
        raise SceneError(f"{typed}: is not well-formed XML ({error})") from error
