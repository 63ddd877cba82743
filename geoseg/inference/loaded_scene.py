"""xarray's scenes whose numbers are in memory."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.stored_bands import StoredBand


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedScene(LazyScene):
    """An array, or a Dataset of one for each band, described as a lazy one is, whose pixels are there."""

    @classmethod
    def of(cls, scene: Any) -> LoadedScene:
        """Describe a scene; see `LazyScene.of`.

        An encoding may outlive what was done to the numbers since: it counts where they can be those of the file.
        """
        # LazyScene by name: slots make a second class, which a bare super() does not know.
        described = LazyScene.of(scene)
        found = cls(**{field.name: getattr(described, field.name) for field in dataclasses.fields(described)})
        own = [band.stored is None or _fits(found, number) for number, band in enumerate(found.stored)]
        stored = tuple(
            band if fits else StoredBand.plain(found.variable(number))
            for number, (band, fits) in enumerate(zip(found.stored, own, strict=True))
        )
        return dataclasses.replace(found, stored=stored)

    def variable(self, number: int) -> Any:
        """Return the xarray variable that holds a band, by its place from 0."""
        if hasattr(self.data, "data_vars"):
            return self.data[list(self.data.data_vars)[number]]
        return self.data

    def plane(self, number: int) -> npt.NDArray[Any]:
        """Return a band (row, col), by its place from 0, as a view; with `kept` before it where there is one."""
        array = self.variable(number)
        if self.band_dim is not None:
            array = array.isel({self.band_dim: number})
        kept = [] if self.kept is None or self.kept not in array.dims else [self.kept]
        return np.asarray(array.transpose(*kept, *self.spatial).to_numpy())

    @property
    def block_shape(self) -> tuple[int, int]:
        """One row: nothing is decoded."""
        return 1, self.grid.width

    @property
    def token(self) -> str:
        """Digest of everything that is read."""
        digest = hashlib.sha256(repr((self.grid, self.bands, self.validity_band, self.reading)).encode())
        for number in self._wanted:
            digest.update(np.ascontiguousarray(self.plane(number - 1)).data)
        return digest.hexdigest()

    @property
    def _wanted(self) -> tuple[int, ...]:
        return self.bands if self.validity_band is None else (*self.bands, self.validity_band)

    def _part(self, rows: slice, cols: slice) -> npt.NDArray[Any]:
        """Return a part of the planes that are read."""
        return np.stack([self.plane(number - 1)[rows, cols] for number in self._wanted])


def _fits(scene: LoadedScene, number: int) -> bool:
    stored = scene.stored[number].stored
    assert stored is not None
    return stored.restore(scene.plane(number)) is not None
