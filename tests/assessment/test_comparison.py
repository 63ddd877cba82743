"""Accuracy against scikit-learn, and what must not count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix, jaccard_score, precision_score, recall_score

from geoseg.assessment.comparison import Accuracy, compare
from geoseg.errors import ClassMapError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import ClassMap, read_class_map

CODES = (10, 30, 100)
LEGEND = Legend.made_up(CODES, {10: "building", 30: "road", 100: "other"})
UTM = Affine(10, 0, 332740, 0, -10, 3837710)


def class_map(codes: np.ndarray, valid: np.ndarray | None = None, transform: Affine = UTM) -> ClassMap:
    grid = Grid(height=codes.shape[0], width=codes.shape[1], transform=transform)
    return ClassMap(
        codes=codes, valid=np.ones(codes.shape, bool) if valid is None else valid, grid=grid, legend=LEGEND
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[ClassMap, ClassMap]:
    """A map and its reference: both with holes, the reference with codes that nobody knows."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    known, any_code = st.sampled_from(CODES), st.sampled_from((*CODES, 0, 50, 254))
    valid = hnp.arrays(bool, shape)
    predicted = class_map(draw(hnp.arrays(np.uint8, shape, elements=known)), draw(valid))
    predicted.codes[~predicted.valid] = 255
    return predicted, class_map(draw(hnp.arrays(np.uint8, shape, elements=any_code)), draw(valid))


def compared_pixels(predicted: ClassMap, reference: ClassMap) -> tuple[np.ndarray, np.ndarray]:
    """Reference and map codes of the pixels that count, chosen one by one."""
    chosen = [
        (truth, found)
        for truth, found, both in zip(
            reference.codes.ravel(),
            predicted.codes.ravel(),
            (predicted.valid & reference.valid).ravel(),
            strict=True,
        )
        if both and truth in CODES
    ]
    return np.array([t for t, _ in chosen], int), np.array([f for _, f in chosen], int)


@given(pairs())
def test_counts_and_scores_are_those_of_scikit_learn(pair: tuple[ClassMap, ClassMap]) -> None:
    accuracy = compare(*pair)
    truth, found = compared_pixels(*pair)
    assert accuracy.pixels == len(truth)
    assert accuracy.excluded == pair[0].codes.size - len(truth)
    if not len(truth):
        assert np.isnan(accuracy.overall)
        assert np.isnan(accuracy.mean_iou)
        return
    np.testing.assert_array_equal(accuracy.confusion.counts, confusion_matrix(truth, found, labels=CODES))
    assert accuracy.overall == pytest.approx(np.mean(truth == found))
    for key, score in (("iou", jaccard_score), ("recall", recall_score), ("precision", precision_score)):
        # scikit-learn calls a class that does not occur 0, we NaN (below).
        expected = score(truth, found, labels=CODES, average=None, zero_division=0)
        np.testing.assert_allclose(np.nan_to_num([row[key] for row in accuracy.rows()]), expected)


@given(pairs(), st.integers(0, 8))
def test_parts_add_up_to_the_whole(pair: tuple[ClassMap, ClassMap], cut: int) -> None:
    def rows(part: slice) -> Accuracy:
        return compare(*(class_map(m.codes[part], m.valid[part]) for m in pair))

    if 0 < cut < pair[0].codes.shape[0]:
        both, whole = rows(slice(0, cut)) + rows(slice(cut, None)), compare(*pair)
        np.testing.assert_array_equal(both.confusion.counts, whole.confusion.counts)
        assert both.excluded == whole.excluded


@given(pairs(), st.sampled_from([0, 7, 255]))
def test_what_lies_under_no_data_never_counts(pair: tuple[ClassMap, ClassMap], code: int) -> None:
    predicted, reference = pair
    before = compare(predicted, reference)
    predicted.codes[~predicted.valid] = code
    reference.codes[~reference.valid] = code
    np.testing.assert_array_equal(before.confusion.counts, compare(predicted, reference).confusion.counts)


def test_the_table_says_what_it_counts() -> None:
    predicted = class_map(np.array([[10, 10, 30, 255]], np.uint8), np.array([[True, True, True, False]]))
    reference = class_map(np.array([[10, 30, 30, 30]], np.uint8))
    lines = list(compare(predicted, reference).lines())
    assert lines[0].split() == ["class", "IoU", "recall", "precision", "labelled", "px", "mapped", "px"]
    assert lines[1].split() == ["building", "50.0%", "100.0%", "50.0%", "1", "2"]
    assert lines[2].split() == ["road", "50.0%", "50.0%", "100.0%", "2", "1"]
    assert lines[3].split() == ["other", "–", "–", "–", "0", "0"]
    assert lines[4:] == [
        "overall accuracy 66.7%, mean IoU 50.0%",
        "left out: 1 pixel without data or label",
    ]


def test_class_maps_of_files_are_compared_with_the_legend_given(tmp_path: Path) -> None:
    codes = np.array([[10, 30], [100, 0]], np.uint8)
    for name in ("map.tif", "reference.tif"):
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 2, "width": 2, "nodata": 0}
        with rasterio.open(tmp_path / name, "w", transform=UTM, crs="EPSG:32652", **profile) as file:
            file.write(codes, 1)
    predicted, reference = (read_class_map(tmp_path / name) for name in ("map.tif", "reference.tif"))
    accuracy = compare(predicted, reference, legend=LEGEND)
    assert accuracy.pixels == 3
    assert accuracy.overall == 1
    with pytest.raises(ClassMapError, match="no legend"):
        compare(predicted, reference)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (class_map(np.full((2, 3), 10, np.uint8)), "2 x 3"),
        (class_map(np.full((2, 2), 10, np.uint8), transform=Affine.translation(10, 0) @ UTM), "332750"),
        (class_map(np.full((2, 2), 10, np.uint8), transform=UTM @ Affine.scale(2)), "is 20, 0, 332740"),
    ],
)
def test_maps_that_do_not_lie_on_each_other_are_refused(other: ClassMap, words: str) -> None:
    with pytest.raises(ClassMapError, match=words) as caught:
        compare(class_map(np.full((2, 2), 10, np.uint8)), other)
    assert "gdalwarp" in str(caught.value)


def test_a_code_that_the_legend_lacks_is_refused_in_the_map() -> None:
    strange = class_map(np.array([[10, 31]], np.uint8))
    with pytest.raises(ClassMapError, match="has code 31, expected 10, 30, 100"):
        compare(strange, class_map(np.array([[10, 30]], np.uint8)))


def test_accuracies_of_different_classes_do_not_add_up() -> None:
    one = compare(class_map(np.array([[10]], np.uint8)), class_map(np.array([[10]], np.uint8)))
    other = Accuracy(legend=Legend.made_up((1, 2, 3)), confusion=one.confusion, excluded=0)
    with pytest.raises(ClassMapError, match="cannot be added"):
        one + other


def test_maps_in_two_reference_systems_are_not_compared() -> None:
    ours, theirs = (class_map(np.full((2, 3), 10, np.uint8)) for _ in range(2))
    here, there = (pyproj.CRS.from_epsg(code).to_wkt() for code in (32652, 32651))
    ours = replace(ours, grid=replace(ours.grid, crs=here))
    with pytest.raises(ClassMapError, match="zone 51N, expected WGS 84 / UTM zone 52N; warp the reference"):
        compare(ours, replace(theirs, grid=replace(theirs.grid, crs=there)))
    assert compare(ours, theirs).confusion.counts.sum() == 6, (
        "a reference without one lies where the map does"
    )
