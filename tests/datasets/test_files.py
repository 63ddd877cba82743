"""Files become images and labels: by key, or as a table says."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest

from geoseg.datasets.description import DataConfig
from geoseg.datasets.files import Entry, find_entries
from geoseg.errors import ConfigError, DataError
from tests.datasets.sets import description


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(root: Path, **changes: Any) -> dict[str, tuple[str, str | None]]:
    entries = find_entries(DataConfig.model_validate(description(**changes)), root)
    return {
        e.key: (e.image.relative_to(root).as_posix(), e.labels and e.labels.relative_to(root).as_posix())
        for e in entries
    }


def test_images_and_labels_meet_by_name_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{n}.tif" for n in (10, 2, 1)), *(f"labels/{n}.tif" for n in (1, 2)))
    (tmp_path / "images" / "folder.tif").mkdir()
    assert found(tmp_path) == {
        "1": ("images/1.tif", "labels/1.tif"),
        "2": ("images/2.tif", "labels/2.tif"),
        "10": ("images/10.tif", None),
    }


def test_a_key_is_what_image_and_labels_have_in_common(tmp_path: Path) -> None:
    touch(tmp_path, "7_sat.jpg", "7_mask.png", "12_sat.jpg", "12_mask.png")
    labels = {"files": "*_mask.png", "key": r"(\d+)_mask"}
    assert found(tmp_path, images="*_sat.jpg", key=r"(\d+)_sat", labels=labels) == {
        "7": ("7_sat.jpg", "7_mask.png"),
        "12": ("12_sat.jpg", "12_mask.png"),
    }


def test_a_key_with_a_slash_sees_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/image/1.tif", "b/image/1.tif", "a/mask/1.tif", "b/mask/1.tif")
    with pytest.raises(DataError, match=r"b/image/1.tif and .*a/image/1.tif share the key '1'.*set data.key"):
        found(tmp_path, images="*/image/*.tif", labels="*/mask/*.tif")
    labels = {"files": "**/mask/*.tif", "key": "(.*)/mask/"}
    assert found(tmp_path, images="*/image/*.tif", key="(.*)/image/", labels=labels) == {
        "a": ("a/image/1.tif", "a/mask/1.tif"),
        "b": ("b/image/1.tif", "b/mask/1.tif"),
    }


def test_one_image_and_one_file_of_labels_need_no_keys_and_names_are_no_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "scene[1].tif", "truth.tif")
    assert found(tmp_path, images="scene[1].tif", labels="truth.tif") == {
        "scene[1]": ("scene[1].tif", "truth.tif")
    }
    config = description(images=str(tmp_path / "scene[1].tif"), labels=str(tmp_path / "truth.tif"))
    (entry,) = find_entries(DataConfig.model_validate(config), Path("/nowhere"))
    assert entry.image == tmp_path / "scene[1].tif"


@pytest.mark.parametrize("name", ["all.gpkg", "all.csv", "all.geojson"])
def test_one_vector_file_or_table_of_run_lengths_is_for_all_images(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "images/1.tif", "images/2.tif", name)
    assert {labels for _, labels in found(tmp_path, labels=name).values()} == {name}


def test_vector_files_can_also_be_one_for_each_image(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.tif", "images/2.tif", "labels/1.gpkg", "labels/2.gpkg")
    assert [labels for _, labels in found(tmp_path, labels="labels/*.gpkg").values()] == [
        "labels/1.gpkg",
        "labels/2.gpkg",
    ]


def test_labels_of_no_image_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "images/1.tif", "labels/1.tif", "labels/2.tif")
    with caplog.at_level(logging.INFO):
        assert list(found(tmp_path)) == ["1"]
    assert "1 label files belong to no image and are not used" in caplog.text


def test_excluded_images_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/{n}.tif" for n in (1, 2, 3) for kind in ("images", "labels")))
    assert list(found(tmp_path, exclude=["2"])) == ["1", "3"]
    with pytest.raises(
        ConfigError, match="data.exclude names 5, which are not images of the data; expected some of 1, 2, 3"
    ):
        found(tmp_path, exclude=["2", "5"])
    with pytest.raises(ConfigError, match="leaves out all 3 images"):
        found(tmp_path, exclude=["1", "2", "3"])


def write_table(root: Path, *rows: dict[str, str]) -> None:
    with (root / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


TABLE: dict[str, Any] = {"table": "table.csv", "images": None, "labels": {"form": "codes"}}


def test_a_table_says_which_labels_are_whose(tmp_path: Path) -> None:
    touch(tmp_path, "p/x.tif", "q/y.tif", "masks/one.tif", "masks/two.tif")
    write_table(
        tmp_path,
        {"image": "q/y.tif", "label": "masks/one.tif", "split": "val", "group": "g", "note": "?"},
        {"image": "p/x.tif", "label": "masks/two.tif", "split": "", "group": "", "note": ""},
    )
    entries = find_entries(DataConfig.model_validate(description(**TABLE)), tmp_path)
    assert entries == (
        Entry(key="x", image=tmp_path / "p/x.tif", labels=tmp_path / "masks/two.tif"),
        Entry(key="y", image=tmp_path / "q/y.tif", labels=tmp_path / "masks/one.tif", group="g", split="val"),
    )


def test_a_table_of_images_goes_with_one_file_of_labels(tmp_path: Path) -> None:
    touch(tmp_path, "p/x.tif", "p/y.tif", "all.gpkg")
    write_table(tmp_path, {"image": "p/y.tif"}, {"image": "p/x.tif"})
    assert found(tmp_path, **TABLE | {"labels": "all.gpkg"}) == {
        "x": ("p/x.tif", "all.gpkg"),
        "y": ("p/y.tif", "all.gpkg"),
    }
