"""Findings in words."""

from __future__ import annotations

from collections.abc import Iterator

from geoseg.assessment.coverage.findings import Found
from geoseg.assessment.coverage.survey import Survey


def sentences(found: Found, survey: Survey) -> Iterator[str]:
    """Yield a sentence about each finding."""
    for at in range(len(found)):
        fids = survey.fid[found.polygons[at]].tolist()
        who = named(fids)
        value, limit, number = found.value[at], found.limit[at], int(found.number[at])
        match found.check.name:
            case "validity":
                yield f"{who} is not valid: {survey.invalid[number]}"
            case "parts":
                yield f"{who} has {value:,.0f} parts"
            case "overlaps":
                yield f"overlap of {value:,.6g} m² of {who}"
            case "gaps":
                yield f"gap of {value:,.6g} m² between {who}"
            case "neighbours":
                yield f"{who} are neighbours of class {survey.codes[survey.code[found.polygons[at][0]]]}"
            case "vertices":
                yield f"a vertex that not all of {who} have"
            case "unit":
                yield f"{who} has {value:,.6g} m², expected {limit:,.6g} m² at least"
            case "width":
                yield f"{who} is narrower than {limit:,.6g} m"
            case _:
                stated, own = survey.stated_m2[number], survey.area_m2[number]
                yield f"{who} states {stated:,.6g} m² and has {own:,.6g} m²"


def named(fids: list[int], most: int = 8) -> str:
    """Name polygons by their numbers in the file."""
    if not fids:
        return "polygons"
    words = [str(fid) for fid in fids[:most]]
    if len(fids) > most:
        words.append(f"{len(fids) - most} more")
    return ("polygon " if len(words) == 1 else "polygons ") + (
        words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    )
