"""A raster file as a scene: bands, a grid, and windows of pixels with their validity."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.errors import OptionError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared, Values
from geoseg.raster.description import Description, describe
from geoseg.raster.handles import GDAL_ERRORS, drop_handle, forget_error, handle, one_line
from geoseg.raster.opening import locate
from geoseg.raster.padding import border_indices
from geoseg.raster.palette import Palette
from geoseg.raster.products import stack_of
from geoseg.raster.selection import band_numbers
from geoseg.raster.source import ChosenBands
from geoseg.raster.stack import describe_stack
from geoseg.raster.validity import NoData, for_bands, values_of

__all__ = ["Chip", "Scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene(ChosenBands):
    """Chosen bands of one raster file.

    It holds no open file: it is pickled and shared between threads and processes freely, and each of them
    opens its own dataset when it reads.

    A pixel is valid when every chosen band is finite and not masked, the chosen bands are not no data, and the
    validity band, where there is one, is above 0. Bands that all have the same no-data value are no data
    together or not at all; others where any of them is (`Declared` says otherwise). Where a band tagged alpha
    is read as data, GDAL's masks are not used at all.

    Parameters
    ----------
    file : Description
        What the file says about itself.
    grid : Grid
        Of `extent`.
    extent : Window
        The part of the file that this scene is.
    bands : tuple of int
        Numbers from 1 of the bands that `read` returns, in that order.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    nodata : tuple of tuple of float
        No-data values of each band of the file.
    said : Declared
        What a person said about validity.
    palette : Palette or None
        Where codes become colours.
    """

    file: Description
    grid: Grid
    extent: Window
    bands: tuple[int, ...]
    validity_band: int | None
    nodata: tuple[Values, ...]
    said: Declared = UNSAID
    palette: Palette | None = None

    @classmethod
    def open(
        cls,
        path: Any,
        *,
        resolution: float | None = None,
        expand_palette: bool = False,
        palette_as_codes: bool = False,
        allow_remote: bool = False,
        assume_crs: str | None = None,
    ) -> Scene:
        """Open a GeoTIFF (or COG), JPEG 2000, PNG or JPEG file, a VRT or URL named as such, or a file for each band.

        All bands are chosen but one tagged alpha, which is validity, unless it has a name that says otherwise.

        Parameters
        ----------
        path : path-like, or sequence of path-like, or mapping of str to path-like
            Several files are the bands of one scene: a list, or a mapping of names to them; a .SAFE folder or the
            metadata file in it, and a folder of a Landsat product, stand for theirs. All lie on the grid of the
            finest, others are resampled bilinearly.
        resolution : float, optional
            Edge of the pixels of several files in units of the CRS, in place of the finest's.
        expand_palette : bool
            Whether a colour table becomes three bands red, green, blue.
        palette_as_codes : bool
            Whether the codes themselves are wanted, as for labels.
        allow_remote : bool
            Whether a VRT may have remote members.
        assume_crs : str, optional
            CRS (anything PROJ understands) of a file that has none.

        Raises
        ------
        SceneError
            If there is nothing there that can be read as a scene.
        OptionError
            If `assume_crs` is no CRS, or `resolution` is given for one file.
        """
        file = _described(path, resolution, allow_remote=allow_remote)
        if file.grid.crs is None and assume_crs is not None:
            file = dataclasses.replace(file, grid=dataclasses.replace(file.grid, crs=_wkt(assume_crs)))
        palette = None
        if file.palette is not None and not palette_as_codes:
            palette = Palette.of(file, expand=expand_palette)
            file = palette.describe(file)
        bands = tuple(i for i in range(1, len(file.dtypes) + 1) if i != file.alpha_band)
        extent = Window(row=0, col=0, height=file.grid.height, width=file.grid.width)
        scene = cls(
            file=file,
            grid=file.grid,
            extent=extent,
            bands=bands,
            validity_band=file.alpha_band,
            nodata=tuple(map(values_of, file.nodata)),
            palette=palette,
        )
        scene._refuse_complex()
        return scene

    @property
    def path(self) -> str:
        """Name as it was given."""
        return self.file.location.typed

    @property
    def driver(self) -> str:
        """GDAL's name of the driver."""
        return self.file.location.driver

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Names of all bands of the file, in order; None where it gives none."""
        return self.file.descriptions

    @property
    def colors(self) -> tuple[str | None, ...]:
        """What all bands of the file show by their colour tags, in order; None where these do not say it."""
        return self.file.colors

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype that holds the numbers of all chosen bands."""
        return np.result_type(*self._dtypes)

    @property
    def alpha_band(self) -> int | None:
        """Number from 1 of the band tagged alpha (or named so by a person), chosen or not, validity or not."""
        return self.file.alpha_band

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale the file tags the chosen bands with; None where it tags none of them."""
        return None if self._tags is None else self._tags[0]

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset the file tags the chosen bands with; None where it tags none of them."""
        return None if self._tags is None else self._tags[1]

    @property
    def _tags(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        if self.file.scale is None or self.file.offset is None:
            return None
        scale = tuple(self.file.scale[i - 1] for i in self.bands)
        offset = tuple(self.file.offset[i - 1] for i in self.bands)
        # GDAL gives a band without tags the scale 1 and the offset 0.
        return None if set(scale) == {1.0} and set(offset) == {0.0} else (scale, offset)

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, cols) in px of the file's blocks."""
        return self.file.block_shape

    @property
    def stacking(self) -> tuple[str, ...]:
        """What was done to the files of a stack so that the chosen bands are one scene, one line each."""
        brought: dict[str, list[str]] = {}
        for i in self.bands:
            if self.file.brought and (words := self.file.brought[i - 1]) is not None:
                brought.setdefault(words, []).append(self.descriptions[i - 1] or str(i))
        lines = [f"{', '.join(names)} resampled (bilinear), {words}" for words, names in brought.items()]
        return (*lines, self.file.cut) if self.file.cut else tuple(lines)

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> Scene:
        """Return the scene with other bands.

        Parameters
        ----------
        bands : sequence of int or str
            Numbers from 1 or descriptions, in the order wanted.
        validity_band : int or None
            Number of the band whose pixels above 0 are valid; None: no band is.

        Raises
        ------
        OptionError
            If there is no such band, or the validity band is wanted as data.
        """
        numbers = band_numbers(bands, self.descriptions, self.path)
        if validity_band is not None:
            band_numbers([validity_band], self.descriptions, self.path)
            if validity_band in numbers:
                raise OptionError(
                    f"{self.path}: band {validity_band} is wanted as data and as validity; choose one"
                )
        scene = dataclasses.replace(self, bands=numbers, validity_band=validity_band)
        scene._refuse_complex()
        return scene

    def declared(self, said: Declared) -> Scene:
        """Return the scene with what a person says about validity, in place of what the file says.

        Raises
        ------
        OptionError
            If there is no such band, or its bands cannot hold such a number.
        """
        scene = dataclasses.replace(self, said=said)
        if said.nodata is not None and self.palette is not None:
            (values,) = for_bands(said.nodata, (self.palette.dtype,), self.path)
            scene = dataclasses.replace(scene, palette=dataclasses.replace(self.palette, nodata=values))
        elif said.nodata is not None:
            nodata = for_bands(said.nodata, self.file.dtypes, self.path, self.alpha_band)
            masks = tuple(None if mask == "values" else mask for mask in self.file.masks)
            scene = dataclasses.replace(
                scene, nodata=nodata, file=dataclasses.replace(self.file, masks=masks)
            )
        if said.alpha is None:
            return scene
        number = None if said.alpha == "none" else said.alpha
        bands = tuple(i for i in range(1, len(self.file.dtypes) + 1) if i != number)
        file = scene.file if number is None else dataclasses.replace(scene.file, alpha_band=number)
        return dataclasses.replace(scene, file=file).select(bands, validity_band=number)

    def crop(self, window: Window) -> Scene:
        """Return the part of the scene in a window.

        Raises
        ------
        OptionError
            If the window sticks out of the scene.
        """
        if window.within(self.grid.shape) != window:
            raise OptionError(
                f"{self.path}: {window} sticks out of its {self.grid.height} x {self.grid.width} px"
            )
        extent = window.shifted(self.extent.row, self.extent.col)
        return dataclasses.replace(self, grid=self.grid.cropped(window), extent=extent)

    def read(self, window: Window) -> Chip:
        """Read a window; what sticks out of the scene is padded by reflection, `valid` with it.

        Parameters
        ----------
        window : Window
            May stick out on every side.

        Returns
        -------
        Chip
            Stored numbers, (band, row, col) in `dtype`, and valid.

        Raises
        ------
        SceneError
            If the file is damaged there or has changed.
        """
        rows = border_indices(window.row, window.height, self.extent.height)
        cols = border_indices(window.col, window.width, self.extent.width)
        top, left = int(rows.min()), int(cols.min())
        inside = Window(row=top, col=left, height=int(rows.max()) - top + 1, width=int(cols.max()) - left + 1)
        chip = self._read_inside(inside.shifted(self.extent.row, self.extent.col))
        if inside == window:
            return chip
        rows, cols = rows[:, None] - top, cols - left
        return Chip(pixels=chip.pixels[:, rows, cols], valid=chip.valid[rows, cols])

    @property
    def no_data(self) -> NoData:
        """What is no data in the chosen bands."""
        return NoData.of([self.nodata[i - 1] for i in self.bands], self._dtypes, self.said)

    @property
    def _dtypes(self) -> tuple[np.dtype[Any], ...]:
        return tuple(np.dtype(self.file.dtypes[i - 1]) for i in self.bands)

    def _refuse_complex(self) -> None:
        for i in (*self.bands, *([self.validity_band] if self.validity_band else [])):
            if "complex" in self.file.dtypes[i - 1]:
                raise SceneError(
                    f"{self.path}: band {i} is {self.file.dtypes[i - 1]}, and networks take real numbers; "
                    "store amplitude or phase as bands of their own"
                )

    def _read_inside(self, window: Window) -> Chip:
        """Read a window of the file that does not stick out."""
        with handle(self.file.location) as dataset:
            try:
                if self.palette is not None:
                    codes = dataset.read(1, window=_rasterio(window))
                    pixels, valid = self.palette.expand(codes, self.bands)
                else:
                    pixels, valid = self._decode(dataset, window)
                for band in self._masked_bands():
                    valid &= dataset.read_masks(band, window=_rasterio(window)) != 0
            except GDAL_ERRORS as error:
                forget_error(dataset)
                if dataset.driver != "GTiff":  # a GeoTIFF fails again by itself, block by block
                    drop_handle(self.file.location)
                raise SceneError(
                    f"{self.path}: damaged or incomplete at rows {window.row} to {window.row_stop - 1}, "
                    f"cols {window.col} to {window.col_stop - 1} ({one_line(error)})"
                ) from error
        return Chip(pixels=pixels, valid=valid)

    def _decode(
        self, dataset: rasterio.DatasetReader, window: Window
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Pixels, and where they are finite, not no data, and validity is above 0."""
        numbers = self.bands if self.validity_band is None else (*self.bands, self.validity_band)
        if len({self.file.dtypes[i - 1] for i in numbers}) == 1:
            pixels = dataset.read(numbers, window=_rasterio(window))
        else:
            # rasterio reads bands of one dtype only; GDAL converts each on its own.
            dtype = np.result_type(*(self.file.dtypes[i - 1] for i in numbers))
            pixels = np.empty((len(numbers), *window.shape), dtype=dtype)
            for i, out in zip(numbers, pixels, strict=True):
                dataset.read(i, window=_rasterio(window), out=out)
        data = pixels[: self.count].astype(self.dtype, copy=False)
        valid = self.no_data.usable(data)
        if self.validity_band is not None:
            valid &= pixels[-1] > 0
        return data, valid

    def _masked_bands(self) -> tuple[int, ...]:
        """Bands whose stored masks count; a mask of the whole file is named once."""
        if self.palette is not None:
            return self.palette.masked
        if self.alpha_band in self.bands:
            return ()
        return tuple(dict.fromkeys(i for i in self.bands if self.file.masks[i - 1] is not None))


def grid_of_raster(path: Any) -> Grid:
    """Return the grid of what `Scene.open` takes, whatever its pixels hold.

    Raises
    ------
    SceneError
        If there is nothing there that can be opened as a raster.
    """
    return _described(path, None, allow_remote=False).grid


def _rasterio(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


def _described(path: Any, resolution: float | None, *, allow_remote: bool) -> Description:
    """Describe a raster, or the files that are the bands of one."""
    stack = stack_of(path)
    if stack is not None:
        return describe_stack(stack, resolution=resolution, allow_remote=allow_remote)
    if resolution is not None:
        raise OptionError(
            f"{path}: a resolution is for scenes of several files; resample a file with gdalwarp -tr -r bilinear"
        )
    return describe(locate(path, allow_remote=allow_remote))


def _wkt(crs: str) -> str:
    try:
        return str(CRS.from_user_input(crs).to_wkt())
    except CRSError as error:
        raise OptionError(f"CRS {crs!r} is not known; expected something like EPSG:32633") from error
