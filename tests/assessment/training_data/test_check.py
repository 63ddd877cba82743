"""Checks of training data: a clean set passes, and each fault that is put into it is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from geoseg_cli.main import group
from rasterio.transform import from_origin
from scipy import ndimage

import geoseg
from geoseg.assessment.training_data.finding import CHECKS, DataFinding
from geoseg.datasets.opening import first_image, open_data, open_image
from geoseg.datasets.statistics import measure
from geoseg.errors import ConfigError, DataError, OptionError, OutputExistsError
from geoseg.learning.config import Config
from tests.assessment.training_data.made import (
    CLASSES,
    COUNT,
    EDGE,
    NAMES,
    clean_set,
    configured,
    image_of,
    labels_of,
    place,
    put_image,
    put_labels,
)
from tests.datasets.sets import card_of


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    clean_set(folder)
    return folder


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    """A copy of the clean set, to spoil."""
    return Path(shutil.copytree(clean, tmp_path / "set"))


def checked(folder: Path, **more: Any) -> geoseg.DataQuality:
    quality = geoseg.check(folder / "config.yaml", progress=False, **more)
    assert isinstance(quality, geoseg.DataQuality)
    return quality


def found(folder: Path, **more: Any) -> list[DataFinding]:
    return list(checked(folder, **more).found)


def test_a_clean_set_has_no_finding(clean: Path) -> None:
    quality = checked(clean)
    assert quality.found == ()
    assert quality.passed
    assert quality.exit_code == 0
    assert quality.findings.empty


def test_facts_are_those_of_the_files(clean: Path) -> None:
    quality = checked(clean)
    every = np.stack([labels_of(number) for number in range(COUNT)])
    pixels = np.stack([image_of(labels, number) for number, labels in enumerate(every)], axis=1)
    bands = quality.bands
    assert list(bands.index) == ["green", "nir"]
    np.testing.assert_allclose(bands["mean"], pixels.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(bands["std"], pixels.std(axis=(1, 2, 3)))
    assert bands["min"].tolist() == pixels.min(axis=(1, 2, 3)).tolist()
    assert bands["max"].tolist() == pixels.max(axis=(1, 2, 3)).tolist()
    classes = quality.classes
    for code in (1, 2, 3):
        row = classes.loc[CLASSES[code]["name"]]
        assert row["pixels"] == (every == code).sum()
        assert [row["train"], row["val"], row["test"]] == [
            (every[part] == code).sum() for part in (slice(0, 4), slice(4, 5), slice(5, 6))
        ]
        sizes = np.concatenate(
            [np.bincount(ndimage.label(labels == code)[0].ravel())[1:] for labels in every]
        )
        assert row["objects"] == len(sizes)
        assert (row["smallest_px"], row["largest_px"]) == (sizes.min(), sizes.max())
        assert row["median_px"] == np.sort(sizes)[(len(sizes) + 1) // 2 - 1]
    assert (quality.cooccurrence.to_numpy() == COUNT).all()
    images = quality.images
    assert images["split"].tolist() == ["train"] * 4 + ["val", "test"]
    assert set(images["crs"]) == {"EPSG:32652 WGS 84 / UTM zone 52N"}
    np.testing.assert_allclose(images["resolution_m"], 10, rtol=1e-3)
    assert set(zip(images["rows"], images["cols"], images["bands"], strict=True)) == {(EDGE, EDGE, 2)}


Spoil = Callable[[Path], object]


def damaged(folder: Path) -> None:
    path = folder / "images" / "p1.tif"
    path.write_bytes(path.read_bytes()[:2000])


def smaller_labels(folder: Path) -> None:
    """Of plain pictures the size alone says what belongs where."""
    for number in range(COUNT):
        labels = labels_of(number)
        put_image(folder, number, image_of(labels, number), transform=None, crs=None)
        put_labels(folder, number, labels[: EDGE - (number == 2)], transform=None, crs=None)


def no_data_in_labels(folder: Path) -> None:
    labels = labels_of(0)
    pixels = image_of(labels, 0)
    pixels[:, :, 10:20] = 0
    put_image(folder, 0, pixels, nodata=0)


def undeclared(folder: Path) -> None:
    pixels = image_of(labels_of(0), 0).astype(np.int16)
    pixels[:, :9] = -9999
    for number in range(1, COUNT):
        put_image(folder, number, image_of(labels_of(number), number).astype(np.int16))
    put_image(folder, 0, pixels)


def rare(folder: Path, numbers: tuple[int, ...], spots: int = 2) -> None:
    """Add a fourth class to some patches only."""
    for number in numbers:
        labels = labels_of(number)
        for spot in range(spots):
            labels[5 + 20 * spot : 12 + 20 * spot, 5:12] = 4
        put_labels(folder, number, labels)
    configured(folder, classes=CLASSES | {4: {"name": "rock"}})


def shifted(folder: Path) -> None:
    for number in range(COUNT):
        put_labels(folder, number, np.roll(labels_of(number), (0, -3), axis=(0, 1)))


def clustered(folder: Path) -> None:
    for number in range(COUNT):
        labels = labels_of(number)
        if number in (0, 4, 5):
            side = 16 if number == 0 else 2
            labels[16 : 16 + side, 16 : 16 + side : 2] = 4
        put_labels(folder, number, labels)
    configured(folder, classes=CLASSES | {4: {"name": "rock"}})


def replaced(folder: Path, source: str, target: str) -> None:
    shutil.copyfile(folder / source, folder / target)


def tagged(folder: Path) -> None:
    with rasterio.open(folder / "images" / "p2.tif", "r+") as file:
        file.scales = (0.0001, 0.0001)


SPOILED: dict[str, tuple[str, str, Spoil, tuple[str, ...]]] = {
    "damaged file": ("image", "error", damaged, ("p1",)),
    "no labels": ("missing", "error", lambda f: (f / "labels/p3.tif").unlink(), ("p3",)),
    "size": ("labels", "error", smaller_labels, ("p2",)),
    "values": ("labels", "error", lambda f: put_labels(f, 1, labels_of(1) + 6), ("p1",)),
    "one value": ("empty", "error", lambda f: put_image(f, 2, np.full((2, EDGE, EDGE), 7, np.uint16)), ("p2",)),
    "no valid pixel": (
        "empty", "error", lambda f: put_image(f, 2, np.zeros((2, EDGE, EDGE), np.uint16), nodata=0), ("p2",)
    ),
    "no label": ("unlabelled", "error", lambda f: put_labels(f, 2, labels_of(2), nodata=255) or put_labels(
        f, 2, np.full((EDGE, EDGE), 255, np.uint8), nodata=255), ("p2",)),
    "tags": ("scale", "error", tagged, ("p2",)),
    "undeclared": ("nodata", "error", undeclared, ("p0",)),
    "one mask": ("mask", "error", lambda f: put_labels(f, 3, labels_of(1)), ("p1", "p3")),
    "split": ("split", "error", lambda f: configured(f, split={"train": ["p9"], "val": ["p1"]}), ()),
    "in no split": (
        "split",
        "hint",
        lambda f: configured(f, split={"train": NAMES[:4], "val": NAMES[4:5]}),
        ("p5",),
    ),
    "ground": ("ground", "error", lambda f: (
        put_image(f, 4, image_of(labels_of(4), 4), **place(0)), put_labels(f, 4, labels_of(4), **place(0))
    ), ("p0", "p4")),
    "twice in one split": ("identical", "warning", lambda f: put_image(f, 1, image_of(labels_of(0), 0)), ("p0", "p1")),
    "twice in two splits": ("identical", "error", lambda f: put_image(f, 4, image_of(labels_of(0), 0)), ("p0", "p4")),
    "constant band": ("constant", "warning", lambda f: put_image(
        f, 1, image_of(labels_of(1), 1) * np.uint16([[[1]], [[0]]]) + np.uint16(3)), ("p1",)),
    "band constant everywhere": ("constant", "error", lambda f: [put_image(
        f, n, image_of(labels_of(n), n) * np.uint16([[[1]], [[0]]]) + np.uint16(3)) for n in range(COUNT)],
        tuple(NAMES)),
    "no CRS": ("unlike", "warning", lambda f: put_image(f, 3, image_of(labels_of(3), 3), crs=None), ("p3",)),
    "other CRS": ("unlike", "hint", lambda f: (
        put_image(f, 3, image_of(labels_of(3), 3), crs="EPSG:32653"),
        put_labels(f, 3, labels_of(3), crs="EPSG:32653")), ("p3",)),
    "other pixels": ("unlike", "warning", lambda f: (
        put_image(f, 3, image_of(labels_of(3), 3), transform=from_origin(5e5, 3e6, 30, 30)),
        put_labels(f, 3, labels_of(3), transform=from_origin(5e5, 3e6, 30, 30))), ("p3",)),
    "no training pixel": ("absent", "error", lambda f: rare(f, (4, 5)), ()),
    "no validation pixel": ("absent", "warning", lambda f: rare(f, (0, 1, 5)), ()),
    "class of nothing": ("absent", "error", lambda f: rare(f, ()), ()),
    "one image": ("few", "warning", lambda f: rare(f, (0,)), ()),
    "labels on no data": ("invalid", "hint", no_data_in_labels, ("p0",)),
    "larger labels": ("outside", "hint", lambda f: put_labels(
        f, 0, np.pad(labels_of(0), ((0, 0), (0, 30)), mode="edge")), ("p0",)),
    "corner": ("origin", "warning", lambda f: put_labels(f, 0, labels_of(0), col=-1), ("p0",)),
    "shift": ("shift", "hint", shifted, ()),
    "clustered": ("clustered", "hint", clustered, ()),
}  # fmt: skip
"""What is done to the clean set, and the finding that says it: check, severity, images."""

ALSO = {
    "no validation pixel": {"few"},
    "one image": {"absent"},
    "no training pixel": set(),
    "ground": {"identical"},
}
"""Checks that rightly say something, too."""


@pytest.mark.parametrize("name", SPOILED)
def test_each_fault_is_found(name: str, folder: Path) -> None:
    check, severity, spoil, images = SPOILED[name]
    spoil(folder)
    quality = checked(folder)
    mine = [each for each in quality.found if each.check == check and each.severity == severity]
    assert mine, [str(each.line) for each in quality.found]
    assert mine[0].images == images
    others = {each.check for each in quality.found if each.severity != "hint"} - {check}
    assert others <= ALSO.get(name, set()), [str(each.line) for each in quality.found]
    assert quality.exit_code == (3 if any(each.severity == "error" for each in quality.found) else 0)
    json.dumps(quality.to_dict(), allow_nan=False)


def refused(config: Config) -> bool:
    """Tell whether a training would refuse its data."""
    try:
        first = open_image(first_image(config.data, config.data_root), config.data)
        opened = open_data(config.data, config.data_root, card_of(config, str(first.dtype)))
        measure(opened.splits["train"])
    except (DataError, ConfigError):
        return True
    return False


@pytest.mark.parametrize("name", [*SPOILED, "clean"])
def test_an_error_is_what_a_training_refuses(name: str, folder: Path) -> None:
    """Besides pictures that are in two splits, which nothing but equal pixels gives away."""
    if name != "clean":
        SPOILED[name][2](folder)
    errors = {each.check for each in found(folder) if each.severity == "error"}
    assert refused(Config.read(folder / "config.yaml")) == bool(errors - {"identical"})


def test_every_check_is_seeded() -> None:
    assert {check for check, *_ in SPOILED.values()} == set(CHECKS)


def test_a_hint_on_shifted_labels_says_how_far(folder: Path) -> None:
    shifted(folder)
    (hint,) = found(folder)
    assert "better 3 px to the right" in hint.what


def test_shapes_outside_the_image_are_counted(folder: Path) -> None:
    west, north = 500_000, 4_000_000
    boxes = [
        shapely.box(west + 100 * n, north - 400, west + 100 * n + 60, north - 340)
        for n in (0, 2, 4, 6, 50, 60)
    ]
    frame = geopandas.GeoDataFrame({"kind": ["a", "b"] * 3}, geometry=boxes, crs="EPSG:32652")
    frame.to_file(folder / "drawn.gpkg")
    quality = geoseg.check(
        folder / "images" / "p0.tif", labels=folder / "drawn.gpkg", class_field="kind", progress=False,
        changes=["data.split.size=8"],
    )  # fmt: skip
    assert [
        "2 of its 6 shapes lie outside the image" in each.what
        for each in quality.found
        if each.check == "outside"
    ]


def test_images_and_labels_are_given_in_many_ways(clean: Path) -> None:
    images, labels = ([clean / kind / f"{name}.tif" for name in NAMES] for kind in ("images", "labels"))
    ways = [
        geoseg.check(clean / "images", labels=clean / "labels", progress=False),
        geoseg.check(images, labels=labels, progress=False),
        geoseg.check(list(zip(images, labels, strict=True)), progress=False),
    ]
    for each in ways:
        assert each.classes["pixels"].sum() == COUNT * EDGE**2
        assert each.passed
    alone = geoseg.check(images[0], labels=labels[0], progress=False)
    assert alone.classes["pixels"].sum() == EDGE**2


def test_an_image_without_labels_in_the_folder_is_found(folder: Path) -> None:
    (folder / "labels" / "p3.tif").unlink()
    quality = geoseg.check(folder / "images", labels=folder / "labels", progress=False)
    assert [(each.check, each.images) for each in quality.found] == [("missing", ("p3",))]


def test_what_does_not_go_together_is_refused(clean: Path, tmp_path: Path) -> None:
    config = clean / "config.yaml"
    with pytest.raises(OptionError, match="profile is for polygon maps"):
        geoseg.check(config, profile="clc2024")  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="says where its labels are"):
        geoseg.check(config, labels=clean / "labels")
    with pytest.raises(OptionError, match="expected one for each in their order"):
        geoseg.check([clean / "images/p0.tif"] * 3, labels=[clean / "labels/p0.tif"] * 2)
    with pytest.raises(DataError, match="pass labels="):
        geoseg.check(clean / "images")
    with pytest.raises(DataError, match="pass labels="):
        geoseg.check(clean / "images" / "p0.tif")
    with pytest.raises(OptionError, match="unlabelled is for training data"):
        geoseg.check("map.gpkg", unlabelled="background")  # type: ignore[call-overload]
    with pytest.raises(OptionError, match=r"ends in \.html"):
        geoseg.check(config, output=tmp_path / "x.gpkg")
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(OutputExistsError):
        geoseg.check(config, output=tmp_path / "page.html")


def test_the_command_says_what_python_says(folder: Path) -> None:
    put_labels(folder, 3, labels_of(1))
    quality = checked(folder)
    run = CliRunner().invoke(group, ["check", str(folder / "config.yaml"), "--json", "-q"])
    assert run.exit_code == quality.exit_code == 3, run.output
    assert json.loads(run.stdout) == json.loads(json.dumps(quality.to_dict()))
    lines = CliRunner().invoke(group, ["check", str(folder / "config.yaml"), "-q"])
    assert lines.stdout.splitlines() == list(quality.lines())
    clean = CliRunner().invoke(
        group,
        [
            "check",
            str(folder / "images"),
            "--labels",
            str(folder / "labels"),
            "-q",
            "--set",
            "data.exclude=[p3]",
        ],
    )
    assert clean.exit_code == 0, clean.output
