"""What a model needs to be computed in int8: measured once, on tiles of scenes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geoseg.engine.decision import Decision
from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork
from geoseg.engine.quantized import Compute, Demand, GraphBytes, check_installed, fp32_layers, quantized
from geoseg.errors import OptionError, SceneError
from geoseg.inference.assemble import load_checked
from geoseg.inference.label_check import LabelCheck, counted
from geoseg.inference.measured_tiles import CPU, PLAIN, MeasuredTile, measured_tiles
from geoseg.inference.options import PredictOptions, Progress
from geoseg.inference.prepare import given_model, prepare
from geoseg.models.card import Card, Quantization
from geoseg.models.graphs import graph_of
from geoseg.models.model import Model, weights_sha256
from geoseg.raster.labels import Codes

if TYPE_CHECKING:
    import openvino


def quantize(
    model: Model,
    scenes: Sequence[Any],
    *,
    tiles: int = 16,
    check: LabelCheck | None = None,
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
    check : LabelCheck, optional
        Labels: tiles are those with labels, the mean IoU is told in int8 and in fp32, and where it drops by too much
        layers are kept in fp32 until it does not.
    options : PredictOptions, optional
        How the scenes are read and cut into tiles.
    progress : callable, optional

    Returns
    -------
    Model
        With `card.quantization` and `int8`; the network is the same object.

    Raises
    ------
    SceneError, DataError, MismatchError, OptionError
        Also if the mean IoU drops by more than is allowed whatever is kept in fp32.
    """
    check_installed()
    given_model(model)
    if tiles < 1 or not scenes:
        raise OptionError(f"{tiles} tiles of {len(scenes)} scenes, expected at least one of each")
    if check is not None:
        check.check(len(scenes))
    jobs = [prepare(scene, model, options or PredictOptions()) for scene in scenes]
    load_checked(jobs[0])
    if not model.traceable:
        raise OptionError(
            "a network of your own is computed by torch, which has no int8; choose another precision"
        )
    shape = jobs[0].card.image_size or (jobs[0].tiling.size,) * 2
    graph = graph_of(model, shape)
    labels = [None] * len(jobs) if check is None else check.opened(jobs)
    found = list(measured_tiles(jobs, labels, model.network, tiles))
    if not found:
        wanted = "data in half of its pixels" if check is None else "labels, and data in half of its pixels"
        raise SceneError(f"{jobs[0].name}: no tile has {wanted}; pass other scenes")

    def told(done: int, what: str) -> None:
        if progress is not None:
            progress(done, 2, what)

    told(0, "measure")
    tries = count(1)
    demand = (
        None
        if check is None
        else _demand(model, found, check, lambda: told(0, f"measure, scored {next(tries)} times"))
    )
    made = quantized(graph, [tile.image for tile in found], demand)
    told(1, "compare")
    before = list(_decided(_shares(graph, "fp32", model.card), found, model.card))
    after = list(_decided(_shares(made, "int8", model.card), found, model.card))
    told(2, "compare")
    int8, card = GraphBytes.of(made), model.card
    quantization = Quantization(
        weights_sha256=weights_sha256(model.network.state_dict()),
        graph_sha256=int8.sha256,
        tiles=len(found),
        changed=_changed(before, after, found),
        fp32_layers=fp32_layers(made),
    )
    if check is not None:
        quantization = quantization.model_copy(
            update={
                "mean_iou": check.allowed(_mean_iou(after, found, card), _mean_iou(before, found, card)),
                "mean_iou_fp32": _mean_iou(before, found, card),
            }
        )
    return Model(card.changed(quantization=quantization), model.network, int8=int8)


def _demand(
    model: Model, tiles: Sequence[MeasuredTile], check: LabelCheck, begin: Callable[[], None]
) -> Demand:
    """How good a graph in int8 must be on labelled tiles; `begin` is called before each time that one is scored."""

    def score(compute: Compute, places: Sequence[int]) -> float:
        begin()
        some = [tiles[place] for place in places]
        return _mean_iou(_decided(_shares_of_logits(compute, model.card), some, model.card), some, model.card)

    return Demand(score=score, places=tuple(range(len(tiles))), max_drop=check.max_drop)


def _changed(before: Sequence[Codes], after: Sequence[Codes], tiles: Sequence[MeasuredTile]) -> float:
    """Share of the valid pixels that have another class."""
    valid = [tile.valid.numpy() for tile in tiles]
    pairs = zip(before, after, valid, strict=True)
    return sum(int((a != b).sum()) for a, b, _ in pairs) / sum(
        int(codes[..., known].size) for codes, known in zip(before, valid, strict=True)
    )


Shares = Callable[[MeasuredTile], Tensor]
"""Probabilities of a tile, (channel, row, col) float32."""


def _shares(graph: openvino.Model, precision: str, card: Card) -> Shares:
    """Probabilities as a prediction has them."""
    bands = len(card.bands)
    compiled = CompiledGraph(graph, precision, PLAIN.threads, card.task, card.temperature or 1.0)
    network = OpenVinoNetwork(compiled, (1.0,) * bands, (0.0,) * bands, PLAIN)
    return lambda tile: torch.from_numpy(network.probabilities([tile.image[0]], [None])[0])


def _shares_of_logits(compute: Compute, card: Card) -> Shares:
    """Probabilities by a graph that was compiled elsewhere, without what follows the logits."""

    def shares(tile: MeasuredTile) -> Tensor:
        logits = torch.from_numpy(compute(tile.image)[0]) / (card.temperature or 1.0)
        return torch.softmax(logits, dim=0) if card.task == "multiclass" else torch.sigmoid(logits)

    return shares


def _decided(shares: Shares, tiles: Sequence[MeasuredTile], card: Card) -> Iterator[Codes]:
    """Class codes of tiles, (row, col) or (class, row, col); 255 where not valid."""
    decide = Decision(card.task, card.channels, card.thresholds, CPU)
    for tile in tiles:
        codes, _, _ = decide(shares(tile), tile.valid)
        yield codes.numpy()


def _mean_iou(codes: Iterable[Codes], tiles: Sequence[MeasuredTile], card: Card) -> float:
    """Mean IoU of the classes of some tiles, all of which have labels."""
    parts = (
        counted(tile.truth, found, card)
        for found, tile in zip(codes, tiles, strict=True)
        if tile.truth is not None
    )
    return reduce(operator.add, parts).mean_iou
