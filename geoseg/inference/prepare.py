"""Check everything about a run that can be checked before the model is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.engine.plan import Plan
from geoseg.engine.settings import Settings
from geoseg.errors import Message, ModelError, OptionError, SceneError, plural
from geoseg.grid.grid import Grid
from geoseg.grid.tiling import Tiling
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.inference.options import PredictOptions
from geoseg.models.card import Card
from geoseg.models.card_file import read_card
from geoseg.models.match import Match, match
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.band_encoding import Storage
from geoseg.raster.products import Stack
from geoseg.raster.scene import Scene
from geoseg.raster.source import Source
from geoseg.raster.xarray_bridge import is_lazy, is_xarray

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A scene and a model that match.

    Parameters
    ----------
    match : Match
        The scene, reduced to the card's bands and the requested bounds, and its scaling.
    card : Card
        The model's card, with the requested names and colours.
    model : Path or Model
        Model file or model.
    tiling : Tiling
        Tile size and overlap.
    options : PredictOptions
        Options of the prediction.
    name : str
        Name of the scene in messages and metadata.
    outputs : tuple of Path
        The main output, which owns the scratch folder and the journal, then further products.
    identity : dict
        What the products depend on besides the pixels (layer names, further paths), as plain JSON values.
    storage : str, optional
        Data type of the probabilities, if they are requested.
    overwrite, fresh : bool
        As in `claim`.
    settings : Settings, optional
        How the model runs on this machine, once chosen.
    """

    match: Match
    card: Card
    model: Path | Model
    tiling: Tiling
    options: PredictOptions
    name: str
    outputs: tuple[Path, ...] = ()
    identity: dict[str, Any] = field(default_factory=dict)
    storage: Storage | None = None
    overwrite: bool = False
    fresh: bool = False
    settings: Settings | None = None

    @property
    def source(self) -> Source:
        """The scene, as the model needs it."""
        return self.match.source

    @property
    def grid(self) -> Grid:
        """Grid of the result."""
        return self.match.source.grid

    @property
    def files(self) -> tuple[Path, ...]:
        """Files from which the scene is read."""
        source = self.match.source
        if not isinstance(source, Scene):
            return ()
        location = source.file.location
        return tuple(Path(each.name) for each in location.members or (location,) if not each.remote)

    @property
    def layers(self) -> int | None:
        """Number of layers of a multilabel result, else None."""
        return len(self.card.channels) if self.card.task == "multilabel" else None

    @property
    def seen(self) -> tuple[int, int]:
        """(rows, cols) in px of the network's input: a tile, or the whole image resized."""
        return self.card.image_size or (self.tiling.size, self.tiling.size)

    @property
    def chosen(self) -> Settings:
        """The settings, which must have been chosen."""
        assert self.settings is not None, "they are chosen before anything is computed"
        return self.settings

    @property
    def plan(self) -> Plan:
        """Strips of tiles, or the whole scene as one."""
        return Plan.of(self.grid.shape, self.planned_tiling, self.chosen.together)

    @property
    def planned_tiling(self) -> Tiling | None:
        """The tiling, or None if the network sees the scene whole."""
        return self.tiling if self.card.image_size is None else None

    @property
    def cache_megabytes(self) -> int:
        """Return the size of a block cache that holds two rows of blocks, so that strips never decode a block twice."""
        source = self.source
        row = source.block_shape[0] * self.grid.width * source.dtype.itemsize * (source.count + 1)
        return max(64, min(2 * row // 2**20 + 1, 512))

    @property
    def tiling_words(self) -> str:
        """Description of the tiling, for the tags of products."""
        if self.card.image_size is None:
            return f"size {self.tiling.size}, overlap {self.tiling.overlap}"
        rows, cols = self.card.image_size
        return f"none, resized whole to {rows} x {cols}"

    def load_model(self) -> Model:
        """Open the model file without building its network, or return the given model."""
        return self.model if isinstance(self.model, Model) else Model.open(self.model, build=False)


def prepare_job(scene: Any, model: Path | str | Model, options: PredictOptions) -> Job:
    """Open a scene, read a card, and check that they and the options match.

    Parameters
    ----------
    scene : path, list of paths, mapping of names to paths, Scene, xarray.DataArray or ndarray
        The scene, as for `predict`.
    model : path or Model
        Model file or model.
    options : PredictOptions
        Options of the prediction.

    Raises
    ------
    SceneError, ModelError, MismatchError, OptionError
    """
    job = fitted(scene, model, options)
    for note in job.match.notes:
        log.warning("%s: %s", job.name, note)
    for line in job.source.stacking if isinstance(job.source, Scene) else ():
        log.info("%s: %s", job.name, line)
    return job


def fitted(scene: Any, model: Path | str | Model, options: PredictOptions) -> Job:
    """Do the work of `prepare_job` without logging."""
    model = given_model(model)
    card = options.relabelled(read_card(model) if isinstance(model, Path) else model.card)
    source = as_source(scene, options)
    name = Path(getattr(source, "path", "array")).name
    if options.bounds is not None:
        source = source.crop(source.grid.window(options.bounds))
    # Lazy arrays may be expensive to compute, so none of their pixels are sampled.
    cheap = isinstance(source, LoadedScene) or not isinstance(source, LazyScene)
    found = match(source, card, options.bands, force=options.force, looked=cheap)
    return Job(
        match=found,
        card=card,
        model=model,
        tiling=tiling_of(card, options),
        options=options,
        name=name,
    )


def given_model(model: Any) -> Path | Model:
    """Return the model file as a path, or the Model that was given.

    Raises
    ------
    ModelError
        If it is neither: a network alone does not tell its bands and classes.
    """
    if isinstance(model, str | PathLike):
        return Path(model)
    if isinstance(model, Model):
        return model
    kind = type(model).__name__
    if callable(getattr(model, "forward", None)):
        raise ModelError(
            f"{kind} is only a network, without bands, classes and value range; wrap it: "
            "geoseg.Model.wrap(module, bands=[...], classes=[...], value_range=(low, high))"
        )
    raise ModelError(f"expected a model file or a geoseg.Model, found {kind}")


def tiling_of(card: Card, options: PredictOptions) -> Tiling:
    """Return the requested tiling, or the card's.

    Raises
    ------
    OptionError
        If it is invalid, or the model takes whole images.
    """
    if card.image_size is not None and (options.tile_size or options.overlap) is not None:
        raise OptionError(
            f"the model {card.name} sees whole images, resized to {card.image_size[0]} x {card.image_size[1]} px, "
            "and no tiles",
            Message("leave {tile_size} and {overlap} out"),
        )
    size = card.tile.size if options.tile_size is None else options.tile_size
    overlap = options.overlap if options.overlap is not None else min(card.tile.overlap, size // 2)
    return Tiling(size=size, overlap=overlap)


def as_source(scene: Any, options: PredictOptions) -> Source:
    """Open any form of a scene as a Source, with the declarations about its validity."""
    return _opened(scene, options).declared(options.declared)


def _opened(scene: Any, options: PredictOptions) -> Scene | ArraySource | LazyScene:
    xarrays = is_xarray(scene)
    if not xarrays and isinstance(scene, str | Path | Mapping | list | tuple | Stack):
        return Scene.open(
            scene,
            resolution=options.resolution,
            expand_palette=options.expand_palette,
            allow_remote=options.allow_remote,
            assume_crs=options.assume_crs,
        )
    if options.resolution is not None:
        raise OptionError(
            "a resolution is for scenes of several files, and this one is open already; leave it out"
        )
    if isinstance(scene, np.ndarray):
        if scene.ndim != 3:
            raise SceneError(f"the array has {plural(scene.ndim, 'dimension')}, expected 3: (band, row, col)")
        # numpy masks are True for invalid values; the bands to read are not known yet, so a mask in any band counts.
        valid = ~np.asarray(np.ma.getmaskarray(scene).any(axis=0)) if np.ma.isMaskedArray(scene) else None
        return ArraySource.of(np.ma.getdata(scene), valid=valid)
    if xarrays:
        return (LazyScene if is_lazy(scene) else LoadedScene).of(scene).single()
    if isinstance(scene, Scene | ArraySource):
        return scene
    raise OptionError(
        f"cannot read a scene from {type(scene).__name__}, expected a path, a Scene or an array"
    )
