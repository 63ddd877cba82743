"""Rows and columns of a run-length table, and their order."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import DataError
from geoseg.grid.legend import LegendClass
from geoseg.labels.run_length_table import RunLengthTable, read_table, stem, table_text, tell_guarded
from geoseg.models.card import Card
from geoseg.storage.printable import listed

_BOTH, _IMAGE, _APART = ("Image_Label",), ("ImageId",), ("ImageId", "ClassId")
_RUNS = "EncodedPixels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Rows of a run-length table.

    Parameters
    ----------
    columns : tuple of str
        Columns before the run lengths: image and class combined, the image, or both separately.
    images : mapping of str to (str, tuple of LegendClass)
        Name in the table and classes of the rows, by the picture's name, in the table's order.
    guard : bool
        Whether names that a spreadsheet would run as formulas are escaped; not if a sample gives them.
    """

    columns: tuple[str, ...]
    images: Mapping[str, tuple[str, tuple[LegendClass, ...]]]
    guard: bool = True

    @property
    def head(self) -> str:
        """Header line."""
        return table_text([(*self.columns, _RUNS)])

    def rows(self, picture: str, runs: Mapping[int, str]) -> str:
        """Return the lines of a picture; `runs` by code, absent ones are empty."""
        image, classes = self.images[picture]
        lines = []
        for each in classes:
            if self.columns == _BOTH:
                start: tuple[str, ...] = (f"{image}_{each.name}",)
            else:
                start = (image, each.name)[: len(self.columns)]
            lines.append((*start, runs.get(each.code, "")))
        return table_text(lines, guard=self.guard)


def plan_sheet(pictures: Iterable[str], card: Card, sample: Path | str | None = None) -> Sheet:
    """Determine the rows of a table.

    Raises
    ------
    DataError
        If the sample names pictures that do not exist, or classes that the model does not have.
    """
    classes = sorted(_written(card), key=lambda each: each.name)
    if sample is None:
        columns = _IMAGE if card.task == "binary" else _BOTH
        images = {name: (name, tuple(classes)) for name in pictures}
        tell_guarded(images)
        return Sheet(columns=columns, images=images)
    return _sheet_like(read_table(sample), list(pictures), classes)


def _written(card: Card) -> list[LegendClass]:
    """Return the classes in a table."""
    if card.task == "binary":
        return [card.classes[1]]
    return [each for each in card.classes.classes if each.code != card.ignore_code]


def _sheet_like(table: RunLengthTable, pictures: Sequence[str], classes: Sequence[LegendClass]) -> Sheet:
    known = {each.name: each for each in classes}
    if table.classes == (None,):
        if len(classes) != 1:
            raise DataError(
                f"{table.path}: names no classes, and the model has {listed(known)}; expected a sample that does"
            )
        known = {None: classes[0]}  # type: ignore[dict-item]
    unknown = [str(name) for name in table.classes if name not in known]
    if unknown:
        raise DataError(
            f"{table.path}: names {listed(unknown)}, expected classes of the model: {listed(map(str, known))}"
        )
    files: dict[str, list[str]] = {}
    for name in pictures:
        files.setdefault(stem(name), []).append(name)
    there, images = set(pictures), {}
    line = 0
    for image, rows in table.rows.items():
        found = [image] if image in there else files.get(stem(image), [])
        if len(found) != 1:
            raise DataError(
                f"{table.path}: names {image}, expected one picture of this name, found {listed(found) or 'none'}"
            )
        lines = [row.line for each in rows.values() for row in each]
        if len(lines) > len(rows) or not line < lines[0] or lines[-1] - lines[0] != len(lines) - 1:
            raise DataError(
                f"{table.path}: the rows of {image} are not together, one a class; expected them below each other"
            )
        line = lines[-1]
        images[found[0]] = image, tuple(known[name] for name in rows)  # type: ignore[index]
    return Sheet(columns=_columns(table), images=images, guard=table.guarded)


def _columns(table: RunLengthTable) -> tuple[str, ...]:
    with Path(table.path).open(encoding="utf-8-sig", newline="") as file:
        head = tuple(next(csv.reader(file)))
    expected = {len(columns) + 1 for columns in ((_IMAGE,) if table.classes == (None,) else (_BOTH, _APART))}
    if len(head) not in expected or table.runs_at != len(head) - 1:
        raise DataError(
            f"{table.path}: has the columns {', '.join(head)}, expected Image_Label,{_RUNS} or ImageId,{_RUNS} or "
            f"ImageId,ClassId,{_RUNS}"
        )
    return head[:-1]
