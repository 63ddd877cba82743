"""Compare a trained model with a pixel-wise random forest, on the test images of a recipe.

    GEOSEG_DATA=/folder/with/the/data python examples/korea_baseline.py examples/recipes/korea.yaml model.safetensors

The forest (scikit-learn, 100 trees, otherwise as it comes) sees the same bands of the same training images, a
pixel at a time. It is fitted on a random sample of their pixels: a tree gains little from the millionth pixel
of a kind, and a forest of all of them would take hours and gigabytes. Predictions are made once per distinct
combination of band values, which changes nothing but the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from geoseg.datasets.dataset import Pair
from geoseg.datasets.opening import open_data
from geoseg.datasets.splits import with_card
from geoseg.grid.tiling import Tiling
from geoseg.grid.window import Window
from geoseg.learning.config import Config
from geoseg.learning.metrics import Confusion
from geoseg.learning.scoring import score
from geoseg.models.model import Model


def pixels(pair: Pair) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Stored numbers (pixel, band) and channels (pixel) of an image's labelled valid pixels."""
    stored, _, mask = pair.read(Window(row=0, col=0, height=pair.grid.height, width=pair.grid.width))
    return stored[:, mask >= 0].T, mask[mask >= 0]


def fit(pairs: Iterable[Pair], sample: int, seed: int) -> RandomForestClassifier:
    """Fit a forest on `sample` pixels, drawn without replacement from all images together."""
    values, classes = map(np.concatenate, zip(*map(pixels, pairs), strict=True))
    chosen = np.random.default_rng(seed).choice(len(classes), size=min(sample, len(classes)), replace=False)
    print(f"forest: 100 trees on {len(chosen):,} of {len(classes):,} training pixels")
    return RandomForestClassifier(n_estimators=100, random_state=seed).fit(values[chosen], classes[chosen])


def score_forest(forest: RandomForestClassifier, pairs: Iterable[Pair], classes: int) -> Confusion:
    """Count (reference, predicted) pixels over whole images."""
    total = Confusion.empty(classes)
    for values, reference in map(pixels, pairs):
        distinct, which = np.unique(values, axis=0, return_inverse=True)
        total += Confusion.of(reference, forest.predict(distinct)[which.ravel()], classes)
    return total


def table(names: Iterable[str], model: Confusion, forest: Confusion) -> Iterator[str]:
    """Scores side by side, one line a class."""
    yield f"{'':12} {'model':>8} {'forest':>8}"
    for name, ours, theirs in zip(names, model.iou, forest.iou, strict=True):
        yield f"{name:12} {ours:8.3f} {theirs:8.3f}"
    yield f"{'mean IoU':12} {model.mean_iou:8.3f} {forest.mean_iou:8.3f}"
    yield f"{'accuracy':12} {model.accuracy:8.3f} {forest.accuracy:8.3f}"


def main() -> None:
    """Fit the forest, score both, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--pixels", type=int, default=400_000, help="training pixels of the forest")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()

    model = Model.open(chosen.model)
    card = model.card
    config = Config.read(chosen.config)
    splits = with_card(open_data(config.data, config.data_root, card).splits, card)
    forest = fit(splits["train"], chosen.pixels, chosen.seed)
    pairs = splits[chosen.split]
    print(f"{chosen.split}: {', '.join(pair.name for pair in pairs)}")
    tiling = Tiling(size=card.tile.size, overlap=card.tile.overlap)
    ours = score(model.network, pairs, tiling, device="cpu", precision="auto")
    print(*table(card.classes.names, ours, score_forest(forest, pairs, len(card.channels))), sep="\n")


if __name__ == "__main__":
    main()
