"""Estimators: published figures, a naive oracle, laws, and how often intervals hold what is true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.assessment.accuracy.estimators import LabelledSample, Z

Floats = npt.NDArray[np.float64]
INFINITE = np.inf


def of_matrix(matrix: list[list[int]], sizes: list[float], pixels: float = INFINITE) -> LabelledSample:
    """A sample whose strata are the map's classes, given its counts by (map, reference)."""
    counts, size = np.array(matrix), np.array(sizes, float)
    row, col = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    return LabelledSample(
        share=size / size.sum(), pixels=np.full(len(size), pixels), stratum=row, mapped=row, reference=col,
        area=np.ones(len(row)), classes=len(counts),
    )  # fmt: skip


# --- Olofsson et al. 2014, tables 8 and 9

PIXELS_2014 = [200_000.0, 150_000.0, 3_200_000.0, 6_450_000.0]
OLOFSSON_2014 = of_matrix([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]], PIXELS_2014)
HECTARES = sum(PIXELS_2014) * 0.09


def test_olofsson_2014() -> None:
    areas = OLOFSSON_2014.areas()
    assert (areas.value * HECTARES).round(3).tolist() == [21157.762, 11686.154, 285769.930, 581386.154]
    assert (areas.se * HECTARES).round(3).tolist() == [3141.650, 1916.238, 7913.182, 8306.968]
    assert (Z * areas.se * HECTARES).round(2).tolist() == [6157.63, 3755.83, 15509.84, 16281.66]
    assert (Z * areas.se * HECTARES).round().tolist() == [6158, 3756, 15510, 16282], "as printed"
    users, producers, overall = OLOFSSON_2014.users(), OLOFSSON_2014.producers(), OLOFSSON_2014.overall()
    assert users.value.round(5).tolist() == [0.88, 0.73333, 0.92727, 0.96308]
    assert (Z * users.se).round(5).tolist() == [0.07404, 0.10076, 0.03975, 0.02053]
    assert producers.value.round(5).tolist() == [0.74866, 0.84716, 0.93451, 0.96161]
    assert (Z * producers.se).round(5).tolist() == [0.21331, 0.25441, 0.03432, 0.01836]
    assert overall.value.round(6).tolist() == [0.946512]
    assert overall.se.round(6).tolist() == [0.009430]
    assert (Z * overall.se).round(6).tolist() == [0.018484]


def test_misprints_and_a_well_known_mistake_are_not_matched() -> None:
    half = Z * OLOFSSON_2014.producers().se
    assert half[1].round(2) != 0.23
    assert half[3].round(2) != 0.01
    assert round(float(OLOFSSON_2014.areas().se[0] * sum(PIXELS_2014))) == 34907 != 34097
    # A sum over i = j as well, or the mapped instead of the estimated area below the line.
    for right, wrong in zip(half, (0.2187, 0.2727, 0.0508, 0.0269), strict=True):
        assert round(float(right), 4) != wrong
    for right, wrong in zip(Z * OLOFSSON_2013.producers().se, (0.2252, 0.0328, 0.0498), strict=True):
        assert round(float(right), 4) != wrong


# --- Olofsson et al. 2013

AREAS_2013 = [22_353.0, 1_122_543.0, 610_228.0]
OLOFSSON_2013 = of_matrix([[97, 0, 3], [3, 279, 18], [2, 1, 97]], AREAS_2013)


def test_olofsson_2013_first_example() -> None:
    areas, total = OLOFSSON_2013.areas(), sum(AREAS_2013)
    assert areas.value.round(6).tolist() == [0.025703, 0.598287, 0.376010]
    assert (areas.value * total).round(2).tolist() == [45112.40, 1050067.27, 659944.33]
    assert (areas.se * total).round(2).tolist() == [10751.40, 17652.04, 18635.86]
    users, producers, overall = OLOFSSON_2013.users(), OLOFSSON_2013.producers(), OLOFSSON_2013.overall()
    assert users.value.round(5).tolist() == [0.97, 0.93, 0.97]
    assert (Z * users.se).round(5).tolist() == [0.03360, 0.02892, 0.03360]
    assert producers.value.round(5).tolist() == [0.48063, 0.99419, 0.89693]
    assert (Z * producers.se).round(5).tolist() == [0.22453, 0.01133, 0.04121]
    assert (overall.value.round(6).item(), (Z * overall.se).round(6).item()) == (0.944417, 0.021882)


def test_olofsson_2013_second_example() -> None:
    sample = of_matrix([[127, 66, 54], [2, 322, 17], [0, 15, 540]], [0.007, 0.295, 0.698])
    areas, users, producers, overall = sample.areas(), sample.users(), sample.producers(), sample.overall()
    assert (overall.value.round(6).item(), (Z * overall.se).round(6).item()) == (0.961297, 0.011864)
    assert users.value.round(5).tolist() == [0.51417, 0.94428, 0.97297]
    assert (Z * users.se).round(5).tolist() == [0.06246, 0.02438, 0.01350]
    assert producers.value.round(5).tolist() == [0.67535, 0.93072, 0.97665]
    assert (Z * producers.se).round(5).tolist() == [0.30459, 0.02938, 0.00960]
    assert areas.value.round(6).tolist() == [0.005329, 0.299298, 0.695372]
    assert (Z * areas.se).round(6).tolist() == [0.002434, 0.011863, 0.011642]


# --- Stehman 2014

STEHMAN = (
    "AA AA AA AA AA AC AB BA BB BC",
    "AA BB BB BB BB BB BA BA BB BB",
    "BC BC CC CC CC CD CD CB BB BA",
    "DD DD DD DD DD DD DD DC DC DB",
)


def stehman(pixels: list[float]) -> LabelledSample:
    pairs = [pair for line in STEHMAN for pair in line.split()]
    share = np.array([0.4, 0.3, 0.2, 0.1])
    return LabelledSample(
        share=share,
        pixels=np.array(pixels),
        stratum=np.arange(4).repeat(10),
        mapped=np.array(["ABCD".index(pair[0]) for pair in pairs]),
        reference=np.array(["ABCD".index(pair[1]) for pair in pairs]),
        area=np.ones(40),
        classes=4,
    )


def test_stehman_2014() -> None:
    sample = stehman([40_000.0, 30_000.0, 20_000.0, 10_000.0])
    areas, users, producers, overall = sample.areas(), sample.users(), sample.producers(), sample.overall()
    assert areas.value.round(2).tolist() == [0.35, 0.34, 0.20, 0.11]
    assert areas.se.round(5).tolist() == [0.08225, 0.07585, 0.06428, 0.03072]
    assert users.value.round(5).tolist() == [0.74194, 0.57447, 0.5, 0.7]
    assert users.se.round(5).tolist() == [0.16454, 0.12478, 0.21511, 0.15268]
    assert producers.value.round(5).tolist() == [0.65714, 0.79412, 0.3, 0.63636]
    assert producers.se.round(5).tolist() == [0.14771, 0.11655, 0.15041, 0.16228]
    assert (overall.value.round(2).item(), overall.se.round(5).item()) == (0.63, 0.08464)
    assert sample.matrix().round(2).tolist() == [
        [0.23, 0.04, 0.04, 0.0], [0.12, 0.27, 0.08, 0.0], [0.0, 0.02, 0.06, 0.04], [0.0, 0.01, 0.02, 0.07],
    ]  # fmt: skip
    assert stehman([INFINITE] * 4).areas().se[0].round(5) == 0.08226, "without the correction"


def test_a_published_assessment_with_real_points(shared: Path) -> None:
    """Zamora, 2016: 393 points in five classes. The mapped areas, not published, follow from the five estimated ones.

    What is left to be right are the overall accuracy, the accuracies of each class and the half-widths.
    """
    points = pyogrio.read_dataframe(
        shared / "zamora_accuracy" / "accuracy_assessment" / "shp" / "values.shp", read_geometry=False
    )
    points = points[points["Classified"] <= 5]
    counts = np.zeros((5, 5), int)
    np.add.at(counts, (points["Classified"] - 1, points["Reference"] - 1), 1)
    assert counts.sum() == 393
    hectares = np.array([3331.1, 2892.7, 22785.6, 34038.4, 3676.7])
    mapped = np.linalg.solve((counts / counts.sum(axis=1, keepdims=True)).T, hectares)
    sample = of_matrix(counts.tolist(), mapped.tolist())
    assert sample.overall().value.round(4).item() == 0.6909
    assert sample.users().value.round(3).tolist() == [0.769, 0.842, 0.667, 0.737, 0.477]
    assert sample.producers().value.round(3).tolist() == [0.508, 0.937, 0.657, 0.682, 0.956]
    np.testing.assert_allclose(sample.areas().value * hectares.sum(), hectares)
    published = [1126.9, 649.5, 2731.3, 2964.9, 1144.5]
    np.testing.assert_allclose(Z * sample.areas().se * hectares.sum(), published, atol=0.06)


# --- an oracle that follows the formulas term by term


def olofsson(counts: Floats, weight: Floats) -> dict[str, Floats]:
    """Estimates with their variances, in loops over classes as the papers write them."""
    q, n = len(counts), counts.sum(axis=1)
    p = [[weight[i] * counts[i, j] / n[i] for j in range(q)] for i in range(q)]
    area = np.array([sum(p[i][j] for i in range(q)) for j in range(q)])
    area_v = np.array(
        [
            sum(
                weight[i] ** 2 * (counts[i, j] / n[i]) * (1 - counts[i, j] / n[i]) / (n[i] - 1)
                for i in range(q)
            )
            for j in range(q)
        ]
    )
    users = np.array([counts[i, i] / n[i] for i in range(q)])
    users_v = users * (1 - users) / (n - 1)
    producers, producers_v = np.empty(q), np.empty(q)
    for j in range(q):
        producers[j] = p[j][j] / area[j] if area[j] else np.nan
        own = weight[j] ** 2 * (1 - producers[j]) ** 2 * users[j] * (1 - users[j]) / (n[j] - 1)
        others = sum(
            weight[i] ** 2 * (counts[i, j] / n[i]) * (1 - counts[i, j] / n[i]) / (n[i] - 1)
            for i in range(q)
            if i != j
        )
        producers_v[j] = (own + producers[j] ** 2 * others) / area[j] ** 2 if area[j] else np.nan
    overall_v = sum(weight[i] ** 2 * users_v[i] for i in range(q))
    return {
        "area": area, "area_v": area_v, "users": users, "users_v": users_v, "producers": producers,
        "producers_v": producers_v, "overall": np.array(sum(p[i][i] for i in range(q))),
        "overall_v": np.array(overall_v),
    }  # fmt: skip


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Floats, Floats]:
    q = draw(st.integers(2, 5))
    counts = np.array(
        draw(st.lists(st.lists(st.integers(0, 30), min_size=q, max_size=q), min_size=q, max_size=q))
    )
    counts[np.diag_indices(q)] += 2  # two points in each stratum
    weight = np.array(draw(st.lists(st.floats(0.001, 1), min_size=q, max_size=q)))
    return counts, weight / weight.sum()


@given(matrices())
def test_where_strata_are_map_classes_it_is_olofssons_estimator(case: tuple[Floats, Floats]) -> None:
    counts, weight = case
    sample = of_matrix(counts.tolist(), weight.tolist())
    expected = olofsson(counts.astype(float), weight)
    for name, found in {
        "area": sample.areas(), "users": sample.users(), "producers": sample.producers(), "overall": sample.overall()
    }.items():  # fmt: skip
        np.testing.assert_allclose(found.value.squeeze(), expected[name], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found.se.squeeze() ** 2, expected[f"{name}_v"], rtol=1e-9, atol=1e-15)


@st.composite
def samples(draw: st.DrawFn) -> LabelledSample:
    """Samples whose strata have nothing to do with the map, of pixels that are not equally large."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    strata, classes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    stratum = np.concatenate(
        [np.arange(strata).repeat(2), random.integers(0, strata, draw(st.integers(0, 60)))]
    )
    share = random.random(strata) + 0.01
    points = np.bincount(stratum)
    return LabelledSample(
        share=share / share.sum(),
        pixels=points + random.integers(1, 1000, strata).astype(float),
        stratum=stratum,
        mapped=random.integers(0, classes, len(stratum)),
        reference=random.integers(0, classes, len(stratum)),
        area=random.random(len(stratum)) + 0.5,
        classes=classes,
    )


@given(samples(), st.randoms())
def test_areas_add_up_and_the_order_of_points_does_not_matter(sample: LabelledSample, random) -> None:
    assert sample.areas().value.sum() == pytest.approx(1)
    matrix = sample.matrix()
    assert matrix.sum() == pytest.approx(1)
    np.testing.assert_allclose(matrix.sum(axis=0), sample.areas().value, atol=1e-12)
    assert np.trace(matrix) == pytest.approx(sample.overall().value.item())
    order = np.arange(len(sample.stratum))
    random.shuffle(order)
    names = ("stratum", "mapped", "reference", "area")
    fields = {name: getattr(sample, name)[order] for name in names}
    other = LabelledSample(share=sample.share, pixels=sample.pixels, classes=sample.classes, **fields)
    for verb in ("areas", "users", "producers", "overall"):
        here, there = getattr(sample, verb)(), getattr(other, verb)()
        np.testing.assert_allclose(here.value, there.value, rtol=1e-10)
        np.testing.assert_allclose(here.se, there.se, rtol=1e-7, atol=1e-9)


def test_a_stratum_that_is_counted_whole_is_known_for_sure() -> None:
    sample = LabelledSample(
        share=np.array([0.25, 0.75]), pixels=np.array([1.0, 3.0]), stratum=np.array([0, 1, 1, 1]),
        mapped=np.array([0, 1, 1, 1]), reference=np.array([1, 1, 0, 1]), area=np.array([1.0, 1, 2, 1e-9]),
        classes=2,
    )  # fmt: skip
    areas = sample.areas()
    np.testing.assert_allclose(areas.value, [0.75 * 2 / 3, 0.25 + 0.75 / 3], atol=1e-8)
    assert areas.se.tolist() == [0, 0]


def test_a_class_that_is_nowhere_has_no_accuracy() -> None:
    sample = of_matrix([[3, 1, 0], [1, 3, 0], [0, 0, 0]], [1, 1, 1])
    two = LabelledSample(
        share=np.array([0.5, 0.5]), pixels=np.full(2, 100.0), stratum=sample.stratum, mapped=sample.mapped,
        reference=sample.reference, area=sample.area, classes=3,
    )  # fmt: skip
    assert np.isnan(two.users().value).tolist() == np.isnan(two.users().se).tolist() == [False, False, True]
    assert two.areas().value[2] == two.areas().se[2] == 0


# --- simulation: docs/accuracy.md has more of it


def test_intervals_hold_the_truth_about_95_times_in_100() -> None:
    """300 samples of 150 points a stratum; of each class on the ground 15 or more are expected in each stratum."""
    random = np.random.default_rng(20)
    pixels, wrong = np.array([60_000, 30_000, 10_000]), 0.3
    maps = np.arange(3).repeat(pixels)
    truth = np.where(random.random(len(maps)) < wrong, random.integers(0, 3, len(maps)), maps)
    true_area = np.bincount(truth) / len(maps)
    true_producers = np.array([(maps[truth == c] == c).mean() for c in range(3)])
    begin = [0, *np.cumsum(pixels)]
    held = {"area": np.zeros(3), "producers": np.zeros(3), "overall": np.zeros(1)}
    rounds = 300
    for _ in range(rounds):
        drawn = np.concatenate([random.choice(b - a, 150, replace=False) + a for a, b in pairwise(begin)])
        sample = LabelledSample(
            share=pixels / pixels.sum(), pixels=pixels.astype(float), stratum=maps[drawn], mapped=maps[drawn],
            reference=truth[drawn], area=np.ones(450), classes=3,
        )  # fmt: skip
        for name, found, true in (
            ("area", sample.areas(), true_area),
            ("producers", sample.producers(), true_producers),
            ("overall", sample.overall(), (maps == truth).mean()),
        ):
            held[name] += (found.low <= true) & (true <= found.high)
    for name, count in held.items():
        assert (count / rounds > 0.91).all(), (name, count / rounds)
        assert (count / rounds < 0.985).all(), (name, count / rounds)
