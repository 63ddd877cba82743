"""Fingerprints of runs: equal fingerprints mean equal products."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.engine.devices import cpu_threads
from geoseg.errors import Message, OptionError
from geoseg.grid.tiling import Tiling
from geoseg.inference.lazy_scene import LazyScene
from geoseg.inference.loaded_scene import LoadedScene
from geoseg.inference.options import PredictOptions
from geoseg.inference.prepare import Job
from geoseg.models.card import Card
from geoseg.models.exported import is_exported
from geoseg.models.model import Model
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.file_kinds import GEODATABASE, kind_by_name
from geoseg.raster.scene import Scene


def fingerprint_of(job: Job) -> dict[str, Any]:
    """Return everything that the pixels of a result depend on, as plain JSON values."""
    return work_fingerprint(job.card, job.model, job.tiling, job.options) | {"scene": _scene_fingerprint(job)}


def work_fingerprint(
    card: Card, model: Path | Model, tiling: Tiling, options: PredictOptions
) -> dict[str, Any]:
    """Return everything that a result depends on except the scene, as plain JSON values."""
    from geoseg import __version__

    chosen = asdict(options)
    for key in ("force", "clip", "profile", "devices"):
        chosen.pop(key)
    if options.clip is not None:
        chosen["clip_sha256"] = _clip_sha256(options.clip)
    text = json.dumps(card.model_dump(mode="json"), sort_keys=True)
    return {
        "version": __version__,
        "torch": _version("torch"),
        "openvino": _version("openvino"),
        "threads": cpu_threads(),
        "model": hashlib.sha256(text.encode()).hexdigest(),
        "weights": card.weights_sha256 or _weights_in_memory(model),
        "tile": [tiling.size, tiling.overlap],
        "options": chosen,
        **_exported_as(model),
    }


def _exported_as(model: Path | Model) -> dict[str, str]:
    """Return the format of an exported model, whose graph and automatic precision may differ from the
    original's.
    """
    exported = model.exported if isinstance(model, Model) else None
    path = model if isinstance(model, Path) else None if exported is None else exported.path
    return {"exported": path.suffix.lower()} if path is not None and is_exported(path) else {}


def _version(package: str) -> str | None:
    """Return the version of a package without importing it; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _clip_sha256(path: Path) -> str:
    files = [path]
    if kind_by_name(path) == GEODATABASE and path.is_dir():
        files = sorted(each for each in path.iterdir() if each.suffix != ".lock")
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()
    except OSError as error:
        raise OptionError(
            f"{path}: cannot be read ({error.strerror})", Message("pass one file of polygons to {clip}")
        ) from error


def _weights_in_memory(model: Path | Model) -> str:
    """Return the checksum of a model that was never saved; for a saved one the card has it."""
    if not isinstance(model, Model):
        return ""
    own = model.own_network
    return model.digest if own is None else f"{model.digest} {own.digest}"


def _scene_fingerprint(job: Job) -> dict[str, Any]:
    """Return name, size, time and first bytes of the scene's file; all pixels of an array; a URL's name only.

    For a lazy array, dask's name of it: computing all its pixels would take as long as the work.
    """
    source = job.source
    if isinstance(source, ArraySource):
        digest = hashlib.sha256(np.ascontiguousarray(source.pixels).data)
        digest.update(np.ascontiguousarray(source.known_valid).data)
        digest.update(repr((source.pixels.shape, source.dtype, source.grid, source.nodata)).encode())
        return {"sha256": digest.hexdigest()}
    if isinstance(source, LoadedScene):
        return {"sha256": source.token}
    if isinstance(source, LazyScene):
        return {"dask": source.token}
    if isinstance(source, Scene) and source.file.location.members:
        grid = source.file.grid
        return {
            "files": [_file_fingerprint(member.name) for member in source.file.location.members],
            "grid": [grid.height, grid.width, *grid.transform[:6]],
        }
    return _file_fingerprint(source.path)


def _file_fingerprint(name: str) -> dict[str, Any]:
    """Return name, size, time and first bytes of a file; only the name if it is not a file."""
    path = Path(name)
    if not path.is_file():
        return {"name": name}
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(1 << 16)).hexdigest()
    status = path.stat()
    return {
        "name": path.name,
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "head_sha256": head,
    }
