"""Lazy xarray scenes as sources: their pixels are computed when read."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.array_scene import check_numbers
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared
from geoseg.raster.source import Source
from geoseg.raster.validity import NoData, for_bands
from geoseg.raster.xarray_bridge import RasterArray
from geoseg.raster.xarray_encodings import Decoding

_TITLE = "array"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazyScene(Source):
    """A lazy DataArray, or a Dataset with one variable per band, as a source whose pixels are computed when
    read.

    Parameters
    ----------
    raster : RasterArray
        The arrays, with all bands.
    bands : tuple of int
        Numbers from 1 of the chosen bands.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    said : Declared
        What a person said about validity.
    """

    raster: RasterArray
    bands: tuple[int, ...]
    validity_band: int | None = None
    said: Declared = UNSAID

    @classmethod
    def of(cls, scene: Any) -> Self:
        """Describe an xarray object as a scene.

        Raises
        ------
        SceneError
            If its dims are not those of a raster.
        """
        raster = RasterArray.of(scene)
        return cls(raster=raster, bands=tuple(range(1, len(raster.names) + 1)))

    @property
    def grid(self) -> Grid:
        """Grid of all bands."""
        return self.raster.grid

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """Names of all bands."""
        return self.raster.names

    @property
    def kept(self) -> Hashable | None:
        """Dim such as ``time``, each of whose entries is a scene; None if there is none."""
        return self.raster.kept

    @property
    def path(self) -> str:
        """Name of the scene in messages."""
        return _TITLE

    @property
    def is_array(self) -> bool:
        """True."""
        return True

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type that holds the stored values of the chosen bands."""
        return self.decoding.dtype

    @property
    def decoding(self) -> Decoding:
        """How the chosen bands are read."""
        return Decoding(
            bands=tuple(self.raster.stored[i - 1] for i in self.bands),
            said=self.said,
            validity=self.validity_band is not None,
        )

    @property
    def no_data(self) -> NoData:
        """No-data values of the chosen bands."""
        return self.decoding.no_data

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale of the chosen bands, if any band has one."""
        scaling = self.raster.scaling
        return None if scaling is None else tuple(scaling[0][i - 1] for i in self.bands)

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset of the chosen bands, if any band has one."""
        scaling = self.raster.scaling
        return None if scaling is None else tuple(scaling[1][i - 1] for i in self.bands)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the first chunk."""
        sizes = self.planes().chunks
        return int(sizes[-2][0]), int(sizes[-1][0])

    def declared(self, said: Declared) -> Self:
        """Return the scene with the user's declarations about validity; see `Scene.declared`.

        NaN stays no data, whatever value it was decoded from.
        """
        stored = self.raster.stored
        if said.nodata is not None:
            values = for_bands(said.nodata, [str(band.dtype) for band in stored], _TITLE)
            stored = tuple(
                dataclasses.replace(band, nodata=each if band.filled is None else (*each, band.filled))
                for band, each in zip(stored, values, strict=True)
            )
        raster = dataclasses.replace(self.raster, stored=stored)
        return dataclasses.replace(self, raster=raster, said=said).without_alpha()

    def with_bands(self, bands: tuple[int, ...], validity_band: int | None) -> Self:
        """Return the scene with other bands; raise SceneError for one that does not hold real numbers."""
        for number in bands:
            check_numbers(self.raster.variable(number - 1).dtype)
        return Source.with_bands(self, bands, validity_band)

    def part(self, window: Window) -> Self:
        """Return the part inside a window."""
        return dataclasses.replace(self, raster=self.raster.crop(window))

    def read_inside(self, window: Window) -> Chip:
        """Compute a window.

        Raises
        ------
        SceneError
            If a chunk cannot be computed.
        """
        try:
            computed = self._part(*window.slices)
        # Chunks are computed by arbitrary code, which may raise any error.
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise SceneError(f"{_TITLE}: {window} cannot be computed ({words[:200]})") from error
        pixels, valid = self.decoding.restored(computed)
        return Chip(pixels=np.stack(list(pixels)), valid=valid)

    def _part(self, rows: slice, cols: slice) -> npt.NDArray[Any]:
        """Compute a part of the planes."""
        return np.asarray(self.planes()[:, rows, cols].compute())

    @property
    def token(self) -> str:
        """Name by which dask identifies arrays: equal for equal computations on equal data."""
        return str(self.planes().name)

    def single(self) -> Self:
        """Return the scene, or raise SceneError if it holds several.

        Raises
        ------
        SceneError
            If there is a dim such as time.
        """
        if self.kept is not None:
            raise SceneError(
                f"the scene has a dim {self.kept}, expected a single scene for a file or for polygons; choose one "
                "with .isel()"
            )
        return self

    @property
    def wanted(self) -> tuple[int, ...]:
        """Numbers from 1 of the bands that are read: the chosen ones, then the validity band, if there is one."""
        return self.bands if self.validity_band is None else (*self.bands, self.validity_band)

    def planes(self) -> Any:
        """Return the bands that are read as a dask array (kept, band, row, col), without `kept` if there is none.

        Chunks hold all bands and one entry of `kept`; along rows and columns they are those of the scene.
        """
        import dask.array

        planes = dask.array.asarray(self.raster.stack([number - 1 for number in self.wanted]).data)
        filled = {
            axis: tuple(size for size in sizes if size) or sizes for axis, sizes in enumerate(planes.chunks)
        }
        kept = 0 if self.kept is None else 1
        return planes.rechunk({**filled, **dict.fromkeys(range(kept), 1), kept: -1})
