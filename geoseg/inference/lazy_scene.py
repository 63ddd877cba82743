"""xarray's lazy scenes: what is known of them without reading a pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from geoseg.errors import OptionError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.inference.lattice import Scaling, band_names, centres, grid_of, scaling_of, with_own_names
from geoseg.inference.scene_dims import only_name, other_dims, spatial_dims
from geoseg.inference.stored_bands import Reading, StoredBand, scaling_of_all
from geoseg.raster.chip import Chip
from geoseg.raster.declared import UNSAID, Declared
from geoseg.raster.padding import border_indices
from geoseg.raster.selection import band_numbers
from geoseg.raster.source import ChosenBands
from geoseg.raster.validity import NoData, for_bands

if TYPE_CHECKING:
    import xarray

_TITLE = "array"
_BAND = "geoseg_band"
"""Dim of bands of an array that has none."""


def is_xarray(scene: Any) -> bool:
    """Whether a scene is a DataArray or a Dataset; a Dataset is a mapping, too."""
    return hasattr(scene, "dims") and hasattr(scene, "coords")


def is_lazy(scene: Any) -> bool:
    """Whether a scene is an xarray object that dask has still to compute."""
    graph = getattr(scene, "__dask_graph__", None)
    return is_xarray(scene) and graph is not None and graph() is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazyScene(ChosenBands):
    """A lazy array, or a Dataset of one for each band, as a source whose pixels are computed where they are read.

    Parameters
    ----------
    data : DataArray (kept, band, y, x) or Dataset of (kept, y, x)
        In any order of dims.
    kept : str or None
        Dim that is neither a band's nor spatial, such as ``time``; each of its entries is a scene.
    band_dim : str or None
        Of a DataArray that has one.
    spatial : (str, str)
        Names of the dims of rows and columns.
    grid : Grid
    descriptions : tuple of str or None
        Names of all bands.
    stored : tuple of StoredBand
        Of all bands.
    scaling : (tuple of float, tuple of float) or None
        Scales and offsets of all bands, where any has one.
    bands : tuple of int
        Numbers from 1 of the chosen bands.
    validity_band : int or None
        Number from 1 of the band whose pixels above 0 are valid.
    said : Declared
        What a person said about validity.
    """

    data: xarray.DataArray | xarray.Dataset
    kept: Hashable | None
    band_dim: Hashable | None
    spatial: tuple[Hashable, Hashable]
    grid: Grid
    descriptions: tuple[str | None, ...]
    stored: tuple[StoredBand, ...]
    scaling: Scaling | None
    bands: tuple[int, ...]
    validity_band: int | None = None
    said: Declared = UNSAID

    @classmethod
    def of(cls, scene: Any) -> LazyScene:
        """Describe a scene.

        Raises
        ------
        SceneError
            If its dims are no raster's.
        """
        import rioxarray  # noqa: F401  (registers .rio)

        if hasattr(scene, "data_vars"):
            return cls._of_variables(scene)
        array: Any = scene
        spatial, others = spatial_dims(array)
        kept, band = other_dims(array, others)
        names = band_names(array, band) if band is not None else (only_name(array),)
        return cls(
            data=array, kept=kept, band_dim=band, spatial=spatial, grid=grid_of(array), descriptions=names,
            stored=(StoredBand.of(array),) * len(names), scaling=scaling_of(array, len(names)),
            bands=tuple(range(1, len(names) + 1)),
        )  # fmt: skip

    @classmethod
    def _of_variables(cls, dataset: Any) -> LazyScene:
        """Take every variable that has rows and columns for a band of its name."""
        first = next((name for name in dataset.data_vars if dataset[name].ndim >= 2), None)
        if first is None:
            raise SceneError(
                f"the Dataset ({', '.join(map(str, dataset))}) has no variable of rows and columns"
            )
        spatial, _ = spatial_dims(dataset[first])
        dataset = with_own_names(dataset)
        names = [name for name in dataset.data_vars if set(spatial) <= set(dataset[name].dims)]
        others = {dim for name in names for dim in dataset[name].dims} - set(spatial)
        if len(others) > 1:
            listed = ", ".join(sorted(map(str, others)))
            raise SceneError(
                f"the Dataset's bands have dims {listed} beside rows and columns, expected one such as time; "
                "choose one with .isel()"
            )
        arrays = [dataset[name] for name in names]
        return cls(
            data=dataset[names], kept=next(iter(others), None), band_dim=None, spatial=spatial,
            grid=grid_of(arrays[0]), descriptions=tuple(map(str, names)),
            stored=tuple(map(StoredBand.of, arrays)), scaling=scaling_of_all(arrays),
            bands=tuple(range(1, len(names) + 1)),
        )  # fmt: skip

    @property
    def path(self) -> str:
        """What messages call it."""
        return _TITLE

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype that holds the stored numbers of the chosen bands."""
        return self.reading.dtype

    @property
    def reading(self) -> Reading:
        """How the chosen bands are read."""
        return Reading(
            bands=tuple(self.stored[i - 1] for i in self.bands),
            said=self.said,
            validity=self.validity_band is not None,
        )

    @property
    def no_data(self) -> NoData:
        """What is no data in the chosen bands."""
        return self.reading.no_data

    @property
    def scale(self) -> tuple[float, ...] | None:
        """Scale of the chosen bands, where any band has one."""
        return None if self.scaling is None else tuple(self.scaling[0][i - 1] for i in self.bands)

    @property
    def offset(self) -> tuple[float, ...] | None:
        """Offset of the chosen bands, where any band has one."""
        return None if self.scaling is None else tuple(self.scaling[1][i - 1] for i in self.bands)

    @property
    def alpha_band(self) -> int | None:
        """Number that a person named: an array has no tags."""
        return None if self.said.alpha == "none" else self.said.alpha

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the first chunk."""
        sizes = self.planes().chunks
        return int(sizes[-2][0]), int(sizes[-1][0])

    def select(self, bands: Sequence[int | str], *, validity_band: int | None) -> LazyScene:
        """Return the scene with other bands; see `Scene.select`."""
        numbers = band_numbers(bands, self.descriptions, _TITLE)
        if validity_band is not None:
            band_numbers([validity_band], self.descriptions, _TITLE)
            if validity_band in numbers:
                raise OptionError(
                    f"array: band {validity_band} is wanted as data and as validity; choose one"
                )
        return dataclasses.replace(self, bands=numbers, validity_band=validity_band)

    def declared(self, said: Declared) -> LazyScene:
        """Return the scene with what a person says about validity; see `Scene.declared`.

        What is NaN in it stays no data, whatever number it was in the file.
        """
        stored = self.stored
        if said.nodata is not None:
            values = for_bands(said.nodata, [str(band.dtype) for band in stored], _TITLE)
            stored = tuple(
                dataclasses.replace(band, nodata=each if band.stored is None else (*each, band.stored.nodata))
                for band, each in zip(stored, values, strict=True)
            )
        scene = dataclasses.replace(self, stored=stored, said=said)
        if said.alpha is None:
            return scene
        bands = tuple(i for i in range(1, len(stored) + 1) if i != scene.alpha_band)
        return scene.select(bands, validity_band=scene.alpha_band)

    def crop(self, window: Window) -> LazyScene:
        """Return the part in a window."""
        rows, cols = window.slices
        part = self.data.isel({self.spatial[0]: rows, self.spatial[1]: cols})
        return dataclasses.replace(self, data=part, grid=self.grid.cropped(window))

    def read(self, window: Window) -> Chip:
        """Compute a window, padded as `Scene.read` does.

        Raises
        ------
        SceneError
            If a chunk cannot be computed.
        """
        rows = border_indices(window.row, window.height, self.grid.height)
        cols = border_indices(window.col, window.width, self.grid.width)
        inside = slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1)
        try:
            computed = self._part(*inside)
        # Chunks come from anybody's code.
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise SceneError(f"{_TITLE}: {window} cannot be computed ({words[:200]})") from error
        pixels, valid = self.reading.restored(computed)
        places = np.ix_(rows - rows.min(), cols - cols.min())
        return Chip(pixels=np.stack([plane[places] for plane in pixels]), valid=valid[places])

    def _part(self, rows: slice, cols: slice) -> npt.NDArray[Any]:
        """Compute a part of the planes."""
        return np.asarray(self.planes()[:, rows, cols].compute())

    @property
    def token(self) -> str:
        """What dask tells arrays apart by: equal where they are computed alike of the same."""
        return str(self.planes().name)

    def single(self) -> Self:
        """Return the scene where it is one.

        Raises
        ------
        SceneError
            If there is a dim of several.
        """
        if self.kept is not None:
            raise SceneError(
                f"the scene has a dim {self.kept}, expected a single scene for a file or for polygons; choose one "
                "with .isel()"
            )
        return self

    def planes(self) -> Any:
        """Return the chosen bands as a dask array (kept, band, row, col), without `kept` where there is none.

        The validity band, where there is one, comes last.

        Chunks hold all bands and one entry of `kept`; along rows and columns they are those of the scene.
        """
        import dask.array

        data: Any = self.data
        band: Hashable
        wanted = self.bands if self.validity_band is None else (*self.bands, self.validity_band)
        if hasattr(data, "data_vars"):
            names = list(data.data_vars)
            array, band = data[[names[number - 1] for number in wanted]].to_dataarray(_BAND), _BAND
        elif self.band_dim is None:
            array, band = data.expand_dims(_BAND), _BAND
        else:
            array, band = data, self.band_dim
            if wanted != tuple(range(1, array.sizes[band] + 1)):
                array = array.isel({band: [number - 1 for number in wanted]})
        kept = [] if self.kept is None else [self.kept]
        planes = dask.array.asarray(array.transpose(*kept, band, *self.spatial).data)
        filled = {
            axis: tuple(size for size in sizes if size) or sizes for axis, sizes in enumerate(planes.chunks)
        }
        return planes.rechunk({**filled, **dict.fromkeys(range(len(kept)), 1), len(kept): -1})

    def coords(self) -> dict[Hashable, Any]:
        """Coordinates of the result: those of the scene, that what is computed from both lines up.

        Those of rows and columns only where they are pixel centres; of the others those that no band has.
        """
        found: dict[Hashable, Any] = dict(centres(self.grid, self.spatial))
        mapping = self._grid_mapping()
        for name, coord in self.data.coords.items():
            if name in self.spatial:
                ours = found.get(name)
                if ours is not None and _same_places(coord.to_numpy(), ours[1]):
                    found[name] = coord.variable
            elif set(coord.dims) <= {self.kept} and name not in ("band", "class", self.band_dim, mapping):
                chunked = coord.chunks is not None and coord.ndim
                found[name] = coord.variable.chunk(1) if chunked else coord.variable
        return found

    def _grid_mapping(self) -> str:
        data: Any = self.data
        first = next(iter(data.data_vars.values())) if hasattr(data, "data_vars") else data
        return str(first.rio.grid_mapping)


def _same_places(coords: npt.NDArray[Any], centres: npt.NDArray[np.float64]) -> bool:
    """Whether coordinates are those of pixel centres, to a thousandth of a pixel."""
    if coords.dtype.kind not in "iuf" or coords.shape != centres.shape:
        return False
    step = abs(centres[1] - centres[0]) if len(centres) > 1 else 1.0
    return bool((np.abs(coords - centres) <= 1e-3 * step).all())
