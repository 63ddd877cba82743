"""What a training came to, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geoseg.assessment.report.reading import Record, read_run
from geoseg.assessment.report.tables import classes_of, counts_of

_SPLITS = {"val": "validation", "test": "test"}
_NARROWEST = 10


def score_lines(run: Path) -> Iterator[str]:
    """Say how well the finished model of a run classifies the images that it did not learn from, by class.

    The epoch was chosen by its score on the validation images, which is therefore a little too good; the test images
    had no say.

    Parameters
    ----------
    run : path
        Folder of a finished training, or its model file.

    Yields
    ------
    str
        IoU and labelled pixels of each class, in a column for each split that has been scored, then their mean.

    Raises
    ------
    DataError, ModelError
    """
    record = read_run(run)
    metrics: dict[str, Any] = record.training.get("metrics", {})
    splits = [split for split in _SPLITS if split in metrics]
    if record.card is None or not splits:
        return
    names = [each.name for each in classes_of(record.card)]
    width = max(_NARROWEST, *map(len, names))
    yield f"IoU of the best epoch, {record.best_epoch} of {record.config['train']['epochs']}, and labelled pixels:"
    yield f"  {'':<{width}}" + "".join(f" {_SPLITS[split]:>11} {'pixels':>14}" for split in splits)
    pixels = {split: _pixels(record, split) for split in splits}
    for place, name in enumerate(names):
        cells = [(metrics[split]["iou"].get(name), _at(pixels[split], place)) for split in splits]
        yield f"  {name:<{width}}{''.join(_cell(*cell) for cell in cells)}"
    means = [(metrics[split]["mean_iou"], None) for split in splits]
    yield f"  {'mean':<{width}}{''.join(_cell(*cell) for cell in means)}".rstrip()


def _pixels(record: Record, split: str) -> list[int]:
    counts = counts_of(record, split)
    return [] if counts is None else [int(count) for count in counts.referenced]


def _at(pixels: list[int], place: int) -> int | None:
    return pixels[place] if place < len(pixels) else None


def _cell(score: float | None, pixels: int | None) -> str:
    """Set a score, which a class that is neither in labels nor map has not, and the labelled pixels."""
    said = "-" if score is None else f"{score:.3f}"
    return f" {said:>11} {'' if pixels is None else f'{pixels:,}':>14}"
