"""What a model needs to be computed in int8: measured once, on tiles of scenes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geoseg.engine.decision import Decision
from geoseg.engine.network import Network
from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork
from geoseg.engine.plan import margin_of, tile_starts
from geoseg.engine.quantized import GraphBytes, check_installed, quantized
from geoseg.engine.resized import resize_chip
from geoseg.engine.settings import Settings
from geoseg.engine.upload import uploaded
from geoseg.errors import OptionError, SceneError
from geoseg.grid.window import Window
from geoseg.inference.assemble import load_checked
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.prepare import Job, given_model, prepare
from geoseg.models.card import Quantization
from geoseg.models.graphs import graph_of
from geoseg.models.model import Model, weights_sha256
from geoseg.raster.cache import limited_cache
from geoseg.raster.chip import Chip

if TYPE_CHECKING:
    import openvino

_CPU = torch.device("cpu")
_PLAIN = Settings(device="cpu", precision="fp32", batch_size=1, threads=torch.get_num_threads())
_LOOKED_AT = 8
"""Tiles that are looked at for one with data in half of its pixels."""


def quantize(
    model: Model,
    scenes: Sequence[Any],
    *,
    tiles: int = 16,
    options: PredictOptions | None = None,
    progress: Progress | None = None,
) -> Model:
    """Return the model with what `precision="int8"` needs, measured on tiles of scenes.

    The scenes should look like those to come: numbers inside the network beyond the ones seen here are cut off.

    Laws: the weights stay; equal arguments give equal maps (on one machine).

    Parameters
    ----------
    model : Model
    scenes : sequence of path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
    tiles : int
        How many tiles; each scene gives an equal part, at random places, always the same.
    options : PredictOptions, optional
        How the scenes are read and cut into tiles.
    progress : callable, optional

    Returns
    -------
    Model
        With `card.quantization` and `int8`; the network is the same object.

    Raises
    ------
    SceneError, MismatchError, OptionError
    """
    check_installed()
    given_model(model)
    if tiles < 1 or not scenes:
        raise OptionError(f"{tiles} tiles of {len(scenes)} scenes, expected at least one of each")
    jobs = [prepare(scene, model, options or PredictOptions()) for scene in scenes]
    load_checked(jobs[0])
    if model.wrapped:
        raise OptionError(
            "a network of your own is computed by torch, which has no int8; choose another precision"
        )
    shape = jobs[0].card.image_size or (jobs[0].tiling.size,) * 2
    graph = graph_of(model, shape)
    inputs = list(_inputs(jobs, model.network, tiles))
    if not inputs:
        raise SceneError(f"{jobs[0].name}: no tile has data in half of its pixels; pass other scenes")

    def told(done: int, what: str) -> None:
        if progress is not None:
            progress(done, 2 * len(inputs), what)

    told(0, "measure")
    made = quantized(graph, [each.contiguous().numpy() for each, _ in inputs])
    classes = [
        _decided(each, precision, model, inputs) for each, precision in ((graph, "fp32"), (made, "int8"))
    ]
    changed = seen = 0
    for done, (ours, theirs, (_, valid)) in enumerate(zip(*classes, inputs, strict=True)):
        told(len(inputs) + done, "compare")
        changed += int((ours != theirs).sum())
        seen += int(ours[..., valid].numel())
    told(2 * len(inputs), "compare")
    int8 = GraphBytes.of(made)
    quantization = Quantization(
        weights_sha256=weights_sha256(model.network.state_dict()),
        graph_sha256=int8.sha256,
        tiles=len(inputs),
        changed=changed / seen,
    )
    return Model(model.card.changed(quantization=quantization), model.network, int8=int8)


def _inputs(jobs: Sequence[Job], network: nn.Module, tiles: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Tiles as the network gets them, (1, band, row, col) float32, and their valid pixels, (row, col) bool."""
    for index, job in enumerate(jobs):
        reader = Network(network, job.match.gain, job.match.bias, _PLAIN)
        share = tiles * (index + 1) // len(jobs) - tiles * index // len(jobs)
        with limited_cache():
            for chip in _chips(job, share):
                valid = uploaded(chip.valid, _CPU)
                yield reader.normalised([uploaded(chip.pixels, _CPU)], [valid]), valid


def _decided(
    graph: openvino.Model, precision: str, model: Model, inputs: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[Tensor]:
    """Class codes of tiles, uint8, (row, col) or (class, row, col); 255 where not valid."""
    card = model.card
    bands = len(card.bands)
    compiled = CompiledGraph(graph, precision, _PLAIN.threads, card.task, card.temperature or 1.0)
    network = OpenVinoNetwork(compiled, (1.0,) * bands, (0.0,) * bands, _PLAIN)
    decide = Decision(card.task, card.channels, card.thresholds, _CPU)
    for each, valid in inputs:
        (probabilities,) = network.probabilities([each[0].contiguous().numpy()], [None])
        codes, _, _ = decide(torch.from_numpy(probabilities), valid)
        yield codes


def _chips(job: Job, count: int) -> Iterator[Chip]:
    """Read up to `count` tiles of a scene with data in half of their pixels, or the scene as the model sees it."""
    if not count:
        return
    if job.card.image_size is not None:
        height, width = job.grid.shape
        whole = job.source.read(Window(row=0, col=0, height=height, width=width))
        yield resize_chip(whole, job.card.image_size)
        return
    size, margin = job.tiling.size, margin_of(job.tiling)
    rows, cols = tile_starts(job.grid.shape, job.tiling)
    places = range(len(rows) * len(cols))
    for place in random.Random(0).sample(places, min(len(places), _LOOKED_AT * count)):  # noqa: S311
        row, col = rows[place // len(cols)] - margin, cols[place % len(cols)] - margin
        chip = job.source.read(Window(row=row, col=col, height=size, width=size))
        if chip.valid.mean() >= 0.5:
            yield chip
            count -= 1
            if not count:
                return
