"""Class maps in any form, read as rows on demand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from affine import Affine

from geoseg.errors import ClassMapError, Message, OptionError, SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.polygons.areas import NO_CONFIDENCE
from geoseg.polygons.strips import MapRows
from geoseg.raster.classmap import ClassMap, LayeredMap, Strip, open_map
from geoseg.raster.scene import Scene
from geoseg.raster.xarray_bridge import grid_of_array, is_dataset, is_lazy, is_xarray
from geoseg.storage.printable import listed
from geoseg.vector.xarray_maps import (
    codes_and_valid,
    confidence_of,
    flat_array,
    layered_map_of,
    legend_of_array,
    map_variable,
    share_of_array,
    share_planes,
    strips_of,
)

if TYPE_CHECKING:
    import xarray as xr

    Source: TypeAlias = (
        str | PathLike[str] | ClassMap | LayeredMap | xr.DataArray | xr.Dataset | npt.NDArray[Any]
    )
    Confidence: TypeAlias = str | PathLike[str] | xr.DataArray | xr.Dataset | npt.NDArray[Any]

_log = logging.getLogger("geoseg")

Rows: TypeAlias = Callable[[int, int], npt.NDArray[np.uint8]]
"""Returns stored probabilities of a range of rows: (row, col), or (band, row, col)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadMap:
    """A class map that is read from top to bottom.

    Parameters
    ----------
    grid : Grid
        Grid of the map.
    legend_of : callable
        Takes the codes that occur and returns the map's legend, or None. The names do not depend on these codes.
    strips : callable
        Takes the index of a layer of a multilabel map, else 0, and yields its rows. A layer is 1 where the class is
        present, else 0.
    layers : Legend or None
        Classes of a multilabel map, one layer each; None for other maps.
    """

    grid: Grid
    legend_of: Callable[[Iterable[int]], Legend | None]
    strips: Callable[[int], Iterable[Strip]]
    layers: Legend | None = None

    def rows(
        self, index: int = 0, confidence: Rows | None = None, probabilities: Rows | None = None
    ) -> Iterator[MapRows]:
        """Yield the rows of a layer with their confidence and probabilities."""
        row = 0
        for codes, valid in self.strips(index):
            stop = row + len(codes)
            yield MapRows(
                codes=codes,
                valid=valid,
                confidence=None if confidence is None else confidence(row, stop),
                probabilities=None if probabilities is None else probabilities(row, stop),
            )
            row = stop
            del codes, valid  # before the next ones are read


def opened(source: Source, legend: Legend | None, band: int | None = None) -> ReadMap:
    """Open a class map of any kind; a given legend takes precedence over the map's own.

    Raises
    ------
    ClassMapError
        If the source is not a class map.
    OptionError
        If it has no such band.
    """
    if band is not None and not isinstance(source, str | PathLike):
        raise OptionError(
            f"band is {band}, and a band can be chosen in files only; pass the band of the array itself"
        )
    if isinstance(source, str | PathLike):
        stored = open_map(Path(source), legend=legend, band=band)
        if isinstance(stored, LayeredMap):
            return _layered(stored)
        return ReadMap(grid=stored.grid, legend_of=stored.legend_of, strips=lambda _: stored.strips())
    if isinstance(source, ClassMap):
        whole, own = (source.codes, source.valid), source.legend
        known = own if legend is None else legend.over(own)
        return ReadMap(grid=source.grid, legend_of=lambda _: known, strips=lambda _: [whole])
    if isinstance(source, LayeredMap):
        return _layered(source, legend)
    if isinstance(source, np.ndarray):
        rows = source[0] if source.ndim == 3 and len(source) == 1 else source
        if rows.ndim != 2:
            raise ClassMapError(f"the array has shape {source.shape}, expected (row, col)")
        lattice = Grid(height=rows.shape[0], width=rows.shape[1], transform=Affine.identity())
        return ReadMap(grid=lattice, legend_of=lambda _: legend, strips=lambda _: [codes_and_valid(rows)])
    if is_xarray(source):
        return _opened_array(source, legend)
    raise ClassMapError(
        f"the class map is a {type(source).__name__}, expected a path, an array, a DataArray or a Dataset"
    )


def _opened_array(source: Any, legend: Legend | None) -> ReadMap:
    """Open a DataArray or Dataset."""
    try:
        array = map_variable(source) if is_dataset(source) else source
        if "class" in array.dims:
            return _layered(layered_map_of(array, legend))
        flat, own = flat_array(array), legend_of_array(array)
        grid = grid_of_array(flat)
    except SceneError as error:
        raise error.into(ClassMapError) from error
    known = own if legend is None else legend.over(own)

    @cache
    def say(codes: tuple[int, ...]) -> None:
        _log.warning(
            "the array's attributes name the codes %s, and it holds %s, too; where its numbers were computed from such "
            "codes, as by ==, the names are not theirs: %s",
            listed(known.codes if known else ()), listed(codes), Message("pass {legend} with the right ones"),
        )  # fmt: skip

    def legend_of(codes: Iterable[int]) -> Legend | None:
        if own is not None and known is not None and (strange := {*codes}.difference(known.codes)):
            say(tuple(sorted(strange)))
        return known

    return ReadMap(grid=grid, legend_of=legend_of, strips=lambda _: strips_of(flat))


def _layered(source: LayeredMap, legend: Legend | None = None) -> ReadMap:
    layers = source.legend if legend is None else source.legend.relabelled(legend)

    def strips(index: int) -> Iterator[Strip]:
        for values, valid in source.strips(index):
            present = (values == 1) & valid
            if (valid & ~present & (values != 0)).any():
                name = layers.classes[index].name
                raise ClassMapError(f"the layer of class {name!r} holds other numbers than 0 and 1")
            yield present.view(np.uint8), valid

    return ReadMap(grid=source.grid, legend_of=lambda _: layers, strips=strips, layers=layers)


def share_rows(share: Confidence, grid: Grid, *, expected: int, what: str) -> list[Rows]:
    """Open probabilities band by band, on the grid of the class map: uint8 with 255 for none.

    Parameters
    ----------
    share : path, DataArray, Dataset or array
        uint8 in steps of 1/254 with 255 for none, or floats 0 to 1 with NaN for none; (band, row, col) for several
        bands.
    grid : Grid
        Grid of the class map.
    expected : int
        Expected number of bands.
    what : str
        Name of the quantity for messages.

    Raises
    ------
    ClassMapError
        If it has another number of bands or another grid.
    """
    if isinstance(share, str | PathLike):
        scene = Scene.open(share, expand_palette=None, allow_remote=None)
        if len(scene.descriptions) != expected:
            raise ClassMapError(
                f"{share}: has {plural(len(scene.descriptions), 'band')}, expected {_bands(expected)} of {what}"
            )
        if problem := scene.grid.differs_from(grid):
            raise ClassMapError(f"{scene.path}: does not lie on the grid of the class map: {problem}")
        return [_stored_rows(scene, band, grid) for band in range(1, expected + 1)]
    if is_xarray(share):
        planes = _share_planes(share, grid, expected=expected, what=what)
        return [lambda row, stop, plane=plane: share_of_array(plane[row:stop]) for plane in planes]  # type: ignore[misc]
    bands = [np.asarray(one) for one in (share if share.ndim == 3 else [share])]
    if len(bands) != expected:
        raise ClassMapError(f"the {what} has {plural(len(bands), 'band')}, expected {_bands(expected)}")
    if bands[0].shape != grid.shape:
        raise ClassMapError(f"{what} has shape {share.shape}, expected that of the grid, {grid.shape}")
    return [partial(_array_rows, one) for one in bands]


def _share_planes(share: Any, grid: Grid, *, expected: int, what: str) -> list[xr.DataArray]:
    """Return the bands of a DataArray or Dataset of shares; without coordinates, only the shape is compared."""
    try:
        bands = share_planes(share, what)
        own = grid_of_array(bands[0])
    except SceneError as error:
        raise error.into(ClassMapError) from error
    if len(bands) != expected:
        raise ClassMapError(f"the {what} has {plural(len(bands), 'band')}, expected {_bands(expected)}")
    if own.transform.is_identity:
        own = replace(own, transform=grid.transform)
    if problem := own.differs_from(grid):
        raise ClassMapError(f"the {what} does not lie on the grid of the class map: {problem}")
    return bands


def stacked_share_rows(share: Confidence, grid: Grid, *, expected: int, what: str) -> Rows:
    """Open probabilities as `share_rows` does, with all bands of a row at once, which a lazy array computes once."""
    if not is_lazy(share):
        bands = share_rows(share, grid, expected=expected, what=what)
        return lambda row, stop: np.stack([rows(row, stop) for rows in bands])
    import xarray

    planes = _share_planes(share, grid, expected=expected, what=what)
    # Without coordinates, in which planes differ: each has the name of its class.
    together = xarray.Dataset({place: plane.variable for place, plane in enumerate(planes)})
    rows_dim = planes[0].dims[0]

    def computed(row: int, stop: int) -> npt.NDArray[np.uint8]:
        part = together.isel({rows_dim: slice(row, stop)}).compute()
        return np.stack([share_of_array(part[place]) for place in part])

    return computed


def _bands(count: int) -> str:
    return "one band" if count == 1 else f"one for each of {plural(count, 'class')}"


def _array_rows(share: npt.NDArray[Any], row: int, stop: int) -> npt.NDArray[np.uint8]:
    return confidence_of(share[row:stop])


def _stored_rows(scene: Scene, band: int, grid: Grid) -> Rows:
    """Return the rows of a band of a file."""
    selected = scene.select([band], validity_band=None)

    def rows(row: int, stop: int) -> npt.NDArray[np.uint8]:
        chip = selected.read(Window(row=row, col=0, height=stop - row, width=grid.width))
        values = np.where(chip.valid, chip.pixels[0], 0)  # values of invalid pixels are arbitrary
        return np.where(chip.valid, confidence_of(values), np.uint8(NO_CONFIDENCE))

    return rows
