"""Whatever a class map comes as, as rows that are read when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.errors import ClassMapError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.grid.window import Window
from geoseg.raster.classmap import ClassMap, LayeredMap, Strip, open_map
from geoseg.raster.scene import Scene
from geoseg.vector.areas import NO_CONFIDENCE
from geoseg.vector.bands import Band
from geoseg.vector.lattice import confidence_of, flags_of, grid_of, layered_map_of, strips_of

if TYPE_CHECKING:
    import xarray as xr

    Source: TypeAlias = (
        str | PathLike[str] | ClassMap | LayeredMap | xr.DataArray | xr.Dataset | npt.NDArray[Any]
    )
    Confidence: TypeAlias = str | PathLike[str] | xr.DataArray | npt.NDArray[Any]

Rows: TypeAlias = Callable[[int, int], npt.NDArray[np.uint8]]
"""Gives the shares from a row up to another one: (row, col), or (band, row, col)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadMap:
    """A class map that is read from top to bottom.

    Parameters
    ----------
    grid : Grid
    legend_of : callable
        Called with the codes that occur: the map's legend, or None. The names do not depend on these codes.
    strips : callable
        Its rows; of a multilabel map called with the number of a layer, else with 0. A layer is 1 where the
        class is and 0 where it is not.
    layers : Legend or None
        The classes of a multilabel map, a layer for each.
    """

    grid: Grid
    legend_of: Callable[[Iterable[int]], Legend | None]
    strips: Callable[[int], Iterable[Strip]]
    layers: Legend | None = None

    def bands(
        self, index: int = 0, confidence: Rows | None = None, probabilities: Rows | None = None
    ) -> Iterator[Band]:
        """Return the rows of a layer with what is known of them."""
        row = 0
        for codes, valid in self.strips(index):
            stop = row + len(codes)
            yield Band(
                codes=codes,
                valid=valid,
                confidence=None if confidence is None else confidence(row, stop),
                probabilities=None if probabilities is None else probabilities(row, stop),
            )
            row = stop
            del codes, valid  # before the next ones are read


def opened(source: Source, legend: Legend | None, band: int | None = None) -> ReadMap:
    """Open any map, a legend over the map's own; of a file with several bands the one with codes.

    Raises
    ------
    ClassMapError
        If it is no map.
    OptionError
        If it has no such band.
    """
    if band is not None and not isinstance(source, str | PathLike):
        raise OptionError(f"band is {band}, and bands are of files; pass the band of the array itself")
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
    import xarray as xr

    if isinstance(source, xr.Dataset):
        if "landcover" not in source:
            names = ", ".join(map(str, source)) or "nothing"
            raise ClassMapError(f"the Dataset holds {names}, expected a variable landcover")
        source = source["landcover"]
    if isinstance(source, np.ndarray):
        rows = source[0] if source.ndim == 3 and len(source) == 1 else source
        if rows.ndim != 2:
            raise ClassMapError(f"the array has shape {source.shape}, expected (row, col)")
        source = xr.DataArray(rows, dims=("y", "x"))
    if isinstance(source, xr.DataArray):
        if "class" in source.dims:
            return _layered(layered_map_of(source, legend))
        array, own = source, flags_of(source.attrs)
        known = own if legend is None else legend.over(own)
        return ReadMap(grid=grid_of(array), legend_of=lambda _: known, strips=lambda _: strips_of(array))
    raise ClassMapError(
        f"the class map is a {type(source).__name__}, expected a path, an array, a DataArray or a Dataset"
    )


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
    """Open probabilities band by band, each on the grid of the class map: uint8 with 255 for none.

    Parameters
    ----------
    share : path, DataArray or array
        uint8 in steps of 1/254 with 255 for none, or floats 0 to 1 with NaN for none; with several bands
        (band, row, col).
    grid : Grid
    expected : int
        Number of bands.
    what : str
        For messages.

    Raises
    ------
    ClassMapError
        If it has another number of bands or does not lie on the grid.
    """
    if isinstance(share, str | PathLike):
        scene = Scene.open(share)
        if len(scene.descriptions) != expected:
            raise ClassMapError(
                f"{share}: has {len(scene.descriptions)} bands, expected {_bands(expected)} of {what}"
            )
        if problem := _misfit(scene.grid, grid):
            raise ClassMapError(f"{scene.path}: does not lie on the grid of the class map: {problem}")
        return [_stored_rows(scene, band, grid) for band in range(1, expected + 1)]
    bands = list(share) if share.ndim == 3 else [share]
    if len(bands) != expected:
        raise ClassMapError(f"the {what} has {len(bands)} bands, expected {_bands(expected)}")
    if bands[0].shape != grid.shape:
        raise ClassMapError(f"{what} has shape {share.shape}, expected that of the grid, {grid.shape}")
    return [partial(_array_rows, one) for one in bands]


def stacked(bands: list[Rows]) -> Rows:
    """Read several bands as one array (band, row, col)."""
    return lambda row, stop: np.stack([rows(row, stop) for rows in bands])


def _bands(count: int) -> str:
    return "one band" if count == 1 else f"one for each of {count} classes"


def _array_rows(share: xr.DataArray | npt.NDArray[Any], row: int, stop: int) -> npt.NDArray[np.uint8]:
    return confidence_of(share[row:stop])


def _stored_rows(scene: Scene, band: int, grid: Grid) -> Rows:
    """Read a band of a file."""
    selected = scene.select([band], validity_band=None)

    def rows(row: int, stop: int) -> npt.NDArray[np.uint8]:
        chip = selected.read(Window(row=row, col=0, height=stop - row, width=grid.width))
        values = np.where(chip.valid, chip.pixels[0], 0)  # whatever is stored under no data may be anything
        return np.where(chip.valid, confidence_of(values), np.uint8(NO_CONFIDENCE))

    return rows


def _misfit(found: Grid, expected: Grid) -> str:
    """Say how a grid differs from the one that was expected; nothing where they are the same."""
    if found.shape != expected.shape:
        return f"is {found.height} x {found.width} px, expected {expected.height} x {expected.width} px"
    if not found.transform.almost_equals(expected.transform):
        ours, theirs = (", ".join(f"{n:.10g}" for n in g.transform[:6]) for g in (found, expected))
        return f"its affine is {ours}, expected {theirs}"
    if found.crs and expected.crs and found.crs != expected.crs:
        from pyproj import CRS

        ours_crs, theirs_crs = CRS.from_wkt(found.crs), CRS.from_wkt(expected.crs)
        if not ours_crs.equals(theirs_crs, ignore_axis_order=True):
            return f"its CRS is {ours_crs.name}, expected {theirs_crs.name}"
    return ""
