"""What may be wrong with training data, judged from what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from geoseg.assessment.training_data import content, placement
from geoseg.assessment.training_data.finding import DataFinding, Severity, worst_first
from geoseg.assessment.training_data.survey import DataSurvey
from geoseg.datasets.inspection import Problem
from geoseg.datasets.split_config import InBlocks
from geoseg.errors import Message, Text, plural
from geoseg.grid.grid import crs_name, same_crs
from geoseg.storage.printable import listed

_REMEDIES: Final[Mapping[str, Text]] = {
    "image": Message("mend or replace the file, or leave it out"),
    "missing": Message("label it, or leave it out"),
    "labels": Message("correct the labels, or leave the image out"),
    "scale": Message("write the same tags into all files"),
    "empty": Message("replace the file, or leave it out"),
    "unlabelled": Message("label it, or leave it out"),
    "mask": Message("find the right masks, and leave the others out"),
}
"""What to do about problems whose own text does not say it."""


def judged(survey: DataSurvey) -> tuple[DataFinding, ...]:
    """Return what may be wrong, the worst first.

    Whatever a training refuses is an error here; so is what makes its scores a lie.

    Parameters
    ----------
    survey : DataSurvey
        What was seen.
    """
    judges: tuple[Callable[[DataSurvey], Iterator[DataFinding]], ...] = (
        _problems,
        _doubts,
        _splits,
        _identical,
        _unlike,
        content.constant_bands,
        content.absent_classes,
        content.few_objects,
        placement.on_no_data,
        placement.outside,
        placement.origins,
        placement.shifts,
        placement.clusters,
    )
    return worst_first([each for judge in judges for each in judge(survey)])


def _problems(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield why images cannot be used; equal reasons together."""
    masks = {problem.shared_by: problem for problem in survey.problems if problem.kind == "mask"}
    for keys, problem in masks.items():
        yield DataFinding(
            check="mask",
            severity="error" if any(survey.used(key) for key in keys) else "hint",
            what=f"the images {listed(keys)} have one mask, as in {problem.path}; at most one of them is right",
            remedy=_REMEDIES["mask"],
            images=keys,
        )
    others = [problem for problem in survey.problems if problem.kind != "mask"]
    yield from _together([each for each in others if survey.used(each.key)], "error")
    yield from _together([each for each in others if not survey.used(each.key)], "hint", " (in no split)")


def _doubts(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield what may be no data."""
    yield from _together(survey.doubts, "hint")
    for note in survey.notes:
        yield DataFinding(check="nodata", severity="hint", what=Message("{}", note), remedy="")


def _together(problems: Sequence[Problem], severity: Severity, aside: str = "") -> Iterator[DataFinding]:
    """Yield one finding for each reason; of an image with several reasons of a kind only the first."""
    alike: dict[tuple[str, Text], dict[str, Problem]] = {}
    seen: set[tuple[str, str]] = set()
    for problem in problems:
        if (problem.key, problem.kind) not in seen:
            seen.add((problem.key, problem.kind))
            alike.setdefault((problem.kind, problem.what), {})[problem.key] = problem
    for (kind, what), members in alike.items():
        where = next(iter(members.values())).where
        if len(members) > 1:
            where += f" (and {len(members) - 1} more)"
        yield DataFinding(
            check=kind,
            severity=severity,
            what=Message("{}: {}", where + aside, what),
            remedy="" if ";" in str(what) else _REMEDIES.get(kind, ""),
            images=tuple(members),
        )


def _splits(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield why images cannot be divided, and the ground that is in two splits."""
    if survey.undivided is not None:
        yield DataFinding(check="split", severity="error", what=survey.undivided.message, remedy="")
    spare = tuple(entry.key for entry in survey.entries if not survey.used(entry.key))
    if spare:
        verb = "is" if len(spare) == 1 else "are"
        yield DataFinding(
            check="split",
            severity="hint",
            what=f"{plural(len(spare), 'image')} {verb} in no split ({listed(spare)})",
            remedy="name them in data.split, or in data.exclude",
            images=spare,
        )
    if not survey.shared:
        return
    a, b = survey.shared[0]
    keys = tuple(dict.fromkeys(key for pair in survey.shared for key in pair))
    more = f" (and {len(survey.shared) - 1} more such pairs)" if len(survey.shared) > 1 else ""
    if isinstance(survey.data.split, InBlocks):
        what = f"{a} and {b} overlap on the ground{more}, so blocks of one lie in splits of the other"
        remedy = "make one mosaic of them with gdalbuildvrt, or split by fraction"
    else:
        split = survey.split_of
        what = f"{a} ({split[a]}) and {b} ({split[b]}) overlap on the ground{more}: scores would be too good"
        remedy = "put them into one group with data.groups, or leave the groups out, so that overlapping ones form one"
    yield DataFinding(check="ground", severity="error", what=what, remedy=remedy, images=keys)


def _identical(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield images of equal pixels; in two splits they make scores a lie."""
    empty = {problem.key for problem in survey.problems if problem.kind in ("empty", "image", "labels")}
    same: dict[str, list[str]] = {}
    for key, watch in survey.watches.items():
        if key not in empty:
            same.setdefault(watch.digest, []).append(key)
    for keys in same.values():
        if len(keys) < 2:
            continue
        splits = {survey.split_of[key] for key in keys if key in survey.split_of}
        apart = len(splits) > 1 or survey.in_blocks
        where = " in the splits " + " and ".join(sorted(splits)) if len(splits) > 1 else ""
        yield DataFinding(
            check="identical",
            severity="error" if apart else "warning",
            what=f"the images {listed(keys)} have equal pixels{where}",
            remedy="keep one of them, and name the others in data.exclude",
            images=tuple(keys),
        )


def _unlike(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield differences between the images: coordinate systems, and the size of pixels."""
    grids = {key: image.grid for key, image in survey.images.items()}
    placed = {key: grid for key, grid in grids.items() if grid.crs is not None}
    if placed and len(placed) < len(grids):
        bare = tuple(key for key in grids if key not in placed)
        has = "has" if len(bare) == 1 else "have"
        yield DataFinding(
            check="unlike",
            severity="warning",
            what=f"{plural(len(bare), 'image')} of {len(grids)} {has} no CRS ({listed(bare)})",
            remedy="give them the CRS that they are in with gdal_edit -a_srs; without it overlaps are not seen",
            images=bare,
        )
    known: dict[str, list[str]] = {}
    for key, grid in placed.items():
        crs = next((each for each in known if same_crs(each, grid.crs)), str(grid.crs))
        known.setdefault(crs, []).append(key)
    if len(known) > 1:
        names = ", ".join(f"{crs_name(crs)} ({plural(len(keys), 'image')})" for crs, keys in known.items())
        fewest = min(known.values(), key=len)
        yield DataFinding(
            check="unlike",
            severity="hint",
            what=f"the images are in {len(known)} coordinate systems: {names}",
            remedy="neighbouring zones are fine; otherwise warp them to one with gdalwarp",
            images=tuple(fewest),
        )
    yield from _resolutions(survey)


def _resolutions(survey: DataSurvey) -> Iterator[DataFinding]:
    sizes = {key: size for key, facts in content.resolutions(survey).items() if (size := facts) is not None}
    if not sizes:
        return
    usual = sorted(sizes.values())[len(sizes) // 2]
    other = {key: size for key, size in sizes.items() if not 1 / 1.2 < size / usual < 1.2}
    if other:
        key = max(other, key=lambda key: abs(other[key] - usual))
        verb = "has" if len(other) == 1 else "have"
        yield DataFinding(
            check="unlike",
            severity="warning",
            what=f"{plural(len(other), 'image')} of {len(sizes)} {verb} other pixels than of {usual:.3g} m, "
            f"as {key} of {sizes[key]:.3g} m",
            remedy="a network learns one size of things; resample them with gdalwarp -tr, or leave them out",
            images=tuple(other),
        )
