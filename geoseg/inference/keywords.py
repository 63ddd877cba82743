"""Types of the keywords that `predict` and `segment` share, for their typed overloads."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from geoseg.grid.legend import Legend
    from geoseg.progress import ShowProgress
    from geoseg.raster.declared import Nodata, NodataRule


class SceneKeywords(TypedDict, total=False):
    """Keywords about reading and predicting a scene, with and without an output; see `predict`."""

    bands: Sequence[int | str] | None
    legend: Legend | PathLike[str] | str | None
    resolution: float | None
    bounds: Sequence[float] | None
    clip: PathLike[str] | str | None
    nodata: Nodata | None
    nodata_rule: NodataRule | None
    alpha: int | Literal["none"] | None
    tile_size: int | None
    overlap: int | None
    batch_size: int | Literal["auto"]
    device: str
    devices: int
    precision: str
    tta: bool
    compile: bool
    on_error: str
    allow_remote: bool
    expand_palette: bool
    assume_crs: str | None
    force: bool
    progress: ShowProgress


class FileKeywords(SceneKeywords, total=False):
    """Keywords that also need an ``output``: they are about files, or about the record beside them."""

    profile: bool
    overwrite: bool
    resume: bool


class PolygonKeywords(SceneKeywords, total=False):
    """Keywords of `segment` about drawing polygons, and those of the scene."""

    min_area: str | None
    simplify: str | None
    smooth: bool
    classes: Sequence[str | int]
    scene_name: str | None
    workers: int


class PolygonFileKeywords(PolygonKeywords, FileKeywords, total=False):
    """Keywords of `segment` with an ``output``, except the names of files and layers."""
