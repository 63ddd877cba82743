"""Store finished strips on disk, each in its own file, with checksums in the journal."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.plan import Plan, TileStrip
from geoseg.engine.small_regions import Strip, strips_without_small
from geoseg.engine.strip_work import StripResult
from geoseg.grid.window import Window
from geoseg.raster.band_encoding import Storage
from geoseg.storage.durable import write_bytes


class Record(Protocol):
    """Where finished strips are recorded: a journal, or a sender to the process that has it."""

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """All recorded entries."""

    def append(self, entry: Mapping[str, Any]) -> None:
        """Record an entry."""


class StripStore:
    """Strips of a run on disk, which survive a kill.

    Law: after a kill at any instant the strips in `done` are complete.

    Parameters
    ----------
    folder : Path
        Scratch folder.
    plan : Plan
        The strips of the scene.
    record : Record
        The journal.
    layers : int, optional
        Number of layers of a multilabel result.
    storage : str, optional
        Data type of the probabilities, if results hold them.
    sizes : sequence of int
        Minimum size in px of a connected region of each layer (`Card.region_sizes`); smaller ones are removed when
        codes and confidence are read.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        record: Record,
        layers: int | None = None,
        storage: Storage | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        self._folder, self._plan, self._record, self._layers = folder, plan, record, layers
        self._storage, self._sizes = storage, sizes
        checksums = {entry["strip"]: entry["crc32"] for entry in record.entries if "strip" in entry}
        self.done = {strip.index for strip in plan.strips if self._whole(strip, checksums.get(strip.index))}

    def put(self, result: StripResult, damaged: Sequence[Window]) -> None:
        """Store a strip; when it returns, the strip is on disk and recorded."""
        parts = [result.codes, result.confidence, *([] if result.stored is None else [result.stored])]
        data = b"".join(part.tobytes() for part in parts)
        write_bytes(self._file(result.strip), data)
        self._record.append(
            {
                "strip": result.strip.index,
                "crc32": zlib.crc32(data),
                "damaged": [[w.row, w.col, w.height, w.width] for w in damaged],
            }
        )
        self.done.add(result.strip.index)

    def missing(self, part: range) -> range:
        """Return the strips of a range from the first one that is not stored."""
        return range(next((index for index in part if index not in self.done), part.stop), part.stop)

    def codes(self, layer: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield codes from top to bottom, in strips of rows: all layers, or (rows, cols) of one layer."""
        if any(self._sizes):
            return (codes for codes, _ in self._without_small(layer))
        return self._stored(0, layer)

    def confidence(self, layer: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield confidence from top to bottom, as `codes` does."""
        if any(self._sizes):
            return (confidence for _, confidence in self._without_small(layer))
        return self._stored(1, layer)

    def _without_small(self, layer: int | None) -> Iterator[Strip]:
        """Yield codes and confidence with small regions removed."""
        sizes = self._sizes if layer is None else self._sizes[layer : layer + 1]
        both = zip(self._stored(0, layer), self._stored(1, layer), strict=True)
        return strips_without_small(both, sizes)

    def _stored(self, product: int, layer: int | None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield one of the two products as it was stored."""
        return (self._read(strip, product, layer) for strip in self._plan.strips if strip.rows)

    def probabilities(self) -> Iterator[npt.NDArray[Any]]:
        """Yield probabilities from top to bottom, (class, rows, cols): uint8, or float32 rounded to float16."""
        for strip in self._plan.strips:
            if strip.rows:
                rows, cols = len(strip.rows), self._plan.shape[1]
                with self._file(strip).open("rb") as file:
                    file.seek(2 * (self._layers or 1) * rows * cols)
                    found = np.frombuffer(file.read(), dtype=self._storage).reshape(-1, rows, cols)
                yield found.astype(np.float32) if self._storage == "float16" else found

    @property
    def damaged(self) -> list[list[int]]:
        """Windows [row, col, height, width] that could not be read, sorted and unique."""
        found = {tuple(w) for entry in self._record.entries for w in entry.get("damaged", [])}
        return [list(w) for w in sorted(found)]

    def _read(self, strip: TileStrip, product: int, layer: int | None) -> npt.NDArray[np.uint8]:
        """Read codes or confidence of a strip, or one layer of them."""
        count = self._layers or 1
        shape = len(strip.rows), self._plan.shape[1]
        size = shape[0] * shape[1]
        with self._file(strip).open("rb") as file:
            file.seek((product * count + (layer or 0)) * size)
            data = file.read(size if layer is not None else count * size)
        several = self._layers is not None and layer is None
        return np.frombuffer(data, dtype=np.uint8).reshape((count, *shape) if several else shape)

    def _whole(self, strip: TileStrip, checksum: int | None) -> bool:
        file = self._file(strip)
        return checksum is not None and file.exists() and zlib.crc32(file.read_bytes()) == checksum

    def _file(self, strip: TileStrip) -> Path:
        return self._folder / f"strip-{strip.index:06d}"
