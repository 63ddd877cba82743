"""Quantize a model to int8, with value ranges measured on tiles of scenes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import count
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from geoseg.engine.decision import Decision
from geoseg.engine.openvino_network import CompiledGraph, OpenVinoNetwork
from geoseg.engine.quantized import Compute, Demand, GraphBytes, check_installed, fp32_layers, quantized
from geoseg.errors import OptionError, SceneError, plural
from geoseg.inference.machine import load_checked
from geoseg.inference.measured_tiles import (
    CPU,
    MAX_DROP,
    PLAIN,
    LabelCheck,
    MeasuredTile,
    counted,
    measured_tiles,
)
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import given_model, prepare_job
from geoseg.labels.label import Codes
from geoseg.models.card import Card, Quantization
from geoseg.models.graphs import graph_of
from geoseg.models.model import Model, weights_sha256
from geoseg.progress import OnProgress, ShowProgress, shown

if TYPE_CHECKING:
    import openvino

    from geoseg.raster.declared import Nodata, NodataRule


def quantize(
    model: Path | str | Model,
    scenes: Sequence[Any],
    *,
    tiles: int = 16,
    labels: Sequence[PathLike[str] | str] = (),
    max_drop: float = MAX_DROP,
    bands: Sequence[int | str] | None = None,
    resolution: float | None = None,
    nodata: Nodata | None = None,
    nodata_rule: NodataRule | None = None,
    alpha: int | Literal["none"] | None = None,
    allow_remote: bool = False,
    expand_palette: bool = False,
    force: bool = False,
    tile_size: int | None = None,
    overlap: int | None = None,
    progress: ShowProgress = None,
) -> Model:
    """Return the model with an int8 graph for ``precision="int8"``, measured on tiles of scenes.

    The scenes should resemble those to be predicted: values inside the network beyond the measured ranges are
    clipped.

    Laws: the weights are not changed; equal arguments give equal maps (on one machine).

    Parameters
    ----------
    model : path or Model
        A model file, or one that is open.
    scenes : sequence of path, Scene, xarray.DataArray (band, y, x) or ndarray (band, row, col)
        Scenes, each as for `geoseg.predict`.
    tiles : int
        Number of tiles, taken equally from all scenes at random places, which are the same in every call.
    labels : sequence of path, optional
        One raster for each scene, in their order: the model's class codes on any grid in the scene's CRS; of a
        multilabel model also a band of 0 and 1 for each class. What is no data is unlabelled. Tiles are then those
        with labels, the mean IoU is told in int8 and in fp32, and where it drops by too much layers are kept in fp32
        until it does not.
    max_drop : float
        How much lower the mean IoU may be in int8 than in fp32, 0 to 1; with `labels`.
    bands, resolution, nodata, nodata_rule, alpha, allow_remote, expand_palette, force, tile_size, overlap : optional
        How the scenes are read, checked and cut into tiles, as for `geoseg.predict`.
    progress : bool or callable, optional
        As for `geoseg.predict`.

    Returns
    -------
    Model
        A model with `card.quantization` and `int8`, and the same network object.

    Raises
    ------
    SceneError, DataError, MismatchError, OptionError
        If the input is invalid; OptionError also if the mean IoU drops too much however many layers stay in fp32.
    """
    options = PredictOptions.of(locals())
    if max_drop != MAX_DROP and not labels:
        raise OptionError("max_drop is about the mean IoU on labels; pass labels, too, or leave max_drop out")
    check = LabelCheck(labels=labels, max_drop=max_drop) if labels else None
    opened = given_model(model)
    with shown(progress) as told:
        return measured(
            opened if isinstance(opened, Model) else Model.open(opened), scenes, tiles, check, options, told
        )


def measured(
    model: Model,
    scenes: Sequence[Any],
    tiles: int,
    check: LabelCheck | None,
    options: PredictOptions,
    progress: OnProgress | None,
) -> Model:
    """Measure what `quantize` does."""
    check_installed()
    if tiles < 1 or not scenes:
        raise OptionError(
            f"{plural(tiles, 'tile')} of {plural(len(scenes), 'scene')}, expected at least one of each"
        )
    if check is not None:
        check.check(len(scenes))
    jobs = [prepare_job(scene, model, options) for scene in scenes]
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
        else _demand(model, found, check, lambda: told(0, f"measure, scored {plural(next(tries), 'time')}"))
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
    """Return how good an int8 graph must be on labelled tiles; `begin` is called before each scoring."""

    def score(compute: Compute, places: Sequence[int]) -> float:
        begin()
        some = [tiles[place] for place in places]
        return _mean_iou(_decided(_shares_of_logits(compute, model.card), some, model.card), some, model.card)

    return Demand(score=score, places=tuple(range(len(tiles))), max_drop=check.max_drop)


def _changed(before: Sequence[Codes], after: Sequence[Codes], tiles: Sequence[MeasuredTile]) -> float:
    """Return the share of valid pixels whose class changed."""
    valid = [tile.valid.numpy() for tile in tiles]
    pairs = zip(before, after, valid, strict=True)
    return sum(int((a != b).sum()) for a, b, _ in pairs) / sum(
        int(codes[..., known].size) for codes, known in zip(before, valid, strict=True)
    )


Shares = Callable[[MeasuredTile], Tensor]
"""Returns the probabilities of a tile, (channel, row, col) float32."""


def _shares(graph: openvino.Model, precision: str, card: Card) -> Shares:
    """Return a function that computes probabilities as a prediction does."""
    bands = len(card.bands)
    compiled = CompiledGraph(graph, precision, PLAIN.threads, card.task, card.divisor)
    network = OpenVinoNetwork(compiled, (1.0,) * bands, (0.0,) * bands, PLAIN)
    return lambda tile: torch.from_numpy(network.probabilities([tile.image[0]], [None])[0])


def _shares_of_logits(compute: Compute, card: Card) -> Shares:
    """Return a function that computes probabilities with a graph that gives logits."""

    def shares(tile: MeasuredTile) -> Tensor:
        logits = torch.from_numpy(compute(tile.image)[0]) / torch.tensor(card.divisor).reshape(-1, 1, 1)
        return torch.softmax(logits, dim=0) if card.task == "multiclass" else torch.sigmoid(logits)

    return shares


def _decided(shares: Shares, tiles: Sequence[MeasuredTile], card: Card) -> Iterator[Codes]:
    """Yield the class codes of tiles, (row, col) or (class, row, col); 255 where not valid."""
    decide = Decision(card.task, card.channels, card.thresholds, CPU)
    for tile in tiles:
        codes, _, _ = decide(shares(tile), tile.valid)
        yield codes.numpy()


def _mean_iou(codes: Iterable[Codes], tiles: Sequence[MeasuredTile], card: Card) -> float:
    """Return the mean IoU of the classes over labelled tiles."""
    parts = (
        counted(tile.truth, found, card)
        for found, tile in zip(codes, tiles, strict=True)
        if tile.truth is not None
    )
    return reduce(operator.add, parts).mean_iou
