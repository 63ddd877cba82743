"""Predictions that dask computes on demand, block by block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import OptionError, SceneError
from geoseg.inference.block_engine import BlockEngine
from geoseg.inference.block_plan import Axis
from geoseg.inference.compute_block import BlockWork, compute_block
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.machine import choose_settings
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import tiling_of
from geoseg.inference.worker_models import sendable
from geoseg.models.card import Card
from geoseg.models.match import match
from geoseg.raster.xarray_results import result_dataset, with_probabilities

if TYPE_CHECKING:
    import xarray

    from geoseg.models.model import Model

log = logging.getLogger("geoseg")

_MANY = 3.0
"""If tiles are computed this often on average, a note says so."""


def predict_lazy(
    scene: Any, model: Path | str | Model, options: PredictOptions, *, probabilities: bool = False
) -> xarray.Dataset:
    """Classify a lazy scene; see `geoseg.predict`.

    Parameters
    ----------
    scene : DataArray or Dataset
        The scene, made of dask arrays.
    model : path or Model
        Model file or model.
    options : PredictOptions
        Options of the prediction.
    probabilities : bool
        Whether the result holds the probabilities of all classes.

    Returns
    -------
    Dataset
        Dask arrays, with the chunks of the scene along rows and columns.

    Raises
    ------
    GeosegError
        If anything is wrong that can be found without reading pixels.
    """
    sent = sendable(model)
    card = options.relabelled((opened := sent.load()).card)
    _check_options(options)
    if card.image_size is not None:
        raise OptionError(
            f"the model {card.name} sees whole images, resized to {card.image_size[0]} x {card.image_size[1]} px, "
            "and a lazy array is computed in blocks; pass the array after .load()"
        )
    tiling = tiling_of(card, options)
    opened.check_tile_size(tiling.size)
    source = LazyScene.of(scene).declared(options.declared)
    if options.bounds is not None:
        source = source.crop(source.grid.window(options.bounds))
    found = match(source, card, options.bands, force=options.force, sampled=False)
    chosen = found.source
    assert isinstance(chosen, LazyScene)
    planes = chosen.planes()
    heights, widths = _sizes(planes)
    rows = Axis(length=sum(heights), tiling=tiling, chunks=heights)
    cols = Axis(length=sum(widths), tiling=tiling, chunks=widths)
    # Unused places of a batch are computed in vain, so the default suits the tiles of the largest block; a requested
    # batch size is used as for a scene that is read from a file.
    tiles = (rows.most_tiles, cols.most_tiles) if options.batch_size is None else (rows.tiles, cols.tiles)
    settings = choose_settings(opened, options, tiles, (tiling.size,) * 2, for_workers=True)
    for note in [*found.notes, *_notes(rows, cols), *_kept_regions(card)]:
        log.warning("%s: %s", chosen.path, note)
    engine = BlockEngine(
        model=sent,
        card=card,
        gain=found.gain,
        bias=found.bias,
        settings=settings,
        probabilities=probabilities,
    )
    work = BlockWork(engine=engine, rows=rows, cols=cols, decoding=chosen.decoding)
    both, shares = _arrays(planes, work)
    kept = () if chosen.kept is None else (chosen.kept,)
    classes = ("class",) if engine.layers else ()
    dataset = result_dataset(
        both[0],
        both[1],
        chosen.grid,
        card.classes,
        (*kept, *classes, *chosen.raster.spatial),
        chosen.raster.coords(),
    )
    return dataset if shares is None else with_probabilities(dataset, shares, card.classes)


def _check_options(options: PredictOptions) -> None:
    """Raise OptionError for options that only scenes read from files support."""
    remedies = {
        "clip": (options.clip is not None, "pass the array after .rio.clip()"),
        "resolution": (options.resolution is not None, "resample the array with .rio.reproject()"),
        "on_error": (
            options.on_error != "stop",
            "the array itself determines what happens to chunks without data",
        ),
        "profile": (options.profile, "use dask's dashboard"),
        "compile": (options.compile, "dask's threads cannot share a compiled network"),
        "devices": (options.devices > 1, "give each worker of the cluster its device"),
    }
    for name, (asked, remedy) in remedies.items():
        if asked:
            raise OptionError(f"{name} is for scenes that are read from files, found a lazy array: {remedy}")


def _sizes(planes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return heights and widths of the chunks; raise SceneError for empty or unknown ones."""
    if 0 in planes.shape or any(size != size for sizes in planes.chunks for size in sizes):
        raise SceneError(f"array of shape {planes.shape}, expected known edges without an empty axis")
    rows, cols = (tuple(int(size) for size in sizes) for sizes in planes.chunks[-2:])
    return rows, cols


def _kept_regions(card: Card) -> list[str]:
    """Log that regions below the card's minimum size are kept, since a block does not know their full extent."""
    if not card.region_sizes:
        return []
    return [
        "regions that the model calls too small stay in a lazy result; pass the array after .load() to be rid of them"
    ]


def _notes(rows: Axis, cols: Axis) -> list[str]:
    """Return a note on the cost of small chunks, if they are small."""
    often = rows.repeats * cols.repeats
    if often < _MANY:
        return []
    edge = 4 * rows.tiling.size
    return [
        f"its chunks are so small for tiles of {rows.tiling.size} px that a tile is computed {often:.1f} times on "
        f"average; .chunk(x={edge}, y={edge}) makes it about twice"
    ]


def _arrays(planes: Any, work: BlockWork) -> tuple[Any, Any]:
    """Return dask arrays of all blocks: (codes and confidence, kept, layer, row, col), and (kept, class, row,
    col).

    The second are probabilities, None if not wanted; a block is computed once for both. A task receives
    the whole chunks that its tiles touch, and what all tasks share by the key of one graph entry: a scheduler
    sends that to a worker once.
    """
    import dask.array
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    engine = work.engine
    name = "geoseg-" + tokenize(
        planes.name, engine.model.key, engine.card.to_json(), engine.gain, engine.bias, engine.settings,
        work.rows.tiling, work.decoding, engine.probabilities,
    )  # fmt: skip
    shared = f"{name}-shared"
    kept, tail = planes.chunks[:-3], (work.rows.chunks, work.cols.chunks)
    layers = ((engine.layers,),) if engine.layers else ()
    both = _Axes(before=((2,),), kept=kept, behind=layers, blocks=tail)
    graph: dict[Any, Any] = {shared: work}
    sources = [
        [axis.sources(axis.span(i)) for i in range(len(axis.chunks))] for axis in (work.rows, work.cols)
    ]
    for entry, i, j in both.places():
        needed = [[(planes.name, *entry, 0, r, c) for c in sources[1][j]] for r in sources[0][i]]
        key = (name, *entry, i, j) if engine.probabilities else both.key(name, entry, i, j)
        graph[key] = (compute_block, shared, i, j, needed)
    computed = HighLevelGraph.from_collections(name, graph, dependencies=[planes])
    if not engine.probabilities:
        return dask.array.Array(computed, name, chunks=both.chunks, dtype="uint8"), None
    classes = len(engine.card.classes.classes)
    shares = _Axes(before=(), kept=kept, behind=((classes,),), blocks=tail)
    arrays = []
    for part, (axes, dtype) in enumerate(((both, "uint8"), (shares, "float32"))):
        own = f"{name}-{part}"
        layer = {axes.key(own, e, i, j): (getitem, (name, *e, i, j), part) for e, i, j in axes.places()}
        graphs = HighLevelGraph(
            layers={**computed.layers, own: layer}, dependencies={**computed.dependencies, own: {name}}
        )
        arrays.append(dask.array.Array(graphs, own, chunks=axes.chunks, dtype=dtype))
    return arrays[0], arrays[1]


Sizes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """Axes of an array of blocks and their chunk sizes; those before and behind the kept ones have one chunk."""

    before: Sizes
    kept: Sizes
    behind: Sizes
    blocks: Sizes

    @property
    def chunks(self) -> Sizes:
        """Chunk sizes of all axes."""
        return (*self.before, *self.kept, *self.behind, *self.blocks)

    def places(self) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """Yield the indices of each block: along the kept axes, rows and columns."""
        for i, j in product(*(range(len(sizes)) for sizes in self.blocks)):
            for entry in product(*(range(len(sizes)) for sizes in self.kept)):
                yield entry, i, j

    def key(self, name: str, entry: tuple[int, ...], row: int, col: int) -> tuple[Any, ...]:
        """Return dask's key of a block."""
        return (name, *(0 for _ in self.before), *entry, *(0 for _ in self.behind), row, col)
