"""Sampling of a scene at low cost: all of a small one, some blocks of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.errors import SceneError
from geoseg.grid.window import Window
from geoseg.raster.chip import Chip
from geoseg.raster.source import Source

_WHOLE: Final = 2**20
"""Most pixels of a scene that is read as a whole. Of a larger one this many, or a sixteenth of it, are decoded."""
_MOST: Final = 4 * _WHOLE
_NUMBERS: Final = 2**23
"""Most values that are kept, over all bands."""
_SMALLEST: Final = 128  # px
_PARTS: Final = 8
"""Number of groups of rows that are read from a striped file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Sampled pixels of a scene in their order; its borders are the scene's borders.

    Parameters
    ----------
    pixels : ndarray, shape (band, row, col)
        Stored values.
    valid : ndarray of bool, shape (row, col)
        True for valid pixels; False also where the file could not be read.
    whole : bool
        Whether the sample is the whole scene.
    """

    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    whole: bool

    def amount(self, count: int) -> str:
        """Express a number of sampled pixels as an amount of the scene, in words."""
        share = share_words(count / max(self.valid.size, 1))
        return f"{count:,} px ({share})" if self.whole else f"about {share} of the pixels"


def share_words(share: float) -> str:
    """Format a share in per cent, never rounded to nothing or to all."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.9995 or share == 1 else "more than 99.9 %"


def sample(source: Source) -> Sample:
    """Read sample blocks of a scene, including its borders.

    Unreadable blocks are marked invalid: the run itself decides what to do with damaged files.
    """
    height, width = source.grid.shape
    rows, cols = _parts((height, width), source.block_shape)
    read = sum(stop - start for start, stop in rows) * sum(stop - start for start, stop in cols)
    step = int(np.ceil(np.sqrt(max(1.0, read * source.count / _NUMBERS))))
    lines = [[_chip(source, row, col, step) for col in cols] for row in rows]
    return Sample(
        pixels=np.concatenate([np.concatenate([c.pixels for c in line], axis=2) for line in lines], axis=1),
        valid=np.concatenate([np.concatenate([c.valid for c in line], axis=1) for line in lines]),
        whole=step == 1 and read == height * width,
    )


Part = tuple[int, int]
"""First row or column, and one past the last."""


def _parts(shape: tuple[int, int], block: tuple[int, int]) -> tuple[list[Part], list[Part]]:
    """Return the row and column ranges to read: whole blocks, evenly spread from border to border."""
    height, width = shape
    if height * width <= _WHOLE:
        return [(0, height)], [(0, width)]
    budget = max(_WHOLE, min(_MOST, height * width // 16))
    if block[1] >= width:
        edge = max(1, budget // _PARTS // width)
        return _spread(height, -(-edge // block[0]) * block[0], budget // width), [(0, width)]
    rows, cols = (-(-_SMALLEST // edge) * edge for edge in block)
    across = int(np.sqrt(budget / (rows * cols)))
    return _spread(height, rows, across * rows), _spread(width, cols, across * cols)


def _spread(length: int, edge: int, budget: int) -> list[Part]:
    """Choose evenly spread ranges of length `edge` within a budget, including the first and the last."""
    count = -(-length // edge)
    wanted = min(count, max(1, budget // edge))
    chosen: Sequence[int] = (
        [count // 2]
        if wanted == 1
        else np.unique(np.linspace(0, count - 1, wanted).round().astype(int)).tolist()
    )
    return [(i * edge, min(length, (i + 1) * edge)) for i in chosen]


def _chip(source: Source, rows: Part, cols: Part, step: int) -> Chip:
    window = Window(row=rows[0], col=cols[0], height=rows[1] - rows[0], width=cols[1] - cols[0])
    try:
        chip = source.read(window)
    except SceneError:
        pixels = np.zeros((source.count, *window.shape), dtype=source.dtype)
        chip = Chip(pixels=pixels, valid=np.zeros(window.shape, dtype=bool))
    return Chip(pixels=chip.pixels[:, ::step, ::step], valid=chip.valid[::step, ::step])
