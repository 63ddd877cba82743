"""Writing of labels in each form, read back or verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio

from geoseg.errors import OutputError
from geoseg.labels.label import UNKNOWN
from geoseg.labels.rle import encode
from geoseg.labels.run_length_table import read_table, table_text, tell_guarded
from geoseg.labels.truth import Truth
from geoseg.polygons.polygonize import polygonize
from geoseg.raster.classmap import class_map_sidecars, write_cog
from geoseg.raster.handles import GDAL_ERRORS, one_line, open_quietly
from geoseg.vectorfiles.geopackage import write_geopackage
from geoseg.vectorfiles.kept_layers import kept_beside
from geoseg.vectorfiles.layers import layer_names, polygonize_layers

_STRIP = 512


def write_raster(path: Path, truth: Truth, *, layered: bool) -> dict[str, str]:
    """Write a raster of codes, or one with a band of 0 and 1 per class; return the texts of its sidecars."""
    legend = truth.legend
    if layered:
        layers = np.stack([truth.layer(index) for index in range(len(legend.classes))])
    codes = layers if layered else truth.exclusive()
    write_cog(
        path,
        (codes[..., row : row + _STRIP, :] for row in range(0, truth.grid.height, _STRIP)),
        truth.grid,
        legend=legend,
        description=legend.names if layered else "labels",
        tags={},
    )
    return class_map_sidecars(legend, layered=layered)


def write_polygons(path: Path, truth: Truth, *, layered: bool, replaces: Path) -> None:
    """Write a GeoPackage of polygons: one coverage, or one per class in its own layer.

    Other content of the file that it replaces is kept.
    """
    legend = truth.legend
    names = layer_names(legend) if layered else "labels"
    base = kept_beside(replaces, [names] if isinstance(names, str) else names.values())
    if layered:
        features = polygonize_layers(lambda index: truth.layer(index) == 1, truth.grid, legend)
    else:
        codes = truth.exclusive()
        features = polygonize(codes, codes != UNKNOWN, truth.grid, legend=legend)
    write_geopackage(path, features, layer=names, legend=legend, base=base)
    if base is not None:
        base.check_unchanged()


def write_run_lengths(path: Path, truth: Truth, image: str) -> None:
    """Write a table with one row per class: ``Image_Label``, or ``ImageId`` for a single class.

    Raises
    ------
    OutputError
        If the table does not read back because of the names of the image or the classes.
    """
    single = _single(truth)
    head = "ImageId" if single is not None else "Image_Label", "EncodedPixels"
    masks = {
        None if single is not None else c.name: encode(truth.layer(index) == 1)
        for index, c in enumerate(truth.legend.classes)
        if single in (None, index)
    }
    rows = [(image if name is None else f"{image}_{name}", runs) for name, runs in masks.items()]
    tell_guarded([image])
    path.write_text(table_text([head, *rows]), encoding="utf-8")
    found = read_table(path).rows
    if set(found) != {image} or set(found[image]) != set(masks):
        raise OutputError(
            f"{path}: a table cannot tell the image {image} from its classes {', '.join(map(str, masks))}; "
            "name them otherwise, or the image with a suffix as .tif"
        )


def write_picture(path: Path, truth: Truth) -> None:
    """Write a PNG in the colours of the classes, transparent where labels are unknown.

    Raises
    ------
    OutputError
        If it cannot be written or does not read back.
    """
    codes = truth.exclusive()
    table = np.zeros((256, 4), dtype=np.uint8)
    for c in truth.legend.classes:
        table[c.code] = (*c.rgb, 255)
    bands = 4 if (codes == UNKNOWN).any() else 3
    pixels = np.moveaxis(table[codes], -1, 0)[:bands]
    height, width = codes.shape
    profile = {"driver": "PNG", "dtype": "uint8", "count": bands, "height": height, "width": width}
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO"):
            with open_quietly(path, "w", **profile) as file:
                file.write(pixels)
            same = all((strip == pixels[:, row : row + _STRIP]).all() for row, strip in _strips(path))
    except GDAL_ERRORS as error:
        raise OutputError(f"{path}: could not be written ({one_line(error)})") from error
    if not same:
        raise OutputError(f"{path}: reads back differently; is the disk full?")


def _strips(path: Path) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield the rows of a picture from top to bottom in strips, with the number of the first row."""
    with open_quietly(path, driver="PNG") as file:
        for row in range(0, file.height, _STRIP):
            window = rasterio.windows.Window(0, row, file.width, min(_STRIP, file.height - row))
            yield row, file.read(window=window)


def _single(truth: Truth) -> int | None:
    """Return the index of the only class besides that of unlabelled pixels; None if there are several."""
    others = [i for i, code in enumerate(truth.legend.codes) if code != truth.unlabelled]
    return others[0] if len(others) == 1 else None
