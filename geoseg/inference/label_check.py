"""Labels of the scenes that int8 is measured on: what it may cost is said in mean IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.datasets.dataset import Channels
from geoseg.datasets.resized_labels import ResizedLabels
from geoseg.errors import OptionError
from geoseg.inference.prepare import Job
from geoseg.learning.metrics import Confusion
from geoseg.models.card import Card
from geoseg.raster.coded_labels import CodedLabels
from geoseg.raster.labels import UNKNOWN, Codes, Labels, LabelValue, Meanings


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCheck:
    """Labels that say what computing in int8 costs, and how much it may.

    Parameters
    ----------
    labels : sequence of path
        One raster for each scene, in their order: the model's class codes on any grid in the scene's CRS; of a
        multilabel model also a band of 0 and 1 for each class. What is no data is unlabelled.
    max_drop : float
        How much lower the mean IoU may be in int8 than in fp32, 0 to 1.
    """

    labels: Sequence[Path | str]
    max_drop: float = 0.01

    def check(self, scenes: int) -> None:
        """Refuse labels of another number of scenes, and a drop that is none.

        Raises
        ------
        OptionError
        """
        if len(self.labels) != scenes:
            raise OptionError(
                f"labels are {len(self.labels)} files for {scenes} scenes, expected one for each scene, in their order"
            )
        if not 0 <= self.max_drop <= 1:
            raise OptionError(f"the mean IoU may drop by {self.max_drop:g}, expected 0 to 1")

    def opened(self, jobs: Sequence[Job]) -> list[Labels]:
        """Open the labels of scenes, on the pixels that the model sees.

        Raises
        ------
        DataError
            If they cannot be read or do not lie where their scene lies.
        """
        return [_opened(job, path) for job, path in zip(jobs, self.labels, strict=True)]

    def allowed(self, found: float, before: float) -> float:
        """Return a mean IoU, or refuse one that is too far below that in fp32.

        Raises
        ------
        OptionError
        """
        if before - found > self.max_drop:
            raise OptionError(
                f"int8 has a mean IoU of {found:.4f} in place of {before:.4f}, whatever is kept in fp32, and may lose "
                f"{self.max_drop:g}; measure on more tiles or other scenes, allow it to lose more, or choose bf16"
            )
        return found


def _opened(job: Job, path: Path | str) -> Labels:
    """Open the labels of a scene."""
    card = job.card
    codes = card.classes.codes
    ignored = {UNKNOWN} if card.ignore_code is None else {UNKNOWN, card.ignore_code}
    code_of: dict[LabelValue, int] = dict.fromkeys(ignored, UNKNOWN)
    code_of.update((code, code) for code in codes)
    meanings = Meanings(
        codes=codes,
        code_of=code_of,
        remedy="labels have the codes of the model's classes, as geoseg info tells them",
    )
    labels = CodedLabels.open(path, job.grid, meanings, layered=card.task == "multilabel")
    if card.image_size is None:
        return labels
    return ResizedLabels(labels=labels, stored=job.grid.shape, shape=card.image_size)


def counted(truth: Codes, found: Codes, card: Card) -> Confusion:
    """Count the labelled pixels of a tile.

    Parameters
    ----------
    truth, found : ndarray of uint8, (row, col), or (class, row, col) of a multilabel task
        Codes as labels and maps have them.
    card : Card
    """
    channels = Channels(codes=card.classes.codes, task=card.task)
    reference, predicted = channels.mask(truth), channels.mask(found)
    if card.task == "multilabel":
        return Confusion.of_layers(reference, predicted)
    return Confusion.of(reference, predicted, channels.kinds)
