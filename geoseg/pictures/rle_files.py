"""Convert mask files to run-length tables and back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.errors import ELSEWHERE, REPLACE, DataError, OutputError, OutputExistsError, SceneError, plural
from geoseg.grid.window import Window
from geoseg.labels.rle import encode, fill
from geoseg.labels.run_length_table import RunLengthTable, read_table, stem, table_text, tell_guarded
from geoseg.raster.handles import GDAL_ERRORS, one_line, open_quietly
from geoseg.raster.scene import Scene
from geoseg.storage.output import claim, clear_leftovers
from geoseg.storage.printable import listed


def encode_file(path: str | os.PathLike[str], *, value: int | None = None) -> str:
    """Return the run lengths of a mask file.

    Parameters
    ----------
    path : path-like
        Raster with one band. No-data and transparent pixels are not encoded.
    value : int, optional
        Value of the pixels to encode; by default all that are not 0.

    Raises
    ------
    DataError
        If the file cannot be read or has several bands.
    """
    try:
        scene = Scene.open(path, palette_as_codes=True, allow_remote=None)
        if scene.count != 1:
            raise DataError(f"{path}: has {plural(scene.count, 'band')}, expected a mask of one band")
        chip = scene.read(Window(row=0, col=0, height=scene.grid.height, width=scene.grid.width))
    except SceneError as error:
        raise error.into(DataError) from error
    pixels = chip.pixels[0]
    return encode(chip.valid & (pixels != 0 if value is None else pixels == value))


def rows_of(masks: Sequence[Path], *, value: int | None = None) -> str:
    """Return the table ``ImageId,EncodedPixels`` of masks, named by their file names.

    Raises
    ------
    DataError
        If one of them cannot be encoded, or two have the same name.
    """
    names = [mask.name for mask in masks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{twice}: is the name of two masks, expected another for each row of the table")
    tell_guarded(names)
    rows = [(mask.name, encode_file(mask, value=value)) for mask in masks]
    return table_text([("ImageId", "EncodedPixels"), *rows])


def write_rows(
    masks: Sequence[Path], output: Path, *, value: int | None = None, overwrite: bool = False
) -> None:
    """Write the table of `rows_of` to a file.

    Raises
    ------
    DataError, OutputError
    """
    with claim(output, overwrite=overwrite) as claimed:
        finished = claimed.prepare()
        finished.write_text(rows_of(masks, value=value), encoding="utf-8")
        claimed.commit(finished)


def write_masks(
    table: str | os.PathLike[str], folder: Path, size: tuple[int, int], *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write the masks of a run-length table as PNG files, 255 where a class is present and 0 elsewhere.

    Everything is checked before the first mask is written. Files that already hold the same mask are kept,
    so that the same call continues after a kill.

    Parameters
    ----------
    table : path-like
        CSV file, see `read_table`.
    folder : Path
        Folder of the masks; created if missing.
    size : (int, int)
        (rows, cols) of the masks.
    overwrite : bool
        Whether other existing files may be replaced.

    Returns
    -------
    tuple of Path
        ``IMAGE_CLASS.png``, or ``IMAGE.png`` if the table has no classes, in its order.

    Raises
    ------
    DataError, OutputError
    """
    found = read_table(table)
    names = {
        image: [_file_name(found.path, image, name) for name in found.rows[image]] for image in found.rows
    }
    every = [name for each in names.values() for name in each]
    if len(set(every)) < len(every):
        twice = listed(sorted({name for name in every if every.count(name) > 1}))
        raise DataError(f"{found.path}: several of its masks would be {twice}, expected a file for each")
    for image in found.rows:
        found.runs(image, size)
    kept = {name for name, mask in _masks(found, names, size, folder) if _holds(folder / name, mask)}
    there = [name for name in every if name not in kept and (folder / name).exists()]
    if there and not overwrite:
        raise OutputExistsError(f"{folder}: already has {listed(there)}", REPLACE)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})", ELSEWHERE) from error
    for name in kept:
        clear_leftovers(folder / name)
    for name, mask in _masks(found, names, size):
        if name not in kept:
            with claim(folder / name, overwrite=overwrite) as claimed:
                finished = claimed.prepare()
                _write_png(finished, mask)
                claimed.commit(finished)
    return tuple(folder / name for name in every)


def _masks(
    table: RunLengthTable, names: dict[str, list[str]], size: tuple[int, int], folder: Path | None = None
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Yield file names and pixels of masks; with `folder`, only of those that have a file there."""
    rows, cols = size
    for image, files in names.items():
        if folder is not None and not any((folder / name).exists() for name in files):
            continue
        for name, edges in zip(files, table.runs(image, size).values(), strict=True):
            if folder is None or (folder / name).exists():
                inside = fill(edges, 0, rows * cols).reshape(cols, rows).T
                yield name, np.where(inside, np.uint8(255), np.uint8(0))


def _holds(path: Path, pixels: npt.NDArray[np.uint8]) -> bool:
    """Return whether a file holds exactly these pixels."""
    try:
        with open_quietly(path, driver="PNG") as file:
            return file.count == 1 and np.array_equal(file.read(1), pixels)
    except GDAL_ERRORS:
        return False


def _write_png(path: Path, pixels: npt.NDArray[Any]) -> None:
    """Write a PNG and read it back: GDAL may not report a full disk."""
    rows, cols = pixels.shape
    try:
        with open_quietly(path, "w", driver="PNG", height=rows, width=cols, count=1, dtype="uint8") as file:
            file.write(pixels, 1)
        with open_quietly(path, driver="PNG") as file:
            same = np.array_equal(file.read(1), pixels)
    except GDAL_ERRORS as error:
        raise OutputError(f"{path}: cannot be written ({one_line(error)})") from error
    if not same:
        raise OutputError(f"{path}: could not be written as it should be; is the disk full?")


def _file_name(path: str, image: str, name: str | None) -> str:
    """Return the file name of a mask; names in a table must not lead to other folders."""
    made = f"{stem(image)}.png" if name is None else f"{stem(image)}_{name}.png"
    if Path(made).name != made or "\\" in made or not made.isprintable():
        raise DataError(f"{path}: a mask cannot be called {made!r}, expected names without slashes")
    return made
