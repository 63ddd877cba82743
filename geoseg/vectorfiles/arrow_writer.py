"""Writing of Arrow batches by GDAL's vector drivers: literal file names, fixed timestamps, all errors raised."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from string import punctuation
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import Message, OptionError
from geoseg.grid.legend import Legend
from geoseg.polygons.features import GEOMETRY, Features, batch_stop

if TYPE_CHECKING:
    import pyarrow as pa

TIMESTAMP = "1970-01-01T00:00:00.000Z"
"""Timestamp of all products: with the current time, equal work would give different bytes."""

# How GDAL and QGIS represent the GeoPackage's "undefined Cartesian" CRS, srs_id -1.
_UNDEFINED_CARTESIAN = (
    'ENGCRS["Undefined Cartesian SRS with unknown unit",EDATUM["Unknown engineering datum"],CS[Cartesian,2],'
    'AXIS["x",unspecified,ORDER[1],LENGTHUNIT["unknown",0]],AXIS["y",unspecified,ORDER[2],LENGTHUNIT["unknown",0]]]'
)

# With the newest version of the format, older GDALs and QGIS warn that they support it only partly.
_DATASET_OPTIONS = {"GPKG": {"VERSION": "1.3"}}

_settings_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Properties of a layer besides its features.

    Parameters
    ----------
    name : str
        Name of the layer.
    crs : str or None
        CRS as WKT; None becomes the undefined Cartesian CRS.
    legend : callable
        Called after all features are written; returns the legend for the default style.
    geometry_type : str
        OGC name of the geometry type.
    metadata : mapping of str to str
        Entries of the file's metadata table.
    description : str
        Description of the layer in the table of contents.
    coverage : callable, optional
        Called likewise; returns measurements of the features (`geoseg.polygons.proof`) for the metadata table.
    style : str, optional
        QML of the default style, instead of the legend's.
    """

    name: str
    crs: str | None
    legend: Callable[[], Legend]
    geometry_type: str = "Polygon"
    metadata: Mapping[str, str] = field(default_factory=dict)
    description: str = "Land cover by geoseg"
    coverage: Callable[[], Mapping[str, Any]] | None = None
    style: str | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is reserved in a GeoPackage."""
        check_layer_name(self.name)


def check_layer_name(name: str) -> None:
    """Raise OptionError unless a name can be that of a layer in a GeoPackage."""
    lower = name.lower()
    reserved = lower.startswith(("gpkg", "sqlite_", "rtree_")) or lower == "layer_styles"
    if reserved or not name.strip() or not name.isprintable() or name[0] in punctuation.replace("_", ""):
        raise OptionError(
            f"layer name {name!r} cannot be used: expected printable text that is not layer_styles and does "
            "not begin with punctuation, gpkg, sqlite_ or rtree_",
            Message("pass another {layer}"),
        )


def feature_batches(parts: Iterable[Features]) -> Iterator[pa.RecordBatch]:
    """Convert features to Arrow batches with the geometry as the last column."""
    for part in Features.rebatched(parts):
        yield one_batch(part.attributes().append_column(GEOMETRY, part.wkb_arrow()))


def table_batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Split a table into batches of the same sizes as `Features.rebatched`."""
    import pyarrow.compute as pc

    sizes = pc.binary_length(table[GEOMETRY]).to_numpy()
    offset = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    start = 0
    while start < table.num_rows or start == 0:
        stop = start + (batch_stop(offset[start:] - offset[start]) if table.num_rows else 1)
        yield one_batch(table.slice(start, stop - start))
        start = stop


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table with at most one chunk as a batch."""
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


class StoppedError(RuntimeError):
    """The stream of features ended with an error, which GDAL would hide."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


def write_batches(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    layer: Layer,
    driver: str,
    options: Mapping[str, str],
    *,
    append: bool = False,
) -> int:
    """Write a stream of batches to a layer, new or existing, and return the number of features.

    Raises
    ------
    StoppedError
        If the stream ends with an error, which becomes its `cause`.
    """
    import pyarrow as pa

    from geoseg.vectorfiles.ogr import pyogrio

    count = 0
    failed: list[BaseException] = []

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal count
        try:
            for batch in chain([first], coming):
                count += batch.num_rows
                yield batch
        except BaseException as error:
            failed.append(error)
            raise

    coming = iter(batches)
    try:
        first = next(coming)
    except Exception as error:
        raise StoppedError(error) from error
    try:
        with _settings():
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(first.schema, counted()),
                str(path),
                layer=layer.name,
                driver=driver,
                geometry_name=GEOMETRY,
                geometry_type=layer.geometry_type,
                crs=canonical(layer.crs),
                layer_options=dict(options),
                dataset_options=_DATASET_OPTIONS.get(driver),
                append=append,
            )
    except Exception as error:
        if failed:
            raise StoppedError(failed[0]) from error
        raise
    return count


def canonical(crs: str | None) -> str:
    """Return the same text for equal CRSs, whose WKT differs between GDAL and PROJ."""
    if crs is None:
        return _UNDEFINED_CARTESIAN
    from pyproj import CRS

    parsed = CRS.from_wkt(crs)
    identity = parsed.to_json_dict().get("id")
    if identity:
        code = f"{identity['authority']}:{identity['code']}"
        if CRS.from_user_input(code) == parsed:
            return code
    return str(parsed.to_wkt())


@contextmanager
def literal_name(path: Path) -> Iterator[Path]:
    """Yield a file name that pyogrio takes literally; the file is renamed to `path` afterwards.

    Pyogrio parses names like URLs: it cuts ``a;b.gpkg`` to ``a``, drops tabs and line ends, and takes the part before
    a ``!``, even in a folder's name, for an archive.
    """
    plain = path.with_name("features" + path.suffix.lower())
    for leftover in (
        plain,
        plain.with_name(plain.name + "-journal"),
    ):  # of a run that failed: GDAL would go on with it
        leftover.unlink(missing_ok=True)
    with ExitStack() as stack:
        beside = plain.parent
        if "!" in str(beside) or not str(beside).isprintable():
            beside = Path(stack.enter_context(TemporaryDirectory())) / "link"
            beside.symlink_to(plain.parent.resolve(), target_is_directory=True)
        yield beside / plain.name
    plain.replace(path)


def room(path: Path) -> str:
    """Return the question that ends a message about a failed write: a full disk is the usual cause."""
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return f"is the folder {path.parent} there?"
    return f"is the disk full ({free / 1e6:,.0f} MB are free)?"


@contextmanager
def _settings() -> Iterator[None]:
    """Make pyogrio's GDAL write `TIMESTAMP` for the current time, and leave syncing to the caller.

    The file is synced before it gets its final name, and a full disk is noticed without syncing.
    """
    from geoseg.vectorfiles.ogr import pyogrio

    options = {
        "OGR_CURRENT_DATE": TIMESTAMP,
        "OGR_SQLITE_SYNCHRONOUS": "OFF",
        # The default is a share of the machine's memory, so peak memory would grow with the features, and the bytes
        # would depend on the machine. A million polygons fit; beyond, writing takes longer.
        "OGR_GPKG_MAX_RAM_USAGE_RTREE": str(3 * 2**24),
    }
    with _settings_lock:  # GDAL's options are global to the process
        before = {name: pyogrio.get_gdal_config_option(name) for name in options}
        pyogrio.set_gdal_config_options(options)
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)
