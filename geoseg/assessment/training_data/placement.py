"""Where labels lie: on no data, outside the image, beside its edges, or all in one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from geoseg.assessment.training_data.content import content_of
from geoseg.assessment.training_data.finding import DataFinding
from geoseg.assessment.training_data.shift import REACH
from geoseg.assessment.training_data.survey import DataSurvey
from geoseg.datasets.dataset import Pair
from geoseg.engine.resized import ResizedSource
from geoseg.errors import DataError, plural
from geoseg.grid.grid import SAME_PIXEL, Grid
from geoseg.grid.window import Window
from geoseg.labels.alignment import Alignment
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.colored_labels import ColoredLabels
from geoseg.labels.grey_labels import GreyLabels
from geoseg.labels.resized_labels import ResizedLabels
from geoseg.labels.shapes import load_shapes
from geoseg.labels.vector_labels import VectorLabels
from geoseg.raster.sample import share_words
from geoseg.storage.printable import listed
from geoseg.vectorfiles.reading import layer_shape

_LOST: Final = 0.005
"""Share of an image's labels on no data from which on it is worth saying."""
_MOST_LOST: Final = 0.5
_MANY: Final = 200_000
"""Most features that are read again to count those outside all images."""
_FEW_PLACES: Final = 3.0
"""Places that labels are spread over, in effect, below which they lie close together."""
_ENOUGH_PLACES: Final = 16
_ENOUGH_OBJECTS: Final = 5


def on_no_data(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield images whose labels lie on pixels without data, which do not count."""
    counted = np.array([not each.background for each in content_of(survey).classes])
    shares = {}
    bad = {problem.key for problem in survey.problems}
    for key, watch in survey.watches.items():
        if key in bad:
            continue
        lost, kept = (int(each[counted].sum()) for each in (watch.invalid, watch.labelled))
        if lost and lost >= _LOST * (lost + kept):
            shares[key] = lost / (lost + kept)
    if not shares:
        return
    key = max(shares, key=lambda key: shares[key])
    more = f" (and of {plural(len(shares) - 1, 'other image')})" if len(shares) > 1 else ""
    most = shares[key] > _MOST_LOST
    yield DataFinding(
        check="invalid",
        severity="warning" if most else "hint",
        what=f"{share_words(shares[key])} of the labels of {key}{more} lie where the image has no data, and do not "
        "count",
        remedy="look whether the labels belong to the image, and whether data.nodata and data.alpha are right",
        images=tuple(shares),
    )


def stored_grid(pair: Pair) -> Grid:
    """Return the grid of an image as it is stored."""
    image = pair.image
    return image.source.grid if isinstance(image, ResizedSource) else image.grid


def _aligned(pair: Pair) -> Alignment | None:
    """Return how a raster of labels lies on its image; None for other labels."""
    labels = pair.labels.labels if isinstance(pair.labels, ResizedLabels) else pair.labels
    return labels.aligned if isinstance(labels, CodedLabels | ColoredLabels | GreyLabels) else None


def origins(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield labels that are as large as the image, to a few pixels, and begin elsewhere: one may be displaced."""
    off: dict[tuple[float, ...], list[str]] = {}
    for key, pair in survey.pairs.items():
        aligned, grid = _aligned(pair), stored_grid(pair)
        if aligned is None or grid.transform.is_identity:
            continue
        larger = tuple(a - b for a, b in zip(aligned.labels.shape, grid.shape, strict=True))
        offset = grid.offset_on(aligned.labels)
        if offset is None or max(map(abs, (*larger, *offset))) > REACH or max(map(abs, offset)) <= SAME_PIXEL:
            continue
        off.setdefault((round(offset[0], 3), round(offset[1], 3), *larger), []).append(key)
    for (rows, cols, *more), keys in off.items():
        pair = survey.pairs[keys[0]]
        others = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
        aligned, grid = _aligned(pair), stored_grid(pair)
        assert aligned is not None
        height, width = aligned.labels.shape
        size = (
            f"{height} x {width} px, the image {grid.height} x {grid.width}"
            if any(more)
            else "the image's size"
        )
        yield DataFinding(
            check="origin",
            severity="hint" if any(more) else "warning",
            what=f"{pair.labels.path}{others} has {size}, and begins {_off(rows, cols)} of it",
            remedy="if both were made of the same pixels, give the labels the image's corner (gdal_translate -a_ullr)",
            images=tuple(keys),
        )


def _off(rows: float, cols: float) -> str:
    """Say where labels begin, seen from the image."""
    parts = []
    for amount, ways in ((rows, ("above", "below")), (cols, ("left", "right"))):
        if abs(amount) > SAME_PIXEL:
            parts.append(f"{abs(amount):g} px {ways[amount < 0]}")
    return " and ".join(parts)


def outside(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield labels that lie on no image."""
    by_path: dict[str, list[str]] = {}
    for key, pair in survey.pairs.items():
        by_path.setdefault(pair.labels.path, []).append(key)
    for path, keys in by_path.items():
        pairs = [survey.pairs[key] for key in keys]
        words = _features_outside(pairs)
        if words is None and len(keys) == 1:
            words = _pixels_outside(pairs[0])
        if words is not None:
            yield DataFinding(
                check="outside",
                severity="hint",
                what=f"{path}: {words}",
                remedy="they do not count; if they should, look at the CRS and the place of both",
                images=tuple(keys),
            )


def _pixels_outside(pair: Pair) -> str | None:
    """Say how many pixels of a raster of labels lie outside the image; None if all lie on it, or it is not known."""
    aligned = _aligned(pair)
    if aligned is None or aligned.shift is None or _alike(aligned):
        return None
    height, width = aligned.labels.shape
    row, col = aligned.shift
    on = Window(row=row, col=col, height=aligned.grid.height, width=aligned.grid.width).within(
        (height, width)
    )
    inside = 0 if on is None else on.height * on.width
    lost = height * width - inside
    return f"{share_words(lost / (height * width))} of its pixels lie outside the image" if lost else None


def _alike(aligned: Alignment) -> bool:
    """Return whether labels are as large as their image, to a few pixels, which `origins` looks at."""
    return all(abs(a - b) <= REACH for a, b in zip(aligned.labels.shape, aligned.grid.shape, strict=True))


def _features_outside(pairs: Sequence[Pair]) -> str | None:
    """Say how many shapes of a vector file lie outside all of its images."""
    import shapely

    labels = [each.labels.labels if isinstance(each.labels, ResizedLabels) else each.labels for each in pairs]
    grids = [stored_grid(each) for each in pairs]
    first = labels[0]
    if not isinstance(first, VectorLabels) or len({grid.crs for grid in grids}) > 1:
        return None
    if sum(layer_shape(first.recipe.path, layer)[1] for layer in first.recipe.layers) > _MANY:
        return None
    try:
        shapes = load_shapes(first.recipe, everything=True).geometry
    except DataError:  # of features elsewhere, which no training reads
        return None
    if not len(shapes):
        return None
    outlines = []
    for grid in grids:
        onto = ~grids[0].transform @ grid.transform
        corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
        outlines.append(shapely.Polygon([onto @ corner for corner in corners]))
    _, on = shapely.STRtree(shapes).query(np.array(outlines), predicate="intersects")
    lost = len(shapes) - len(np.unique(on))
    if not lost:
        return None
    images = "the image" if len(pairs) == 1 else f"all of {plural(len(pairs), 'image')}"
    verb = "lies" if lost == 1 else "lie"
    return f"{lost:,} of its {plural(len(shapes), 'shape')} {verb} outside {images}"


def shifts(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield labels whose edges would fit the image's better elsewhere: of all images together, else of some."""
    together = survey.pooled.edges.found()
    remedy = "look at them on the image; labels drawn on another image are often shifted"
    if together is not None:
        what = (
            f"the edges of the labels fit those of the images better {together.words} "
            f"({together.gain:.2f} times as well)"
        )
        yield DataFinding(check="shift", severity="hint", what=what, remedy=remedy)
        return
    for key, watch in survey.watches.items():
        if watch.shift is not None:
            what = (
                f"the edges of the labels of {key} fit those of the image better {watch.shift.words} "
                f"({watch.shift.gain:.2f} times as well)"
            )
            yield DataFinding(check="shift", severity="hint", what=what, remedy=remedy, images=(key,))


def clusters(survey: DataSurvey) -> Iterator[DataFinding]:
    """Yield classes whose labels lie close together, although there are places enough.

    The labels of a class are spread over ``1 / sum(p ** 2)`` places in effect, where p is the share of each place.
    """
    content = content_of(survey)
    places = sum(lattice.blocks[0] * lattice.blocks[1] for lattice in survey.lattices.values())
    if places < _ENOUGH_PLACES:
        return
    names = []
    for kind, each in enumerate(content.classes):
        if each.background or each.objects < _ENOUGH_OBJECTS:
            continue
        shares = (
            np.concatenate([counts[..., kind].ravel() for counts in content.counts.values()]) / each.pixels
        )
        if 1 / (shares**2).sum() < _FEW_PLACES:
            names.append(each.name)
    if names:
        yield DataFinding(
            check="clustered",
            severity="hint",
            what=f"most labels of {listed(names)} lie in one or two of {places} places",
            remedy="what is learned there may not hold elsewhere, nor may scores; label some more in other places",
        )
