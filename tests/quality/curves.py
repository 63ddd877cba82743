"""Learning curves: how good the map of a large scene is after 5, 10, 20 and 40 labelled polygons.

    GEOSEG_DATA=FOLDER python tests/quality/quality.py curves [--sets aberystwyth kampala] [--counts 5 10 20 40]
        [--seeds 1] [--results FILE]

trains what is not yet in the file of results and prints the table. What is tested on are the held-back blocks of the
recipe (its first part), the same pixels for every count. The polygons are drawn from those of which at least half lies
in its training part, and label only what lies in it; the 5 are among the 10, and every class has one. A count above
their number means all of them. What the other polygons cover is unknown.

Where a recipe calls everything without a polygon background (kampala), so few polygons cannot say that: the buildings
that were not drawn would count as background. There, background is what no polygon of the file covers within `AROUND`
px of a drawn one's box, which a person would see while drawing; all else is unknown. So even all polygons say less
here than the whole recipe does.

The validation blocks choose nothing: ``train.keep: last``, no temperature. With five polygons to learn from, a
hundred times as many pixels to choose an epoch by would not be few labels, and the forest has no use for them. Every
training takes the recipe's settings but for its length: `_STEPS`, for every count, with and without consistency, which
sees as many chips again and so takes about twice the time.

A scene and its blocks would be divided anew with other labels. So a training gets three pictures of the scene, without
a CRS, each a split: to train (the blocks of the other two are no data, also for ``train.consistency``, which looks
at everything else), to validate and to test.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geoseg.datasets.dataset import Pair
from geoseg.grid.window import Window
from geoseg.labels.label import UNKNOWN
from geoseg.labels.pixel_shapes import burn
from geoseg.learning.config import Config

METHODS = ("geoseg", "geoseg, consistency", "forest, 7 px")
AROUND = 64
"""Pixels around the box of a drawn polygon in which what is no polygon is background: a quarter of a chip."""
_STEPS = (
    "train.epochs=1",
    "train.chips_per_epoch=320",
    "train.keep=last",
    "train.calibrate=false",
    "data.split.val=0.2",
)
"""One epoch, scored once, of 40 batches of 8 chips: so short that a curve can be measured in an hour. The blocks are
those that the curves were begun with."""
_FOREST_PIXELS = 50_000

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]
Splits = Mapping[str, Sequence[Pair]]


def draw(classes: Sequence[int], count: int, seed: int) -> list[int]:
    """Draw polygons at random, one of each class first.

    Laws: those of a smaller count are among those of a larger one; every class has at least one.

    Parameters
    ----------
    classes : sequence of int
        Class of each polygon.
    count : int
        Polygons to draw; all if there are fewer.
    seed : int
    """
    order = np.random.default_rng(seed).permutation(len(classes)).tolist()
    kinds = set(classes)
    if count < len(kinds):
        raise ValueError(f"{count} polygons cannot be of {len(kinds)} classes; draw more")
    first = [next(i for i in order if classes[i] == kind) for kind in sorted(kinds)]
    return [*first, *(i for i in order if i not in first)][:count]


def usable(covered: Sequence[Bools], inside: Bools) -> list[int]:
    """Find the polygons of whose pixels at least half lie in the training part."""
    return [i for i, each in enumerate(covered) if each.any() and 2 * (each & inside).sum() >= each.sum()]


def known(codes: Codes, drawn: Sequence[Bools], inside: Bools, background: int | None) -> Codes:
    """Keep the codes of drawn polygons in the training part, and of the background beside them; the rest is unknown.

    Parameters
    ----------
    codes : uint8, (row, col)
        Codes of all labels.
    drawn : sequence of bool, (row, col)
        The pixels that each drawn polygon covers.
    inside : bool, (row, col)
        The training part.
    background : int, optional
        Code of what no polygon covers, where that is a class.
    """
    kept = np.logical_or.reduce(drawn)
    if background is not None:
        for each in drawn:
            rows, cols = (np.flatnonzero(each.any(axis=axis)) for axis in (1, 0))
            part = tuple(slice(max(0, at[0] - AROUND), at[-1] + 1 + AROUND) for at in (rows, cols))
            kept[part] |= codes[part] == background
    return np.where(kept & inside, codes, np.uint8(UNKNOWN))


def few_polygons(config: Config, splits: Splits, count: int, seed: int, folder: Path) -> tuple[Config, int]:
    """Write the three pictures and their labels; return a configuration of them and the number of polygons.

    Parameters
    ----------
    config : Config
        Configuration of the whole scene.
    splits : mapping of str to sequence of Pair
        Its scene by split.
    count, seed : int
        As `draw` takes them.
    folder : Path
        Where to write.
    """
    pairs = {split: splits[split][0] for split in ("train", "val", "test")}
    pair = pairs["train"]
    whole = Window(row=0, col=0, height=pair.grid.height, width=pair.grid.width)
    inside: dict[str, Bools] = {}
    for split, each in pairs.items():
        assert each.area is not None, "the recipe divides its scene into blocks"
        inside[split] = each.area.inside(whole)
    vectors: Any = pair.labels
    codes, shapes, chip = vectors.read(whole), vectors.shapes(), pair.image.read(whole)
    one = np.ones(1, dtype=np.int16)
    covered = [
        burn(shapes.geometry[i : i + 1], one, whole, fill=0, touched=False) > 0
        for i in range(len(shapes.code))
    ]
    there = usable(covered, inside["train"])
    chosen = draw([int(shapes.code[i]) for i in there], count, seed)
    unlabelled = config.data.labels.unlabelled
    background = None if unlabelled == "ignored" else unlabelled
    labels = {split: np.where(inside[split], codes, np.uint8(UNKNOWN)) for split in ("val", "test")}
    labels["train"] = known(codes, [covered[there[i]] for i in chosen], inside["train"], background)
    held_back = inside["val"] | inside["test"]
    for split in pairs:
        valid = chip.valid & ~held_back if split == "train" else chip.valid
        _write(folder / "images" / f"{split}.tif", chip.pixels, config.data.bands, valid)
        _write(folder / "labels" / f"{split}.tif", labels[split][None], ["class"], None)
    return _pictures(config, folder), len(chosen)


def _pictures(config: Config, folder: Path) -> Config:
    """Change a configuration to the pictures in a folder and their codes."""
    fields = config.fields()
    for code, each in fields["data"]["classes"].items():
        each["labels"] = [code]
    fields["data"] |= {
        "root": str(folder),
        "images": "images/*.tif",
        "labels": {"form": "codes", "files": "labels/*.tif"},
        "ignore": [UNKNOWN],
        "split": {"method": "given", "train": ["train"], "val": ["val"], "test": ["test"]},
    }
    return Config.of(fields, "few polygons", folder)


def _write(path: Path, pixels: npt.NDArray[Any], names: Sequence[str], valid: Bools | None) -> None:
    path.parent.mkdir(exist_ok=True)
    count, height, width = pixels.shape
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, dtype=pixels.dtype
        ) as file:
            file.write(pixels)
            file.descriptions = tuple(names)
            if valid is not None:
                file.write_mask(valid)


def cell(name: str, count: int, seed: int, method: str) -> dict[str, Any]:
    """Train and score one method on so many polygons; return its report, CPU seconds and the number of polygons."""
    from protocols import PROTOCOLS

    from geoseg.learning.preparation import prepare_training

    changes = [*_STEPS, f"train.seed={seed}", *(["train.consistency=1"] if "consistency" in method else [])]
    recipe = PROTOCOLS[name].config(next(iter(PROTOCOLS[name].parts)), changes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config, polygons = few_polygons(recipe, prepare_training(recipe).splits, count, seed, folder)
        begun = time.process_time()
        scores = _forest(config) if method == "forest, 7 px" else _geoseg(config, folder / "run")
        seconds = round(time.process_time() - begun, 1)
    return {"polygons": polygons, "cpu_seconds": seconds, "scores": scores}


def _geoseg(config: Config, folder: Path) -> Any:
    from geoseg.learning.train import train
    from geoseg.models.card_file import read_card

    metrics: Any = (read_card(train(config, output=folder)).training or {})["metrics"]
    return metrics["test"]


def _forest(config: Config) -> Any:
    from forests import Forest, surrounded
    from pixels import pictures, scored

    from geoseg.learning.monitor import report
    from geoseg.learning.preparation import prepare_training

    run = prepare_training(config)
    forest = Forest(surrounded, config.train.seed, most=_FOREST_PIXELS).fit(pictures(run.splits["train"]))
    kinds = run.splits["test"][0].channels.kinds
    return report(scored(forest, run.splits["test"], kinds=kinds), run.classes)


def table(made: Sequence[Mapping[str, Any]], scores: Mapping[str, str]) -> str:
    """Tabulate what was made as Markdown: a row for each set and number of polygons, a column for each method.

    Parameters
    ----------
    made : sequence of mapping
        The results.
    scores : mapping of str to str
        Path of the score that counts, by set.
    """
    from quality import said

    lines = [
        f"| set | score | polygons | seeds | {' | '.join(METHODS)} |",
        "|---|---|---|---|" + "---|" * len(METHODS),
    ]
    for name, polygons in sorted({(each["set"], each["polygons"]) for each in made}):
        of = [each for each in made if (each["set"], each["polygons"]) == (name, polygons)]
        seeds = max(Counter(each["method"] for each in of).values())
        cells = [said([each for each in of if each["method"] == method], scores[name]) for method in METHODS]
        lines.append(f"| {name} | {scores[name]} | {polygons} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)
