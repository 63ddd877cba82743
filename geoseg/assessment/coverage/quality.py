"""What is said of a polygon map: for people, for programs, and as a layer for QGIS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.assessment.coverage.findings import Found
from geoseg.assessment.coverage.places import with_places
from geoseg.assessment.coverage.profile import Profile
from geoseg.assessment.coverage.sentences import sentences
from geoseg.assessment.coverage.survey import Survey
from geoseg.errors import plural
from geoseg.grid.ground import area_texts
from geoseg.grid.html import html_table
from geoseg.polygons.features import GEOMETRY

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerQuality:
    """Quality of one layer.

    Parameters
    ----------
    survey : Survey
        What was seen.
    found : list of Found
        Findings, check by check.
    """

    survey: Survey
    found: list[Found]

    @property
    def passed(self) -> bool:
        """Whether no check found an error."""
        return not any(each.count and each.severity == "error" for each in self.found)

    @cached_property
    def table(self) -> pa.Table:
        """The findings with WKB, the worst first: errors before warnings, then in the order of the checks."""
        import pyarrow as pa
        import shapely

        found = sorted(with_places(self.survey, self.found), key=lambda each: each.severity != "error")
        survey = self.survey
        rows: dict[str, list[Any]] = {
            name: [] for name in ("check", "severity", "unit", "polygons", "class_code")
        }
        texts: list[str] = []
        for each in found:
            rows["check"] += [each.check.name] * len(each)
            rows["severity"] += [each.severity] * len(each)
            rows["unit"] += [each.unit or None] * len(each)
            rows["polygons"] += [_fids(survey, own) for own in each.polygons]
            rows["class_code"] += [_class(survey, own) for own in each.polygons]
            texts += sentences(each, survey)
        numbers = {
            name: np.concatenate([getattr(each, name) for each in found] or [np.empty(0)])
            for name in ("value", "limit")
        }
        shapes = np.concatenate([each.shape for each in found] or [np.empty(0, object)])
        count = len(texts)
        return pa.table(
            {
                "rank": pa.array(np.arange(1, count + 1)),
                "check": pa.array(rows["check"], pa.string()),
                "severity": pa.array(rows["severity"], pa.string()),
                "value": pa.array(numbers["value"], pa.float64(), from_pandas=True),
                "limit": pa.array(numbers["limit"], pa.float64(), from_pandas=True),
                "unit": pa.array(rows["unit"], pa.string()),
                "polygons": pa.array(rows["polygons"], pa.string()),
                "class_code": pa.array(rows["class_code"], pa.string()),
                "message": pa.array(texts, pa.string()),
                GEOMETRY: pa.array(list(shapely.to_wkb(shapes, byte_order=1)), pa.binary()),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return counts and notes as JSON values."""
        survey = self.survey
        return {
            "layer": survey.layer.name,
            "polygons": len(survey.fid),
            "area_m2": float(np.nansum(survey.area_m2)) if survey.ground.is_known else None,
            "places_without_data": survey.holes,
            "passed": self.passed,
            "checks": [
                {
                    "check": each.check.name,
                    "severity": each.severity,
                    "found": each.count,
                    **({} if each.total_m2 is None else {"area_m2": each.total_m2}),
                    **({"worst": next(sentences(each, survey))} if each.count else {}),
                }
                for each in self.found
            ],
            "notes": survey.notes,
        }

    def lines(self) -> Iterator[str]:
        """Yield a summary for people."""
        survey = self.survey
        about = plural(len(survey.fid), "polygon")
        if survey.ground.is_known:
            about += f", {area_texts([float(np.nansum(survey.area_m2))])[0]}"
        if survey.holes:
            about += f", {plural(survey.holes, 'enclosed place')} without data"
        yield f"layer {survey.layer.name}: {about}"
        for each in self.found:
            state = each.severity if each.count else "ok"
            yield f"  {state:<8} {each.check.name:<11} {self._about(each)}".rstrip()
        for note in survey.notes:
            yield f"  note     {note}"

    def _about(self, found: Found) -> str:
        if not found.count:
            return ""
        text = f"{found.count:,} {found.check.one if found.count == 1 else found.check.many}"
        if found.total_m2 is not None:
            text += f", {found.total_m2:,.6g} m² in all"
        return f"{text}; {next(sentences(found, self.survey))}"


def _fids(survey: Survey, polygons: Any) -> str:
    return ", ".join(map(str, survey.fid[polygons[:100]].tolist()))


def _class(survey: Survey, polygons: Any) -> str | None:
    """Return the class of polygons that have the same one."""
    codes = set(survey.code[polygons].tolist()) - {-1}
    return survey.codes[codes.pop()] if len(codes) == 1 else None


@dataclass(frozen=True, kw_only=True, eq=False)
class PolygonQuality:
    """Quality of a polygon map, as `geoseg.check` found it.

    Parameters
    ----------
    path : Path
        The file.
    profile : Profile
        What was expected.
    layers : tuple of LayerQuality
        Quality of each layer.
    """

    path: Path
    profile: Profile
    layers: tuple[LayerQuality, ...]

    @property
    def passed(self) -> bool:
        """Whether no check found an error; warnings do not count."""
        return all(each.passed for each in self.layers)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, or 3 if there are errors."""
        return 0 if self.passed else 3

    @property
    def findings(self) -> gpd.GeoDataFrame:
        """The findings, the worst first, in the CRS of the first layer; at most 10,000 of each check and layer."""
        import geopandas as gpd
        import pandas as pd
        import shapely

        frames = []
        for each in self.layers:
            frame = each.table.to_pandas()
            shapes = shapely.from_wkb(frame.pop(GEOMETRY).to_numpy())
            frame.insert(1, "layer", each.survey.layer.name)
            crs = each.survey.ground.crs
            frames.append(gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(shapes, crs=crs), crs=crs))
        first = frames[0]
        if len(frames) == 1:
            return first
        others = [
            each if first.crs is None or each.crs is None else each.to_crs(first.crs) for each in frames
        ]
        return pd.concat(others, ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and notes as JSON values."""
        return {
            "path": str(self.path),
            "profile": self.profile.title,
            "passed": self.passed,
            "layers": [each.to_dict() for each in self.layers],
        }

    def lines(self) -> Iterator[str]:
        """Yield a summary for people, line by line."""
        yield f"{self.path}: {'passed' if self.passed else 'FAILED'} ({self.profile.title})"
        for each in self.layers:
            for line in each.lines():
                yield f"  {line}"

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Show the findings by check in a notebook."""
        rows = [
            (
                each.survey.layer.name,
                found.check.name,
                found.severity if found.count else "ok",
                f"{found.count:,}",
            )
            for each in self.layers
            for found in each.found
        ]
        return html_table(("layer", "check", "state", "found"), rows, next(self.lines()))
