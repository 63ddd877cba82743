"""Everything about a run that can be found wrong before the model is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import ModelError, OptionError, SceneError
from geoseg.grid.grid import Grid
from geoseg.grid.tiling import Tiling
from geoseg.inference.lazy_scene import LazyScene, is_lazy, is_xarray
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.inference.options import PredictOptions
from geoseg.models.card import Card, read_card
from geoseg.models.match import Match, match
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.products import Stack
from geoseg.raster.scene import Scene
from geoseg.raster.source import Source

log = logging.getLogger("geoseg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One scene and one model that fit each other.

    Parameters
    ----------
    match : Match
        The scene, reduced to the card's bands and the asked bounds, and its scaling.
    card : Card
    model : Path or Model
    tiling : Tiling
    options : PredictOptions
    name : str
        How messages and metadata call the scene.
    """

    match: Match
    card: Card
    model: Path | Model
    tiling: Tiling
    options: PredictOptions
    name: str

    @property
    def source(self) -> Source:
        """The scene as the model wants it."""
        return self.match.source

    @property
    def grid(self) -> Grid:
        """Grid of the result."""
        return self.match.source.grid

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the scene is read from."""
        source = self.match.source
        if not isinstance(source, Scene):
            return ()
        location = source.file.location
        return tuple(Path(each.name) for each in location.members or (location,) if not each.remote)

    @property
    def layers(self) -> int | None:
        """Layers of the result of a multilabel task, None of the others."""
        return len(self.card.channels) if self.card.task == "multilabel" else None

    @property
    def tiling_words(self) -> str:
        """How the scene is cut, for the tags of products."""
        if self.card.image_size is None:
            return f"size {self.tiling.size}, overlap {self.tiling.overlap}"
        rows, cols = self.card.image_size
        return f"none, resized whole to {rows} x {cols}"

    def load_model(self) -> Model:
        """Open the model file, its network not built yet, or return the model that was given."""
        return self.model if isinstance(self.model, Model) else Model.open(self.model, build=False)


def prepare(scene: Any, model: Path | str | Model, options: PredictOptions) -> Job:
    """Open a scene, read a card, and check that they and the options fit each other.

    Parameters
    ----------
    scene : path, list of paths, mapping of names to paths, Scene, xarray.DataArray or ndarray
        As `predict` takes it.
    model : path or Model
    options : PredictOptions

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
    """Do what `prepare` does, and say nothing of it."""
    model = given_model(model)
    card = options.relabelled(read_card(model) if isinstance(model, Path) else model.card)
    source = as_source(scene, options)
    name = Path(getattr(source, "path", "array")).name
    if options.bounds is not None:
        source = source.crop(source.grid.window(options.bounds))
    # What is lazy may be dear to compute, and is computed once.
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
    """Return the model file or the Model that a person gave.

    Raises
    ------
    ModelError
        If it is something else: a network alone knows neither its bands nor its classes.
    """
    if isinstance(model, str | PathLike):
        return Path(model)
    if isinstance(model, Model):
        return model
    kind = type(model).__name__
    if callable(getattr(model, "forward", None)):
        raise ModelError(
            f"{kind} is a network alone, which does not say what its bands, classes and numbers are; wrap it: "
            "geoseg.Model.wrap(module, bands=[...], classes=[...], value_range=(low, high))"
        )
    raise ModelError(f"expected a model file or a geoseg.Model, found {kind}")


def tiling_of(card: Card, options: PredictOptions) -> Tiling:
    """Return the tiling that was asked for, or the card's.

    Raises
    ------
    OptionError
        If it cannot be one, or the model has no tiles.
    """
    if card.image_size is not None and (options.tile_size or options.overlap) is not None:
        raise OptionError(
            f"the model {card.name} sees whole images, resized to {card.image_size[0]} x {card.image_size[1]} px, "
            "and no tiles; leave --tile-size and --overlap out"
        )
    size = card.tile.size if options.tile_size is None else options.tile_size
    overlap = options.overlap if options.overlap is not None else min(card.tile.overlap, size // 2)
    return Tiling(size=size, overlap=overlap)


def as_source(scene: Any, options: PredictOptions) -> Source:
    """Return the Source behind whatever a person calls a scene, with what the options say of its validity."""
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
            raise SceneError(f"the array has {scene.ndim} dimensions, expected 3: (band, row, col)")
        # numpy's masks mark what is not usable; which bands are read is not known yet, so any counts.
        valid = ~np.asarray(np.ma.getmaskarray(scene).any(axis=0)) if np.ma.isMaskedArray(scene) else None
        return ArraySource.of(np.ma.getdata(scene), valid=valid)
    if xarrays:
        return (LazyScene if is_lazy(scene) else LoadedScene).of(scene).single()
    if isinstance(scene, Scene | ArraySource):
        return scene
    raise OptionError(
        f"cannot read a scene from {type(scene).__name__}, expected a path, a Scene or an array"
    )
