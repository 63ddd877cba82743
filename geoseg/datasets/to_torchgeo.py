"""Our pairs as a torchgeo dataset, for torchgeo's samplers, trainers and data modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely
import torch
from pyproj import CRS
from torchgeo.datasets import GeoDataset

from geoseg.datasets.dataset import Pair
from geoseg.errors import DataError, OptionError
from geoseg.grid.window import Window

_SAME: Final = 1e-6
"""Share of a pixel by which resolutions may differ."""


class PairDataset(GeoDataset):  # type: ignore[misc]  # torchgeo's types change between versions
    """Pairs of images and labels, to be asked for chips by their bounds in the world.

    A sample holds what `Pair.sample` makes (``image``, ``mask``, ``valid``, ``scene``) and what the installed
    torchgeo adds: up to 0.8 ``crs`` and ``bounds``, later ``bounds`` and ``transform`` as tensors.

    Laws: a chip has the shape that was asked for; bounds between pixels are snapped to whole pixels, never
    resampled, and the sample's bounds are those of its pixels. What sticks out of an image is padded by
    reflection and counts in no mask. Of overlapping images the one that shares most with the bounds answers.

    Parameters
    ----------
    pairs : sequence of Pair
        On north-up grids of one CRS and one pixel size.

    Raises
    ------
    DataError
        If there are none, or they do not share CRS and pixel size, or lie askew.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        if not pairs:
            raise DataError("there are no pairs to make a torchgeo dataset of")
        first = pairs[0].grid
        for pair in pairs:
            t = pair.grid.transform
            if t.b or t.d or t.a <= 0 or t.e >= 0 or pair.grid.crs is None:
                raise DataError(f"{pair.image.path}: torchgeo takes north-up images with a CRS only; warp it")
            apart = abs(t.a / first.transform.a - 1), abs(t.e / first.transform.e - 1)
            if pair.grid.crs != first.crs or max(apart) > _SAME:
                raise DataError(
                    f"{pair.image.path}: has another CRS or pixel size than {pairs[0].image.path}; torchgeo's "
                    "samplers know one for all images of a dataset"
                )
        self._pairs = tuple(pairs)
        self._res = first.transform.a, -first.transform.e
        self.paths = [pair.image.path for pair in pairs]
        always = [(pd.Timestamp.min, pd.Timestamp.max)] * len(pairs)
        self.index = gpd.GeoDataFrame(
            {"filepath": self.paths},
            index=pd.IntervalIndex.from_tuples(always, closed="both", name="datetime"),
            geometry=[shapely.box(*pair.grid.bounds) for pair in pairs],
            crs=CRS.from_user_input(first.crs),
        )

    @property
    def crs(self) -> CRS:
        """CRS of all pairs."""
        crs: CRS = self.index.crs
        return crs

    @crs.setter
    def crs(self, new_crs: CRS) -> None:
        """Refuse another CRS."""
        if not CRS.from_user_input(new_crs).equals(self.index.crs, ignore_axis_order=True):
            raise OptionError(
                f"these images stay in {self.index.crs.name}, found {CRS.from_user_input(new_crs).name}; "
                "put this dataset first, or warp the images"
            )

    @property
    def res(self) -> tuple[float, float]:
        """(x, y) size of a pixel in CRS units."""
        return self._res

    @res.setter
    def res(self, new_res: float | tuple[float, float]) -> None:
        """Refuse another resolution."""
        x, y = (new_res, new_res) if isinstance(new_res, int | float) else new_res
        if max(abs(x / self._res[0] - 1), abs(y / self._res[1] - 1)) > _SAME:
            raise OptionError(
                f"these images have pixels of {self._res[0]:g} x {self._res[1]:g} and are never resampled, found "
                f"{x:g} x {y:g}; put this dataset first, or warp the images"
            )

    def __getitem__(self, index: Any) -> dict[str, Any]:
        """Return the sample of ``[xmin:xmax, ymin:ymax, tmin:tmax]``.

        Raises
        ------
        IndexError
            If no image is there.
        OptionError
            If another resolution is asked for.
        """
        x, y, t = self._disambiguate_slice(index)
        self.res = (x.step, y.step)
        shared = self.index.geometry.intersection(shapely.box(x.start, y.start, x.stop, y.stop)).area
        if not shared.max() > 0:
            raise IndexError(f"{index} is not found in the dataset, which covers {self.bounds}")
        number = int(shared.to_numpy().argmax())
        pair = self._pairs[number]
        transform = pair.grid.transform
        col, row = ~transform @ (x.start, y.stop)
        window = Window(
            row=round(row),
            col=round(col),
            height=max(1, round((y.stop - y.start) / -transform.e)),
            width=max(1, round((x.stop - x.start) / transform.a)),
        )
        west, south, east, north = pair.grid.window_bounds(window)
        place = slice(west, east, x.step), slice(south, north, y.step), t
        sample = pair.sample(window, number)
        sample["scene"] = torch.tensor(number)
        if not hasattr(self, "_slice_to_tensor"):  # torchgeo 0.8
            return {**sample, "crs": self.crs, "bounds": place}
        corner = pair.grid.cropped(window).transform
        times = t.start.timestamp(), t.stop.timestamp(), t.step
        bounds = [west, east, x.step, south, north, y.step, *times]
        # Numbers of the world need 64 bits, in which torchgeo's own samples are lossy.
        return {
            **sample,
            "bounds": torch.tensor(bounds, dtype=torch.float64),
            "transform": torch.tensor(tuple(corner), dtype=torch.float64),
        }
