"""Describe files as plain values for `geoseg info`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import SceneError
from geoseg.grid.grid import Grid, crs_name
from geoseg.grid.legend import THRESHOLD
from geoseg.raster.file_kinds import EXPORTED, GEOPACKAGE, MODEL, ONNX, kind_by_name, kind_of
from geoseg.raster.opening import is_remote
from geoseg.raster.products import is_product

if TYPE_CHECKING:
    from geoseg.grid.legend import LegendClass
    from geoseg.models.card import Card
    from geoseg.raster.scene import Scene

Description = dict[str, Any]
"""Plain JSON values; the key ``kind`` gives the kind of file."""


def describe(path: Any, *, resolution: float | None = None, allow_remote: bool = False) -> Description:
    """Describe a scene, model file, class map or vector file.

    The kind is determined by the first bytes, not by the name.

    Parameters
    ----------
    path : path, Stack, list of path or mapping of name to path
        A scene, as for `Scene.open`, or the path of a model or vector file.
    resolution : float, optional
        Pixel size of a scene of several files, as for `Scene.open`.
    allow_remote : bool
        Whether a VRT may have remote members.

    Raises
    ------
    SceneError, ModelError, DataError
        If the file is none of them, or is damaged.
    """
    if not isinstance(path, str | Path) or is_remote(str(path)) or is_product(path):
        return _raster(path, resolution, allow_remote=allow_remote)
    path = Path(path)
    try:
        kind = kind_of(path)
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror})") from error
    if kind == MODEL or (kind is None and kind_by_name(path) == MODEL):
        return _model_file(path)
    if kind == EXPORTED or (kind is None and kind_by_name(path) == ONNX):
        return _exported_model(path)
    if kind is None or kind.remedy:
        what = _unknown(path) if kind is None else f"is {kind.name}"
        remedy = f"; {kind.remedy}" if kind else ""
        raise SceneError(
            f"{path}: {what}, expected a raster (GeoTIFF, ...), a vector or a model file{remedy}"
        )
    if kind.holds == "vector":
        from geoseg.assessment.layers import describe_geopackage, describe_vectors

        return describe_geopackage(path) if kind == GEOPACKAGE else describe_vectors(path)
    return _raster(path, resolution, allow_remote=allow_remote)


def _unknown(path: Path) -> str:
    if path.is_dir():
        return "is a folder"
    return "is of unknown content" if path.stat().st_size else "is empty"


def _model_file(path: Path) -> Description:
    """Describe a model file by its card and the shapes of its weights."""
    from geoseg.models.card_file import read_card, read_header

    card = read_card(path)
    tensors = {name: entry for name, entry in read_header(path).items() if name != "__metadata__"}
    return {
        "kind": "model file",
        "path": str(path),
        "bytes": path.stat().st_size,
        "stored_numbers": sum(math.prod(entry["shape"]) for entry in tensors.values()),
        "stored_types": sorted({entry["dtype"] for entry in tensors.values()}),
        **_presence(card),
        "card": card.fields(),
    }


def _exported_model(path: Path) -> Description:
    """Describe an exported model by its card, precision and input shapes."""
    from geoseg.models.exported import read_exported

    found = read_exported(path)
    return {
        "kind": "exported model",
        "path": str(path),
        "bytes": len(found.files.operations) + len(found.files.weights),
        "precision": found.precisions,
        "tile_px": list(found.about.shape),
        "other_tiles_px": None if found.about.multiple is None else f"multiples of {found.about.multiple}",
        **_presence(found.card),
        "card": found.card.fields(),
    }


def _presence(card: Card) -> Description:
    """Return the thresholds and minimum sizes of the classes of a binary or multilabel task."""
    if card.task == "multiclass":
        return {}
    count = len(card.channels)
    thresholds, sizes = card.thresholds or (THRESHOLD,) * count, card.min_regions or (0,) * count
    return {
        "present": {
            card.classes[code].name: {"probability_above": threshold, "region_px_at_least": size}
            for code, threshold, size in zip(card.channels, thresholds, sizes, strict=True)
        }
    }


def _raster(path: Any, resolution: float | None, *, allow_remote: bool) -> Description:
    """Describe a raster; as a class map if it tells what its codes mean."""
    from geoseg.raster.known_classes import names_classes
    from geoseg.raster.legend_file import TASK_TAG
    from geoseg.raster.scene import Scene

    scene = Scene.open(path, resolution=resolution, palette_as_codes=True, allow_remote=allow_remote)
    if scene.file.location.members:
        return _scene(scene)
    if TASK_TAG in scene.file.tags:
        return _layered_map(scene)
    if scene.count == 1 and scene.dtype.kind in "iu" and names_classes(scene.file):
        return _class_map(scene)
    return _scene(scene)


def _class_map(scene: Scene) -> Description:
    """Describe a class map and the pixels of each class; reads every pixel."""
    from geoseg.raster.classmap import read_class_map
    from geoseg.raster.legend_file import LEGEND_TAG

    found = read_class_map(scene.path)
    codes, pixels = np.unique(found.codes[found.valid], return_counts=True)
    counts = dict(zip(codes.tolist(), pixels.tolist(), strict=True))
    classes = found.legend.classes if found.legend else ()
    valid = int(found.valid.sum())
    return {
        **_map_file(scene, "class map"),
        "valid_pixels": valid,
        "nodata_pixels": found.valid.size - valid,
        "classes": [_class(c, counts.get(c.code, 0)) for c in classes],
        "codes_without_a_class": sorted(set(counts) - {c.code for c in classes}),
        "tags": {key: value for key, value in scene.file.tags.items() if key != LEGEND_TAG},
    }


def _layered_map(scene: Scene) -> Description:
    """Describe a multilabel map and the pixels of each class; reads every pixel."""
    from geoseg.raster.classmap import LayeredMap, read_map
    from geoseg.raster.legend_file import LEGEND_TAG

    found = read_map(scene.path)
    assert isinstance(found, LayeredMap)
    classes, usable = [], 0
    for index, c in enumerate(found.legend.classes):
        values, valid = found.layer(index)
        usable = int(valid.sum())
        classes.append(_class(c, int((valid & (values == 1)).sum())))
    return {
        **_map_file(scene, "multilabel map"),
        "valid_pixels": usable,
        "nodata_pixels": found.grid.height * found.grid.width - usable,
        "classes": classes,
        "tags": {key: value for key, value in scene.file.tags.items() if key != LEGEND_TAG},
    }


def _class(c: LegendClass, pixels: int) -> Description:
    return {"code": c.code, "name": c.name, "color": c.color, "pixels": pixels}


def _map_file(scene: Scene, kind: str) -> Description:
    return {
        "kind": kind,
        "path": str(scene.path),
        "driver": scene.driver,
        "dtype": str(scene.dtype),
        **_place(scene.grid),
    }


def _scene(scene: Scene) -> Description:
    return {
        "kind": "scene",
        "path": str(scene.path),
        "driver": scene.driver,
        "bands": len(scene.descriptions),
        "names": list(scene.descriptions),
        "color_tags": list(scene.colors),
        "dtype": str(scene.dtype),
        "alpha_band": scene.alpha_band,
        "nodata": _nodata(scene.file.nodata),
        "scale": None if scene.scale is None else list(scene.scale),
        "offset": None if scene.offset is None else list(scene.offset),
        "block_shape": list(scene.block_shape),
        **_files(scene),
        **_place(scene.grid),
    }


def _files(scene: Scene) -> Description:
    """Return the files of a stack, and how they were joined."""
    members = scene.file.location.members
    return {"files": [member.typed for member in members], "joined": list(scene.stacking)} if members else {}


def _nodata(values: tuple[float | None, ...]) -> Any:
    """Return the no-data values of the bands, or one value if they agree; NaN and infinity as text for JSON."""
    plain = [value if value is None or np.isfinite(value) else str(value) for value in values]
    return plain[0] if len(set(plain)) == 1 else plain


def _place(grid: Grid) -> Description:
    """Return where a grid lies and the size of its pixels on the ground."""
    from geoseg.grid.ground import pixel_size_m

    size = pixel_size_m(grid)
    return {
        "height": grid.height,
        "width": grid.width,
        "crs": crs_name(grid.crs),
        "transform": list(grid.transform)[:6],
        "bounds": list(grid.bounds),
        "pixel_size_m": None if size is None else float(size),
    }
