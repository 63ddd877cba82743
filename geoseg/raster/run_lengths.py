"""Run lengths as labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.raster.labels import UNKNOWN, Codes, Meanings
from geoseg.raster.rle import Edges, fill
from geoseg.raster.run_length_table import RunLengthTable, Signature, image_names, read_table

__all__ = ["RunLengthLabels", "image_names"]

_KEPT = 16
"""Images whose runs each process keeps: windows of one image often follow each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLengthLabels:
    """The masks of one image in a table of run lengths; see `Labels`.

    A pixel of the image takes the mask pixel that its centre lies on when the mask is spread over `content`:
    in ``content = (row, col, height, width)`` pixel (r, c) takes row ``floor((r - row + 1/2) * rows / height)``
    and column ``floor((c - col + 1/2) * cols / width)`` of a mask of `size` ``(rows, cols)``.

    A table knows what is absent: where no run is, binary and layered labels are 0. Multiclass ones are
    unlabelled there. Beyond the content nothing is known.

    Parameters
    ----------
    path : str
        The table, which is opened again in each process.
    signature : (int, int)
        What tells whether it has changed.
    image : str
        As the table names it.
    grid : Grid
        Of the image.
    meanings : Meanings
        Label values are names of classes. In a table without classes all runs are of the only one.
    layered : bool
    size : (int, int)
        (rows, cols) of the masks.
    content : Window
        Part of the image that they cover.
    """

    path: str
    signature: Signature
    image: str
    grid: Grid
    meanings: Meanings
    layered: bool
    size: tuple[int, int]
    content: Window

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        image: str,
        grid: Grid,
        meanings: Meanings,
        *,
        layered: bool = False,
        size: tuple[int, int] | None = None,
        content: tuple[int, int, int, int] | None = None,
    ) -> RunLengthLabels:
        """Open the masks of an image; its run lengths are checked here.

        Parameters
        ----------
        path : path-like
            CSV; see `read_table`.
        image : str
            Name of the image's file.
        grid : Grid
        meanings : Meanings
        layered : bool
        size : (int, int), optional
            (rows, cols) of the masks; those of the image by default.
        content : (int, int, int, int), optional
            (row, col, height, width) of the image that the masks cover; all of it by default.

        Raises
        ------
        DataError
            If the table does not name the image, holds other classes or wrong run lengths, or where classes
            overlap in labels that are not layered.
        """
        table = read_table(path)
        row, col, height, width = content or (0, 0, *grid.shape)
        covered = Window(row=row, col=col, height=height, width=width)
        if covered.within(grid.shape) != covered:
            raise DataError(
                f"{table.path}: content {row} {col} {height} {width} sticks out of the {grid.height} x {grid.width} px "
                f"of {image}, expected row, col, height and width of a part of it"
            )
        labels = cls(
            path=table.path,
            signature=table.signature,
            image=table.name_of(image),
            grid=grid,
            meanings=meanings,
            layered=layered,
            size=size or grid.shape,
            content=covered,
        )
        runs = labels._runs(table)
        if not layered:
            labels._refuse_overlaps(runs)
        return labels

    def read(self, window: Window) -> Codes:
        """Read a window; see `Labels.read`."""
        shape = (len(self.meanings.codes), *window.shape) if self.layered else window.shape
        read = np.full(shape, UNKNOWN, dtype=np.uint8)
        part = window.intersection(self.content)
        if part is None:
            return read
        rows = _onto(part.row - self.content.row, part.height, self.content.height, self.size[0])
        cols = _onto(part.col - self.content.col, part.width, self.content.width, self.size[1])
        runs = _kept(self.path, self.signature, self.image, self.size)
        masks = [(self._code(name), _cut(edges, rows, cols, self.size)) for name, edges in runs]
        place = part.shifted(-window.row, -window.col).slices
        read[..., *place] = self._layers(masks, part) if self.layered else self._codes(masks, part)
        return read

    def _layers(self, masks: list[tuple[int, npt.NDArray[np.bool_]]], part: Window) -> Codes:
        layers = np.zeros((len(self.meanings.codes), *part.shape), dtype=np.uint8)
        for code, mask in masks:
            if code != UNKNOWN:
                layers[self.meanings.codes.index(code)] |= mask
        for code, mask in masks:
            if code == UNKNOWN:
                layers[:, mask] = UNKNOWN
        return layers

    def _codes(self, masks: list[tuple[int, npt.NDArray[np.bool_]]], part: Window) -> Codes:
        binary = len(self.meanings.codes) == 1
        codes = np.full(part.shape, 0 if binary else self.meanings.unlabelled, dtype=np.uint8)
        for code, mask in sorted(masks, key=lambda each: each[0]):  # UNKNOWN, the highest, over all others
            codes[mask] = code
        return codes

    def _code(self, name: str | None) -> int:
        """Legend code of a class of the table."""
        if name is None and len(self.meanings.codes) == 1:
            return self.meanings.codes[0]
        code = None if name is None else self.meanings.code(name)
        if code is None:
            found = "names no classes" if name is None else f"holds the class {name!r}"
            raise DataError(f"{self.path}: {found}, expected {self.meanings.words}; {self.meanings.remedy}")
        return code

    def _runs(self, table: RunLengthTable) -> dict[int, list[Edges]]:
        """Return runs by legend code; checks the classes of the whole table on the way."""
        for name in table.classes:
            self._code(name)
        by_code: dict[int, list[Edges]] = {}
        for name, edges in table.runs(self.image, self.size).items():
            by_code.setdefault(self._code(name), []).append(edges)
        return by_code

    def _refuse_overlaps(self, by_code: dict[int, list[Edges]]) -> None:
        """Raise DataError where a pixel has two codes; UNKNOWN may lie over any."""
        pieces = [
            (edges[::2], edges[1::2], np.full(edges.size // 2, code))
            for code, parts in by_code.items()
            if code != UNKNOWN
            for edges in parts
        ]
        if not pieces:
            return
        starts, stops, codes = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.argsort(starts, kind="stable")
        starts, stops, codes = starts[order], stops[order], codes[order]
        for code in by_code:
            # The last stop of any run before that has another code than this one.
            others = np.maximum.accumulate(np.where(codes == code, 0, stops))
            wrong = (codes == code) & (starts < others)
            if wrong.any():
                col, row = divmod(int(starts[np.argmax(wrong)]), self.size[0])
                raise DataError(
                    f"{self.path}: two classes of {self.image} lie on row {row}, column {col} of the mask, expected "
                    "one at most; overlapping classes need task: multilabel"
                )


def _onto(first: int, length: int, extent: int, size: int) -> npt.NDArray[np.intp]:
    """Mask pixels under the centres of `length` pixels from `first` of `extent` that a mask of `size` covers."""
    centres = 2 * np.arange(first, first + length, dtype=np.intp) + 1  # in half pixels, so that it is exact
    return centres * size // (2 * extent)


def _cut(
    edges: Edges, rows: npt.NDArray[np.intp], cols: npt.NDArray[np.intp], size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Pixels of a mask at ascending rows and columns; only the columns between are decoded."""
    if not edges.size:
        return np.zeros((len(rows), len(cols)), dtype=bool)
    left, right = int(cols[0]), int(cols[-1]) + 1
    flat = fill(edges, left * size[0], right * size[0]).reshape(right - left, size[0])
    return flat[np.ix_(cols - left, rows)].T


@lru_cache(maxsize=_KEPT)
def _kept(
    path: str, signature: Signature, image: str, size: tuple[int, int]
) -> tuple[tuple[str | None, Edges], ...]:
    """Return the runs of each class of an image."""
    table = read_table(path)
    if table.signature != signature:
        raise DataError(f"{path}: changed while it was in use; start again when it is complete")
    return tuple(table.runs(image, size).items())
