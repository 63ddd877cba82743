"""A prediction that is computed when it is wanted, block by block, wherever dask computes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.engine.devices import cpu_threads
from geoseg.engine.settings import Settings
from geoseg.errors import OptionError, SceneError
from geoseg.inference.block_plan import Axis
from geoseg.inference.blocks import BlockWork, compute_block
from geoseg.inference.lattice import dataset_of, with_probabilities
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.options import PredictOptions
from geoseg.inference.precision import precision_for, with_runtime
from geoseg.inference.prepare import tiling_of
from geoseg.inference.worker_models import sendable
from geoseg.models.match import match

if TYPE_CHECKING:
    import xarray

    from geoseg.models.model import Model

log = logging.getLogger("geoseg")

_MANY = 3.0
"""Tiles that are computed this often on average are worth a word."""


def predict_lazy(
    scene: Any, model: Path | str | Model, options: PredictOptions, *, probabilities: bool = False
) -> xarray.Dataset:
    """Classify a lazy scene; see `geoseg.predict`.

    Parameters
    ----------
    scene : DataArray or Dataset
        Of dask arrays.
    model : path or Model
    options : PredictOptions
    probabilities : bool
        Whether the result holds those of all classes.

    Returns
    -------
    Dataset
        Of dask arrays with the chunks of the scene along rows and columns.

    Raises
    ------
    GeosegError
        What can be found wrong without reading a pixel.
    """
    sent = sendable(model)
    card = options.relabelled((opened := sent.load()).card)
    _check_options(options)
    if card.image_size is not None:
        raise OptionError(
            f"the model {card.name} sees whole images, resized to {card.image_size[0]} x {card.image_size[1]} px, "
            "which no block of a lazy array is; pass the array after .load()"
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
    options = replace(options, precision=precision_for(options, opened))
    settings = with_runtime(_settings(options, rows, cols), opened, (tiling.size, tiling.size))
    for note in [*found.notes, *_notes(rows, cols)]:
        log.warning("%s: %s", chosen.path, note)
    work = BlockWork(
        model=sent, card=card, gain=found.gain, bias=found.bias, settings=settings, rows=rows, cols=cols,
        reading=chosen.reading, probabilities=probabilities,
    )  # fmt: skip
    both, shares = _arrays(planes, work)
    kept = () if chosen.kept is None else (chosen.kept,)
    classes = ("class",) if work.layers else ()
    dataset = dataset_of(
        both[0], both[1], chosen.grid, card.classes, (*kept, *classes, *chosen.spatial), chosen.coords()
    )
    return dataset if shares is None else with_probabilities(dataset, shares, card.classes)


def _settings(options: PredictOptions, rows: Axis, cols: Axis) -> Settings:
    """Resolve ``auto`` here, for all workers; where there is none, they may have a device that is not here.

    A batch as large as all tiles of the largest block, or one that fits them: what blocks leave over of it is
    computed for nothing. One that was asked for is that of the scene read from a file.
    """
    tiles = (rows.most_tiles, cols.most_tiles) if options.batch_size is None else (rows.tiles, cols.tiles)
    if options.batch_size is not None and "auto" not in (options.device, options.precision):
        settings = Settings(
            device=options.device,
            precision=options.precision,
            batch_size=min(options.batch_size, tiles[0] * tiles[1]),
            threads=cpu_threads(),
        )
    else:
        settings = Settings.choose(options.device, options.precision, options.batch_size, tiles)
    return replace(settings, tta=options.tta)


def _check_options(options: PredictOptions) -> None:
    """Refuse what only a scene that is read from a file can have."""
    remedies = {
        "clip": (options.clip is not None, "pass the array after .rio.clip()"),
        "resolution": (options.resolution is not None, "resample the array with .rio.reproject()"),
        "on_error": (options.on_error != "stop", "the array says itself what becomes of chunks without data"),
        "profile": (options.profile, "dask's dashboard says where the time goes"),
        "compile": (options.compile, "threads of dask would share what is compiled for one"),
        "devices": (options.devices > 1, "give each worker of the cluster its device"),
    }
    for name, (asked, remedy) in remedies.items():
        if asked:
            raise OptionError(f"{name} is for scenes that are read from files, found a lazy array: {remedy}")


def _sizes(planes: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Heights and widths of the chunks, without empty ones."""
    if 0 in planes.shape or any(size != size for sizes in planes.chunks for size in sizes):
        raise SceneError(f"array of shape {planes.shape}, expected known edges without an empty axis")
    rows, cols = (tuple(int(size) for size in sizes) for sizes in planes.chunks[-2:])
    return rows, cols


def _notes(rows: Axis, cols: Axis) -> list[str]:
    """Say what small chunks cost."""
    often = rows.repeats * cols.repeats
    if often < _MANY:
        return []
    edge = 4 * rows.tiling.size
    return [
        f"its chunks are so small for tiles of {rows.tiling.size} px that a tile is computed {often:.1f} times on "
        f"average; .chunk(x={edge}, y={edge}) makes it about twice"
    ]


def _arrays(planes: Any, work: BlockWork) -> tuple[Any, Any]:
    """Return dask arrays of all blocks: (codes and confidence, kept, layer, row, col), and (kept, class, row, col).

    The second are probabilities, None where these are not wanted; a block is computed once for both. A task is given
    the chunks that its tiles touch, whole, and what all tasks share by the name of one entry: a scheduler sends that
    to a worker once.
    """
    import dask.array
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = "geoseg-" + tokenize(
        planes.name, work.model.key, work.card.to_json(), work.gain, work.bias, work.settings,
        work.rows.tiling, work.reading, work.probabilities,
    )  # fmt: skip
    shared = f"{name}-shared"
    kept, tail = planes.chunks[:-3], (work.rows.chunks, work.cols.chunks)
    layers = ((work.layers,),) if work.layers else ()
    both = _Axes(before=((2,),), kept=kept, behind=layers, blocks=tail)
    graph: dict[Any, Any] = {shared: work}
    sources = [
        [axis.sources(axis.span(i)) for i in range(len(axis.chunks))] for axis in (work.rows, work.cols)
    ]
    for entry, i, j in both.places():
        needed = [[(planes.name, *entry, 0, r, c) for c in sources[1][j]] for r in sources[0][i]]
        key = (name, *entry, i, j) if work.probabilities else both.key(name, entry, i, j)
        graph[key] = (compute_block, shared, i, j, needed)
    computed = HighLevelGraph.from_collections(name, graph, dependencies=[planes])
    if not work.probabilities:
        return dask.array.Array(computed, name, chunks=both.chunks, dtype="uint8"), None
    classes = len(work.card.classes.classes)
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
    """Axes of an array of blocks, and their sizes of chunks: those before and behind the kept ones have one chunk."""

    before: Sizes
    kept: Sizes
    behind: Sizes
    blocks: Sizes

    @property
    def chunks(self) -> Sizes:
        """Of all axes."""
        return (*self.before, *self.kept, *self.behind, *self.blocks)

    def places(self) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """Numbers of each block: along the kept axes, rows and columns."""
        for i, j in product(*(range(len(sizes)) for sizes in self.blocks)):
            for entry in product(*(range(len(sizes)) for sizes in self.kept)):
                yield entry, i, j

    def key(self, name: str, entry: tuple[int, ...], row: int, col: int) -> tuple[Any, ...]:
        """Return what dask calls a block."""
        return (name, *(0 for _ in self.before), *entry, *(0 for _ in self.behind), row, col)
