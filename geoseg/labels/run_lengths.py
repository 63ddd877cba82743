"""Labels as run lengths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from geoseg.errors import DataError
from geoseg.grid.grid import Grid
from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN, Codes, Meanings
from geoseg.labels.rle import Edges, fill
from geoseg.labels.run_length_table import RunLengthTable, Signature, image_names, read_table

__all__ = ["RunLengthLabels", "image_names"]

_KEPT = 16
"""Images whose runs each process caches: consecutive windows often belong to one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLengthLabels:
    """The masks of an image in a table of run lengths; see `Labels`.

    A pixel of the image takes the mask pixel that its centre lies on when the mask is spread over `content`:
    in ``content = (row, col, height, width)`` pixel (r, c) takes row ``floor((r - row + 1/2) * rows / height)``
    and column ``floor((c - col + 1/2) * cols / width)`` of a mask of `size` ``(rows, cols)``.

    Pixels without a run are 0 in binary and layered labels, because tables are complete, and unlabelled in multiclass
    ones. Outside the content they are unknown.

    Parameters
    ----------
    path : str
        The table, which each process opens itself.
    signature : (int, int)
        Size and modification time of the table, to detect changes.
    image : str
        Name of the image in the table.
    grid : Grid
        Grid of the image.
    meanings : Meanings
        Meaning of the label values, which are class names. In a table without classes all runs belong to the only one.
    layered : bool
        Whether `read` returns one layer per class.
    size : (int, int)
        Rows and columns of the masks.
    content : Window
        Part of the image that the masks cover.
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
        """Open the masks of an image and check its run lengths.

        Parameters
        ----------
        path : path-like
            CSV table; see `read_table`.
        image : str
            File name of the image.
        grid : Grid
            Grid of the image.
        meanings : Meanings
            Meaning of the class names.
        layered : bool
            Whether classes may overlap and `read` returns one layer per class.
        size : (int, int), optional
            Rows and columns of the masks; by default those of the image.
        content : (int, int, int, int), optional
            Part (row, col, height, width) of the image that the masks cover; by default all of it.

        Raises
        ------
        DataError
            If the table does not name the image, has unknown classes or wrong run lengths, or if classes overlap in
            labels that are not layered.
        """
        table = read_table(path)
        row, col, height, width = content or (0, 0, *grid.shape)
        covered = Window(row=row, col=col, height=height, width=width)
        if covered.within(grid.shape) != covered:
            raise DataError(
                f"{table.path}: content {row} {col} {height} {width} extends beyond the {grid.height} x {grid.width} "
                f"px of {image}, expected row, col, height and width of a part of it"
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
        """Return the legend code of a class of the table."""
        if name is None and len(self.meanings.codes) == 1:
            return self.meanings.codes[0]
        code = None if name is None else self.meanings.code(name)
        if code is None:
            found = "names no classes" if name is None else f"holds the class {name!r}"
            raise DataError(f"{self.path}: {found}, expected {self.meanings.words}", self.meanings.remedy)
        return code

    def _runs(self, table: RunLengthTable) -> dict[int, list[Edges]]:
        """Return the runs by legend code, after checking the classes of the whole table."""
        for name in table.classes:
            self._code(name)
        by_code: dict[int, list[Edges]] = {}
        for name, edges in table.runs(self.image, self.size).items():
            by_code.setdefault(self._code(name), []).append(edges)
        return by_code

    def _refuse_overlaps(self, by_code: dict[int, list[Edges]]) -> None:
        """Raise DataError if a pixel has two codes; UNKNOWN may overlap any other."""
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
    """Return the mask pixels under the centres of `length` pixels, for a mask of `size` over `extent` pixels."""
    centres = 2 * np.arange(first, first + length, dtype=np.intp) + 1  # in half pixels, so that it is exact
    return centres * size // (2 * extent)


def _cut(
    edges: Edges, rows: npt.NDArray[np.intp], cols: npt.NDArray[np.intp], size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return the pixels of a mask at ascending rows and columns, decoding only the columns between."""
    if not edges.size:
        return np.zeros((len(rows), len(cols)), dtype=bool)
    left, right = int(cols[0]), int(cols[-1]) + 1
    flat = fill(edges, left * size[0], right * size[0]).reshape(right - left, size[0])
    return flat[np.ix_(cols - left, rows)].T


@lru_cache(maxsize=_KEPT)
def _kept(
    path: str, signature: Signature, image: str, size: tuple[int, int]
) -> tuple[tuple[str | None, Edges], ...]:
    """Return the runs of each class of an image, from a cache."""
    table = read_table(path)
    if table.signature != signature:
        raise DataError(f"{path}: changed while it was in use; start again when it is complete")
    return tuple(table.runs(image, size).items())
