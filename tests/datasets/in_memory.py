"""Pairs whose pixels and labels are arrays: what samplers and statistics see is then known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.datasets.dataset import Area, Channels, Pair
from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, Codes
from geoseg.raster.array_scene import ArraySource


@dataclass(frozen=True, kw_only=True)
class ArrayLabels:
    """Labels (row, col) or (class, row, col) as they are read."""

    codes: Codes

    @property
    def path(self) -> str:
        return "array of labels"

    @property
    def layered(self) -> bool:
        return self.codes.ndim == 3

    def read(self, window: Window) -> Codes:
        read = np.full((*self.codes.shape[:-2], *window.shape), UNKNOWN, dtype=np.uint8)
        shape = self.codes.shape[-2], self.codes.shape[-1]
        part = window.within(shape)
        if part is not None:
            inside = part.shifted(-window.row, -window.col).slices
            read[..., *inside] = self.codes[..., *part.slices]
        return read


@dataclass(frozen=True, kw_only=True)
class Marked:
    """An area given pixel by pixel."""

    pixels: npt.NDArray[np.bool_]

    def inside(self, window: Window) -> npt.NDArray[np.bool_]:
        read = np.zeros(window.shape, dtype=bool)
        part = window.within(self.pixels.shape)  # type: ignore[arg-type]
        if part is not None:
            read[part.shifted(-window.row, -window.col).slices] = self.pixels[part.slices]
        return read

    def with_unlabelled(self) -> Marked:
        return self


def pair_of(
    pixels: npt.NDArray[Any],
    codes: npt.NDArray[Any],
    channels: Channels,
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    area: Area | None = None,
    name: str = "pair",
) -> Pair:
    """A pair of arrays: pixels (band, row, col), codes as `Labels.read` has them."""
    return Pair(
        name=name,
        image=ArraySource.of(pixels, valid=valid),
        labels=ArrayLabels(codes=codes.astype(np.uint8)),
        channels=channels,
        area=area,
        gain=(1.0,) * len(pixels),
        bias=(0.0,) * len(pixels),
    )


def labelled(codes: npt.NDArray[Any], count: int = 3) -> Pair:
    """A pair of one band of noise and codes 0 to ``count - 1``, 255 where unlabelled."""
    noise = np.random.default_rng(0).integers(0, 255, (1, *codes.shape[-2:]), dtype=np.uint8)
    return pair_of(noise, codes, Channels(codes=tuple(range(count))))
