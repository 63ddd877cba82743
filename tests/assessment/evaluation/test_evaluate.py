"""Scores of maps against naive loops, scikit-learn and torchmetrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.transform import from_origin
from scipy import ndimage

import geoseg
from geoseg.assessment.evaluation import rows
from geoseg.assessment.evaluation.blocks import BlockCounts, intervals
from geoseg.assessment.evaluation.boundaries import near_boundary
from geoseg.assessment.evaluation.objects import THRESHOLDS
from geoseg.errors import ClassMapError, DataError, OptionError
from geoseg.grid.grid import Grid
from geoseg.grid.legend import Legend
from geoseg.raster.classmap import ClassMap
from geoseg.raster.legend_file import legend_to_json
from geoseg.raster.xarray_results import result_dataset
from tests.chromium import CHROMIUM, browser
from tests.conftest import skip_without

LEGEND = Legend.parse("water,forest,field")
PLACE = from_origin(500_000, 4_000_000, 10, 10)
Codes = npt.NDArray[np.uint8]


def written(path: Path, codes: Codes, **changes: Any) -> Path:
    """Write codes as a raster without a legend, 255 for no data."""
    height, width = codes.shape
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "nodata": 255,
        "crs": "EPSG:32652", "transform": PLACE,
    } | changes  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(codes, 1)
    return path


def map_of(codes: Codes) -> ClassMap:
    grid = Grid(
        height=codes.shape[0],
        width=codes.shape[1],
        transform=PLACE,
        crs=rasterio.CRS.from_epsg(32652).to_wkt(),
    )
    return ClassMap(codes=codes, valid=codes != 255, grid=grid, legend=LEGEND)


def patches(seed: int, shape: tuple[int, int], *, holes: bool = True) -> Codes:
    """Make a map of three classes in patches, with no data here and there."""
    random = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(random.standard_normal(shape), 2) for _ in range(3)]
    codes = (np.argmax(smooth, axis=0) + 1).astype(np.uint8)
    if holes:
        codes[ndimage.gaussian_filter(random.standard_normal(shape), 3) > 0.12] = 255
    return codes


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Codes, Codes, Path]:
    """Return a map, a reference that partly agrees, and the reference's file."""
    found, other = patches(0, (150, 170)), patches(1, (150, 170))
    truth = np.where(np.random.default_rng(2).random(found.shape) < 0.7, found, other).astype(np.uint8)
    truth = np.where(other == 255, np.uint8(255), ndimage.median_filter(truth, 3))
    return found, truth, written(tmp_path / "reference.tif", truth)


def test_pixel_scores_are_those_of_scikit_learn(pair: tuple[Codes, Codes, Path]) -> None:
    from sklearn import metrics

    found, truth, path = pair
    result = geoseg.evaluate(map_of(found), reference=path)
    counted = (found != 255) & (truth != 255)
    one, other = truth[counted], found[counted]
    np.testing.assert_array_equal(result.matrix.to_numpy(), metrics.confusion_matrix(one, other))
    table = result.classes
    for name, oracle in (
        ("iou", metrics.jaccard_score), ("dice", metrics.f1_score),
        ("precision", metrics.precision_score), ("recall", metrics.recall_score),
    ):  # fmt: skip
        np.testing.assert_allclose(table[name], oracle(one, other, average=None), rtol=1e-12)
    assert result.scores["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(one, other))
    assert result.scores["mean_iou"]["value"] == pytest.approx(
        metrics.jaccard_score(one, other, average="macro")
    )
    assert result.unlabelled == np.count_nonzero((found != 255) & (truth == 255))
    assert result.unmapped == np.count_nonzero((found == 255) & (truth != 255))


@pytest.mark.parametrize("pixels", [1, 170 * 70])
def test_streamed_is_whole(
    pair: tuple[Codes, Codes, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    found, _, path = pair
    whole = geoseg.evaluate(map_of(found), reference=path).to_dict()
    monkeypatch.setattr(rows, "PIXELS", pixels)
    stored = written(tmp_path / "map.tif", found)
    streamed = geoseg.evaluate(stored, reference=path, legend=LEGEND).to_dict()
    assert {**streamed, "maps": 0} == {**whole, "maps": 0}


def naive_boundary(indices: npt.NDArray[np.int16], distance: int) -> npt.NDArray[np.bool_]:
    height, width = indices.shape
    near = np.zeros(indices.shape, dtype=bool)
    for row in range(height):
        for col in range(width):
            around = indices[
                max(row - distance, 0) : row + distance + 1, max(col - distance, 0) : col + distance + 1
            ]
            others = (around >= 0) & (around != indices[row, col])
            near[row, col] = indices[row, col] >= 0 and others.any()
    return near


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.int16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 2)),
    st.integers(1, 3),
)
def test_near_a_boundary_is_near_another_class(indices: npt.NDArray[np.int16], distance: int) -> None:
    np.testing.assert_array_equal(near_boundary(indices, distance), naive_boundary(indices, distance))


def test_the_boundary_iou_is_that_of_the_definition(pair: tuple[Codes, Codes, Path]) -> None:
    found, truth, path = pair
    result = geoseg.evaluate(map_of(found), reference=path, boundary_distance=3)
    counted = (found != 255) & (truth != 255)
    one, other = (np.where(counted, each.astype(np.int16), np.int16(-1)) for each in (truth, found))
    near_one, near_other = naive_boundary(one, 3), naive_boundary(other, 3)
    for code, value in zip((1, 2, 3), result.classes["boundary_iou"], strict=True):
        a, b = (one == code) & near_one, (other == code) & near_other
        assert value == pytest.approx((a & b).sum() / (a | b).sum())


def test_objects_are_those_of_a_naive_matching(
    pair: tuple[Codes, Codes, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, truth, path = pair
    monkeypatch.setattr(rows, "PIXELS", 1)
    result = geoseg.evaluate(map_of(found), reference=path)
    counted = (found != 255) & (truth != 255)
    curve = result.object_curve
    for code in (1, 2, 3):
        (one, ones), (other, others) = (ndimage.label(counted & (each == code)) for each in (truth, found))
        ious = []
        for number in range(1, ones + 1):
            mine = one == number
            for rival in np.unique(other[mine]):
                if rival:
                    yours = other == rival
                    ious.append((mine & yours).sum() / (mine | yours).sum())
        for threshold in THRESHOLDS:
            row = curve[(curve["threshold"] == threshold) & (curve["code"] == code)].iloc[0]
            matched = sum(iou > threshold for iou in ious)
            assert row["matched"] == matched
            assert row["precision"] == pytest.approx(matched / others)
            assert row["recall"] == pytest.approx(matched / ones)


def test_the_calibration_error_is_that_of_torchmetrics(tmp_path: Path) -> None:
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    random = np.random.default_rng(3)
    confidence = random.integers(0, 255, (60, 70)).astype(np.uint8)
    found = np.ones((60, 70), dtype=np.uint8)
    right = random.random((60, 70)) < (confidence / 254) ** 2
    truth = np.where(right, 1, 2).astype(np.uint8)
    confidence[0, :5] = 255
    result = geoseg.evaluate(
        map_of(found), reference=written(tmp_path / "r.tif", truth),
        confidence=written(tmp_path / "c.tif", confidence),
    )  # fmt: skip
    known = confidence != 255
    oracle = binary_calibration_error(
        torch.from_numpy(confidence[known] / 254.0),
        torch.from_numpy(right[known].astype(int)),
        n_bins=15,
        norm="l1",
    )
    assert result.calibration is not None
    # torchmetrics bins the probability of the second class, which is the confidence here.
    assert result.calibration.expected_error == pytest.approx(float(oracle), abs=2e-3)
    table = result.reliability
    assert table["pixels"].sum() == known.sum()
    assert ((table["from"] <= table["confidence"]) & (table["confidence"] <= table["to"])).all()


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.int16, (23, 31), elements=st.integers(-1, 3)),
    st.integers(1, 40),
    st.integers(1, 23),
    st.integers(0, 99),
)
def test_counts_do_not_depend_on_blocks_or_on_rows(
    truth: npt.NDArray[np.int16], edge: int, step: int, seed: int
) -> None:
    found = np.where(truth < 0, -1, np.random.default_rng(seed).integers(0, 4, truth.shape)).astype(np.int16)
    counts = BlockCounts.empty(truth.shape, edge, 4)
    for first in range(0, 23, step):
        counts.add(first, truth[first : first + step], found[first : first + step])
    expected = np.zeros((4, 4), dtype=np.int64)
    np.add.at(expected, (truth[truth >= 0], found[truth >= 0]), 1)
    np.testing.assert_array_equal(counts.total, expected)
    corner = (truth[:edge, :edge] >= 0).sum()
    assert counts.counts[0, 0].sum() == corner


def test_an_interval_covers_what_blocks_vary(pair: tuple[Codes, Codes, Path]) -> None:
    found, _, path = pair
    result = geoseg.evaluate(map_of(found), reference=path, block_size="30px")
    accuracy = result.scores["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    # Blocks that are all alike leave nothing to chance.
    same = np.tile(np.array([[[8, 2], [1, 9]]]), (10, 1, 1))
    np.testing.assert_allclose(
        intervals(same, lambda counts: np.array([np.trace(counts) / counts.sum()])), 0.85
    )
    assert intervals(same[:4], np.sum) is None


def test_an_interval_has_the_coverage_that_it_says() -> None:
    """Accuracies of made-up blocks around 0.8: nine of ten and more intervals hold the true one."""
    random = np.random.default_rng(4)
    held = 0
    for _ in range(60):
        rates = random.beta(8, 2, size=40)
        right = random.binomial(100, rates)
        blocks = np.zeros((40, 2, 2), dtype=np.int64)
        blocks[:, 0, 0], blocks[:, 0, 1] = right, 100 - right
        low, high = intervals(blocks, lambda counts: np.array([counts[0, 0] / counts.sum()]))[:, 0]
        held += low <= 0.8 <= high
    assert held >= 52


def test_polygons_on_another_grid_and_in_another_crs(tmp_path: Path) -> None:
    import geopandas as gpd
    from shapely.geometry import box

    found = np.full((40, 40), 1, dtype=np.uint8)
    found[:, 20:] = 2
    west, north = 500_000, 4_000_000
    frame = gpd.GeoDataFrame(
        {"kind": ["Water", "forest", "cloud"]},
        geometry=[
            box(west, north - 400, west + 100, north),
            box(west + 100, north - 400, west + 300, north),
            box(west + 300, north - 400, west + 350, north),
        ],
        crs="EPSG:32652",
    ).to_crs(4326)
    frame.to_file(tmp_path / "reference.gpkg")
    keywords: dict[str, Any] = {"reference": tmp_path / "reference.gpkg", "class_field": "kind"}
    with pytest.raises(DataError, match=r"cloud.*ignore"):
        geoseg.evaluate(map_of(found), **keywords)
    result = geoseg.evaluate(map_of(found), **keywords, ignore=["cloud"])
    np.testing.assert_array_equal(result.matrix.to_numpy(), [[400, 0, 0], [400, 400, 0], [0, 0, 0]])
    assert result.unlabelled == 400
    assert result.scores["mean_iou"]["value"] == pytest.approx(0.5)
    filled = geoseg.evaluate(map_of(found), **keywords, ignore=["cloud"], unlabelled="field")
    assert filled.matrix.loc["field", "forest"] == 200
    with pytest.raises(DataError, match="no class of the map"):
        geoseg.evaluate(map_of(found), **keywords, ignore=["cloud"], unlabelled="background")


def test_several_maps_add_up(pair: tuple[Codes, Codes, Path], tmp_path: Path) -> None:
    found, _, path = pair
    halves = [written(tmp_path / "a.tif", found[:80])]
    below = PLACE @ PLACE.translation(0, 80)
    halves.append(written(tmp_path / "b.tif", found[80:], transform=below))
    together = geoseg.evaluate(halves, reference=path, legend=LEGEND, block_size="20px")
    whole = geoseg.evaluate(map_of(found), reference=path, block_size="20px")
    np.testing.assert_array_equal(together.matrix, whole.matrix)
    assert together.scores["accuracy"] == whole.scores["accuracy"]
    grouped = geoseg.evaluate(halves, reference=path, legend=LEGEND, groups=True)
    assert grouped.scores["accuracy"]["low"] is None
    assert any("fewer than 5 maps" in line for line in grouped.lines())
    with pytest.raises(OptionError, match="2 references for 1 map"):
        geoseg.evaluate(halves[0], reference=[path, path], legend=LEGEND)


def test_what_cannot_be_evaluated_is_said(pair: tuple[Codes, Codes, Path], tmp_path: Path) -> None:
    found, _, path = pair
    stored = written(tmp_path / "map.tif", found)
    with pytest.raises(ClassMapError, match="has code 3, expected 1, 2"):
        geoseg.evaluate(stored, reference=path, legend=Legend.parse("water,forest"))
    with pytest.raises(OptionError, match="block_size is '5', expected a number with its unit"):
        geoseg.evaluate(map_of(found), reference=path, block_size="5")
    with pytest.raises(OptionError, match="25,500 blocks"):
        geoseg.evaluate(map_of(found), reference=path, block_size="1px")
    with pytest.raises(OptionError, match="boundary_distance is 0"):
        geoseg.evaluate(map_of(found), reference=path, boundary_distance=0)
    with pytest.raises(OptionError, match="predicts"):
        geoseg.evaluate("model.safetensors", reference=path)
    with pytest.raises(OptionError, match="scene is for models"):
        geoseg.evaluate(stored, reference=path, scene="a.tif")


def test_errors_are_polygons_the_largest_first(pair: tuple[Codes, Codes, Path], tmp_path: Path) -> None:
    import geopandas as gpd

    found, truth, path = pair
    target = tmp_path / "errors.gpkg"
    result = geoseg.evaluate(map_of(found), reference=path, errors=target)
    frame = gpd.read_file(target, layer="errors")
    assert (np.diff(frame["pixels"]) <= 0).all()
    for (reference, mapped), part in frame.groupby(["reference", "mapped"]):
        assert part["pixels"].sum() == result.matrix.loc[reference, mapped]
    assert set(frame["class_name"]) <= {
        f"{one}, mapped as {other}" for one in LEGEND.names for other in LEGEND.names if one != other
    }
    with pytest.raises(geoseg.OutputExistsError):
        geoseg.evaluate(map_of(found), reference=path, errors=target)
    whole = map_of(patches(0, (60, 70), holes=False))
    other = written(tmp_path / "other.tif", patches(1, (60, 70), holes=False))
    geoseg.evaluate(whole, reference=other, errors=target, overwrite=True, min_area="20px")
    assert gpd.read_file(target, layer="errors")["pixels"].min() >= 20
    geoseg.evaluate(map_of(np.where(truth == 255, 1, truth)), reference=path, errors=target, overwrite=True)
    assert len(gpd.read_file(target, layer="errors")) == 0


def test_two_maps_are_compared(pair: tuple[Codes, Codes, Path], tmp_path: Path) -> None:
    import geopandas as gpd

    found, truth, path = pair
    better = np.where((truth != 255) & (np.random.default_rng(5).random(truth.shape) < 0.5), truth, found)
    better = better.astype(np.uint8)
    result = geoseg.compare(
        map_of(found), map_of(better), reference=path, block_size="20px", output=tmp_path / "changes.gpkg"
    )
    both = (found != 255) & (better != 255)
    counted = both & (truth != 255)
    assert result.agreement == pytest.approx((found == better)[both].mean())
    row = result.differences.set_index("score").loc["accuracy"]
    assert row["first"] == pytest.approx((found == truth)[counted].mean())
    assert row["second"] == pytest.approx((better == truth)[counted].mean())
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert any("beyond chance" in line for line in result.lines())
    changes = gpd.read_file(tmp_path / "changes.gpkg", layer="changes")
    assert changes["pixels"].sum() == np.count_nonzero((found != better) & both)
    same = geoseg.compare(map_of(found), map_of(found), reference=path, block_size="20px")
    assert same.agreement == 1
    assert (same.differences["difference"] == 0).all()
    assert "<table" in same._repr_html_()
    alone = geoseg.compare(map_of(found), map_of(better))
    assert alone.differences.empty
    with pytest.raises(ClassMapError, match="does not lie on the grid"):
        geoseg.compare(map_of(found), map_of(better[:-1]))


def test_an_array_on_another_grid_is_brought_there_as_is_said(pair: tuple[Codes, Codes, Path]) -> None:
    found, *_ = pair
    one = map_of(found)
    array = result_dataset(one.codes, one.codes, one.grid, one.legend)["landcover"]
    turned = array.isel(y=slice(None, None, -1))
    with pytest.raises(ClassMapError, match=r"warp it there with .rio.reproject_match\(\)"):
        geoseg.compare(array, turned)
    assert geoseg.compare(array, turned.rio.reproject_match(array)).agreement == 1


def test_a_multilabel_map_is_evaluated_class_by_class(tmp_path: Path) -> None:
    from geoseg.raster.classmap import LayeredMap

    random = np.random.default_rng(6)
    layers = random.integers(0, 2, (3, 70, 80)).astype(np.uint8)
    truth = np.where(random.random(layers.shape) < 0.8, layers, 1 - layers).astype(np.uint8)
    path = tmp_path / "truth.tif"
    grid = map_of(layers[0]).grid
    profile = {
        "driver": "GTiff", "height": 70, "width": 80, "count": 3, "dtype": "uint8", "nodata": 255,
        "crs": "EPSG:32652", "transform": PLACE,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(truth)
    found = LayeredMap(
        legend=LEGEND, grid=grid, strips=lambda index: [(layers[index], np.ones((70, 80), dtype=bool))]
    )
    result = geoseg.evaluate(found, reference=path)
    for number, name in enumerate(LEGEND.names):
        a, b = layers[number] == 1, truth[number] == 1
        row = result.classes.set_index("name").loc[name]
        assert row["iou"] == pytest.approx((a & b).sum() / (a | b).sum())
        assert result.matrix.loc[name, "true_positive"] == (a & b).sum()
    assert result.scores["mean_iou"]["value"] == pytest.approx(result.classes["iou"].mean())
    assert result.to_dict()["confusion"][0][1][1] == int(((layers[0] == 1) & (truth[0] == 1)).sum())


def test_the_page_opens_in_chromium_and_escapes_names(
    pair: tuple[Codes, Codes, Path], tmp_path: Path
) -> None:
    found, _, path = pair
    hostile = Legend.parse('"<script>alert(1)</script>",forest,field')
    confidence = np.random.default_rng(7).integers(0, 255, found.shape).astype(np.uint8)
    page = tmp_path / "page.html"
    geoseg.evaluate(
        written(tmp_path / "map.tif", found), legend=hostile, reference=path, output=page, block_size="30px",
        confidence=written(tmp_path / "confidence.tif", confidence),
    )  # fmt: skip
    text = page.read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    skip_without("chromium", CHROMIUM is not None)
    with browser(tmp_path / "profile") as tab:
        tab.open(page)
        assert (tab.complaints, tab.requests) == ([], [page.resolve().as_uri()])
        assert tab.evaluate("document.querySelectorAll('svg.chart').length") == 2
        if picture := os.environ.get("GEOSEG_LOOK"):
            tab.screenshot(Path(picture))
    with pytest.raises(OptionError, match="ends in .html"):
        geoseg.evaluate(map_of(found), reference=path, output=tmp_path / "page.pdf")


def test_several_label_values_mean_one_class(pair: tuple[Codes, Codes, Path], tmp_path: Path) -> None:
    """41, 42 and 43 are forest in the United States' national map."""
    found, truth, _ = pair
    codes = np.array([0, 11, 42, 81], np.uint8)
    random = np.random.default_rng(0)
    other = np.where(truth == 255, np.uint8(255), codes[np.minimum(truth, 3)])
    other = np.where(other == 42, 41 + random.integers(0, 3, other.shape), other).astype(np.uint8)
    other[:9] = 95
    named = {"water": ["11"], "Forest": [41, 42, 43], "field": [81]}
    plain, given = truth.copy(), written(tmp_path / "nlcd.tif", other)
    plain[:9] = 255
    expected = geoseg.evaluate(map_of(found), reference=written(tmp_path / "plain.tif", plain))
    same = geoseg.evaluate(map_of(found), reference=given, class_labels=named, ignore=["95"])
    assert np.array_equal(same.confusion.counts, expected.confusion.counts)
    compared = geoseg.compare(
        map_of(found), map_of(found), reference=given, class_labels=named, ignore=["95"]
    )
    assert compared.differences["first"][0] == pytest.approx(expected.scores["accuracy"]["value"])
    with pytest.raises(DataError, match="class_labels"):
        geoseg.evaluate(map_of(found), reference=given, class_labels=named)
    with pytest.raises(OptionError, match="class_labels has 'wood', which is no class of the map"):
        geoseg.evaluate(map_of(found), reference=given, class_labels={"wood": [41]})
    with pytest.raises(OptionError, match="two of the classes"):
        geoseg.evaluate(map_of(found), reference=given, class_labels={"water": [11], "forest": [11]})


def test_numbers_that_mean_other_classes_are_not_compared(
    pair: tuple[Codes, Codes, Path], tmp_path: Path
) -> None:
    """A reference that says by its own legend that 3 is the map's class 1 would give scores of nothing."""
    found, truth, _ = pair
    names = list(LEGEND.names)
    path = written(tmp_path / "other.tif", truth)
    with rasterio.open(path, "r+") as file:
        file.update_tags(
            GEOSEG_LEGEND=legend_to_json(
                Legend.of([(code + 1, name, None) for code, name in enumerate(names[::-1])])
            )
        )

    with pytest.raises(
        DataError, match=rf"other.tif: its 1 is {names[-1]}, which is 3 in the map, where 1 is {names[0]}"
    ):
        geoseg.evaluate(map_of(found), reference=path)

    given = {name: [len(names) - place] for place, name in enumerate(names)}
    assert geoseg.evaluate(map_of(found), reference=path, class_labels=given).scores
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_LEGEND=legend_to_json(LEGEND))
    assert geoseg.evaluate(map_of(found), reference=path).scores
