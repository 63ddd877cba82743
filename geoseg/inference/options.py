"""What a person may choose about a prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from geoseg.errors import OptionError
from geoseg.grid.legend import Legend
from geoseg.raster.declared import Declared, NodataRule, nodata_of

if TYPE_CHECKING:
    from geoseg.models.card import Card

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) while work goes on; the caller draws the bar."""

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
ON_ERROR = ("stop", "nodata")
_LARGEST_BATCH = 65_536
"""Tiles; far more than makes any device faster."""
_MOST_DEVICES = 64
"""Processes of one machine, each with torch in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Choices of `predict` and `segment`; the defaults are right for most scenes.

    Parameters
    ----------
    bands : tuple of int or str, optional
        Which bands of the scene (1-based numbers or names) are the card's bands, in the card's order.
    legend : Legend or path, optional
        Names and colours of codes in the products, in place of the card's; codes that it does not name keep theirs.
    resolution : float, optional
        Edge of the pixels that a scene of several files is brought to, in units of its CRS; the finest file's by
        default.
    bounds : tuple of float, optional
        (west, south, east, north) in the scene's CRS; snapped outward to whole pixels.
    clip : Path, optional
        Vector file of polygons; outside of them is no data.
    nodata : number, str or sequence, optional
        No data of the scene, in place of what its file declares: a number, ``"none"``, or one of them for each
        band of the scene; several numbers of a band in a sequence of their own.
    nodata_rule : str, optional
        Whether a pixel is no data where ``all`` bands are, or where ``any`` is; by default ``all`` where the
        bands have the same value, else ``any``.
    alpha : int or str, optional
        Number of the band whose pixels above 0 are valid, or ``"none"``; by default the one tagged alpha, unless
        its name or its numbers say that it is an image.
    tile_size, overlap : int, optional
        Px; the card's by default.
    batch_size : int, optional
        Tiles a model call; by default what a short trial on the device finds fastest for the scene.
    device, precision : str
        One of `DEVICES` and `PRECISIONS`.
    devices : int
        How many devices of that kind compute, each in a process of its own and each its part of the rows.
    tta : bool
        Whether every tile is seen in its 8 symmetries and their mean counts: 8 times the work.
    compile : bool
        Whether the network is compiled first: worth it for large scenes.
    profile : bool
        Whether it is measured where the time goes.
    on_error : str
        What a block that cannot be read does: ``stop`` the run, or become ``nodata``.
    allow_remote : bool
        Whether a VRT may point at remote files.
    expand_palette : bool
        Whether a palette image is read as its colours.
    assume_crs : str, optional
        CRS of a scene that has none.
    force : bool
        Go on where scene and card do not fit, or the disk looks too small.
    """

    bands: tuple[int | str, ...] | None = None
    legend: Legend | str | PathLike[str] | None = None
    resolution: float | None = None
    bounds: tuple[float, float, float, float] | None = None
    clip: Path | None = None
    nodata: float | str | Sequence[float | str | Sequence[float] | None] | None = None
    nodata_rule: NodataRule | None = None
    alpha: int | Literal["none"] | None = None
    tile_size: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    devices: int = 1
    tta: bool = False
    compile: bool = False
    profile: bool = False
    on_error: str = "stop"
    allow_remote: bool = False
    expand_palette: bool = False
    assume_crs: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no run could use."""
        for name, allowed in (("device", DEVICES), ("precision", PRECISIONS), ("on_error", ON_ERROR)):
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if self.bounds is not None:
            if len(self.bounds) != 4 or not all(math.isfinite(value) for value in self.bounds):
                raise OptionError(f"bounds are {self.bounds}, expected 4 numbers: west, south, east, north")
            # A geopandas frame gives an array here, and the journal takes plain values only.
            object.__setattr__(self, "bounds", tuple(float(value) for value in self.bounds))
        if self.bands is not None:
            plain = tuple(band if isinstance(band, str) else int(band) for band in self.bands)
            object.__setattr__(self, "bands", plain)
        if self.legend is not None:
            from geoseg.raster.legend_file import legend_of

            object.__setattr__(self, "legend", legend_of(self.legend))
        if self.nodata is not None:
            object.__setattr__(self, "nodata", nodata_of(self.nodata))
        _ = self.declared
        if self.clip is not None:
            object.__setattr__(self, "clip", Path(self.clip))
        if self.batch_size is not None and not 1 <= self.batch_size <= _LARGEST_BATCH:
            raise OptionError(f"batch size is {self.batch_size}, expected 1 to {_LARGEST_BATCH}")
        if not 1 <= self.devices <= _MOST_DEVICES:
            raise OptionError(f"devices is {self.devices}, expected 1 to {_MOST_DEVICES}")

    def relabelled(self, card: Card) -> Card:
        """Return the card of a model with the names and colours that were asked for.

        Raises
        ------
        LegendError
            If the legend names none of the model's codes.
        """
        assert self.legend is None or isinstance(self.legend, Legend), "read above"
        return card.relabelled(self.legend)

    @property
    def declared(self) -> Declared:
        """What is said about validity."""
        return Declared(nodata=nodata_of(self.nodata), rule=self.nodata_rule, alpha=self.alpha)

    def refuse_devices(self, why: str) -> None:
        """Raise OptionError where several devices are asked for and cannot be had."""
        if self.devices > 1:
            raise OptionError(f"devices is {self.devices}, but {why}; leave --devices out")
