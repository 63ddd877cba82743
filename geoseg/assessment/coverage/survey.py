"""What is known of one layer of polygons after it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.arrangement import MissingVertices
from geoseg.assessment.coverage.edges import Floats, Longs
from geoseg.assessment.coverage.ground import Ground
from geoseg.assessment.coverage.profile import fits
from geoseg.assessment.coverage.regions import Regions
from geoseg.vectorfiles.reading import VectorLayer

Bools = npt.NDArray[np.bool_]


@dataclass(slots=True, kw_only=True, eq=False)
class Survey:
    """What is known of a layer after it was read.

    Parameters
    ----------
    path : Path
        File of the layer.
    layer : VectorLayer
        The layer.
    ground : Ground
        The plane of its CRS.
    class_field : str or None
        Attribute with the class.
    area_field : str or None
        Attribute with areas.
    area_unit : float
        m² of a unit of that attribute.
    codes : list of str
        Classes, in the order in which they come.
    fid, code, area_m2, stated_m2 : (polygon,) numbers
        Number in the file, class as an index (-1 without one), areas by geometry and by the attribute; NaN if unknown.
    is_wide, on_border : (polygon,) bool
        Whether polygons have the smallest width, and whether they lie on the border.
    invalid, parts : dict by int
        Reasons of invalid polygons, and numbers of parts.
    pairs : (pair, 2) int64
        Neighbours of the same class.
    shared : (pair,) float64
        Length of their common border, in units of the CRS.
    gaps, overlaps : Regions
        Regions that no polygon covers, and that several cover.
    gap_m2, overlap_m2 : (region,) float64
        Their areas on the ground.
    missing : MissingVertices
        Vertices that neighbours lack.
    holes : int
        Places without data that are enclosed.
    is_redrawn : bool
        Whether the file states that its lines no longer follow the pixels.
    notes : list of str
        What could not be looked at, and why.
    """

    path: Path
    layer: VectorLayer
    ground: Ground
    class_field: str | None
    area_field: str | None
    area_unit: float = 1.0
    codes: list[str] = field(default_factory=list)
    fid: Longs = field(default_factory=lambda: np.empty(0, np.int64))
    code: Longs = field(default_factory=lambda: np.empty(0, np.int64))
    area_m2: Floats = field(default_factory=lambda: np.empty(0))
    stated_m2: Floats = field(default_factory=lambda: np.empty(0))
    is_wide: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    on_border: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    invalid: dict[int, str] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)
    pairs: Longs = field(default_factory=lambda: np.empty((0, 2), np.int64))
    shared: Floats = field(default_factory=lambda: np.empty(0))
    gaps: Regions = field(default_factory=Regions.none)
    overlaps: Regions = field(default_factory=Regions.none)
    gap_m2: Floats = field(default_factory=lambda: np.empty(0))
    overlap_m2: Floats = field(default_factory=lambda: np.empty(0))
    missing: MissingVertices = field(default_factory=MissingVertices.none)
    holes: int = 0
    is_redrawn: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def fields(self) -> list[str]:
        """Attributes that are read."""
        return list(dict.fromkeys(name for name in (self.class_field, self.area_field) if name is not None))

    def sums_agree(self, share: float) -> bool:
        """Tell whether all stated areas together are those of the polygons."""
        known = ~np.isnan(self.area_m2) & ~np.isnan(self.stated_m2)
        sums = float(self.area_m2[known].sum()), float(self.stated_m2[known].sum())
        return abs(sums[1] - sums[0]) <= share * sums[0]

    def of_classes(self, patterns: tuple[str, ...]) -> Bools:
        """Tell which polygons have a class that fits one of the patterns."""
        fitting = np.array([fits(code, patterns) for code in self.codes] + [False], np.bool_)
        return fitting[self.code]
