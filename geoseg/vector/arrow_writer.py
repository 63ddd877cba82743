"""Arrow batches to files, by GDAL's vector drivers: names taken literally, no clock, errors that come through."""

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

from geoseg.errors import OptionError
from geoseg.grid.legend import Legend
from geoseg.vector.features import GEOMETRY, Features, batch_stop

if TYPE_CHECKING:
    import pyarrow as pa

TIMESTAMP = "1970-01-01T00:00:00.000Z"
"""The only time in a product: a clock would make equal work give different bytes."""

# The name under which GDAL and QGIS know the GeoPackage's "undefined Cartesian" CRS, srs_id -1.
_UNDEFINED_CARTESIAN = (
    'ENGCRS["Undefined Cartesian SRS with unknown unit",EDATUM["Unknown engineering datum"],CS[Cartesian,2],'
    'AXIS["x",unspecified,ORDER[1],LENGTHUNIT["unknown",0]],AXIS["y",unspecified,ORDER[2],LENGTHUNIT["unknown",0]]]'
)

# GDAL's newest version of the format makes older GDALs, and every QGIS that has one, warn that they know it in part.
_DATASET_OPTIONS = {"GPKG": {"VERSION": "1.3"}}

_settings_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What a GeoPackage says about a layer besides the features.

    Parameters
    ----------
    name : str
    crs : str or None
        WKT; None becomes the undefined Cartesian CRS.
    legend : callable
        Asked, when all features are written, for the legend that becomes the default style.
    geometry_type : str
        OGC name.
    metadata : mapping of str to str
        Kept in the file's metadata table.
    coverage : callable, optional
        Asked likewise for what is known of the features (`geoseg.vector.proof`), which is kept there too.
    """

    name: str
    crs: str | None
    legend: Callable[[], Legend]
    geometry_type: str = "Polygon"
    metadata: Mapping[str, str] = field(default_factory=dict)
    coverage: Callable[[], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that a GeoPackage reserves."""
        check_layer_name(self.name)


def check_layer_name(name: str) -> None:
    """Raise OptionError unless a layer of a GeoPackage may have this name."""
    lower = name.lower()
    reserved = lower.startswith(("gpkg", "sqlite_", "rtree_")) or lower == "layer_styles"
    if reserved or not name.strip() or not name.isprintable() or name[0] in punctuation.replace("_", ""):
        raise OptionError(
            f"layer name {name!r} cannot be used: expected printable text that is not layer_styles and does "
            "not begin with punctuation, gpkg, sqlite_ or rtree_; pass another --layer"
        )


def feature_batches(parts: Iterable[Features]) -> Iterator[pa.RecordBatch]:
    """Features as Arrow batches, their geometry last."""
    for part in Features.rebatched(parts):
        yield one_batch(part.attributes().append_column(GEOMETRY, part.wkb_arrow()))


def table_batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Cut a table as `Features.rebatched` cuts features."""
    import pyarrow.compute as pc

    sizes = pc.binary_length(table[GEOMETRY]).to_numpy()
    offset = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    start = 0
    while start < table.num_rows or start == 0:
        stop = start + (batch_stop(offset[start:] - offset[start]) if table.num_rows else 1)
        yield one_batch(table.slice(start, stop - start))
        start = stop


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table of one chunk, or of none, as a batch."""
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


class StoppedError(RuntimeError):
    """The features ended with an error of their own, which GDAL would swallow."""

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
    """Write a layer as its features come, or go on with one that the file has; return their number.

    Raises
    ------
    StoppedError
        With what the features ended with, before their time.
    """
    import pyarrow as pa

    from geoseg.vector.ogr import pyogrio

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
    """One text for one CRS, however its WKT came to be: GDAL's and Proj's differ in what they leave out."""
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
    """Yield a name for a new file that pyogrio takes literally; the file gets the name `path` afterwards.

    Pyogrio parses names like addresses: it cuts ``a;b.gpkg`` to ``a``, leaves tabs and ends of lines out, and takes
    what stands before a ``!``, even in a folder's name, for an archive.
    """
    plain = path.with_name("features" + path.suffix.lower())
    with ExitStack() as stack:
        beside = plain.parent
        if "!" in str(beside) or not str(beside).isprintable():
            beside = Path(stack.enter_context(TemporaryDirectory())) / "link"
            beside.symlink_to(plain.parent.resolve(), target_is_directory=True)
        yield beside / plain.name
    plain.replace(path)


def room(path: Path) -> str:
    """Ask what the person should look at: the usual cause of a failed write is a full disk."""
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return f"is the folder {path.parent} there?"
    return f"is the disk full ({free / 1e6:,.0f} MB are free)?"


@contextmanager
def _settings() -> Iterator[None]:
    """Let pyogrio's GDAL write `TIMESTAMP` wherever it would write the time, and leave syncing to the caller.

    Whoever gives the file its final name syncs it first, and a full disk is noticed without.
    """
    from geoseg.vector.ogr import pyogrio

    options = {
        "OGR_CURRENT_DATE": TIMESTAMP,
        "OGR_SQLITE_SYNCHRONOUS": "OFF",
        # Otherwise a share of the machine's memory: peaks would grow with the features, and bytes with the machine.
        # A million polygons fit; beyond, writing takes longer.
        "OGR_GPKG_MAX_RAM_USAGE_RTREE": str(3 * 2**24),
    }
    with _settings_lock:  # options are global to the process
        before = {name: pyogrio.get_gdal_config_option(name) for name in options}
        pyogrio.set_gdal_config_options(options)
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)
