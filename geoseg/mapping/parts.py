"""Finished cells on disk, each in a file of its own that is complete or not there.

A cell's file is a zip of NumPy arrays, ``numpy.load`` reads it: codes, confidence, origin and inside, in blocks of rows
so that a map is put together without holding its cells, and what else is known as JSON.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import ANEW, OutputError, Text, plural
from geoseg.grid.grid import Grid
from geoseg.grid.ground_cells import PixelAreas
from geoseg.grid.legend import NODATA
from geoseg.mapping.cell_work import NOBODY, CellMap
from geoseg.storage.durable import replace

ROWS: Final = 256
"""Rows of a block."""
ENDING: Final = ".npz"
_ABOUT: Final = "about.json"
_PLANES: Final = ("codes", "confidence", "origin", "inside")
_FAST: Final = 1
UNFINISHED: Final = ".unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAbout:
    """What a finished cell says about itself.

    Parameters
    ----------
    key : str
        The cell's key when it was computed.
    shape : tuple of int
        (rows, cols) in px.
    classes : dict of str to [int, float or None]
        By code: pixels that the zone owns, and their ground area in m².
    owned : dict of str to int
        By the path of a scene, pixels that it owns.
    failed : dict of str to str or Message
        Scenes that could not be used, by path, with the reason.
    seconds : dict of str to float
        Time by stage; empty when it is read from a file, which holds no times.
    """

    key: str
    shape: tuple[int, int]
    classes: dict[str, tuple[int, float | None]]
    owned: dict[str, int]
    failed: dict[str, Text]
    seconds: dict[str, float]


def about_cell(key: str, found: CellMap, grid: Grid, paths: list[str], failed: dict[str, Text]) -> CellAbout:
    """Count the pixels and areas of a computed cell; `paths` are those of its candidates."""
    codes = np.where(found.inside, found.codes, NODATA)
    pixels = np.bincount(codes.ravel(), minlength=NODATA + 1)
    areas = PixelAreas(grid)
    sums = np.zeros((2, NODATA + 1))
    if areas.known:
        for row in range(0, grid.height, ROWS):
            stop = min(row + ROWS, grid.height)
            for total, weights in zip(sums, areas.rows(row, stop), strict=True):
                if weights is not None:
                    total += np.bincount(codes[row:stop].ravel(), weights.ravel(), minlength=NODATA + 1)
    classes = {
        str(code): (int(pixels[code]), areas.square_metres(*sums[:, code].tolist()))
        for code in np.flatnonzero(pixels[:NODATA]).tolist()
    }
    origin = np.bincount(found.origin[found.inside], minlength=NOBODY + 1)
    owned = {
        path: int(count) for path, count in zip(paths, origin[: len(paths)].tolist(), strict=True) if count
    }
    return CellAbout(
        key=key, shape=grid.shape, classes=classes, owned=owned, failed=failed, seconds=found.seconds
    )


def write_part(path: Path, found: CellMap, about: CellAbout) -> int:
    """Write a finished cell durably; return its size in bytes.

    Two processes may write the same cell at once, since a worker that was given up may still be at work: both write
    the same bytes, under names of their own until they are complete.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as archive:
        said = {key: getattr(about, key) for key in ("key", "shape", "classes", "owned")}
        said["failed"] = {path: str(reason) for path, reason in about.failed.items()}
        archive.writestr(zipfile.ZipInfo(_ABOUT), json.dumps(said, sort_keys=True))
        for block, row in enumerate(range(0, about.shape[0], ROWS)):
            for name in _PLANES:
                plane = np.ascontiguousarray(getattr(found, name)[row : row + ROWS])
                text = io.BytesIO()
                np.lib.format.write_array(text, plane)
                info = zipfile.ZipInfo(f"{name}_{block}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, text.getbuffer(), compresslevel=_FAST)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        unfinished.write_bytes(data.getbuffer())
        replace(unfinished, path)
    except OSError as error:
        raise OutputError(
            f"{path}: {plural(data.tell(), 'byte')} could not be written ({error.strerror}); make room and run the "
            "command again"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return data.tell()


def clear_unfinished(folder: Path) -> None:
    """Remove what killed workers left: files whose names say so, and those that GDAL has made beside them."""
    for leftover in folder.glob(f"*{UNFINISHED}*"):
        leftover.unlink(missing_ok=True)


def read_about(path: Path) -> CellAbout | None:
    """Read what a cell says about itself; None if there is no complete file."""
    try:
        with zipfile.ZipFile(path) as archive:
            said = json.loads(archive.read(_ABOUT))
        return CellAbout(
            **{**said, "shape": tuple(said["shape"]), "seconds": {}},
        )
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RecursionError):
        return None


def read_block(path: Path, block: int) -> dict[str, npt.NDArray[Any]]:
    """Read a block of rows of a cell: codes, confidence, origin, inside.

    Raises
    ------
    OutputError
        If the file is damaged or gone.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name: np.lib.format.read_array(
                    io.BytesIO(archive.read(f"{name}_{block}.npy")), allow_pickle=False
                )
                for name in _PLANES
            }
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise OutputError(f"{path}: is damaged or was removed ({error})", ANEW) from error


def blocks_of(path: Path, height: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Read the blocks of a cell from top to bottom."""
    for block in range(-(-height // ROWS)):
        yield read_block(path, block)
