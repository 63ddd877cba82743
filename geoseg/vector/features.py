"""Polygons with their attributes, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import Legend

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

GEOMETRY = "geom"
"""Name of the geometry column in a GeoPackage."""

_CHUNK_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Land-cover polygons in the order of design: by the last pixel of their region, row-major.

    Parameters
    ----------
    class_code : (feature,) int64
    pixels : (feature,) int64
        Pixels of the region.
    area_m2 : (feature,) float64
        True ground area, m²; NaN (null in files) where it is not known.
    confidence : (feature,) float64 or None
        Mean probability of the written class, 0 to 1; NaN where no pixel has one; None where none was given.
    buffer : (byte,) uint8
        Polygons as well-known binary, one after the other.
    offset : (feature + 1,) int64
        Polygon i is ``buffer[offset[i]:offset[i + 1]]``.
    crs : str or None
        WKT.
    legend : Legend
        Holds every code.
    """

    class_code: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]
    area_m2: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64] | None
    buffer: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    crs: str | None
    legend: Legend

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Return the features of several in their order; all have one CRS, one legend, and confidence
        or not.

        Raises
        ------
        ValueError
            If there are none.
        """
        first, *_ = parts
        shares = [part.confidence for part in parts if part.confidence is not None]
        ends = np.cumsum([0, *(part.offset[-1] for part in parts)])
        return replace(
            first,
            class_code=np.concatenate([part.class_code for part in parts]),
            pixels=np.concatenate([part.pixels for part in parts]),
            area_m2=np.concatenate([part.area_m2 for part in parts]),
            confidence=np.concatenate(shares) if shares else None,
            buffer=np.concatenate([part.buffer for part in parts]),
            offset=np.concatenate(
                [[0], *(part.offset[1:] + end for part, end in zip(parts, ends, strict=False))]
            ),
        )

    def of_class(self, code: int) -> Features:
        """Return the features of one class, which follow each other, with a legend of that class alone."""
        first, stop = (np.searchsorted(self.class_code, code, side=side) for side in ("left", "right"))
        chosen = slice(first, stop)
        return replace(
            self,
            class_code=self.class_code[chosen],
            pixels=self.pixels[chosen],
            area_m2=self.area_m2[chosen],
            confidence=None if self.confidence is None else self.confidence[chosen],
            offset=self.offset[first : stop + 1],
            legend=Legend(classes=(self.legend[code],)),
        )

    def __len__(self) -> int:
        """Return the number of features."""
        return len(self.class_code)

    @property
    def wkb(self) -> npt.NDArray[np.object_]:
        """Polygons as `bytes` objects."""
        data: npt.NDArray[np.object_] = self.wkb_arrow().to_numpy()
        return data

    @property
    def class_name(self) -> npt.NDArray[np.object_]:
        """Names of the classes."""
        return np.array(self.legend.names, dtype=object)[self._legend_index()]

    def wkb_arrow(self) -> pa.ChunkedArray:
        """Polygons as an Arrow column over the same memory, in chunks that 32-bit offsets can address."""
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
        """Attributes as an Arrow table, in the order of the file's columns."""
        import pyarrow as pa

        columns: dict[str, Any] = {
            "class_code": pa.array(self.class_code),
            "class_name": pa.array(self.legend.names, pa.string()).take(pa.array(self._legend_index())),
            "area_m2": pa.array(self.area_m2, from_pandas=True),  # NaN becomes null
            "pixels": pa.array(self.pixels),
        }
        if self.confidence is not None:
            columns["confidence"] = pa.array(self.confidence, from_pandas=True)
        return pa.table(columns)

    def to_geodataframe(self) -> gpd.GeoDataFrame:
        """Return the features as a GeoDataFrame with the columns of the file."""
        import geopandas as gpd
        import shapely

        geometry = shapely.from_wkb(self.wkb) if len(self) else []
        frame = self.attributes().to_pandas()
        return gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(geometry, crs=self.crs), crs=self.crs)

    def _legend_index(self) -> npt.NDArray[np.intp]:
        return np.searchsorted(np.array(self.legend.codes, np.int64), self.class_code)
