"""Compute one block of a scene from its pixels and their surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.grid.legend import NODATA
from geoseg.inference.block_engine import BlockEngine, Shares
from geoseg.inference.block_plan import Axis, Span
from geoseg.raster.xarray_encodings import Decoding

Chunks = Sequence[Sequence[npt.NDArray[Any]]]
"""Rows of the chunks that a block needs, each chunk (..., band, row, col)."""


@dataclass(frozen=True, kw_only=True)
class BlockWork:
    """Everything that the blocks of one prediction share; sent to the workers besides pixels.

    Parameters
    ----------
    engine : BlockEngine
        The network, for the scene's scaling.
    rows, cols : Axis
        Tiles and blocks along both axes.
    decoding : Decoding
        How pixels become stored values and validity.
    """

    engine: BlockEngine
    rows: Axis
    cols: Axis
    decoding: Decoding

    def compute(self, row: int, col: int, chunks: Chunks) -> tuple[npt.NDArray[np.uint8], Shares | None]:
        """Classify a block.

        Law: however a scene is cut into blocks, they equal the engine's result for the whole scene, bit by bit
        if the network's result for a tile does not depend on the others in its batch.

        Parameters
        ----------
        row, col : int
            Row and column of the block.
        chunks : rows of ndarray, each (1, band, row, col) or (band, row, col)
            Chunks of `Axis.sources`.

        Returns
        -------
        ndarray of uint8, shape (2, row, col), of a multilabel task (2, layer, row, col)
            Codes and confidence * 254, 255 no data; with an axis of length 1 behind the first where the chunks
            have one.
        ndarray of float32, shape (class, row, col), or None
            Probabilities, NaN no data; with an axis of length 1 before the first likewise.
        """
        spans = self.rows.span(row), self.cols.span(col)
        pixels, valid = self.decoding.restored(_joined(chunks, spans, (self.rows, self.cols)))
        shape = spans[0].block.stop - spans[0].block.start, spans[1].block.stop - spans[1].block.start
        inside = tuple(slice(s.block.start - s.needed.start, s.block.stop - s.needed.start) for s in spans)
        if valid[inside].any():
            whole = np.ones(shape, dtype=bool)
            found, shares = self.engine.classify((self.rows, self.cols), spans, (pixels, valid), whole)
        else:
            found = np.full(
                (2, *((self.engine.layers,) if self.engine.layers else ()), *shape), NODATA, dtype=np.uint8
            )
            shares = None
            if self.engine.probabilities:
                shares = np.full((len(self.engine.card.classes.classes), *shape), np.nan, dtype=np.float32)
        if chunks[0][0].ndim == 4:
            return found[:, None], None if shares is None else shares[None]
        return found, shares


def _joined(chunks: Chunks, spans: tuple[Span, Span], axes: tuple[Axis, Axis]) -> npt.NDArray[Any]:
    """Join the parts of the chunks that a block needs, (band, row, col)."""
    rows, cols = ([axis.edges[i] for i in axis.sources(span)] for axis, span in zip(axes, spans, strict=True))
    above, left = spans[0].needed.start, spans[1].needed.start
    parts = []
    for row, line in zip(rows, chunks, strict=True):
        inside = slice(max(above - row, 0), spans[0].needed.stop - row)
        parts.append(
            np.concatenate(
                [
                    np.asarray(chunk).reshape(chunk.shape[-3:])[
                        :, inside, max(left - col, 0) : spans[1].needed.stop - col
                    ]
                    for col, chunk in zip(cols, line, strict=True)
                ],
                axis=2,
            )
        )
    return np.concatenate(parts, axis=1)


def compute_block(work: BlockWork, row: int, col: int, chunks: Chunks) -> Any:
    """Compute a block as a task of a dask graph: codes and confidence, or these and probabilities."""
    found, shares = work.compute(row, col, chunks)
    return found if shares is None else (found, shares)
