"""Scenes with one file per band: lists of files, Sentinel-2's .SAFE folders, Landsat's folders.

No raster is opened here: file names and metadata tell which file is which band.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import Message, OptionError, SceneError, plural
from geoseg.raster.opening import elements_of, is_remote

_SENTINEL_2: Final = re.compile(
    r"(?:.*_)?(T\d\d[A-Z]{3}(?:_\d{8}T\d{6})?)_(B(?:0[1-9]|1[0-2]|8A))(?:_(\d\d)m)?\.(?:jp2|tiff?)",
    re.IGNORECASE,
)
_LANDSAT: Final = re.compile(
    r"(L[COETM]\d\d_\w+?)_((?:SR_|ST_)?B\d{1,2})(?:_VCID_[12])?\.tiff?", re.IGNORECASE
)
_PANCHROMATIC: Final = "B8"
"""Landsat's panchromatic band, left out for its other resolution; to use it, list the files."""
_LANDSAT_GROUPS: Final = {
    "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": re.compile(r"REFLECTANCE_(MULT|ADD)_BAND_()(\d+)"),
    "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": re.compile(r"TEMPERATURE_(MULT|ADD)_BAND_(ST_)B(\d+)"),
}
"""Groups of ``MTL.txt`` with scale and offset of level 2; other groups have the same keys for level 1."""
_LARGEST_MTL: Final = 2**20
_METADATA: Final = re.compile(r"MTD_MSIL[12][AC]\.xml", re.IGNORECASE)
_IDS: Final = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Sentinel-2's bands in the order of their ids in the metadata."""
_SEARCHED_DEEP: Final = 5
_NAME_FILES: Final = Message("name the files of one with {stack}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of a stack.

    Parameters
    ----------
    path : str
        File, URL or GDAL's ``/vsi...`` name.
    name : str or None
        Name of its only band; by default the file's band description, else its file name.
    scale, offset : float or None
        Scale and offset of its band from metadata beside the file.
    nodata : float or None
        No-data value of its band, if the file declares none.
    """

    path: str
    name: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Files whose bands form one scene.

    Parameters
    ----------
    members : tuple of Member
        The files, in the order of the bands.
    typed : str
        Name for messages.
    """

    members: tuple[Member, ...]
    typed: str

    @property
    def name(self) -> str:
        """Last part of the name for messages."""
        return Path(self.typed).name

    @property
    def files(self) -> tuple[Path, ...]:
        """Paths of the local files."""
        return tuple(Path(m.path) for m in self.members if not is_remote(m.path))

    def __str__(self) -> str:
        """Return the name for messages."""
        return self.typed


def stack_of(scene: Any) -> Stack | None:
    """Return the stack of a scene with one file per band; None for any other scene.

    Parameters
    ----------
    scene : Stack, mapping of name to path, sequence of path, or path
        What the user passed as a scene. A path may be a .SAFE folder, the ``MTD_MSIL….xml`` in it, or a folder of
        one Landsat product.

    Raises
    ------
    OptionError, SceneError
        If a list is empty, or a folder is not one product.
    """
    if isinstance(scene, Stack):
        return scene
    if isinstance(scene, Mapping):
        return listed_stack([(str(name), path) for name, path in scene.items()])
    if isinstance(scene, str | os.PathLike):
        return product(Path(scene)) if is_product(scene) else None
    if isinstance(scene, Sequence):
        return listed_stack([(None, path) for path in scene])
    return None


def listed_stack(files: Sequence[tuple[str | None, Any]]) -> Stack:
    """Make a stack of files, each with the name of its band or None."""
    if not files:
        raise OptionError("the stack is empty, expected a file for each band")
    for _, path in files:
        if not isinstance(path, str | os.PathLike):
            raise OptionError(
                f"a stack has an entry of type {type(path).__name__}, expected the path of a file for each band"
            )
    members = tuple(Member(path=os.fspath(path), name=name) for name, path in files)
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return Stack(members=members, typed=f"{members[0].path}{more}")


def is_product(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a folder of Sentinel-2 or Landsat bands, or Sentinel-2's metadata file."""
    text = os.fspath(path)
    if is_remote(text):
        return False
    place = Path(text)
    if is_metadata(place):
        return place.is_file()
    if not place.is_dir():
        return False
    if place.suffix.upper() == ".SAFE":
        return True
    try:
        names = [entry.name for entry in os.scandir(place)]
    except OSError:
        return False
    kinds = (_SENTINEL_2, _LANDSAT)
    return any(map(_METADATA.fullmatch, names)) or any(
        sum(map(bool, map(k.fullmatch, names))) > 1 for k in kinds
    )


def is_metadata(path: Path) -> bool:
    """Tell whether a path is named like the metadata file of a Sentinel-2 product."""
    return _METADATA.fullmatch(path.name) is not None


def product(path: Path) -> Stack:
    """Find the bands of a satellite product.

    Raises
    ------
    SceneError
        If there are no bands, or those of several products.
    """
    folder = path if path.is_dir() else path.parent
    files = sorted(
        file for deep in range(_SEARCHED_DEEP) for file in folder.glob("*/" * deep + "*") if file.is_file()
    )
    sentinel_2 = [(match, file) for file in files if (match := _SENTINEL_2.fullmatch(file.name))]
    if sentinel_2:
        return _sentinel_2(path, folder, sentinel_2)
    landsat = [(match, file) for file in files if (match := _LANDSAT.fullmatch(file.name))]
    if not landsat:
        raise SceneError(f"{path}: holds no bands of Sentinel-2 (..._B02.jp2), expected some", _NAME_FILES)
    _refuse_several(path, {match[1].upper() for match, _ in landsat})
    members = {match[2].upper(): file for match, file in landsat if match[2].upper() != _PANCHROMATIC}
    name = landsat[0][0][1]
    tags = _landsat_tags(next((f for f in files if f.name.lower() == f"{name}_mtl.txt".lower()), None))
    typed = folder if name.lower() in folder.name.lower() else folder / name
    return Stack(
        members=tuple(
            Member(path=str(members[band]), name=band, nodata=0.0, **tags.get(band, {}))
            for band in sorted(members, key=lambda band: (len(band.split("B")[-1]), band.split("B")[-1]))
        ),
        typed=str(typed),
    )


def _sentinel_2(path: Path, folder: Path, found: list[tuple[re.Match[str], Path]]) -> Stack:
    """Take each band of a Sentinel-2 product in its finest resolution, with scale and offset of the metadata."""
    _refuse_several(path, {match[1].upper() for match, _ in found})
    finest: dict[str, tuple[int, Path]] = {}
    for match, file in found:
        size = int(match[3] or 0)
        band = match[2].upper()
        finest[band] = min(finest.get(band, (size, file)), (size, file))
    tags = _tags(next((file for file in sorted(folder.iterdir()) if _METADATA.fullmatch(file.name)), None))
    return Stack(
        members=tuple(
            Member(path=str(finest[band][1]), name=band, nodata=0.0, **tags.get(band, {}))
            for band in _IDS
            if band in finest
        ),
        typed=str(folder),
    )


def _refuse_several(path: Path, names: set[str]) -> None:
    if len(names) > 1:
        raise SceneError(
            f"{path}: holds {plural(len(names), 'scene')} ({', '.join(sorted(names)[:3])}), expected one",
            _NAME_FILES,
        )


def _tags(metadata: Path | None) -> dict[str, dict[str, float]]:
    """Read scale and offset of reflectance by band from Sentinel-2 metadata; offsets exist since baseline 04.00."""
    if metadata is None:
        return {}
    quantification, offsets = None, dict.fromkeys(_IDS, 0.0)
    try:
        for element in elements_of(metadata, str(metadata)):
            tag = element.tag.rpartition("}")[2]
            if tag in ("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE"):
                quantification = float(element.text or "")
            elif tag in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET"):
                offsets[_IDS[int(element.get("band_id", ""))]] = float(element.text or "")
    except (ValueError, IndexError) as error:
        raise SceneError(f"{metadata}: its scale and offset cannot be read ({error})") from error
    if not quantification:
        return {}
    return {
        band: {"scale": 1 / quantification, "offset": offset / quantification}
        for band, offset in offsets.items()
    }


def _landsat_tags(metadata: Path | None) -> dict[str, dict[str, float]]:
    """Read scale and offset of surface reflectance and temperature by band from Landsat's ``MTL.txt``.

    Bands of level 1 have none, because their reflectance also depends on the elevation of the sun.
    """
    tags: dict[str, dict[str, float]] = {}
    if metadata is None:
        return tags
    try:
        with metadata.open("rb") as file:
            lines = file.read(_LARGEST_MTL).decode("ascii", errors="replace").splitlines()
        group = ""
        for key, _, value in (line.partition("=") for line in lines):
            if key.strip() == "GROUP":
                group = value.strip()
            match = _LANDSAT_GROUPS[group].fullmatch(key.strip()) if group in _LANDSAT_GROUPS else None
            if match is not None:
                kind = "scale" if match[1] == "MULT" else "offset"
                tags.setdefault(f"{match[2] or 'SR_'}B{match[3]}", {})[kind] = float(value)
    except (OSError, ValueError) as error:
        raise SceneError(f"{metadata}: its scale and offset cannot be read ({error})") from error
    return {band: found for band, found in tags.items() if len(found) == 2}
