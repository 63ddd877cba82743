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
    kept = cache_folder() / graph_key(model, shape)
    if (graph := _read(kept)) is not None:
        return graph
    network = model.network
    from geoseg.engine.conversion import converted

    graph = converted(network, (len(model.card.bands), *shape))
    try:
        _keep(graph, kept)
        trim(MOST)
    except OSError as error:  # a full disk or a folder of somebody else: converted anew the next time
        _log.debug("%s: the converted network is not kept (%s)", kept, error.strerror)
    return graph


def kept_graph(model: Model, shape: tuple[int, int]) -> openvino.Model | None:
    """Return the graph of a model's network for tiles of (rows, cols) if it is kept; nothing is converted.

    One that is kept proves that the network was built and run for such tiles.
    """
    return _read(cache_folder() / graph_key(model, shape))


def is_kept(model: Model, shape: tuple[int, int]) -> bool:
    """Whether the graph of a model's network for tiles of (rows, cols) is kept."""
    return (cache_folder() / graph_key(model, shape) / _FILE).exists()


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
    import openvino

    about = {
        "weights": model.digest,
        "network": asdict(NetworkPlan.of(model.card)),
        "shape": shape,
        "form": "folded, (1, band, row, col)",
        "openvino": openvino.__version__,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _read(kept: Path) -> openvino.Model | None:
    """Read a kept graph, and note that it is used; None where there is none, or none that can be read."""
    import openvino

    if not (kept / _FILE).exists():
        return None
    try:
        graph = openvino.Core().read_model(kept / _FILE)
    except (OSError, RuntimeError) as error:
        _log.debug("%s: cannot be read (%s)", kept, error)
        shutil.rmtree(kept, ignore_errors=True)
        return None
    with suppress(OSError):
        os.utime(kept)
    return graph


def _keep(graph: openvino.Model, kept: Path) -> None:
    """Write a graph under its name in one step; what another process wrote first stays."""
    import openvino

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
