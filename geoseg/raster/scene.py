"""Scenes: raster files as bands on a grid, read in windows with their validity."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

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
from geoseg.raster.palette import Palette
from geoseg.raster.products import stack_of
from geoseg.raster.source import Source
from geoseg.raster.stack import describe_stack
from geoseg.raster.validity import NoData, for_bands, values_of

__all__ = ["Chip", "Scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene(Source):
    """Chosen bands of a raster file.

    It holds no open file, so it can be pickled and shared freely between threads and processes, each of which opens
    its own dataset.

    A pixel is valid if every chosen band is finite and not masked, the chosen bands are not no data, and the validity
    band, if there is one, is above 0. If all bands have the same no-data value, a pixel is no data where all bands
    have it; otherwise where any band has its own (`Declared` can change this). If a band tagged alpha is read as
    data, GDAL's masks are ignored.

    Parameters
    ----------
    file : Description
        Metadata of the file.
    grid : Grid
        Grid of `extent`.
    extent : Window
        The part of the file that the scene covers.
    bands : tuple of int
        Numbers from 1 of the bands that `read` returns, in this order.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    nodata : tuple of tuple of float
        No-data values of each band of the file.
    said : Declared
        The user's statements about validity.
    palette : Palette or None
        Colour table, if codes are expanded to colours.
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
        expand_palette: bool | None = False,
        palette_as_codes: bool = False,
        allow_remote: bool | None = False,
        assume_crs: str | None = None,
    ) -> Scene:
        """Open a GeoTIFF (or COG), JPEG 2000, PNG or JPEG file, a VRT, a URL, or several files, one per band.

        All bands are chosen except one tagged alpha, which becomes the validity band unless its name contradicts.

        Parameters
        ----------
        path : path-like, or sequence of path-like, or mapping of str to path-like
            File of the scene, or several files that are its bands: a list, a mapping from band names to files, a
            .SAFE folder or the metadata file in it, or a folder of a Landsat product. The grid is that of the file
            with the finest resolution; others are resampled bilinearly.
        resolution : float, optional
            Pixel size for several files in units of the CRS, instead of the finest.
        expand_palette : bool or None
            Whether a colour table is expanded to the bands red, green and blue; None as for `allow_remote`.
        palette_as_codes : bool
            Whether the codes of a colour table are read as they are, as for labels.
        allow_remote : bool or None
            Whether a VRT may have remote members. None: no, and errors advise no keyword, since the caller offers none.
        assume_crs : str, optional
            CRS (anything that PROJ understands) for a file without one.

        Raises
        ------
        SceneError
            If the file does not exist or cannot be read as a scene.
        OptionError
            If `assume_crs` is not a CRS, or `resolution` is given for a single file.
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
        """Name as given by the user."""
        return self.file.location.typed

    @property
    def driver(self) -> str:
        """Name of the GDAL driver."""
        return self.file.location.driver

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Names of all bands of the file, in order; None for bands without one."""
        return self.file.descriptions

    @property
    def colors(self) -> tuple[str | None, ...]:
        """Common names of all bands of the file by their colour tags; None for bands whose tag does not tell."""
        return self.file.colors

    @property
    def dtype(self) -> np.dtype[Any]:
        """Common dtype of the chosen bands."""
        return np.result_type(*self._dtypes)

    @property
    def alpha_band(self) -> int | None:
        """Number from 1 of the band tagged alpha (or named by the user), whether chosen or validity band or not."""
        return self.file.alpha_band

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale of the chosen bands from the file's tags; None if none of them is tagged."""
        return None if self._tags is None else self._tags[0]

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset of the chosen bands from the file's tags; None if none of them is tagged."""
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
        """Rows and columns of the file's blocks, px."""
        return self.file.block_shape

    @property
    def stacking(self) -> tuple[str, ...]:
        """Notes on how the files of a stack were resampled and cropped to one scene."""
        brought: dict[str, list[str]] = {}
        for i in self.bands:
            if self.file.brought and (words := self.file.brought[i - 1]) is not None:
                brought.setdefault(words, []).append(self.descriptions[i - 1] or str(i))
        lines = [f"{', '.join(names)} resampled (bilinear), {words}" for words, names in brought.items()]
        return (*lines, self.file.cut) if self.file.cut else tuple(lines)

    def with_bands(self, bands: tuple[int, ...], validity_band: int | None) -> Self:
        """Return the scene with other bands, whose numbers exist.

        Raises
        ------
        SceneError
            If a band holds complex numbers.
        """
        scene = dataclasses.replace(self, bands=bands, validity_band=validity_band)
        scene._refuse_complex()
        return scene

    def declared(self, said: Declared) -> Self:
        """Return the scene with the user's statements about validity instead of the file's.

        Raises
        ------
        OptionError
            If there is no such band, or the bands cannot hold such a value.
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

    def part(self, window: Window) -> Self:
        """Return the part of the scene in a window."""
        extent = window.shifted(self.extent.row, self.extent.col)
        return dataclasses.replace(self, grid=self.grid.cropped(window), extent=extent)

    def read_inside(self, window: Window) -> Chip:
        """Read a window that lies inside the scene."""
        return self._read_file(window.shifted(self.extent.row, self.extent.col))

    @property
    def no_data(self) -> NoData:
        """No-data values and rule of the chosen bands."""
        return NoData.of([self.nodata[i - 1] for i in self.bands], self._dtypes, self.said)

    @property
    def always_valid(self) -> bool:
        """Whether nothing could make a pixel invalid: whole numbers without no data, masks and a validity band."""
        return (
            self.palette is None
            and self.validity_band is None
            and self.dtype.kind in "iu"
            and not any(self.nodata[i - 1] for i in self.bands)
            and not self._masked_bands()
        )

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

    def _read_file(self, window: Window) -> Chip:
        """Read a window that lies inside the file."""
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
                if dataset.driver != "GTiff":  # a GeoTIFF reports the error again at the next read
                    drop_handle(self.file.location)
                raise SceneError(
                    f"{self.path}: damaged or incomplete at rows {window.row} to {window.row_stop - 1}, "
                    f"cols {window.col} to {window.col_stop - 1} ({one_line(error)})"
                ) from error
        return Chip(pixels=pixels, valid=valid)

    def _decode(
        self, dataset: rasterio.DatasetReader, window: Window
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Read pixels and their validity from finiteness, no-data values and the validity band."""
        numbers = self.bands if self.validity_band is None else (*self.bands, self.validity_band)
        if len({self.file.dtypes[i - 1] for i in numbers}) == 1:
            pixels = dataset.read(numbers, window=_rasterio(window))
        else:
            # rasterio reads several bands only if their dtypes are equal, so each is read on its own.
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
        """Return the bands whose stored masks apply."""
        if self.palette is not None:
            return self.palette.masked
        if self.alpha_band in self.bands:
            return ()
        return tuple(dict.fromkeys(i for i in self.bands if self.file.masks[i - 1] is not None))


def grid_of_raster(path: Any) -> Grid:
    """Return the grid of anything that `Scene.open` takes, even if its pixels cannot be read as a scene.

    Raises
    ------
    SceneError
        If the file does not exist or cannot be opened as a raster.
    """
    return _described(path, None, allow_remote=None).grid


def _rasterio(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


def _described(path: Any, resolution: float | None, *, allow_remote: bool | None) -> Description:
    """Read the metadata of a raster, or of several files that are its bands."""
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
