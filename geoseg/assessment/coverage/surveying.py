"""Reading of a layer of polygons, once and batch by batch, and what is found in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.assessment.coverage.arrangement import arranged
from geoseg.assessment.coverage.edges import Floats, Longs, Matched, Waiting
from geoseg.assessment.coverage.ground import Ground
from geoseg.assessment.coverage.profile import Profile
from geoseg.assessment.coverage.regions import Faults, Regions, regions_of
from geoseg.assessment.coverage.singles import Singles, looked_at
from geoseg.assessment.coverage.survey import Survey
from geoseg.errors import OptionError
from geoseg.progress import OnProgress
from geoseg.vectorfiles.batches import FeatureBatch, read_batches, stated_coverages
from geoseg.vectorfiles.reading import VectorLayer, layer_shape

if TYPE_CHECKING:
    import pyarrow as pa

_SAME_PLACE_M = 1e-6
"""Distance below which two places are the same: coordinates of a large country in float64 are exact to a thousandth
of it."""
_SAME_AREA = 1e-9
"""Relative difference of sums of areas that rounding can cause."""


@dataclass(slots=True, kw_only=True, eq=False)
class Seen:
    """What batches have brought so far."""

    read: int = 0
    count: int = 0
    plane: float = 0.0
    known: dict[str, int] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    code: Longs = field(default_factory=lambda: np.empty(0, np.int64))
    pairs: list[Longs] = field(default_factory=list)
    lengths: list[Floats] = field(default_factory=list)

    def take(self, survey: Survey, batch: FeatureBatch, coming: Any, waiting: Waiting) -> None:
        """Add a batch."""
        singles: Singles = coming.result()
        first, count = self.count, len(batch.fid)
        self.count += count
        self.plane += singles.plane
        survey.invalid |= {first + at: why for at, why in singles.invalid.items()}
        survey.parts |= {first + at: parts for at, parts in singles.parts.items()}
        code = np.full(count, -1, np.int64)
        if survey.class_field is not None:
            code = self._codes(batch.columns[survey.class_field])
        stated = np.full(count, np.nan)
        if survey.area_field is not None:
            stated = _numbers(batch.columns[survey.area_field]) * survey.area_unit
        if self.count > len(self.code):
            self.code = np.concatenate([self.code, np.full(max(self.count, 2**16), -1, np.int64)])
        self.code[first : self.count] = code
        new = {"fid": batch.fid, "area_m2": singles.area_m2, "stated_m2": stated, "is_wide": singles.is_wide}
        for name, values in new.items():
            self.columns.setdefault(name, []).append(values)
        self.note_pairs(survey, waiting.add(singles.edges))

    def _codes(self, column: pa.Array) -> Longs:
        """Return classes as indices of those seen so far; -1 where there is none."""
        values = column.dictionary_encode() if not hasattr(column, "indices") else column
        index = np.array([self._index(value) for value in values.dictionary.to_pylist()] + [-1], np.int64)
        at = values.indices.fill_null(len(index) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(index[at], np.int64)

    def _index(self, value: object) -> int:
        text = code_text(value)
        return -1 if text is None else self.known.setdefault(text, len(self.known))

    def note_pairs(self, survey: Survey, found: Sequence[Matched]) -> None:
        """Keep the pairs of neighbours of the same class."""
        if survey.class_field is None:
            return
        for each in found:
            one, other = each.pairs.T
            same = (self.code[one] == self.code[other]) & (self.code[one] >= 0) & (one != other)
            if same.any():
                self.pairs.append(each.pairs[same].astype(np.int64))
                self.lengths.append(each.lengths[same])

    def finish(self, survey: Survey) -> None:
        """Hand over the columns."""
        survey.codes = list(self.known)
        survey.code = self.code[: self.count]
        for name, values in self.columns.items():
            setattr(survey, name, np.concatenate(values))
        survey.on_border = np.zeros(self.count, np.bool_)


def code_text(value: object) -> str | None:
    """Return a class as text, as patterns are written: 112 for 112.0 as well; None for none."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _numbers(column: pa.Array) -> Floats:
    """Return a column of numbers as float64, NaN where there is none; text that is a number counts as one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        values = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(column), np.nan)
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def surveyed(
    path: Path,
    layer: VectorLayer,
    profile: Profile,
    class_field: str | None = None,
    progress: OnProgress | None = None,
) -> Survey:
    """Read a layer and find its faults.

    Parameters
    ----------
    path : Path
        Vector file.
    layer : VectorLayer
        Layer with polygons.
    profile : Profile
        What is expected.
    class_field : str, optional
        Attribute with the class, instead of the profile's.
    progress : callable, optional
        Told how far reading is.

    Raises
    ------
    DataError
        If the layer cannot be read.
    OptionError
        If the attribute does not exist, or the profile needs metres and the CRS has none.
    """
    survey = _begun(path, layer, profile, class_field)
    seen = Seen()
    waiting = Waiting()
    total = layer_shape(path, layer)[1]
    width_m = profile.width.width_m if profile.width.severity != "off" else 0.0
    with ThreadPoolExecutor(2) as pool:
        before: tuple[FeatureBatch, Any] | None = None
        for batch in read_batches(path, layer, survey.fields):
            coming = pool.submit(looked_at, batch.geometry, seen.read, survey.ground, width_m)
            seen.read += len(batch.fid)
            if before is not None:
                seen.take(survey, *before, waiting)
                if progress is not None:
                    progress(seen.count, max(total, seen.count), "checking polygons")
            before = batch, coming
        if before is not None:
            seen.take(survey, *before, waiting)
    seen.finish(survey)
    last = waiting.finish()
    seen.note_pairs(survey, [last])
    tolerance = _tolerance(survey.ground, last.left.ends)
    found = arranged(last.left, tolerance)
    seen.note_pairs(survey, found.matched)
    survey.missing = found.missing
    _settle_pairs(survey, seen)
    ends = found.edges.ends
    border = float(np.hypot(ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]).sum())
    plane = _Plane(area=seen.plane, tolerance=tolerance, slack=tolerance * border)
    _settle_regions(survey, profile, regions_of(found.edges), plane)
    return survey


def _begun(path: Path, layer: VectorLayer, profile: Profile, class_field: str | None) -> Survey:
    """Choose the attributes, and refuse what cannot be compared."""
    if class_field is not None and class_field not in layer.fields:
        raise OptionError(
            f"{path}: layer {layer.name} has no attribute {class_field}, expected one of {', '.join(layer.fields)}"
        )
    ground = Ground(crs=_wkt(layer.crs))
    if profile.needs_metres and ground.crs is None:
        raise OptionError(
            f"{path}: layer {layer.name} has no CRS, and areas or widths in metres are asked for; "
            "ogr2ogr -a_srs writes the CRS that it has"
        )
    names = (class_field,) if class_field is not None else profile.class_field
    chosen = next((name for name in names if name in layer.fields), None)
    columns = profile.area.columns if profile.area.severity != "off" and ground.is_known else {}
    area = next((name for name in columns if name in layer.fields), None)
    survey = Survey(
        path=path, layer=layer, ground=ground, class_field=chosen, area_field=area,
        area_unit=columns[area] if area is not None else 1.0,
    )  # fmt: skip
    if chosen is None:
        survey.notes.append(f"no attribute {' or '.join(names)}: classes of neighbours are not compared")
    if area is None and profile.area.severity != "off":
        why = f"no attribute {' or '.join(columns)}" if columns else "no CRS that is tied to the ground"
        survey.notes.append(f"{why}: stated areas are not compared")
    return survey


def _wkt(crs: str | None) -> str | None:
    if crs is None:
        return None
    from pyproj import CRS

    return str(CRS(crs).to_wkt())


def _tolerance(ground: Ground, ends: Floats) -> float:
    """Return the distance in units of the CRS below which two places are the same."""
    largest = float(np.abs(ends).max()) if len(ends) else 1.0
    return max(_SAME_PLACE_M / ground.unit, 8 * math.ulp(largest))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """Areas in units of the CRS.

    Parameters
    ----------
    area : float
        Sum of the areas of all polygons.
    tolerance : float
        Distance below which two places are the same.
    slack : float
        Difference of that sum that rounded vertices can cause.
    """

    area: float
    tolerance: float
    slack: float


def _settle_pairs(survey: Survey, seen: Seen) -> None:
    """Sum the common borders of each two neighbours."""
    if not seen.pairs:
        return
    pairs, lengths = np.concatenate(seen.pairs), np.concatenate(seen.lengths)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    survey.pairs = distinct
    survey.shared = np.bincount(which.ravel(), lengths, len(distinct)).astype(np.float64)


def _settle_regions(survey: Survey, profile: Profile, faults: Faults, plane: _Plane) -> None:
    """Tell gaps from places without data, and leave out what is rounding."""
    survey.on_border[faults.border] = True
    gaps, gap_m2 = _measured(survey.ground, faults.gaps, plane.tolerance)
    survey.overlaps, survey.overlap_m2 = _measured(survey.ground, faults.overlaps, plane.tolerance)
    empty = np.zeros(len(gap_m2), np.bool_)
    if profile.gaps.no_data_m2 is not None:
        empty = gap_m2 >= profile.gaps.no_data_m2
    stated = stated_coverages(survey.path, survey.layer)
    if stated and _is_as_stated(survey, stated, plane):
        empty[:] = True
    survey.is_redrawn = any(each.get("tolerance") or each.get("smooth") for each in stated)
    if survey.is_redrawn and survey.area_field is not None:
        survey.notes.append(
            f"lines were redrawn, and {survey.area_field} is that of the pixels: what counts for smallest units, and "
            "compared with the geometry as a sum"
        )
    survey.on_border[gaps.owner[empty[gaps.region]]] = True
    survey.holes = int(empty.sum())
    survey.gaps, survey.gap_m2 = gaps[~empty], gap_m2[~empty]


def _measured(ground: Ground, regions: Regions, tolerance: float) -> tuple[Regions, Floats]:
    """Return regions that are wider than rounding, and their areas on the ground."""
    import shapely

    wide = shapely.area(regions.shape) > 5 * tolerance * shapely.length(regions.shape)
    kept = regions[wide]
    return kept, ground.areas(kept.shape)


def _is_as_stated(survey: Survey, stated: list[dict[str, Any]], plane: _Plane) -> bool:
    """Tell whether the polygons have the area that the file states; if not, they were changed since."""
    try:
        wanted = sum(float(each["area_in_pixels"]) * float(each["pixel_area"]) for each in stated)
    except (KeyError, TypeError, ValueError):
        return False
    if abs(plane.area - wanted) <= _SAME_AREA * wanted + plane.slack:
        return not len(survey.overlaps.shape)
    survey.notes.append(
        f"the polygons have {plane.area:,.8g} square units, and the file states {wanted:,.8g}: they were changed "
        "since, and enclosed places without polygons count as gaps"
    )
    return False
