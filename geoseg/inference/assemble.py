"""The network, the plan and the engine of a job on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.engine.bands import Engine
from geoseg.engine.clock import Clock
from geoseg.engine.memory import check_memory
from geoseg.engine.openvino_network import MOST_TOGETHER, OpenVinoNetwork
from geoseg.engine.plan import Plan, tile_starts
from geoseg.engine.rows import RowReader
from geoseg.engine.search import with_fastest_batch
from geoseg.engine.settings import Settings
from geoseg.inference.precision import as_asked, network_for, precision_for, with_runtime
from geoseg.inference.prepare import Job
from geoseg.models.model import Model

if TYPE_CHECKING:
    from geoseg.engine.network import Network

_MOST_READERS = 8


def load_checked(job: Job) -> Model:
    """Load the model of a job and refuse a tile or image that it cannot take."""
    model = job.load_model()
    for edge in job.card.image_size or (job.tiling.size,):
        model.check_tile_size(edge)
    return model


def plan_of(job: Job, settings: Settings) -> Plan:
    """Plan of a job: bands of tiles, or the scene as one."""
    if job.card.image_size is not None:
        return Plan.whole(job.grid.shape)
    return Plan.of(job.grid.shape, job.tiling, settings.together)


def choose_settings(job: Job, model: Model) -> Settings:
    """Resolve ``auto`` for a job on this machine, on a short trial where the scene is worth one."""
    options, whole = job.options, job.card.image_size is not None
    rows, cols = ([0], [0]) if whole else tile_starts(job.grid.shape, job.tiling)
    tiles = len(rows), len(cols)
    settings = as_asked(
        Settings.choose(options.device, precision_for(options, model), options.batch_size, tiles),
        options,
        job.card,
    )
    edges = job.card.image_size or (job.tiling.size,) * 2
    # Without a wish the batch is one that a trial finds, or that is halved where it does not fit; what OpenVINO
    # computes is one tile a thread.
    batch = settings.batch_size if options.batch_size is not None else 1
    batch = min(batch, settings.threads, MOST_TOGETHER) if settings.device == "cpu" else batch
    module = None if model.exported is not None else lambda: model.network
    check_memory(module, (batch, len(job.card.bands), *edges), settings)
    settings = with_runtime(settings, model, edges)
    if settings.runtime == "openvino":  # computes tile by tile, as many at a time as there are threads
        together = min(settings.batch_size, settings.threads, MOST_TOGETHER)
        return replace(settings, batch_size=together)
    if options.batch_size is not None or whole:
        return settings
    size, bands = job.tiling.size, len(job.card.bands)

    def trial(batch: int) -> Callable[[], None]:
        # Not compiled, for the same reason.
        network = build_network(job, model, replace(settings, batch_size=batch, compile=False))
        assert not isinstance(network, OpenVinoNetwork)
        return lambda: network.try_out(bands, (size, size))

    return with_fastest_batch(settings, tiles, trial)


def build_network(job: Job, model: Model, settings: Settings) -> Network | OpenVinoNetwork:
    """Return the network of a job on its device."""
    shape = job.card.image_size or (job.tiling.size,) * 2
    return network_for(model, settings, shape, (job.match.gain, job.match.bias))


def _readers(settings: Settings) -> int:
    """How many threads decode: one beside torch on the CPU, whose network has the others.

    Beside OpenVINO as many as it has: a network of ten million pixels a second outruns one that inflates ten bands.
    """
    if settings.device == "cpu":
        return min(_MOST_READERS, settings.threads) if settings.runtime == "openvino" else 1
    return min(_MOST_READERS, os.cpu_count() or 1)


def build_engine(job: Job, model: Model, settings: Settings, plan: Plan) -> Engine:
    """Put network, reader and plan together."""
    clip = None
    if job.options.clip is not None:
        from geoseg.inference.clip import ClipArea

        clip = ClipArea(job.options.clip, job.grid)
    card, network = job.card, build_network(job, model, settings)
    if job.options.profile:
        network.clock = Clock(settings.device)
    return Engine(
        network=network,
        plan=plan,
        reader=RowReader(
            job.source, plan, tolerant=job.options.on_error == "nodata", threads=_readers(settings)
        ),
        channels=card.channels,
        thresholds=card.thresholds,
        clip=clip,
        image_size=card.image_size,
    )


def compile_for(job: Job, engine: Engine) -> None:
    """Compile the network of an engine for the tiles of a job, where that is asked for.

    Before its threads read: compiling changes which warnings are shown, and that is one setting for all threads.
    """
    network = engine.network
    if network.settings.compile and not isinstance(network, OpenVinoNetwork):
        network.compile(len(job.card.bands), job.card.image_size or (job.tiling.size,) * 2)


def cache_megabytes(job: Job) -> int:
    """Block cache that holds two rows of blocks, so that a row shared by two bands is decoded once."""
    source = job.source
    row = source.block_shape[0] * job.grid.width * source.dtype.itemsize * (source.count + 1)
    return max(64, min(2 * row // 2**20 + 1, 512))
