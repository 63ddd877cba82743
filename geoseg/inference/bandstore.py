"""Finished bands on the disk, each its own file, with its checksum in the journal."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geoseg.engine.bands import BandResult
from geoseg.engine.plan import Band, Plan
from geoseg.grid.window import Window
from geoseg.storage.durable import write_bytes
from geoseg.storage.journal import Journal


class BandStore:
    """Bands of a run that survive its death.

    Law: after a kill at any instant `done` bands are whole, and they are the first ones of the plan.

    Parameters
    ----------
    folder : Path
        Scratch folder.
    plan : Plan
    journal : Journal
    """

    def __init__(self, folder: Path, plan: Plan, journal: Journal) -> None:
        self._folder, self._plan, self._journal = folder, plan, journal
        checksums = {entry["band"]: entry["crc32"] for entry in journal.entries if "band" in entry}
        self.done = 0
        while self.done < len(plan.bands) and self._whole(plan.bands[self.done], checksums.get(self.done)):
            self.done += 1

    def put(self, result: BandResult, damaged: Sequence[Window]) -> None:
        """Store the next band; on return it is on the disk and in the journal."""
        data = result.codes.tobytes() + result.confidence.tobytes()
        write_bytes(self._file(result.band), data)
        self._journal.append(
            {
                "band": result.band.index,
                "crc32": zlib.crc32(data),
                "damaged": [[w.row, w.col, w.height, w.width] for w in damaged],
            }
        )
        self.done = result.band.index + 1

    def codes(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield legend codes from top to bottom, a (rows, cols) array a band."""
        return (self._layers(band)[0] for band in self._plan.bands if band.rows)

    def confidence(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield stored confidence from top to bottom, a (rows, cols) array a band."""
        return (self._layers(band)[1] for band in self._plan.bands if band.rows)

    @property
    def damaged(self) -> list[list[int]]:
        """[row, col, height, width] of what could not be read, in order, once each."""
        found = {tuple(w) for entry in self._journal.entries for w in entry.get("damaged", [])}
        return [list(w) for w in sorted(found)]

    def _layers(self, band: Band) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(self._file(band).read_bytes(), dtype=np.uint8)
        return data.reshape(2, len(band.rows), self._plan.shape[1])

    def _whole(self, band: Band, checksum: int | None) -> bool:
        file = self._file(band)
        return checksum is not None and file.exists() and zlib.crc32(file.read_bytes()) == checksum

    def _file(self, band: Band) -> Path:
        return self._folder / f"band-{band.index:06d}"
