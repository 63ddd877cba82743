"""Findings: every fault of a layer with its number, its limit and its place, the worst first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from geoseg.assessment.coverage.edges import Floats, Longs
from geoseg.assessment.coverage.profile import Profile, Severity
from geoseg.assessment.coverage.survey import Survey

Objects = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]

MOST: Final = 10_000
"""Most findings of a check that are kept with their place; all are counted."""


class Check(NamedTuple):
    """A check of a polygon map.

    Parameters
    ----------
    name : str
        Name in profiles and findings.
    one, many : str
        What one finding is, and what several are.
    color : str
        Colour of its findings in QGIS.
    """

    name: str
    one: str
    many: str
    color: str


CHECKS: Final = (
    Check("validity", "invalid polygon", "invalid polygons", "#e31a1c"),
    Check("parts", "polygon of several parts", "polygons of several parts", "#ff7f00"),
    Check("overlaps", "overlap", "overlaps", "#6a3d9a"),
    Check("gaps", "gap", "gaps", "#1f78b4"),
    Check("neighbours", "pair of neighbours of one class", "pairs of neighbours of one class", "#33a02c"),
    Check("vertices", "vertex that a neighbour lacks", "vertices that a neighbour lacks", "#b15928"),
    Check("unit", "polygon below the smallest unit", "polygons below the smallest unit", "#fb9a99"),
    Check("width", "polygon below the smallest width", "polygons below the smallest width", "#a6cee3"),
    Check("area", "stated area that differs", "stated areas that differ", "#fdbf6f"),
)
"""The checks, in the order in which they are told: what breaks the map first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Findings of one check, the worst first.

    Parameters
    ----------
    check : Check
        The check.
    severity : str
        ``error`` or ``warning``.
    count : int
        All findings.
    total_m2 : float or None
        Area of all gaps or overlaps, m².
    value, limit : (finding,) float64
        Number of each finding that is kept, and the number that it should have; NaN without one.
    unit : str
        Unit of the two.
    number : (finding,) int64
        Polygon, region, pair or vertex of the survey.
    polygons : list of (polygon,) int64
        The polygons that each is about.
    shape : (finding,) object or None
        Places that are known already.
    """

    check: Check
    severity: Severity
    count: int
    total_m2: float | None
    value: Floats
    limit: Floats
    unit: str
    number: Longs
    polygons: list[Longs]
    shape: Objects | None = None

    def __len__(self) -> int:
        """Return the number of findings that are kept."""
        return len(self.value)


def found_in(survey: Survey, profile: Profile) -> list[Found]:
    """Return what each check of a profile finds wrong in a survey, without the checks that are off."""
    makers: dict[str, Callable[[Survey, Profile], _Raw]] = {
        "validity": _validity,
        "parts": _parts,
        "overlaps": _overlaps,
        "gaps": _gaps,
        "neighbours": _neighbours,
        "vertices": _vertices,
        "unit": _unit,
        "width": _width,
        "area": _area,
    }
    found = []
    for check in CHECKS:
        severity = getattr(profile, check.name).severity
        if severity != "off" and _applies(check.name, survey, profile):
            found.append(makers[check.name](survey, profile).ranked(check, severity))
    return found


def _applies(name: str, survey: Survey, profile: Profile) -> bool:
    """Tell whether a check has something to compare."""
    match name:
        case "neighbours":
            return survey.class_field is not None
        case "unit":
            return bool(profile.unit.units)
        case "width":
            return bool(profile.width.width_m)
        case "area":
            return survey.area_field is not None
        case _:
            return True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Raw:
    """Findings in any order."""

    number: Longs
    value: Floats
    limit: Floats
    unit: str
    worse: Floats
    polygons: Callable[[Longs], list[Longs]]
    shape: Objects | None = None
    is_area: bool = False

    def ranked(self, check: Check, severity: Severity) -> Found:
        """Return the worst findings, the worst first; among equals that of the first polygon."""
        order = np.argsort(-self.worse, kind="stable")[:MOST]
        number = self.number[order]
        return Found(
            check=check,
            severity=severity,
            count=len(self.number),
            total_m2=float(np.nansum(self.value)) if self.is_area else None,
            value=self.value[order],
            limit=self.limit[order],
            unit=self.unit,
            number=number,
            polygons=self.polygons(number),
            shape=None if self.shape is None else self.shape[order],
        )


def _each(number: Longs) -> list[Longs]:
    return [number[at : at + 1] for at in range(len(number))]


def _grouped(group: Longs, owner: Longs) -> Callable[[Longs], list[Longs]]:
    """Return what looks up the owners of groups, which are in order."""

    def look_up(number: Longs) -> list[Longs]:
        begin = np.searchsorted(group, number)
        stop = np.searchsorted(group, number, side="right")
        return [owner[a:b] for a, b in zip(begin, stop, strict=True)]

    return look_up


def _none(count: int) -> Floats:
    return np.full(count, np.nan)


def _validity(survey: Survey, _: Profile) -> _Raw:
    number = np.array(sorted(survey.invalid), np.int64)
    size = np.nan_to_num(survey.area_m2[number])
    return _Raw(
        number=number, value=_none(len(number)), limit=_none(len(number)), unit="", worse=size, polygons=_each
    )


def _parts(survey: Survey, _: Profile) -> _Raw:
    number = np.array(sorted(survey.parts), np.int64)
    parts = np.array([survey.parts[int(at)] for at in number], np.float64)
    return _Raw(
        number=number, value=parts, limit=np.ones(len(number)), unit="parts", worse=parts, polygons=_each
    )


def _overlaps(survey: Survey, profile: Profile) -> _Raw:
    (number,) = np.nonzero(~(survey.overlap_m2 <= profile.overlaps.area_m2))
    return _regions(survey.overlaps, survey.overlap_m2, number, profile.overlaps.area_m2)


def _gaps(survey: Survey, profile: Profile) -> _Raw:
    rule = profile.gaps
    counts = ~(survey.gap_m2 <= rule.area_m2)
    if rule.width_m is not None:
        (narrow,) = np.nonzero(~counts)
        shapes = survey.gaps.shape[narrow]
        counts[narrow] = survey.ground.are_wide(shapes, survey.gap_m2[narrow], rule.width_m)
    (number,) = np.nonzero(counts)
    return _regions(survey.gaps, survey.gap_m2, number, rule.area_m2)


def _regions(regions: Any, area_m2: Floats, number: Longs, limit: float) -> _Raw:
    area = area_m2[number]
    return _Raw(
        number=number,
        value=area,
        limit=np.full(len(number), limit),
        unit="m²",
        worse=np.nan_to_num(area),
        polygons=_grouped(regions.region, regions.owner),
        shape=regions.shape[number],
        is_area=True,
    )


def _neighbours(survey: Survey, profile: Profile) -> _Raw:
    exempt = survey.of_classes(profile.neighbours.exempt)
    (number,) = np.nonzero(~exempt[survey.pairs[:, 0]])
    shared = survey.shared[number] * survey.ground.unit
    return _Raw(
        number=number,
        value=shared,
        limit=np.zeros(len(number)),
        unit="m",
        worse=shared,
        polygons=lambda chosen: list(survey.pairs[chosen]),
    )


def _vertices(survey: Survey, _: Profile) -> _Raw:
    number = np.arange(len(survey.missing.point))
    count = len(number)
    return _Raw(
        number=number,
        value=_none(count),
        limit=_none(count),
        unit="",
        worse=np.zeros(count),
        polygons=_grouped(survey.missing.vertex, survey.missing.owner),
    )


def _unit(survey: Survey, profile: Profile) -> _Raw:
    smallest = np.array([profile.smallest_unit(code) for code in survey.codes] + [profile.smallest_unit("")])
    limit = smallest[survey.code]
    limit = np.where(survey.on_border, np.minimum(limit, profile.unit.border_m2), limit)
    area = survey.area_m2
    if survey.is_redrawn:  # the stated areas are those of the pixels, which the lines no longer follow
        area = np.where(np.isnan(survey.stated_m2), area, survey.stated_m2)
    # Areas that are summed in another way may differ by their last digits.
    (number,) = np.nonzero(area < limit * (1 - 1e-5))
    area, limit = area[number], limit[number]
    worse = 1 - area / limit
    return _Raw(number=number, value=area, limit=limit, unit="m²", worse=worse, polygons=_each)


def _width(survey: Survey, profile: Profile) -> _Raw:
    looked_at = ~survey.of_classes(profile.width.exempt)
    if not profile.width.border:
        looked_at &= ~survey.on_border
    (number,) = np.nonzero(~survey.is_wide & looked_at)
    limit = np.full(len(number), profile.width.width_m)
    return _Raw(
        number=number,
        value=_none(len(number)),
        limit=limit,
        unit="m",
        worse=-np.nan_to_num(survey.area_m2[number]),
        polygons=_each,
    )


def _area(survey: Survey, profile: Profile) -> _Raw:
    known = ~np.isnan(survey.area_m2) & ~np.isnan(survey.stated_m2) & (survey.area_m2 > 0)
    if survey.is_redrawn and survey.sums_agree(profile.area.share):
        known[:] = False  # area moved from one polygon to another, as it must
    (number,) = np.nonzero(known)
    share = np.abs(survey.stated_m2[number] / survey.area_m2[number] - 1)
    wrong = share > profile.area.share
    number, share = number[wrong], share[wrong]
    limit = np.full(len(number), 100 * profile.area.share)
    return _Raw(number=number, value=100 * share, limit=limit, unit="%", worse=share, polygons=_each)
