"""What is wrong with images and labels is found before anything is trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.datasets.block_split import Lattice
from geoseg.datasets.dataset import Channels, Pair
from geoseg.datasets.inspection import Problem, inspect, refusal, windows
from geoseg.errors import DataError
from geoseg.grid.legend import Task
from geoseg.grid.window import Window
from geoseg.labels.coded_labels import CodedLabels
from geoseg.labels.label import UNKNOWN, Meanings
from geoseg.raster.array_scene import ArraySource
from geoseg.raster.scene import Scene
from tests.datasets.sets import write_tif

TWO = Meanings(codes=(1, 2), code_of={1: 1, 2: 2, 0: UNKNOWN})


@dataclass(frozen=True)
class Codes:
    """Labels in memory."""

    codes: npt.NDArray[np.uint8]
    path: str = "codes"

    @property
    def layered(self) -> bool:
        return self.codes.ndim == 3

    def read(self, window: Window) -> npt.NDArray[np.uint8]:
        return self.codes[..., *window.slices]


def pair(folder: Path, name: str, image: Any, labels: Any, **place: Any) -> Pair:
    scene = Scene.open(write_tif(folder / f"{name}.tif", image, nodata=255, **place))
    path = write_tif(folder / f"{name}_labels.tif", labels, **place)
    coded = CodedLabels.open(path, scene.grid, TWO)
    return Pair(name=name, image=scene, labels=coded, channels=Channels(codes=(1, 2)))


def noise(seed: int, shape: tuple[int, ...] = (2, 40, 50), high: int = 255) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, high, size=shape, dtype=np.uint8)


def told(*pairs: Pair) -> dict[str, str]:
    return {problem.key: problem.what for problem in inspect(pairs, {}).problems}


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    pairs = [pair(tmp_path, str(i), noise(i), noise(i + 9, (40, 50), 3)) for i in range(5)]
    assert inspect(pairs, {}).problems == ()


def test_each_kind_of_problem_is_named_in_the_order_of_the_images(tmp_path: Path) -> None:
    labels = [noise(i, (40, 50), 3) for i in range(6)]
    pairs = [
        pair(tmp_path, "void", np.full((2, 40, 50), 255, dtype=np.uint8), labels[0]),
        pair(tmp_path, "flat", np.repeat(np.uint8([7, 9]), 2000).reshape(2, 40, 50), labels[1]),
        pair(tmp_path, "good", noise(1), labels[2]),
        pair(tmp_path, "bare", noise(2), np.zeros((40, 50), dtype=np.uint8)),
        pair(tmp_path, "odd", noise(3), np.where(labels[4] == 2, 9, labels[4]).astype(np.uint8)),
        pair(tmp_path, "cut", noise(4), labels[5]),
    ]
    file = tmp_path / "cut.tif"
    file.write_bytes(file.read_bytes()[:-1000])
    pairs[5] = Pair(name="cut", image=Scene.open(file), labels=pairs[5].labels, channels=pairs[5].channels)
    found = inspect(pairs, {}).problems
    assert [(problem.key, Path(problem.path).name) for problem in found] == [
        ("void", "void.tif"),
        ("flat", "flat.tif"),
        ("bare", "bare_labels.tif"),
        ("odd", "odd_labels.tif"),
        ("cut", "cut.tif"),
    ]
    said = [problem.what for problem in found]
    assert said[0] == "has no valid pixel"
    assert said[1] == "is empty: all its valid pixels are alike"
    assert said[2] == "has no label on a valid pixel of image bare"
    assert "9" in said[3]
    assert "damaged or incomplete" in said[4]
    assert not any("\n" in str(problem) for problem in found)


def test_truncated_labels_are_found(tmp_path: Path) -> None:
    good = pair(tmp_path, "a", noise(0), noise(1, (40, 50), 3))
    file = tmp_path / "a_labels.tif"
    file.write_bytes(file.read_bytes()[:-500])
    labels = CodedLabels.open(file, good.grid, TWO)
    assert (
        "damaged or incomplete"
        in told(Pair(name="a", image=good.image, labels=labels, channels=good.channels))["a"]
    )


def test_a_label_on_invalid_pixels_alone_is_none(tmp_path: Path) -> None:
    image, labels = noise(0), np.zeros((40, 50), dtype=np.uint8)
    image[:, :5], labels[:5] = 255, 1
    assert "no label on a valid pixel" in told(pair(tmp_path, "a", image, labels))["a"]
    labels[5, 0] = 2
    assert told(pair(tmp_path, "a", image, labels)) == {}


def test_an_image_that_is_constant_only_in_parts_is_not_empty(tmp_path: Path) -> None:
    image = np.full((2, 1024, 20), 9, dtype=np.uint8)
    for other in (8, 10):
        image[:, 512:] = other  # constant in each window
        assert told(pair(tmp_path, "a", image, noise(0, (1024, 20), 3))) == {}
    image[:, 512:] = 9
    image[1] = 4
    assert "is empty" in told(pair(tmp_path, "b", image, noise(0, (1024, 20), 3)))["b"]


def test_one_mask_under_several_images_names_them_all(tmp_path: Path) -> None:
    mask, plain = noise(7, (40, 50), 3), np.ones((40, 50), dtype=np.uint8)
    pairs = [
        pair(tmp_path, "a", noise(0), mask),
        pair(tmp_path, "b", noise(1), noise(8, (40, 50), 3)),
        pair(tmp_path, "c", noise(2), mask),
        pair(tmp_path, "d", noise(3), plain),  # one class all over is nothing to wonder about
        pair(tmp_path, "e", noise(4), plain),
        pair(tmp_path, "f", noise(5), mask),
    ]
    found = told(*pairs)
    assert set(found) == {"a", "c", "f"}
    assert found["c"] == "gives image c the mask that a, f has; at most one of them is right"


def test_one_place_at_two_times_may_have_one_mask(tmp_path: Path) -> None:
    mask = noise(7, (40, 50), 3)
    then, now = pair(tmp_path, "then", noise(0), mask, at=0), pair(tmp_path, "now", noise(1), mask, at=0)
    elsewhere = pair(tmp_path, "elsewhere", noise(2), mask, at=100)
    assert told(then, now) == {}
    assert set(told(then, elsewhere)) == {"then", "elsewhere"}
    # Other words for one CRS, and an affine that was written down with fewer digits, are no other place.
    assert isinstance(now.image, Scene)
    grid = now.image.grid
    words = pyproj.CRS(grid.crs).to_wkt()
    rounded = dataclasses.replace(grid, crs=words, transform=grid.transform @ Affine.translation(1e-6, 0))
    again = dataclasses.replace(now, image=dataclasses.replace(now.image, grid=rounded))
    assert again.grid != then.grid
    assert told(then, again) == {}


def test_images_without_a_place_show_one_where_a_person_says_so(tmp_path: Path) -> None:
    mask = noise(7, (40, 50), 3)
    then, now, other = (
        pair(tmp_path, name, noise(i), mask) for i, name in enumerate(("then", "now", "other"))
    )
    groups = {"then": "lake", "now": "lake", "other": "hill"}
    assert not inspect([then, now], {}, groups).problems
    assert {each.key for each in inspect([then, now, other], {}, groups).problems} == {"then", "now", "other"}
    assert {each.key for each in inspect([then, now], {}, {"now": "lake"}).problems} == {"then", "now"}
    # Where files say what ground they show, that counts.
    here, there = (
        pair(tmp_path, "here", noise(3), mask, at=0),
        pair(tmp_path, "there", noise(4), mask, at=100),
    )
    assert inspect([here, there], {}, {"here": "lake", "there": "lake"}).problems


def in_memory(codes: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_], task: Task) -> Pair:
    image = ArraySource.of(noise(0, (1, *codes.shape[-2:])), valid=valid)
    channels = Channels(codes=(1,) if task == "binary" else (1, 2, 4), task=task)
    return Pair(name="a", image=image, labels=Codes(codes), channels=channels)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_background_alone_is_a_label(task: Task) -> None:
    codes = np.zeros((8, 9) if task == "binary" else (3, 8, 9), dtype=np.uint8)
    assert told(in_memory(codes, np.ones((8, 9), dtype=bool), task)) == {}
    assert "no label" in told(in_memory(codes + np.uint8(UNKNOWN), np.ones((8, 9), dtype=bool), task))["a"]


@given(
    arrays(np.uint8, (3, 11, 13), elements=st.sampled_from([0, 1, 1, UNKNOWN])),
    arrays(np.bool_, (11, 13)),
    st.integers(2, 7),
    st.sampled_from(["multiclass", "binary", "multilabel"]),
)
def test_labels_are_counted_by_block_and_class(
    codes: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_], size: int, task: Task
) -> None:
    if task != "multilabel":
        codes = codes[0]
    if task == "multiclass":
        codes = np.where(codes == 0, 4, codes).astype(np.uint8)
    lattice = Lattice(shape=(11, 13), size=size)
    found = inspect([in_memory(codes, valid, task)], {"a": lattice}).counts["a"]
    kinds = {"multiclass": 3, "binary": 2, "multilabel": 4}[task]
    expected = np.zeros((*lattice.blocks, kinds), dtype=np.int64)
    for r in range(11):
        for c in range(13):
            place = min(r // size, lattice.blocks[0] - 1), min(c // size, lattice.blocks[1] - 1)
            if not valid[r, c]:
                continue
            if task == "multilabel":
                for layer in range(3):
                    expected[*place, layer] += codes[layer, r, c] == 1
                expected[*place, 3] += (codes[:, r, c] == 0).all()
            elif codes[r, c] != UNKNOWN:
                expected[*place, {1: 0, 4: 2}[int(codes[r, c])] if task == "multiclass" else codes[r, c]] += 1
    assert np.array_equal(found, expected)


@given(st.integers(1, 1500), st.integers(1, 5000))
def test_windows_meet_every_pixel_once(height: int, width: int) -> None:
    hits = np.zeros((height, width), dtype=np.uint8)
    for window in windows((height, width)):
        assert window.within((height, width)) == window
        hits[window.slices] += 1
    assert (hits == 1).all()


def problem(key: str, what: str) -> Problem:
    return Problem(key=key, path=f"{key}.tif", what=what)


def test_the_refusal_counts_names_and_tells_what_to_do() -> None:
    assert str(DataError(*refusal([problem("a", "is empty")], 9))) == (
        "1 of 9 images cannot be used: a.tif: is empty; correct it, name it in data.exclude, or go on without it "
        "with skip_bad=True"
    )
    # A trial of a sweep says the problem alone: nobody passed it a keyword.
    problem_alone, _ = refusal([problem("a", "is empty")], 9)
    assert problem_alone == "1 of 9 images cannot be used: a.tif: is empty"
    assert not problem_alone.keywords
    several = [
        problem("a", "x"),
        problem("b", "y"),
        problem("c", "x"),
        problem("d", "x"),
        problem("e", "z"),
        problem("f", "u"),
    ]
    assert str(DataError(*refusal(several, 6))) == (
        "6 of 6 images cannot be used: (1) a.tif (and 2 others): x; (2) b.tif: y; (3) e.tif: z; "
        "and 1 more kind of problems; correct them"
    )
