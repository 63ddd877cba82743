"""What quality is measured on: data sets, how they are divided, and the score that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.learning.config import Config

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
Changes = tuple[str, ...]
"""Settings as ``--set`` takes them."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A data set in fixed parts; for each of them every method is trained and scored once.

    Parameters
    ----------
    recipe : str
        File in examples/recipes; its split is used, unless a part says another.
    score : str
        Path in a report of scores (`geoseg.learning.monitor.report`).
    parts : mapping of str to changes
        Seeds, or folds, by name.
    symmetries : bool
        Whether prediction with the eight symmetries of the square (``--tta``) is scored too.
    folds : bool
        Whether the parts are folds, whose mean IoU is said pooled, too: of the pixels of all of them together.
    without : mapping of str to str
        Methods that are left out, and why.
    """

    recipe: str
    score: str
    parts: Mapping[str, Changes]
    symmetries: bool = False
    folds: bool = False
    without: Mapping[str, str] = field(default_factory=dict)

    def config(self, part: str, changes: Sequence[str] = ()) -> Config:
        """Read the recipe as a part changes it; on one thread, so that CPU seconds are comparable."""
        return Config.read(RECIPES / f"{self.recipe}.yaml", ["train.threads=1", *self.parts[part], *changes])


def _seeds(count: int) -> dict[str, Changes]:
    return {f"seed {seed}": (f"train.seed={seed}",) for seed in range(count)}


def _blocks(count: int) -> dict[str, Changes]:
    return {f"blocks {seed}": (f"data.split.seed={seed}",) for seed in range(count)}


_PLACES = (
    ((0,), 23),
    ((1,), 23),
    ((2, 6, 11, 16, 22, 27), 23),
    ((3, 7, 12, 17, 19, 23, 25, 28), 22),
    ((4, 5, 8, 9, 10, 13, 14, 15, 18, 20, 21, 24, 26, 29), 23),
)
"""Places (groups of the recipe hls) that a fold tests on, and the one of a single patch that it validates on, which
chooses nothing; the others train. The first two have 117 of the 183 patches."""


def _places() -> dict[str, Changes]:
    parts = {}
    for number, (test, val) in enumerate(_PLACES):
        train = [place for place in range(30) if place not in (*test, val)]
        split = f"{{train: {train}, val: [{val}], test: {list(test)}}}"
        parts[f"fold {number}"] = (f"data.split={split}",)
    return parts


PROTOCOLS: Mapping[str, Protocol] = {
    "roofs": Protocol(recipe="roofs", score="per_image/dice/roof", parts=_seeds(5), symmetries=True),
    "hls": Protocol(recipe="hls", score="mean_iou", parts=_places(), symmetries=True, folds=True),
    "zion": Protocol(recipe="zion", score="accuracy", parts=_blocks(2), symmetries=True),
    "kampala": Protocol(recipe="kampala", score="iou/building", parts=_blocks(2)),
    # Its forty polygons can be divided in one way only: other seeds of the blocks hold back the same ones.
    "aberystwyth": Protocol(recipe="aberystwyth", score="mean_iou", parts=_seeds(2)),
    "korea": Protocol(recipe="korea", score="mean_iou", parts=_seeds(2)),
    "concise": Protocol(recipe="concise", score="mean_iou", parts=_blocks(2)),
    "deepglobe": Protocol(recipe="deepglobe", score="mean_iou", parts=_seeds(1)),
    "people": Protocol(recipe="people", score="dice/person", parts=_seeds(1)),
}
