"""Finished bands on the disk, each its own file, with its checksum in the journal."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.engine.bands import BandResult
from geoseg.engine.plan import Band, Plan
from geoseg.engine.storage import Storage
from geoseg.grid.window import Window
from geoseg.storage.durable import write_bytes


class Record(Protocol):
    """Where finished bands are noted: a journal, or what passes them on to the process that has it."""

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """What is noted."""

    def append(self, entry: Mapping[str, Any]) -> None:
        """Note one."""


class BandStore:
    """Bands of a run that survive its death.

    Law: after a kill at any instant the bands in `done` are whole.

    Parameters
    ----------
    folder : Path
        Scratch folder.
    plan : Plan
    record : Record
        The journal.
    layers : int, optional
        Of a multilabel task: how many layers a result has.
    storage : str, optional
        How results hold probabilities, where they do.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        record: Record,
        layers: int | None = None,
        storage: Storage | None = None,
    ) -> None:
        self._folder, self._plan, self._record, self._layers = folder, plan, record, layers
        self._storage = storage
        checksums = {entry["band"]: entry["crc32"] for entry in record.entries if "band" in entry}
        self.done = {band.index for band in plan.bands if self._whole(band, checksums.get(band.index))}

    def put(self, result: BandResult, damaged: Sequence[Window]) -> None:
        """Store a band; on return it is on the disk and noted."""
        parts = [result.codes, result.confidence, *([] if result.stored is None else [result.stored])]
        data = b"".join(part.tobytes() for part in parts)
        write_bytes(self._file(result.band), data)
        self._record.append(
            {
                "band": result.band.index,
                "crc32": zlib.crc32(data),
                "damaged": [[w.row, w.col, w.height, w.width] for w in damaged],
            }
        )
        self.done.add(result.band.index)

    def missing(self, part: range) -> range:
        """Return what is left of some bands, from the first one that is not there."""
        return range(next((index for index in part if index not in self.done), part.stop), part.stop)

    def codes(self, layer: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield codes from top to bottom, an array a band: as results have them, or (rows, cols) of a layer."""
        return (self._read(band, 0, layer) for band in self._plan.bands if band.rows)

    def confidence(self, layer: int | None = None) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield stored confidence as `codes` does codes."""
        return (self._read(band, 1, layer) for band in self._plan.bands if band.rows)

    def probabilities(self) -> Iterator[npt.NDArray[Any]]:
        """Yield stored probabilities from top to bottom, (class, rows, cols): uint8, or float32 of halves."""
        for band in self._plan.bands:
            if band.rows:
                rows, cols = len(band.rows), self._plan.shape[1]
                with self._file(band).open("rb") as file:
                    file.seek(2 * (self._layers or 1) * rows * cols)
                    found = np.frombuffer(file.read(), dtype=self._storage).reshape(-1, rows, cols)
                yield found.astype(np.float32) if self._storage == "float16" else found

    @property
    def damaged(self) -> list[list[int]]:
        """[row, col, height, width] of what could not be read, in order, once each."""
        found = {tuple(w) for entry in self._record.entries for w in entry.get("damaged", [])}
        return [list(w) for w in sorted(found)]

    def _read(self, band: Band, product: int, layer: int | None) -> npt.NDArray[np.uint8]:
        """Read one of the two products of a band, or one layer of it."""
        count = self._layers or 1
        shape = len(band.rows), self._plan.shape[1]
        size = shape[0] * shape[1]
        with self._file(band).open("rb") as file:
            file.seek((product * count + (layer or 0)) * size)
            data = file.read(size if layer is not None else count * size)
        several = self._layers is not None and layer is None
        return np.frombuffer(data, dtype=np.uint8).reshape((count, *shape) if several else shape)

    def _whole(self, band: Band, checksum: int | None) -> bool:
        file = self._file(band)
        return checksum is not None and file.exists() and zlib.crc32(file.read_bytes()) == checksum

    def _file(self, band: Band) -> Path:
        return self._folder / f"band-{band.index:06d}"
