"""A class map that is open for its evaluation, and what is counted of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from geoseg.assessment.evaluation.blocks import BlockCounts
from geoseg.assessment.evaluation.boundaries import boundary_rows
from geoseg.assessment.evaluation.counted import Counted
from geoseg.assessment.evaluation.objects import ObjectMatcher
from geoseg.assessment.evaluation.options import EvaluateOptions
from geoseg.assessment.evaluation.reference import Reference
from geoseg.assessment.evaluation.rows import Rows, class_index, present_index, rows_of
from geoseg.errors import ClassMapError, Message, plural
from geoseg.grid.legend import Legend
from geoseg.labels.contradiction import RECODE, FileNames
from geoseg.learning.reliability import Reliability
from geoseg.progress import OnProgress
from geoseg.raster.xarray_bridge import is_dataset
from geoseg.vector.sources import ReadMap, opened, share_rows
from geoseg.vector.sources import Rows as Shares
from geoseg.vector.xarray_maps import ComputedTogether

if TYPE_CHECKING:
    from geoseg.vector.sources import Confidence, Source

_MOST_CLASSES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMap:
    """An open class map.

    Parameters
    ----------
    name : str
        Its name in messages and results; a table of run lengths names its image so.
    read : ReadMap
        Its rows.
    legend : Legend
        Its classes.
    shares : list of Rows
        Confidence of the written class, of a multilabel map of each layer; empty without.
    together : ComputedTogether or None
        Rows of a lazy result, whose confidence is computed with its codes.
    """

    name: str
    read: ReadMap
    legend: Legend
    shares: list[Shares]
    together: ComputedTogether | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        legend: Legend | None,
        name: str,
        confidence: Confidence | None = None,
        fallback: Legend | None = None,
    ) -> OpenMap:
        """Open a class map; its legend is the given one, its own, or the fallback.

        Raises
        ------
        ClassMapError
            If it is none, or if nothing says which classes it has.
        """
        read = opened(source, legend)
        known = read.layers or read.legend_of(()) or fallback
        if known is None:
            raise ClassMapError(
                f"{name}: has no legend that says which classes it has", Message("pass {legend}")
            )
        if len(known.codes) > _MOST_CLASSES:
            raise ClassMapError(
                f"{name}: has {plural(len(known.codes), 'class')}, expected at most {_MOST_CLASSES}"
            )
        layers = 1 if read.layers is None else len(known.codes)
        shares = (
            []
            if confidence is None
            else share_rows(confidence, read.grid, expected=layers, what="confidence")
        )
        return cls(name=name, read=read, legend=known, shares=shares)

    @classmethod
    def with_own_confidence(cls, source: Source, legend: Legend | None, name: str) -> OpenMap:
        """Open a class map with the confidence that its Dataset holds, if it is one and holds any."""
        share = source.get("confidence") if is_dataset(source) else None
        found, together = cls.of(source, legend, name, share), ComputedTogether.of(source)
        return found if together is None else replace(found, shares=[together.confidence], together=together)

    @property
    def layered(self) -> bool:
        """Whether classes may overlap, as in a multilabel map."""
        return self.read.layers is not None

    @property
    def passes(self) -> int:
        """How often its rows are read."""
        return len(self.legend.codes) if self.layered else 1

    def reference(self, path: Path, options: EvaluateOptions) -> Reference:
        """Open labels on its grid."""
        return Reference.open(
            path, self.legend, self.read.grid, Path(self.name).name, options.labels,
            layered=self.layered,
        )  # fmt: skip

    def rows(self, reference: Reference, layer: int = 0) -> Iterator[Rows]:
        """Read it beside labels."""
        index = present_index if self.layered else class_index(self.legend, self.name)
        return rows_of(self.read.strips(layer), index, reference, layer if self.layered else None)

    def counted(
        self, reference: Reference, options: EvaluateOptions, watch: RowsDone
    ) -> tuple[list[Counted], int, int]:
        """Read the map beside its labels once, and count.

        Parameters
        ----------
        reference : Reference
            The labels on its grid.
        options : EvaluateOptions
            What blocks and boundaries are.
        watch : RowsDone
            Told of rows that are done.

        Returns
        -------
        list of Counted
            One; of a multilabel map one for each layer.
        int, int
            Pixels of the map without a label, and labelled pixels where the map has no data.
        """
        found, unlabelled, unmapped = [], 0, 0
        strips = self.read.strips if self.together is None else self.together.strips
        read = replace(self, read=replace(self.read, strips=strips))
        for layer in range(self.passes):
            counts, rows = LayerCounts.of(self, options), read.rows(reference, layer)
            for each, near in boundary_rows(rows, options.boundary_distance, counts.classes):
                stop = each.first + len(each.found)
                counts.pixels.add(each.first, each.truth, each.found)
                counts.boundary.add(each.first, near.truth, near.found)
                counts.objects.add(each)
                if self.shares:
                    shares = self.shares[layer](each.first, stop)
                    counts.calibration.add(each.found == each.truth, each.compared, shares)
                unlabelled, unmapped = unlabelled + each.unlabelled, unmapped + each.unmapped
                watch(len(each.found))
            found.append(counts.finished(calibrated=bool(self.shares), groups=options.groups))
        return found, unlabelled, unmapped


def refuse_other_names(maps: Sequence[OpenMap]) -> None:
    """Refuse maps with the same codes of which one gives the name of a class to the code of another.

    Raises
    ------
    ClassMapError
        Naming the first such code.
    """
    seen = FileNames()
    for each in maps:
        names = dict(zip(each.legend.codes, each.legend.names, strict=True))
        if found := seen.add(each.name, names):
            raise ClassMapError(
                f"{each.name}: {found}",
                Message("{}; where only its names are wrong, name the codes with {legend}", RECODE),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCounts:
    """Counts of a map, or of one layer, while it is read."""

    classes: int
    pixels: BlockCounts
    boundary: BlockCounts
    objects: ObjectMatcher
    calibration: Reliability

    @classmethod
    def of(cls, opened_map: OpenMap, options: EvaluateOptions) -> LayerCounts:
        """Return the counts before any pixel is counted."""
        shape, edge = opened_map.read.grid.shape, options.edge(opened_map.read.grid)
        classes = 2 if opened_map.layered else len(opened_map.legend.codes)
        return cls(
            classes=classes,
            pixels=BlockCounts.empty(shape, edge, classes),
            boundary=BlockCounts.empty(shape, edge, classes + 1),
            objects=ObjectMatcher(),
            calibration=Reliability.empty(),
        )

    def finished(self, *, calibrated: bool, groups: bool) -> Counted:
        """Return what was counted."""
        counted = Counted(
            blocks=self.pixels.labelled,
            boundary=self.boundary.labelled,
            objects=self.objects.matches(self.classes),
            calibration=self.calibration if calibrated else None,
        )
        return counted.as_one_block() if groups else counted


class RowsDone:
    """Tells of rows that are done."""

    def __init__(self, told: OnProgress | None, total: int) -> None:
        self._told, self._total, self._done = told, total, 0

    def __call__(self, rows: int) -> None:
        """Tell that rows are done."""
        self._done += rows
        if self._told is not None:
            self._told(self._done, self._total, "evaluate")
