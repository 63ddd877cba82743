"""What the images and classes of training data hold, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.assessment.training_data.finding import DataFinding, Severity
from geoseg.assessment.training_data.survey import DataSurvey
from geoseg.assessment.training_data.watch import Sizes
from geoseg.datasets.split_config import SPLITS
from geoseg.errors import plural
from geoseg.grid.ground import pixel_size_m
from geoseg.storage.printable import listed

WORDS: Final = {"train": "training", "val": "validation", "test": "test"}
"""Splits in words."""
_LACKING: Final[Mapping[str, Severity]] = {"train": "error", "val": "warning", "test": "hint"}
"""How bad it is if a split has nothing of a class."""
_SPREAD: Final = 4
"""Places up to which one object counts as lying in one place."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassFacts:
    """What the labels hold of one class.

    Parameters
    ----------
    name, color : str
        Of the class.
    code : int
        Code of the class.
    pixels : int
        Valid pixels of it.
    share : float
        Share of these in all labelled pixels; in a multilabel task in all valid ones.
    images : int
        Images in which it occurs.
    sizes : (ndarray, ndarray)
        Different sizes of its objects, px, and how many have each.
    places : int
        Places in which it occurs: blocks of an image, of which there are some 36.
    holders : int
        Parts that could be held back whole: blocks, groups or images.
    splits : dict of str to int
        Pixels by split.
    background : bool
        Whether it is what is left between labels.
    """

    name: str
    color: str
    code: int
    pixels: int
    share: float
    images: int
    sizes: Sizes
    places: int
    holders: int
    splits: dict[str, int]
    background: bool

    @property
    def objects(self) -> int:
        """Number of connected regions."""
        return int(self.sizes[1].sum())

    def size(self, share: float) -> int | None:
        """Return the size below or at which a share of the objects is, px; None without objects."""
        sizes, counts = self.sizes
        if not len(sizes):
            return None
        at = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return int(sizes[min(at, len(sizes) - 1)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What the labels of a survey hold."""

    survey: DataSurvey

    @cached_property
    def counts(self) -> dict[str, npt.NDArray[np.int64]]:
        """Labelled pixels by place and class, of each image."""
        kinds = len(self.survey.classes)
        return {key: counts[..., :kinds] for key, counts in self.survey.counts.items()}

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which class occurs in which image, (image, class)."""
        kinds = len(self.survey.classes)
        rows = [each.sum(axis=(0, 1)) > 0 for each in self.counts.values()]
        return np.array(rows, dtype=bool).reshape(-1, kinds)

    @property
    def together(self) -> npt.NDArray[np.int64]:
        """Number of images in which two classes occur, (class, class)."""
        present = self.present.astype(np.int64)
        return np.asarray(present.T @ present)

    @cached_property
    def classes(self) -> tuple[ClassFacts, ...]:
        """The classes, in the order of their codes."""
        survey = self.survey
        kinds = len(survey.classes)
        pixels = sum((each.sum(axis=(0, 1)) for each in self.counts.values()), np.zeros(kinds, np.int64))
        valid = sum(watch.valid for watch in survey.watches.values())
        whole = valid if survey.data.task == "multilabel" else int(pixels.sum())
        holders = self._holders()
        return tuple(
            ClassFacts(
                name=each.name,
                color=each.color,
                code=each.code,
                pixels=int(pixels[kind]),
                share=int(pixels[kind]) / max(whole, 1),
                images=int(self.present[:, kind].sum()),
                sizes=survey.pooled.sizes[kind],
                places=sum(int((counts[..., kind] > 0).sum()) for counts in self.counts.values()),
                holders=int(holders[kind]),
                splits={split: int(survey.parts[split][kind]) for split in SPLITS},
                background=self._is_background(each.code),
            )
            for kind, each in enumerate(survey.classes)
        )

    def _is_background(self, code: int) -> bool:
        data = self.survey.data
        return code == data.labels.unlabelled or (data.task == "binary" and code == 0)

    def _holders(self) -> npt.NDArray[np.int64]:
        """Count the parts with each class that a split keeps whole."""
        kinds = len(self.survey.classes)
        if self.survey.in_blocks:
            holding = [(each > 0).sum(axis=(0, 1)) for each in self.counts.values()]
            return np.sum(holding, axis=0, initial=0) if holding else np.zeros(kinds, dtype=np.int64)
        groups: dict[str, npt.NDArray[np.bool_]] = {}
        for key, present in zip(self.counts, self.present, strict=True):
            group = self.survey.groups.get(key, f"image {key}")
            groups[group] = groups.get(group, np.zeros(kinds, dtype=bool)) | present
        return np.sum(list(groups.values()), axis=0, dtype=np.int64) if groups else np.zeros(kinds, np.int64)


def content_of(survey: DataSurvey) -> Content:
    """Return what the labels hold."""
    return Content(survey=survey)


def resolutions(survey: DataSurvey) -> dict[str, float | None]:
    """Return the size of the pixels of each image on the ground, m; None where it is not known."""
    return {key: pixel_size_m(image.grid) for key, image in survey.images.items()}


def constant_bands(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield bands with one value: in all training images, which a training refuses, or in some."""
    bad = {problem.key for problem in survey.problems}
    good = {key: watch for key, watch in survey.watches.items() if key not in bad and watch.valid}
    split_of = survey.split_of
    trained = [key for key in good if not split_of or split_of.get(key) == "train"]
    for number, name in enumerate(survey.data.bands):
        constant = tuple(key for key, watch in good.items() if watch.bands[number].constant)
        if not constant:
            continue
        values = {good[key].bands[number].low for key in trained}
        if trained and set(trained) <= set(constant) and len(values) == 1:
            yield DataFinding(
                check="constant",
                severity="error",
                what=f"band {name} is {values.pop():g} in all training images",
                remedy="leave it out of data.bands",
                images=constant,
            )
        else:
            yield DataFinding(
                check="constant",
                severity="warning",
                what=f"band {name} has one value in {plural(len(constant), 'image')} of {len(good)} "
                f"({listed(constant)})",
                remedy="look whether the file is whole",
                images=constant,
            )


def absent_classes(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield classes that a split lacks."""
    if survey.undivided is not None or not survey.counts:
        return
    for each in content_of(survey).classes:
        if not each.pixels:
            yield DataFinding(
                check="absent",
                severity="error",
                what=f"no pixel is labelled as {each.name}",
                remedy="leave the class out, or label it",
            )
            continue
        for split, severity in _LACKING.items():
            if each.splits[split] or not any(survey.parts[split]):
                continue
            yield DataFinding(
                check="absent",
                severity=severity,
                what=f"no {WORDS[split]} pixel is labelled as {each.name}",
                remedy="move an image with it into that split"
                if not survey.in_blocks
                else "choose smaller blocks with data.split.size, or label more of it",
            )


def few_objects(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield classes of which nothing can be held back, because there is only one object, or one place."""
    unit = "block" if survey.in_blocks else "group" if survey.groups else "image"
    for each in content_of(survey).classes:
        if not each.pixels or each.background:
            continue
        if each.holders >= 2 and (each.objects >= 2 or each.holders > _SPREAD):
            continue
        yield DataFinding(
            check="few",
            severity="warning",
            what=f"{each.name} has {plural(each.objects, 'object')} in {plural(each.holders, unit)}: nothing of it can "
            "be held back to validate what is learned",
            remedy="label more of it elsewhere, or join it with another class",
        )
