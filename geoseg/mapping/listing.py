"""The scenes of a map: where each lies and when it was taken, from headers that are read once and kept."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine

from geoseg.errors import GeosegError, Message, OptionError, SceneError, Text, plural
from geoseg.grid.grid import Grid
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import as_source
from geoseg.mapping.dates import date_of
from geoseg.models.card import Card
from geoseg.models.match import match
from geoseg.raster.opening import is_remote
from geoseg.raster.scene import Scene
from geoseg.storage.durable import write_bytes

log = logging.getLogger("geoseg")

_READERS = 16
"""Threads that fetch headers of URLs."""
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedScene:
    """A scene of the list, as its header describes it.

    Parameters
    ----------
    path : str
        Absolute path or URL, under which every worker finds it.
    name : str
        Its name in products: that of the file, with folders where several files share it.
    grid : Grid
        Its grid.
    date : str or None
        When it was taken, ``YYYY-MM-DD``.
    identity : tuple
        Names, sizes and modification times of its files: equal identities mean equal pixels.
    """

    path: str
    name: str
    grid: Grid
    date: str | None
    identity: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The usable scenes of a list, and those that are passed over.

    Parameters
    ----------
    scenes : tuple of ListedScene
        In the order of the list, each once.
    refused : tuple of (str, str or Message)
        Scenes that cannot be used, with the reason.
    headers : Headers
        What was read, for the next call.
    """

    scenes: tuple[ListedScene, ...]
    refused: tuple[tuple[str, Text], ...]
    headers: Headers


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a file without its pixels."""

    grid: Grid
    date: str | None
    identity: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers by the paths of their scenes, and what their check has asked for."""

    asked: list[Any]
    known: dict[str, Header]

    @classmethod
    def read(cls, path: Path, asked: list[Any]) -> Headers:
        """Read kept headers; none where the file is missing, damaged or of another model."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["asked"] != json.loads(json.dumps(asked)):
                return cls(asked, {})
            return cls(
                asked,
                {
                    name: Header(
                        Grid(
                            height=each["shape"][0],
                            width=each["shape"][1],
                            transform=Affine(*each["transform"]),
                            crs=None if each["crs"] is None else content["crs"][each["crs"]],
                        ),
                        each["date"],
                        tuple((file, size, modified) for file, size, modified in each["identity"]),
                    )
                    for name, each in content["scenes"].items()
                },
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return cls(asked, {})

    def keep(self, path: Path) -> None:
        """Write them; numbers keep all their digits in JSON."""
        all_crs = [each.grid.crs for each in self.known.values() if each.grid.crs is not None]
        place = {crs: index for index, crs in enumerate(dict.fromkeys(all_crs))}
        scenes = {
            name: {
                "shape": each.grid.shape,
                "transform": list(each.grid.transform[:6]),
                "crs": None if each.grid.crs is None else place[each.grid.crs],
                "date": each.date,
                "identity": each.identity,
            }
            for name, each in self.known.items()
        }
        write_bytes(path, json.dumps({"asked": self.asked, "crs": list(place), "scenes": scenes}).encode())


def read_list(
    scenes: Sequence[str | os.PathLike[str]],
    card: Card,
    options: PredictOptions,
    kept: Path | None = None,
    told: Callable[[], object] | None = None,
) -> Listing:
    """Read the headers of a list of scenes, and compare them with a model's card.

    Parameters
    ----------
    scenes : sequence of str or path
        The scenes, as `Scene.open` takes them.
    card : Card
        Card of the model.
    options : PredictOptions
        Bands, declared no data and so on, as for `geoseg.predict`.
    kept : Path, optional
        File in which headers of an earlier call are kept (`Headers.keep`): unchanged files are not opened again.
    told : callable, optional
        Called for every scene that has been read.

    Raises
    ------
    OptionError
        If the list is empty.
    SceneError
        If no scene of it can be used.
    """
    paths = list(dict.fromkeys(_absolute(scene) for scene in scenes))
    if not paths:
        raise OptionError("the list of scenes is empty, expected at least one")
    if len(paths) < len(scenes):
        again = len(scenes) - len(paths)
        are = "is" if again == 1 else "are"
        log.warning("%s of the list %s there more than once and counts once", plural(again, "line"), are)
    asked = _asked(card, options)
    before = {} if kept is None else Headers.read(kept, asked).known

    def header(path: str) -> Header | GeosegError:
        found = before.get(path)
        if found is None or not _unchanged(found):
            try:
                found = _header(path, card, options)
            except GeosegError as error:
                return error
        if told is not None:
            told()
        return found

    far = [path for path in paths if is_remote(path)]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="geoseg-headers") as pool:
        fetched = pool.map(
            header, far
        )  # of local files Python's own work is most, which threads do not share
        # GDAL lists the folder of each file that it opens, to look for sidecars, unless it shall ask for each by name.
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
            near = {path: header(path) for path in paths if not is_remote(path)}
        headers = near | dict(zip(far, fetched, strict=True))
    headers = {path: headers[path] for path in paths}
    good = {path: found for path, found in headers.items() if isinstance(found, Header)}
    refused: list[tuple[str, Text]] = [
        (path, found.message) for path, found in headers.items() if isinstance(found, GeosegError)
    ]
    read = Headers(asked, good)
    good, lost = _on_earth(good)
    refused += lost
    if not good:
        raise SceneError(Message("none of {} can be used: {}", plural(len(paths), "scene"), refused[0][1]))
    names = _names(list(good))
    listed = tuple(
        ListedScene(path=path, name=names[path], grid=each.grid, date=each.date, identity=each.identity)
        for path, each in good.items()
    )
    return Listing(scenes=listed, refused=tuple(refused), headers=read)


def _absolute(scene: str | os.PathLike[str]) -> str:
    text = os.fspath(scene)
    return text if "://" in text or text.startswith("/vsi") else str(Path(text).absolute())


def _header(path: str, card: Card, options: PredictOptions) -> Header:
    """Open a scene and check what can be checked without its pixels."""
    source = as_source(path, options)
    assert isinstance(source, Scene)
    match(source, card, options.bands, force=options.force, sampled=False)
    location = source.file.location
    files = location.members or (location,)
    identity = tuple((each.name, *(each.signature or (0, 0))) for each in files)
    return Header(source.grid, date_of(path, source.file.tags), identity)


def _unchanged(header: Header) -> bool:
    try:
        return all(
            (status.st_size, status.st_mtime_ns) == (size, modified)
            for name, size, modified in header.identity
            if (status := Path(name).stat())
        )
    except OSError:
        return False


def _on_earth(headers: dict[str, Header]) -> tuple[dict[str, Header], list[tuple[str, Text]]]:
    """Leave out scenes without a CRS where others have one."""
    without = [path for path, each in headers.items() if each.grid.crs is None]
    if not without or len(without) == len(headers):
        return headers, []
    reason = Message(
        "has no CRS and other scenes have one, so its place is unknown; pass {assume_crs} if you know it"
    )
    return {path: each for path, each in headers.items() if each.grid.crs is not None}, [
        (path, Message("{}: {}", path, reason)) for path in without
    ]


def _names(paths: Iterable[str]) -> dict[str, str]:
    """Return short names that tell the scenes apart."""
    paths = list(paths)
    short: dict[str, list[str]] = {}
    for path in paths:
        short.setdefault(Path(path).name, []).append(path)
    if all(len(each) == 1 for each in short.values()):
        return {path: name for name, (path,) in short.items()}
    folder = os.path.commonpath([str(Path(path).parent) for path in paths if path.startswith("/")] or ["/"])
    return {
        path: name if len(same) == 1 else os.path.relpath(path, folder)
        for name, same in short.items()
        for path in same
    }


def _asked(card: Card, options: PredictOptions) -> list[Any]:
    """Return what the check of a header depends on besides the file."""
    return [
        _FORMAT,
        list(card.band_names),
        card.dtype,
        repr(options.declared),
        options.bands,
        options.assume_crs,
    ]
