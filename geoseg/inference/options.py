"""Options of a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from geoseg.errors import Message, OptionError
from geoseg.grid.legend import Legend
from geoseg.raster.declared import Declared, Nodata, NodataRule, nodata_of

if TYPE_CHECKING:
    from geoseg.models.card import Card

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
ON_ERROR = ("stop", "nodata")
_LARGEST_BATCH = 65_536
"""Maximum batch size in tiles; far more than makes any device faster."""
_MOST_DEVICES = 64
"""Maximum number of processes on one machine, each of which loads torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Checked keywords of `predict` and `segment` about reading and predicting a scene.

    Parameters
    ----------
    bands : tuple of int or str, optional
        Which bands of the scene (1-based numbers or names) are the card's bands, in the card's order.
    legend : Legend or path, optional
        Names and colours of codes in the products, instead of the card's; codes that it does not contain keep theirs.
    resolution : float, optional
        Pixel size to which a scene of several files is resampled, in units of its CRS; the finest file's by
        default.
    bounds : tuple of float, optional
        (west, south, east, north) in the scene's CRS; snapped outward to whole pixels.
    clip : Path, optional
        Vector file of polygons; pixels outside them become no data.
    nodata : number, str or sequence, optional
        No-data value of the scene, instead of what its file declares: a number, ``"none"``, or one of these for each
        band of the scene; several values of one band as a sequence.
    nodata_rule : str, optional
        Whether a pixel is no data where ``all`` bands are, or where ``any`` is; by default ``all`` where the
        bands have the same value, else ``any``.
    alpha : int or str, optional
        Number of the band whose pixels above 0 are valid, or ``"none"``; by default the one tagged alpha, unless
        its name or its numbers say that it is an image.
    tile_size, overlap : int, optional
        Px; the card's by default.
    batch_size : int or "auto", optional
        Tiles a model call; ``auto``, which is kept as None, is what a short trial on the device finds fastest for
        the scene.
    device, precision : str
        One of `DEVICES` and `PRECISIONS`.
    devices : int
        Number of devices of that kind, each of which computes a part of the rows in its own process.
    tta : bool
        Whether to use test-time augmentation, the mean over the 8 symmetries of every tile: 8 times the work.
    compile : bool
        Whether to compile the network first (CUDA only): worthwhile for large scenes.
    profile : bool
        Whether to measure the time of each stage.
    on_error : str
        What to do if a block cannot be read: ``stop`` the run, or write ``nodata`` there.
    allow_remote : bool
        Whether a VRT may refer to remote files.
    expand_palette : bool
        Whether a palette image is read as red, green and blue.
    assume_crs : str, optional
        CRS of a scene that has none.
    force : bool
        Whether to continue if scene and card do not match, or the disk seems too small.
    """

    bands: tuple[int | str, ...] | None = None
    legend: Legend | str | PathLike[str] | None = None
    resolution: float | None = None
    bounds: tuple[float, float, float, float] | None = None
    clip: Path | None = None
    nodata: Nodata | None = None
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
        """Raise OptionError for values that no run could use."""
        for name, allowed in (("device", DEVICES), ("precision", PRECISIONS), ("on_error", ON_ERROR)):
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if self.bounds is not None:
            if len(self.bounds) != 4 or not all(math.isfinite(value) for value in self.bounds):
                raise OptionError(f"bounds are {self.bounds}, expected 4 numbers: west, south, east, north")
            # The bounds of a geopandas frame are an array, and the journal takes plain values only.
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
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", _batch_size(self.batch_size))
        if not 1 <= self.devices <= _MOST_DEVICES:
            raise OptionError(f"devices is {self.devices}, expected 1 to {_MOST_DEVICES}")

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Take the fields out of the keywords of a public function, which are its ``locals()``."""
        if isinstance(bands := keywords.get("bands"), str):
            raise OptionError(f"bands is {bands!r}, expected a list of names or numbers, [{bands!r}]")
        return cls(**{field.name: keywords[field.name] for field in fields(cls) if field.name in keywords})

    def relabelled(self, card: Card) -> Card:
        """Return the card of a model with the requested names and colours.

        Raises
        ------
        LegendError
            If the legend contains none of the model's codes.
        """
        assert self.legend is None or isinstance(self.legend, Legend), "read above"
        return card.relabelled(self.legend)

    @property
    def declared(self) -> Declared:
        """Declarations about validity."""
        return Declared(nodata=nodata_of(self.nodata), rule=self.nodata_rule, alpha=self.alpha)

    def refuse_devices(self, why: str) -> None:
        """Raise OptionError if several devices are requested where only one can be used."""
        if self.devices > 1:
            raise OptionError(f"devices is {self.devices}, but {why}", Message("leave {devices} out"))


def _batch_size(given: Any) -> int | None:
    """Return the size of a batch, None for ``auto``."""
    if isinstance(given, str) and given == "auto":
        return None
    if not hasattr(given, "__index__") or not 1 <= given <= _LARGEST_BATCH:
        raise OptionError(f"batch_size is {given!r}, expected auto or a number from 1 to {_LARGEST_BATCH}")
    return int(given)
