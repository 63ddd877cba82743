"""Convert networks to OpenVINO graphs once, and cache them on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.errors import ModelError
from geoseg.models.network_plan import NetworkPlan

if TYPE_CHECKING:
    import openvino
    import torch

    from geoseg.engine.quantized import GraphBytes
    from geoseg.models.card import Card
    from geoseg.models.exported import ExportedNetwork

_log = logging.getLogger(__name__)

FOLDER = "GEOSEG_CACHE_DIR"
"""Environment variable that sets another folder for the cache."""
MOST = 2 * 10**9
"""Maximum size of the cache in bytes; the least recently used graphs are removed first."""
_FILE = "graph.xml"
REMEDY = "measure it with `geoseg model quantize MODEL.safetensors SCENE... -o OUT.safetensors`"


class GraphSource(Protocol):
    """What is needed of a `Model` to make its graph."""

    @property
    def card(self) -> Card:
        """Everything prediction needs besides the scene."""

    @property
    def network(self) -> torch.nn.Module:
        """Maps float32 (N, band, row, col) to logits (N, channel, row, col)."""

    @property
    def exported(self) -> ExportedNetwork | None:
        """The graph of an exported model, which has no `network`; else None."""

    @property
    def int8(self) -> GraphBytes | None:
        """The network as an int8 graph, if it was measured."""

    @property
    def digest(self) -> str:
        """Digest of the network's current weights."""


def graph_of(model: GraphSource, shape: tuple[int, int]) -> openvino.Model:
    """Return the graph of a model's network for tiles of a shape, from the cache or converted now.

    Parameters
    ----------
    model : GraphSource
        The model.
    shape : tuple of int
        (rows, cols) of the tiles.

    Raises
    ------
    ModelError
        If the network cannot be converted to OpenVINO.
    """
    if (graph := kept_graph(model, shape)) is not None:
        return graph
    kept = _folder(model, shape)
    network = model.network  # if torch is missing, this raises the error
    from geoseg.engine.conversion import converted

    graph = converted(network, (len(model.card.bands), *shape))
    try:
        _keep(graph, kept)
        trim(MOST)
    except (
        OSError
    ) as error:  # a full disk or a folder without write access: the network is converted again next time
        _log.debug("%s: the converted network could not be cached (%s)", kept, error.strerror)
    return graph


def kept_graph(model: GraphSource, shape: tuple[int, int]) -> openvino.Model | None:
    """Return the cached graph of a model's network for tiles of (rows, cols), or None; nothing is converted.

    A cached graph proves that the network was built and run for such tiles. An exported model is its own graph.

    Raises
    ------
    ModelError, OptionError
        If an exported model's graph is int8, or does not accept such tiles.
    """
    if (exported := model.exported) is None:
        return _read(_folder(model, shape))
    if exported.about.precision == "int8":
        exported.build()
    return exported.graph(shape)


def is_kept(model: GraphSource, shape: tuple[int, int]) -> bool:
    """Return whether the graph of a model's network for tiles of (rows, cols) is cached."""
    return (_folder(model, shape) / _FILE).exists()


def int8_graph_of(model: GraphSource, shape: tuple[int, int]) -> openvino.Model:
    """Return the int8 graph of a model for tiles of (rows, cols).

    Raises
    ------
    ModelError
        If the model holds no int8 graph of its present weights, or the graph does not accept such tiles.
    """
    from geoseg.engine.openvino_network import reshaped

    found, name = model.card.quantization, model.card.name
    if found is None or model.int8 is None or found.graph_sha256 != model.int8.sha256:
        raise ModelError(f"the model {name} holds no int8 graph; {REMEDY}")
    if found.weights_sha256 != model.digest:
        raise ModelError(f"the int8 graph in the model {name} was made from other weights; {REMEDY}")
    return reshaped(model.int8.graph(), shape) if model.exported is None else model.exported.graph(shape)


def _folder(model: GraphSource, shape: tuple[int, int]) -> Path:
    return cache_folder() / graph_key(model, shape)


def cache_folder() -> Path:
    """Return the folder of cached graphs; it need not exist."""
    if named := os.environ.get(FOLDER):
        return Path(named) / "graphs"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "geoseg" / "graphs"


def kept_graphs() -> list[tuple[Path, int]]:
    """Return the folders of cached graphs and their sizes in bytes, the least recently used first."""
    found = []
    with suppress(OSError):  # no such folder, or one is removed meanwhile
        for folder in cache_folder().iterdir():
            with suppress(OSError):
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append((folder.stat().st_mtime, folder, size))
    return [(folder, size) for _, folder, size in sorted(found)]


def trim(most: int) -> int:
    """Remove cached graphs until they take at most `most` bytes; return how many were removed."""
    kept, gone = kept_graphs(), 0
    total = sum(size for _, size in kept)
    for folder, size in kept:
        if total <= most:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total, gone = total - size, gone + 1
    return gone


def graph_key(model: GraphSource, shape: tuple[int, int]) -> str:
    """Return the cache key of a graph: it depends on weights, network, shape and library versions."""
    from geoseg.engine.openvino_runtime import openvino

    about = {
        "weights": model.digest,
        "network": asdict(NetworkPlan.of(model.card)),
        "shape": shape,
        "form": "folded, constants too, (1, band, row, col)",
        "openvino": openvino.__version__,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _read(kept: Path) -> openvino.Model | None:
    """Read a cached graph and mark it as used; return None if there is none that can be read."""
    from geoseg.engine.openvino_runtime import core

    if not (kept / _FILE).exists():
        return None
    try:
        graph = core().read_model(kept / _FILE)
    except (OSError, RuntimeError) as error:
        _log.debug("%s: cannot be read (%s)", kept, error)
        shutil.rmtree(kept, ignore_errors=True)
        return None
    with suppress(OSError):
        os.utime(kept)
    return graph


def _keep(graph: openvino.Model, kept: Path) -> None:
    """Write a graph into the cache atomically; if another process was first, keep its file."""
    from geoseg.engine.openvino_runtime import openvino

    kept.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=kept.parent, prefix="part-"))
    try:
        # Not compressed to float16, which would change the map.
        openvino.save_model(graph, part / _FILE, compress_to_fp16=False)
        with suppress(OSError):
            part.rename(kept)
    except RuntimeError as error:  # OpenVINO's error for a full disk
        raise OSError(None, str(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
