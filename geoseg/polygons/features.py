"""Land cover polygons with their attributes, as arrays and as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import Legend
from geoseg.polygons.origins import Origin

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

GEOMETRY = "geom"
"""Name of the geometry column in a GeoPackage."""

_CHUNK_BYTES = 2**30
_BATCH = 2**15
_BATCH_BYTES = 2**28
"""Most features, and most bytes of their polygons, that are handed to a writer at a time."""
_COLUMNS = (
    *("class_code", "pixels", "area_m2", "perimeter_m"),
    *("confidence", "second_code", "second_share", "vertices_before", "last", "origin"),
)
"""Fields with one number per feature."""

Known = npt.NDArray[np.bool_]


def batch_stop(offset: npt.NDArray[np.int64], count: int = 0, size: int = 0) -> int:
    """Return how many of the next features fit into a batch that already has `count` features of `size` bytes.

    Parameters
    ----------
    offset : (feature + 1,) int64
        Positions in bytes, from 0, at which the next polygons begin, and the end of the last one.
    count : int
        Number of features in the batch.
    size : int
        Bytes of the polygons in the batch.
    """
    fits = int(np.searchsorted(offset, _BATCH_BYTES - size, side="right")) - 1
    return max(min(fits, _BATCH - count, len(offset) - 1), int(count == 0), 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Land cover polygons in the order of the last pixels of their regions, row-major.

    Parameters
    ----------
    class_code : (feature,) int64
        Class of each polygon.
    pixels : (feature,) int64
        Number of pixels of the region.
    area_m2, perimeter_m : (feature,) float64
        Ground area and perimeter (including holes); NaN (null in files) where unknown.
    confidence : (feature,) float64 or None
        Mean probability of the class, 0 to 1; NaN if no pixel has one; None if no confidence was given.
    second_code : (feature,) int64 or None
        Most probable other class.
    second_share : (feature,) float64 or None
        Mean probability of that class; NaN if no pixel has one, and then the code is meaningless.
    scene : str or None
        Name of the scene of all polygons.
    buffer : (byte,) uint8
        Polygons as well-known binary (WKB), one after the other.
    offset : (feature + 1,) int64
        Polygon i is ``buffer[offset[i]:offset[i + 1]]``.
    crs : str or None
        CRS as WKT.
    legend : Legend
        Classes, including every code that occurs.
    vertices_before : (feature,) int64 or None
        Number of vertices before simplification; None if boundaries were not redrawn.
    last : (feature,) int64 or None
        Last pixel of each region, row-major in the map; None where polygons do not come from one map.
    origin : (feature,) int64 or None
        Index in `origins` of the scene that most pixels of each region come from.
    origins : tuple of Origin or None
        Scenes of the map, if it was put together from several.
    """

    class_code: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]
    area_m2: npt.NDArray[np.float64]
    perimeter_m: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64] | None
    second_code: npt.NDArray[np.int64] | None
    second_share: npt.NDArray[np.float64] | None
    scene: str | None
    buffer: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    crs: str | None
    legend: Legend
    vertices_before: npt.NDArray[np.int64] | None = None
    last: npt.NDArray[np.int64] | None = None
    origin: npt.NDArray[np.int64] | None = None
    origins: tuple[Origin, ...] | None = None

    @classmethod
    def joined(cls, parts: Sequence[Features], legend: Legend | None = None) -> Features:
        """Concatenate features that have the same columns and CRS.

        Parameters
        ----------
        parts : sequence of Features
            Features to concatenate, at least one.
        legend : Legend, optional
            Legend of the result; by default the union of all legends by code.

        Raises
        ------
        ValueError
            If there are no parts.
        """
        first, *_ = parts
        if len(parts) == 1:
            return first if legend is None else replace(first, legend=legend)
        if legend is None:
            classes = {c.code: c for part in parts for c in part.legend.classes}
            legend = Legend(classes=tuple(classes.values()))
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in _COLUMNS
            if getattr(first, name) is not None
        }
        columns["buffer"] = np.concatenate([part.buffer[part.offset[0] : part.offset[-1]] for part in parts])
        ends = np.cumsum([0, *(part.offset[-1] - part.offset[0] for part in parts)])
        offsets = [part.offset[1:] - part.offset[0] + end for part, end in zip(parts, ends, strict=False)]
        offset = np.concatenate([[0], *offsets])
        return replace(first, **columns, offset=offset, legend=legend)

    def of_class(self, code: int) -> Features:
        """Return the features of one class, which must be adjacent, with a legend of that class alone."""
        first, stop = (int(np.searchsorted(self.class_code, code, side=side)) for side in ("left", "right"))
        return replace(self[first:stop], legend=Legend(classes=(self.legend[code],)))

    def of_codes(self, codes: npt.NDArray[np.int64]) -> Features:
        """Return the features of some classes in their order, with the same legend."""
        (kept,) = np.nonzero(np.isin(self.class_code, codes))
        return self if len(kept) == len(self) else self.at(kept)

    def at(self, chosen: npt.NDArray[np.intp]) -> Features:
        """Return the features at some places, in the given order, with the same legend."""
        from geoseg.polygons.measure import gathered

        given: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        columns = {name: column[chosen] for name, column in given.items() if column is not None}
        buffer, offset = gathered(self.buffer, self.offset, chosen)
        return replace(self, **columns, buffer=buffer, offset=offset)

    def __getitem__(self, chosen: slice) -> Features:
        """Return the features of a slice without step; their polygons are not copied."""
        first, stop, _ = chosen.indices(len(self))
        given: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        columns = {name: column[first:stop] for name, column in given.items() if column is not None}
        return replace(self, **columns, offset=self.offset[first : stop + 1])

    @classmethod
    def rebatched(cls, parts: Iterable[Features]) -> Iterator[Features]:
        """Regroup a stream of features into batches by `batch_stop`; yield at least one, empty if need be.

        The bytes of some formats depend on the sizes of the batches, so these must depend on the features alone.
        """
        waiting: list[Features] = []
        count = size = 0
        empty: Features | None = None
        for part in parts:
            empty, rest = part[:0], part
            while len(rest):
                stop = batch_stop(rest.offset - rest.offset[0], count, size)
                waiting.append(rest[:stop])
                count, size = count + stop, size + int(rest.offset[stop] - rest.offset[0])
                rest = rest[stop:]
                if len(rest):
                    yield cls.joined(waiting)
                    waiting, count, size, empty = [], 0, 0, None
        if waiting or empty is not None:
            yield cls.joined(waiting or [cast("Features", empty)])

    def __len__(self) -> int:
        """Return the number of features."""
        return len(self.class_code)

    @property
    def wkb(self) -> npt.NDArray[np.object_]:
        """Polygons as an array of `bytes` objects in WKB."""
        data: npt.NDArray[np.object_] = self.wkb_arrow().to_numpy()
        return data

    @property
    def class_name(self) -> npt.NDArray[np.object_]:
        """Class name of each polygon."""
        return np.array(self.legend.names, dtype=object)[self._legend_index(self.class_code)]

    def wkb_arrow(self) -> pa.ChunkedArray:
        """Return the polygons as an Arrow column that shares their memory, in chunks for 32-bit offsets."""
        import pyarrow as pa

        chunks: list[pa.Array] = []
        start = 0
        while start < len(self) or not chunks:
            fits = np.searchsorted(self.offset, self.offset[start] + _CHUNK_BYTES, side="right") - 1
            stop = min(max(int(fits), start + 1), len(self))
            offset = self.offset[start : stop + 1]
            chunks.append(
                pa.Array.from_buffers(
                    pa.binary(),
                    stop - start,
                    [
                        None,
                        pa.py_buffer((offset - offset[0]).astype(np.int32)),
                        pa.py_buffer(self.buffer[offset[0] : offset[-1]]),
                    ],
                )
            )
            start = stop
        return pa.chunked_array(chunks, pa.binary())

    def attributes(self) -> pa.Table:
        """Return the attributes as an Arrow table, in the order of the file's columns."""
        import pyarrow as pa

        names = self.legend.names
        columns: dict[str, Any] = {
            "class_code": numbers(self.class_code),
            "class_name": texts(names, self._legend_index(self.class_code)),
            "area_m2": not_nan(self.area_m2),
            "pixels": numbers(self.pixels),
        }
        if self.confidence is not None:
            columns["confidence"] = not_nan(self.confidence)
        columns["perimeter_m"] = not_nan(self.perimeter_m)
        if self.second_code is not None and self.second_share is not None:
            known = ~np.isnan(self.second_share)
            columns["second_code"] = numbers(self.second_code, known)
            columns["second_name"] = texts(names, self._legend_index(self.second_code), known)
            columns["second_share"] = not_nan(self.second_share)
        if self.scene is not None:
            columns["scene"] = texts([self.scene], np.zeros(len(self), np.int64))
        if self.origin is not None and self.origins is not None:
            columns["scene"] = texts([each.scene for each in self.origins], self.origin)
            dates = [each.date for each in self.origins]
            dated = np.array([date is not None for date in dates], np.bool_)
            columns["date"] = texts([date or "" for date in dates], self.origin, dated[self.origin])
        return pa.table(columns)

    def to_geodataframe(self) -> gpd.GeoDataFrame:
        """Return the features as a GeoDataFrame with the columns of the file."""
        import geopandas as gpd
        import shapely

        geometry = shapely.from_wkb(self.wkb) if len(self) else []
        frame = self.attributes().to_pandas()
        return gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(geometry, crs=self.crs), crs=self.crs)

    def _legend_index(self, code: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        known = np.array(self.legend.codes, np.int64)
        return np.searchsorted(known, code).clip(max=len(known) - 1)


def numbers(values: npt.NDArray[Any], known: Known | None = None) -> pa.Array:
    """Convert numbers to an Arrow column that shares their memory.

    ``pyarrow.array`` would do the same but imports pandas at its first call, which takes longer than vectorizing a
    small map.

    Parameters
    ----------
    values : (row,) array
        Numbers of any type that numpy and Arrow share.
    known : (row,) bool, optional
        False where the column is null.
    """
    import pyarrow as pa

    buffers = [_bits(known), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def not_nan(values: npt.NDArray[np.float64]) -> pa.Array:
    """Convert floats to a column that is null where they are NaN."""
    return numbers(values, ~np.isnan(values))


def texts(words: Sequence[str], index: npt.NDArray[np.integer[Any]], known: Known | None = None) -> pa.Array:
    """Convert one text per row, given by index, to a column.

    Parameters
    ----------
    words : sequence of str
        Distinct texts.
    index : (row,) int
        Index of each row's text in `words`.
    known : (row,) bool, optional
        False where the column is null.
    """
    import pyarrow as pa

    coded = [word.encode() for word in words]
    if known is not None:
        coded, index = [*coded, b""], np.where(known, index, len(coded))
    lengths = np.array([len(word) for word in coded], np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths[index])])
    data = b"".join([coded[i] for i in index.tolist()])
    buffers = [_bits(known), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(index), buffers)


def _bits(known: Known | None) -> pa.Buffer | None:
    """Return Arrow's validity bitmap; None if no entry is null."""
    import pyarrow as pa

    return None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
