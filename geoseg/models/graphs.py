"""Networks as OpenVINO's graphs: converted once, and kept on the disk beside nothing that could run."""

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
from typing import TYPE_CHECKING

from geoseg.errors import ModelError
from geoseg.models.network_plan import NetworkPlan

if TYPE_CHECKING:
    import openvino

    from geoseg.models.model import Model

_log = logging.getLogger(__name__)

FOLDER = "GEOSEG_CACHE_DIR"
"""Environment variable that names another folder for what is kept."""
MOST = 2 * 10**9
"""Bytes that are kept; what was not used for longest goes first."""
_FILE = "graph.xml"
REMEDY = "measure it with `geoseg model quantize MODEL.safetensors SCENE... -o OUT.safetensors`"


def graph_of(model: Model, shape: tuple[int, int]) -> openvino.Model:
    """Return the graph of a model's network for tiles of a shape, converted unless it is kept.

    Parameters
    ----------
    model : Model
    shape : tuple of int
        (rows, cols) of the tiles.

    Raises
    ------
    ModelError
        If OpenVINO cannot express the network.
    """
    if (graph := kept_graph(model, shape)) is not None:
        return graph
    kept = _folder(model, shape)
    network = model.network  # without torch that is what says so
    from geoseg.engine.conversion import converted

    graph = converted(network, (len(model.card.bands), *shape))
    try:
        _keep(graph, kept)
        trim(MOST)
    except OSError as error:  # a full disk or a folder of somebody else: converted anew the next time
        _log.debug("%s: the converted network is not kept (%s)", kept, error.strerror)
    return graph


def kept_graph(model: Model, shape: tuple[int, int]) -> openvino.Model | None:
    """Return the graph of a model's network for tiles of (rows, cols) if there is one; nothing is converted.

    One that is kept proves that the network was built and run for such tiles. An exported model is its graph.

    Raises
    ------
    ModelError, OptionError
        If an exported model's graph is in int8, or not for such tiles.
    """
    if (exported := model.exported) is None:
        return _read(_folder(model, shape))
    if exported.about.precision == "int8":
        exported.build()
    return exported.graph(shape)


def is_kept(model: Model, shape: tuple[int, int]) -> bool:
    """Whether the graph of a model's network for tiles of (rows, cols) is kept."""
    return (_folder(model, shape) / _FILE).exists()


def int8_graph_of(model: Model, shape: tuple[int, int]) -> openvino.Model:
    """Return the graph of a model that computes in int8, for tiles of (rows, cols).

    Raises
    ------
    ModelError
        If the model does not hold one of its weights, or it is not for such tiles.
    """
    from geoseg.engine.openvino_network import reshaped

    found, name = model.card.quantization, model.card.name
    if found is None or model.int8 is None or found.graph_sha256 != model.int8.sha256:
        raise ModelError(f"the model {name} does not hold what int8 needs; {REMEDY}")
    if found.weights_sha256 != model.digest:
        raise ModelError(f"what the model {name} holds for int8 is of other weights; {REMEDY}")
    return reshaped(model.int8.graph(), shape) if model.exported is None else model.exported.graph(shape)


def _folder(model: Model, shape: tuple[int, int]) -> Path:
    return cache_folder() / graph_key(model, shape)


def cache_folder() -> Path:
    """Return the folder of converted networks; it need not exist."""
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
    """Return the folders of kept networks and their bytes, the one that was not used for longest first."""
    found = []
    with suppress(OSError):  # no such folder, or one goes while it is looked at
        for folder in cache_folder().iterdir():
            with suppress(OSError):
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append((folder.stat().st_mtime, folder, size))
    return [(folder, size) for _, folder, size in sorted(found)]


def trim(most: int) -> int:
    """Remove kept networks until they take no more than `most` bytes; return how many went."""
    kept, gone = kept_graphs(), 0
    total = sum(size for _, size in kept)
    for folder, size in kept:
        if total <= most:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total, gone = total - size, gone + 1
    return gone


def graph_key(model: Model, shape: tuple[int, int]) -> str:
    """Name what a graph depends on: weights, network, shape and the version that made it."""
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
    """Read a kept graph, and note that it is used; None where there is none, or none that can be read."""
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
    """Write a graph under its name in one step; what another process wrote first stays."""
    from geoseg.engine.openvino_runtime import openvino

    kept.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=kept.parent, prefix="part-"))
    try:
        # Not compressed to half floats: the map would be another one.
        openvino.save_model(graph, part / _FILE, compress_to_fp16=False)
        with suppress(OSError):
            part.rename(kept)
    except RuntimeError as error:  # what OpenVINO says of a full disk
        raise OSError(None, str(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
