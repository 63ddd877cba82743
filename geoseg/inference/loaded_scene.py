"""xarray scenes whose values are in memory, as sources."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geoseg.inference.lazy_scene import LazyScene
from geoseg.raster.xarray_bridge import RasterArray
from geoseg.raster.xarray_encodings import StoredBand


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedScene(LazyScene):
    """A DataArray, or a Dataset with one variable per band, described as a `LazyScene` but held in memory."""

    @classmethod
    def of(cls, scene: Any) -> Self:
        """Describe an xarray object as a scene; see `LazyScene.of`.

        An encoding may be left over from before the values were changed: it is used only if they can be decoded
        from it.
        """
        raster = RasterArray.of(scene)
        stored = tuple(
            band
            if band.filled is None or band.restore(raster.plane(place)) is not None
            else StoredBand.plain(raster.variable(place))
            for place, band in enumerate(raster.stored)
        )
        raster = dataclasses.replace(raster, stored=stored)
        return cls(raster=raster, bands=tuple(range(1, len(raster.names) + 1)))

    @property
    def block_shape(self) -> tuple[int, int]:
        """Shape of one row: nothing has to be decoded."""
        return 1, self.grid.width

    @property
    def token(self) -> str:
        """Digest of everything that is read."""
        digest = hashlib.sha256(repr((self.grid, self.bands, self.validity_band, self.decoding)).encode())
        for number in self.wanted:
            digest.update(np.ascontiguousarray(self.raster.plane(number - 1)).data)
        return digest.hexdigest()

    def _part(self, rows: slice, cols: slice) -> npt.NDArray[Any]:
        """Return a part of the planes that are read."""
        return np.stack([self.raster.plane(number - 1)[rows, cols] for number in self.wanted])
