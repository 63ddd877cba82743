"""Choose settings for a model on this machine, and build its network and the engine of a job."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.engine.clock import Clock
from geoseg.engine.devices import cpu_threads
from geoseg.engine.engine import Engine
from geoseg.engine.memory import check_memory
from geoseg.engine.openvino_network import MOST_TOGETHER, CompiledGraph, OpenVinoNetwork
from geoseg.engine.plan import tile_counts
from geoseg.engine.quantized import check_int8
from geoseg.engine.rows import RowReader
from geoseg.engine.settings import Settings, with_fastest_batch
from geoseg.errors import ModelError, OptionError
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import Job
from geoseg.inference.worker_models import Kept
from geoseg.models.graphs import REMEDY, graph_key, graph_of, int8_graph_of
from geoseg.models.model import Model

if TYPE_CHECKING:
    from geoseg.engine.network import Network

log = logging.getLogger("geoseg")

_MOST_READERS = 8
_COMPILED: Kept[CompiledGraph] = Kept(2)


def precision_for(options: PredictOptions, model: Model) -> str:
    """Return the requested precision; for an exported int8 model ``auto`` means int8."""
    exported = model.exported
    if options.precision == "auto" and exported is not None and exported.about.precision == "int8":
        return "int8"
    return options.precision


def choose_settings(
    model: Model,
    options: PredictOptions,
    tiles: tuple[int, int],
    shape: tuple[int, int],
    *,
    for_workers: bool = False,
) -> Settings:
    """Resolve ``auto`` for a model on this machine.

    Parameters
    ----------
    model : Model
        The model.
    options : PredictOptions
        The requested device, precision, batch size and so on.
    tiles : tuple of int
        Rows and columns of the tiling, or number of tiles and 1: batches are never larger.
    shape : tuple of int
        (rows, cols) of the network's input, px.
    for_workers : bool
        Whether other processes compute, maybe on other machines: their memory is not known here, and where nothing is
        ``auto`` they may have a device that this machine lacks.

    Raises
    ------
    OptionError, ModelError
        If this machine, its memory or the model does not support what is requested.
    """
    precision = precision_for(options, model)
    if for_workers and options.batch_size is not None and "auto" not in (options.device, precision):
        batch = min(options.batch_size, tiles[0] * tiles[1])
        settings = Settings(
            device=options.device, precision=precision, batch_size=batch, threads=cpu_threads()
        )
    else:
        settings = Settings.choose(options.device, precision, options.batch_size, tiles)
    if settings.precision == "int8":
        if model.card.quantization is None:
            raise ModelError(f"the model {model.card.name} holds no int8 graph; {REMEDY}")
        check_int8(settings.device)
    if options.compile:
        from geoseg.engine.compiled import check_compiler

        check_compiler(settings.device)
    settings = replace(settings, tta=options.tta, compile=options.compile)
    if not for_workers:
        _check_memory(model, options, settings, shape)
    return with_runtime(settings, model, shape)


def _check_memory(model: Model, options: PredictOptions, settings: Settings, shape: tuple[int, int]) -> None:
    """Raise an error if the memory is too small for the smallest batch that may be run."""
    # If no batch size is requested, a trial finds it, and it is halved if it does not fit in memory; OpenVINO
    # computes one tile per thread.
    batch = settings.batch_size if options.batch_size is not None else 1
    batch = min(batch, settings.threads, MOST_TOGETHER) if settings.device == "cpu" else batch
    module = None if model.exported is not None else lambda: model.network
    check_memory(module, (batch, len(model.card.bands), *shape), settings)


def with_runtime(settings: Settings, model: Model, shape: tuple[int, int]) -> Settings:
    """Return settings with the runtime: OpenVINO on the CPU if it can compute the network, else torch.

    Parameters
    ----------
    settings : Settings
        Settings, whose runtime is ignored.
    model : Model
        The model.
    shape : tuple of int
        (rows, cols) of the tiles.

    Raises
    ------
    OptionError
        If test-time augmentation is requested for an exported model with images that are not square.
    ModelError
        If the int8 graph was made from other weights, or does not accept tiles of this shape.
    """
    # A network of the user's own may depend on the values of a tile, which a trace does not show.
    if settings.device != "cpu" or settings.precision == "fp16" or not model.traceable:
        return settings
    if settings.tta and shape[0] != shape[1]:  # a graph is for images of one shape, and these are turned
        if model.exported is not None:
            raise OptionError(
                f"{model.exported.path}: sees images of {shape[0]} x {shape[1]} px, which have another shape when they "
                "are rotated, and an exported model takes one shape only; leave tta out, or use the .safetensors that "
                "it was made from"
            )
        return settings
    try:
        _compiled(model, settings, shape)
    except ModelError as error:
        if settings.precision == "int8":
            raise
        log.info("%s; torch does, slower", error)
        return settings
    return replace(settings, runtime="openvino")


def network_for(
    model: Model, settings: Settings, shape: tuple[int, int], scaling: tuple[Sequence[float], Sequence[float]]
) -> Network | OpenVinoNetwork:
    """Return the network of a model for the stored values of a scene.

    Parameters
    ----------
    model : Model
        The model.
    settings : Settings
        How the model runs.
    shape : tuple of int
        (rows, cols) of the tiles.
    scaling : (gain, bias)
        Per band; network input = stored * gain + bias.

    Raises
    ------
    ModelError
        As for `with_runtime`.
    """
    if settings.runtime == "openvino":
        return openvino_for(model, settings, shape, scaling)
    return torch_for(model, settings, scaling)


def openvino_for(
    model: Model, settings: Settings, shape: tuple[int, int], scaling: tuple[Sequence[float], Sequence[float]]
) -> OpenVinoNetwork:
    """Return the network of a model, computed by OpenVINO; see `network_for`."""
    return OpenVinoNetwork(_compiled(model, settings, shape), *scaling, settings)


def torch_for(model: Model, settings: Settings, scaling: tuple[Sequence[float], Sequence[float]]) -> Network:
    """Return the network of a model, computed by torch; see `network_for`."""
    from geoseg.engine.network import Network

    card = model.card
    return Network(model.network, *scaling, settings, card.divisor, card.task)


def _compiled(model: Model, settings: Settings, shape: tuple[int, int]) -> CompiledGraph:
    """Return the compiled graph, which consecutive scenes share."""
    quantized = model.int8.sha256 if settings.precision == "int8" and model.int8 is not None else ""
    graph = int8_graph_of if settings.precision == "int8" else graph_of
    how = settings.precision, settings.threads, model.card.task, model.card.divisor
    return _COMPILED.get(
        (graph_key(model, shape), quantized, *how), lambda: CompiledGraph(graph(model, shape), *how)
    )


def settings_of(job: Job, model: Model) -> Settings:
    """Resolve ``auto`` for a job on this machine, with a short trial if the scene is large enough."""
    tiles = tile_counts(job.grid.shape, job.planned_tiling)
    settings = choose_settings(model, job.options, tiles, job.seen)
    if settings.runtime == "openvino":  # computes tile by tile, as many at a time as there are threads
        return replace(settings, batch_size=min(settings.batch_size, settings.threads, MOST_TOGETHER))
    if job.options.batch_size is not None or job.planned_tiling is None:
        return settings

    def trial(batch: int) -> Callable[[], None]:
        # Not compiled: that takes longer than the trial.
        network = build_network(
            replace(job, settings=replace(settings, batch_size=batch, compile=False)), model
        )
        assert not isinstance(network, OpenVinoNetwork)
        return lambda: network.try_out(len(job.card.bands), job.seen)

    return with_fastest_batch(settings, tiles, trial)


def load_checked(job: Job) -> Model:
    """Load the model of a job and raise an error for a tile or image size that it cannot take."""
    model = job.load_model().settled()
    for edge in job.card.image_size or (job.tiling.size,):
        model.check_tile_size(edge)
    return model


def build_network(job: Job, model: Model) -> Network | OpenVinoNetwork:
    """Return the network of a job on its device."""
    return network_for(model, job.chosen, job.seen, (job.match.gain, job.match.bias))


def _readers(settings: Settings) -> int:
    """Return how many threads decode: one beside torch on the CPU, since its network uses the others.

    Beside OpenVINO as many as its threads: a network at ten million pixels per second is faster than one decoder
    of ten bands.
    """
    if settings.device == "cpu":
        return min(_MOST_READERS, settings.threads) if settings.runtime == "openvino" else 1
    return min(_MOST_READERS, os.cpu_count() or 1)


def build_engine(job: Job, model: Model) -> Engine:
    """Build the engine of a job from network, reader and plan."""
    clip = None
    if job.options.clip is not None:
        from geoseg.inference.clip import ClipArea

        clip = ClipArea(job.options.clip, job.grid)
    card, plan, network = job.card, job.plan, build_network(job, model)
    if job.options.profile:
        network.clock = Clock(job.chosen.device)
    engine = Engine(
        network=network,
        plan=plan,
        reader=RowReader(
            job.source, plan, tolerant=job.options.on_error == "nodata", threads=_readers(job.chosen)
        ),
        channels=card.channels,
        thresholds=card.thresholds,
        clip=clip,
        image_size=card.image_size,
    )
    engine.storage = job.storage
    return engine


def compile_for(job: Job, engine: Engine) -> None:
    """Compile the network of an engine for the tiles of a job, if requested.

    Before the reading threads start: compiling changes the warning filters, which all threads share.
    """
    network = engine.network
    if network.settings.compile and not isinstance(network, OpenVinoNetwork):
        network.compile(len(job.card.bands), job.seen)
